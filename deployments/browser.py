"""A headless Chromium: it decides on the reviewer page in a person's place, and takes pictures of pages.

As a command: `python -m deployments.browser decide URL FOLDER`, or `show FOLDER NAME=URL ...`. It needs
playwright, which comes with the `dev` extra, and a Chromium.
"""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plait.http.errors import ConfigurationError

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
PATIENCE: Final = 60_000.0
"""Milliseconds for a page to show what it must."""
SIZE: Final[dict[str, Any]] = {"viewport": {"width": 1280, "height": 1150}}
WISH: Final = "Warmer, please"
PRAISE: Final = "Just right"
ADDITION: Final = "In stores from Friday."


def require_browser() -> str:
    """The Chromium to start. Raises `ConfigurationError` where it or playwright is missing."""
    try:
        import playwright.async_api  # noqa: F401, PLC0415 - only the dev extra has it
    except ImportError as error:
        raise ConfigurationError(
            "a browser is driven with playwright, which is not installed: pip install 'plait[dev]'"
        ) from error
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise ConfigurationError(f"no browser found ({', '.join(NAMES)}): apt-get install chromium")
    return found


@asynccontextmanager
async def browsing(**options: Any) -> AsyncIterator[tuple["Page", list[str]]]:
    """A page and what its console complained about; `options` are those of a browser context."""
    executable = require_browser()
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only the dev extra has it

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        context = await browser.new_context(**options)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page, complaints
        finally:
            await browser.close()


# ------------------------------------------------------------ a person at the reviewer page


async def decide(url: str, folder: Path) -> None:
    """Decide whatever waits on the reviewer page at `url`, until this is canceled.

    The first picture is sent back once; then everything is approved. Each question is photographed into
    `folder` before it is answered.
    """
    async with browsing(**SIZE) as (page, _):
        page.set_default_timeout(PATIENCE)
        await page.goto(url)
        sent_back = False
        for number in count(1):
            await page.locator("#list a").first.wait_for(timeout=0)
            await page.locator("#list a").first.click()
            form = page.get_by_role("form", name="Your answer")
            await form.wait_for()
            await page.wait_for_load_state("networkidle")
            title = await page.locator("#list a[aria-current=true] .row-snippet").inner_text()
            await _photograph(page, folder / f"review-{number}.png")
            answer, sent_back = await _fill_in(form, sent_back=sent_back)
            await page.locator("dl.answered").wait_for()
            _tell(f"{title} {answer}")


async def _fill_in(form: "Locator", *, sent_back: bool) -> tuple[str, bool]:
    """Answer an open form; gives the answer in words, and whether a picture was ever sent back."""
    buttons = form.locator("[data-option]")
    if await buttons.count():
        wanted, words = ("approve", PRAISE) if sent_back else ("regenerate", WISH)
        button = form.locator(f"[data-option={wanted}]")
        said = await button.inner_text()
        await form.get_by_label("Comment").fill(words)
        await button.click()
        return f"{said}, “{words}”", True
    if await form.get_by_role("radio").count():
        choice = form.locator("label.choice").nth(1)
        said = await choice.locator("strong").inner_text()
        await choice.click()
        await form.locator("button.primary").click()
        return said, sent_back
    await form.get_by_label("Decision").select_option("approve")
    text = form.get_by_label("Text")
    await text.fill(f"{await text.input_value()} {ADDITION}")
    await form.locator("button.primary").click()
    return f"Approve, with “{ADDITION}” added", sent_back


# ------------------------------------------------------------ pictures


async def show(folder: Path, pages: dict[str, str]) -> None:
    """Photograph pages, each under its name, once they have loaded."""
    async with browsing(**SIZE) as (page, _):
        page.set_default_timeout(PATIENCE)
        for name, url in pages.items():
            await page.goto(url)
            await page.wait_for_load_state("networkidle")
            await _photograph(page, folder / f"{name}.png")


async def _photograph(page: "Page", path: Path) -> None:
    await page.evaluate("document.getElementById('toast')?.classList.remove('up')")
    await page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => 0)))")
    await page.wait_for_timeout(500)
    await page.screenshot(path=path, full_page=True)


def _tell(text: str) -> None:
    print(f"browser: {text}", flush=True)  # noqa: T201 - what it does is for the person who watches


def main(words: list[str]) -> int:
    """The command."""
    match words:
        case ["decide", url, folder]:
            asyncio.run(decide(url, Path(folder)))
        case ["show", folder, *pairs] if pairs:
            asyncio.run(show(Path(folder), dict(re.split("=", pair, maxsplit=1) for pair in pairs)))
        case _:
            _tell(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

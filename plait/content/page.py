"""One HTML file that needs nothing else and runs nothing.

The page carries its style sheet and forbids everything besides it by Content-Security-Policy: no
script, no request, no form. `page_html` is pure; `write_report` puts the page in place whole.
"""

import base64
import hashlib
import os
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Final

from plait.content.html import text_html
from plait.http.errors import InvalidInput

_STYLE: Final = files("plait.content").joinpath("report.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page_html(title: str, *, header: str, body: str, skip: tuple[str, str], footer: str) -> str:
    """The page around fragments that are HTML already; `title` and `footer` are plain text.

    `skip` is where the link at the top leads for those who do not see the page, and what it says.
    """
    heading = text_html(title, 200) or "Report"
    place, words = skip
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{heading}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#{place}">{words}</a>
<main>
<header>
<h1>{heading}</h1>
{header}
</header>
{body}
</main>
<footer>{text_html(footer)}</footer>
</body>
</html>
"""


def write_report(path: Path, text: str | bytes) -> None:
    """Write a page or a picture to `path` whole or not at all, creating the folders above it.

    Blocking: call it through `asyncio.to_thread`. Raises InvalidInput where the place cannot be
    written.
    """
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a path no file system takes
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            f"the report cannot be written to {str(path)!r}: {reason}; "
            "name a file in a folder you may write to"
        ) from error

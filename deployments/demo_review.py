"""`make demo-review`: Pletor makes a campaign, people decide on it in the browser, on this machine alone.

Starts the sandbox and a Prefect server on free loopback ports and runs `flows.run_with_review`, which asks on
the reviewer page. `AUTO=1` has a headless browser do the clicking, and keeps pictures of what it saw.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from deployments.browser import require_browser
from deployments.local import (
    PrefectServer,
    asked_for,
    free_port,
    interruptible,
    prefect_environment,
    prefect_server,
    process_group,
)
from plait.http.errors import PlaitError
from plait.sandbox.process import SandboxProcess, start_sandbox

WHAT_TO_DO: Final = (
    "review 1, a picture and its text, asked at once:",
    "  the picture: Approve, Make anew (another one comes) or Reject (the run ends)",
    "  the text: correct it if you like, choose Approve, press Send",
    "review 2, once both are approved: choose one of three banners, press Approve",
)
ARGUMENTS: Final = (
    *("--channel", "Reviews", "--agent", "Campaign", "--title", "Autumn campaign"),
    *("--text", "title=Autumn collection: wool and walnut", "--text", "style=warm and quiet"),
)
ARTIFACTS: Final = ("run-with-review-decisions", "run-with-review-result", "run-with-review-result-2")
"""Keys of those that are photographed."""
INTERRUPTED: Final = 130
REJECTED: Final = 4
"""Exit code of the flow's command where a person rejected: the demo has then shown that."""


def main() -> int:
    """Run the demo; `KEEP=1` in the environment leaves everything open until Ctrl-C."""
    reports = Path("reports").absolute() / "demo-review"
    try:
        with interruptible(), ExitStack() as stack:
            if asked_for("AUTO"):
                require_browser()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-demo-review-")))
            return _run(stack, folder, reports)
    except KeyboardInterrupt:
        _say("interrupted; everything was stopped")
        return INTERRUPTED
    except PlaitError as error:
        _say(f"error: {error}")
        return 1


def _run(stack: ExitStack, folder: Path, reports: Path) -> int:
    auto, keep = asked_for("AUTO"), asked_for("KEEP")
    shutil.rmtree(reports, ignore_errors=True)
    screens = reports / "screens"
    screens.mkdir(parents=True)
    _say("starting the sandbox (stand-ins of Pletor and Placet)")
    sandbox = stack.enter_context(start_sandbox(state=folder / "sandbox.db"))
    _say("starting a Prefect server (its first start takes up to 20 s)")
    home = folder / "prefect"
    server = stack.enter_context(prefect_server(free_port(), home=home, log=folder / "prefect.log"))
    page = f"{sandbox.url}/placet/"
    _say(f"Prefect UI: {server.ui_url}")
    _say(f"reviewer page: {page}")
    command = [sys.executable, "-m", "flows.run_with_review", *ARGUMENTS, "--folder", str(reports)]
    _say("running: " + " ".join(["python", *command[1:]]))
    environment = _environment(home, server, sandbox, folder)
    if auto:
        _say("AUTO=1: a headless browser decides on that page")
    else:
        _say(f"open {page} and decide there; questions appear by themselves:")
        for line in WHAT_TO_DO:
            _say(f"  {line}")
    with ExitStack() as hands:
        flow = hands.enter_context(process_group(command, env=environment))
        clicking = [sys.executable, "-m", "deployments.browser", "decide", page, str(screens)]
        person = hands.enter_context(process_group(clicking, env=environment)) if auto else None
        code = _wait(flow, person)
    if code == 0:
        _say(f"manifest: {reports / 'manifest.json'}")
        print((reports / "manifest.json").read_text(encoding="utf-8"))  # noqa: T201 - what the demo shows
    if auto and code == 0:
        _photograph(server, page, screens, environment)
        _say(f"pictures of the pages: {screens}")
    _say(f"Prefect UI: {server.ui_url}" + ("" if keep else " (KEEP=1 leaves it open)"))
    if keep:
        _say(f"reviewer page: {page}; press Ctrl-C to stop everything")
        threading.Event().wait()
    return 0 if code == REJECTED and not auto else code


def _wait(flow: "subprocess.Popen[bytes]", person: "subprocess.Popen[bytes] | None") -> int:
    """The flow's exit code; 1 where the browser, which should outlast it, has ended before."""
    while flow.poll() is None:
        if person is not None and person.poll() is not None:
            _say(f"error: the browser ended with code {person.returncode} while a question may wait")
            return 1
        time.sleep(0.1)
    return flow.returncode


def _environment(home: Path, server: PrefectServer, sandbox: SandboxProcess, folder: Path) -> dict[str, str]:
    return {
        **prefect_environment(home, server),
        "PLAIT_PLETOR_URL": f"{sandbox.url}/pletor/api/public/v1",
        "PLAIT_PLETOR_API_KEY": "sk-sandbox",
        "PLAIT_PLACET_URL": f"{sandbox.url}/placet",
        "PLAIT_PLACET_API_KEY": "hp_sandbox",
        "PLAIT_LEDGER_URL": str(folder / "ledger.db"),
    }


def _photograph(server: PrefectServer, page: str, screens: Path, environment: dict[str, str]) -> None:
    """The pages as they stand at the end: Prefect's run and artifacts, and the reviewers' history."""
    (run,) = _ask(server, "flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    made = _ask(server, "artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    pages = {
        "prefect-run": f"{server.ui_url}/runs/flow-run/{run['id']}",
        "prefect-artifacts": f"{server.ui_url}/artifacts",
        **{
            one["key"]: f"{server.ui_url}/artifacts/artifact/{one['id']}"
            for one in made
            if one["key"] in ARTIFACTS
        },
        "reviewer-history": f"{page}#history",
    }
    named = [f"{name}={url}" for name, url in pages.items()]
    command = [sys.executable, "-m", "deployments.browser", "show", str(screens), *named]
    with process_group(command, env=environment) as taking:
        if (code := taking.wait()) != 0:
            _say(f"the browser could not photograph the pages (code {code})")


def _ask(server: PrefectServer, path: str, body: dict[str, Any]) -> Any:
    request = Request(  # noqa: S310 - our own server on loopback
        f"{server.api_url}/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
        return json.load(answer)


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)  # noqa: T201 - the demo talks to the person who started it


if __name__ == "__main__":
    sys.exit(main())

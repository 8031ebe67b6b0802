"""`make demo`: the whole house on this machine, without an account, leaving nothing behind.

Starts the sandbox and a Prefect server on free loopback ports, puts the documents of `examples/`
into OfficePlane and asks three questions, with the very command the README shows.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

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

EXAMPLES: Final = ("office-lease.pdf", "employee-handbook.docx", "quarterly-sales.xlsx", "board-update.pptx")
QUESTIONS: Final = (
    "What is the annual rent in the third year of the lease?",
    "How many days of annual leave do employees get?",
    "How much was the Sensor Kit revenue in Benelux in Q2?",
)
INTERRUPTED: Final = 130


def main() -> int:
    """Run the demo; `KEEP=1` in the environment leaves everything open until Ctrl-C."""
    keep = asked_for("KEEP")
    reports = Path("reports").absolute()
    try:
        with interruptible(), ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-demo-")))
            return _run(stack, folder, reports, keep=keep)
    except KeyboardInterrupt:
        _say("interrupted; everything was stopped")
        return INTERRUPTED
    except PlaitError as error:
        _say(f"error: {error}")
        return 1


def _run(stack: ExitStack, folder: Path, reports: Path, *, keep: bool) -> int:
    _say("starting the sandbox (stand-ins of OfficePlane and Planck AI)")
    sandbox = stack.enter_context(start_sandbox(state=folder / "sandbox.db"))
    _say("starting a Prefect server (its first start takes up to 20 s)")
    home = folder / "prefect"
    server = stack.enter_context(prefect_server(free_port(), home=home, log=folder / "prefect.log"))
    _say(f"Prefect UI: {server.ui_url}")
    environment = _environment(home, server, sandbox, folder)
    command = [sys.executable, "-m", "flows.ingest_then_chat", *_arguments(reports)]
    _say("running: " + " ".join(["python", *command[1:]]))
    flow = stack.enter_context(process_group(command, env=environment))
    code = flow.wait()
    _say(f"Prefect UI: {server.ui_url}" + ("" if keep else " (KEEP=1 leaves it open)"))
    if keep and code == 0:
        _say(f"sandbox: {sandbox.url}; press Ctrl-C to stop everything")
        threading.Event().wait()
    return code


def _environment(home: Path, server: PrefectServer, sandbox: SandboxProcess, folder: Path) -> dict[str, str]:
    return {
        **prefect_environment(home, server),
        "PLAIT_OFFICEPLANE_URL": f"{sandbox.url}/officeplane",
        "PLAIT_PLANCK_URL": f"{sandbox.url}/planck/api/v1",
        "PLAIT_PLANCK_API_KEY": "pk_live_sandbox",
        "PLAIT_LEDGER_URL": str(folder / "ledger.db"),
    }


def _arguments(reports: Path) -> Iterator[str]:
    examples = Path(__file__).parent.parent / "examples"
    for name in EXAMPLES:
        yield from ("--document", str(examples / name))
    for question in QUESTIONS:
        yield from ("--question", question)
    yield from ("--workspace", "Operations", "--title", "Demo", "--report", str(reports / "demo.html"))


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)  # noqa: T201 - the demo talks to the person who started it


if __name__ == "__main__":
    sys.exit(main())

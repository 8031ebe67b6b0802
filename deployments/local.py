"""A Prefect server on this machine, for the demo and for tests; nothing of it outlives its context."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from plait.http.errors import ConfigurationError

STARTUP: Final = 120.0
"""Seconds; a fresh home migrates its database first, which took 18 s on two cores."""
GRACE: Final = 5.0
"""Seconds between asking a process group to end and ending it."""


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A running server."""

    port: int

    @property
    def ui_url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """The value for `PREFECT_API_URL`."""
        return f"{self.ui_url}/api"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def prefect_environment(home: Path, server: PrefectServer) -> dict[str, str]:
    """The environment of a process that works with this server and leaves no trace elsewhere."""
    return {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": server.api_url,
        "PREFECT_UI_URL": server.ui_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end this process as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def asked_for(name: str) -> bool:
    """Whether a switch such as `KEEP=1` is set in the environment."""
    return os.environ.get(name, "") not in {"", "0"}


@contextmanager
def prefect_server(port: int, *, home: Path, log: Path) -> Iterator[PrefectServer]:
    """Run `prefect server start` on the loopback interface until the block is left.

    Raises:
        ConfigurationError: The server ended at once or did not answer in time; names its log.
    """
    server = PrefectServer(port)
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process_group(command, env=prefect_environment(home, server), log=log) as process:
        _wait_until_healthy(server, process, log)
        yield server


@contextmanager
def process_group(
    command: list[str], *, env: Mapping[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child with a process group of its own, which is ended with everything it started."""
    output = log.open("ab") if log else None
    process = subprocess.Popen(  # noqa: S603 - the command is ours
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end_group(process)
        if output:
            output.close()


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ask the group to end, then end it; returns when its first process has gone."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait_until_healthy(server: PrefectServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + STARTUP
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise ConfigurationError(f"the Prefect server ended with code {process.returncode}; see {log}")
        with suppress(URLError, OSError), urlopen(f"{server.api_url}/health", timeout=2):  # noqa: S310 - http only
            return
        time.sleep(0.2)
    raise ConfigurationError(f"the Prefect server did not answer within {STARTUP:g} s; see {log}")

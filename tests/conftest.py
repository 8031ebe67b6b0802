"""One Prefect server for the whole session, started by the first test that asks for it.

Prefect reads its settings when it is first imported, so its home and the server's address are
chosen here, before any test module is loaded.
"""

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


_HOME = Path(tempfile.mkdtemp(prefix="plait-tests-"))
_PORT = _free_port()

_OURS = (
    "PREFECT_",
    "PLAIT_OFFICEPLANE_",
    "PLAIT_PLANCK_",
    "PLAIT_PLACET_",
    "PLAIT_PLETOR_",
    "PLAIT_PLANASONIX_",
    "PLAIT_LEDGER_",
    "PLAIT_ENV",
)
for _name in [name for name in os.environ if name.startswith(_OURS)]:
    del os.environ[_name]
os.environ |= {
    "PREFECT_HOME": str(_HOME / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{_PORT}/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
    "PLAIT_LEDGER_URL": str(_HOME / "ledger.db"),
    "PLAIT_TASK_RETRIES": "1",
}


_PREFECT_LEAKS = (
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)
"""Prefect's own client leaves sockets to the garbage collector; that is no finding about Plait."""


_LONG = ("chaos", "deployments", "cli")
"""Folders whose tests start many processes."""


def pytest_unconfigure() -> None:
    """Leave nothing of Prefect's home behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file stay together; two parallel workers start a Prefect server, not all of them.

    The long groups go first, so that no worker is left alone with one at the end.
    """
    with_server = {item for item in items if "prefect_server" in getattr(item, "fixturenames", ())}
    files = sorted({item.path for item in with_server})
    items.sort(key=lambda item: (item not in with_server, item.path.parent.name not in _LONG))
    for item in items:
        served = item in with_server
        group = f"prefect-{files.index(item.path) % 2}" if served else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
        for leak in _PREFECT_LEAKS if served else ():
            item.add_marker(pytest.mark.filterwarnings(leak))


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection after a test looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def running_prefect_server() -> Iterator[str]:
    """The server itself; use `prefect_server`."""
    from deployments.local import prefect_server as serve  # noqa: PLC0415 - needs the settings above

    with serve(_PORT, home=_HOME / "prefect", log=_HOME / "prefect.log") as server:
        yield server.api_url
        _drain()


@pytest.fixture
def prefect_server(running_prefect_server: str) -> Iterator[str]:
    """The API address of a real Prefect server on SQLite; `PREFECT_API_URL` names it too."""
    yield running_prefect_server
    gc.collect()  # what Prefect leaks is collected here, not in the middle of another test


def _drain() -> None:
    """Send what Prefect still holds, before its server goes away."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415 - needs the settings above
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415 - the same

    with suppress(RuntimeError):
        APILogWorker.instance().drain()
    EventsWorker.drain_all()

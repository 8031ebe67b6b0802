"""Prefect's transactions around one call, as its documentation shows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.locking.filesystem import FileSystemLockManager
from prefect.results import ResultStore
from prefect.transactions import IsolationLevel, transaction


def transacted(
    folder: Path,
    send: Callable[[Callable[[], Any]], Any],
    reach: Callable[[str], None],
    *,
    serializable: bool,
) -> Callable[[str, Callable[[], Any]], None]:
    """Carries out one effect by its key; the record stands in `folder`."""
    store = ResultStore(
        result_storage=LocalFileSystem(basepath=str(folder / "results")),
        lock_manager=FileSystemLockManager(folder / "locks") if serializable else None,
    )
    level = IsolationLevel.SERIALIZABLE if serializable else IsolationLevel.READ_COMMITTED

    def once(key: str, call: Callable[[], Any]) -> None:
        with transaction(key=key, store=store, isolation_level=level) as record:
            if record.is_committed():
                return
            record.stage(send(call))
        reach("after.record")

    return once

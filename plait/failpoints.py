"""Named places at which a test may stop, kill or cancel a process.

`reach(name)` costs one comparison in production. A chaos run arms a process with
`PLAIT_FAILPOINT=name@k` and `PLAIT_FAILPOINT_DIR=folder`: on the k-th visit of `name` the process
writes `folder/<pid>.<name>` and parks until the file is gone, so that the killer chooses the
moment. `PLAIT_FAILPOINT_ACTION=fail` raises `FailpointError` there instead (at a commit: refused
before it, its answer lost after it); `cancel` cancels the running task. The names are those of
effect-protocol.md §6.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

COMMITS: Final = ("claim", "permit", "record", "quiet", "renew", "verdict")
POINTS: Final = (
    *(f"{commit}.{side}_commit" for commit in COMMITS for side in ("before", "after")),
    "unit.after_lock",
    "baseline.after_store",
    "pool.wait",
    "connect.after",
    "hook.before_permit",
    "check1.after",
    "headers.after_write",
    "check2.after",
    "chunk.between",
    "body.last_chunk.before",
    "body.after_write",
    "answer.headers",
    "answer.mid_body",
    "answer.read",
    "giveup.before_close",
    "giveup.after_close",
    "loop.blocked",
    "takeover.after",
    "look.before",
    "look.between_pages",
    "look.after",
    "resend.before_permit",
    "sweep.before_look",
    "generation.before_insert",
    "batch.mid_claim",
    "batch.between_items",
)

Hook = Callable[[str], None]


class FailpointError(ConnectionError):
    """An armed failpoint failed on purpose."""


def _park(flag: Path) -> None:
    while flag.exists():
        time.sleep(0.002)


def _fail(flag: Path) -> None:
    raise FailpointError(flag.name)


def _cancel(_flag: Path) -> None:
    task = asyncio.current_task()
    if task is not None:
        task.cancel()


_ACTIONS: Final = {"park": _park, "fail": _fail, "cancel": _cancel}


def _armed_from_environment() -> Hook | None:
    spec = os.environ.get("PLAIT_FAILPOINT")
    folder = os.environ.get("PLAIT_FAILPOINT_DIR")
    if not spec or not folder:
        return None
    wanted, _, visit = spec.partition("@")
    if wanted not in POINTS:
        msg = f"PLAIT_FAILPOINT names {wanted!r}, which is not one of the points in {__name__}"
        raise ValueError(msg)
    left = int(visit or 1)
    act = _ACTIONS[os.environ.get("PLAIT_FAILPOINT_ACTION", "park")]

    def visit_point(name: str) -> None:
        nonlocal left
        if name != wanted:
            return
        left -= 1
        if left != 0:
            return
        flag = Path(folder) / f"{os.getpid()}.{name}"
        flag.touch()
        act(flag)

    return visit_point


hook: Hook | None = _armed_from_environment()


def reach(name: str) -> None:
    """Visit the failpoint `name`; nothing happens unless a test armed it."""
    if hook is not None:
        hook(name)

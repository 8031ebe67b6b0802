"""Named places at which a test may stop, kill or cancel a process.

`reach(name)` costs one comparison in production. A chaos run arms a process with `arm`, or with
`PLAIT_FAILPOINT=name@k` and `PLAIT_FAILPOINT_DIR=folder`: on the k-th visit of `name` the process
writes `folder/<pid>.<name>` and parks until the file is gone, so that the killer chooses the
moment. `PLAIT_FAILPOINT_ACTION=fail` raises `FailpointError` there instead (at a commit: refused
before it, its answer lost after it), and `kill` is SIGKILL by its own hand. The names of
`POINTS` are those of effect-protocol.md §6.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

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

NIGHT: Final = (
    "sync.before_commit",
    "sync.after_commit",
    "night.triggered",
    "night.polled",
    "night.ended",
    "night.collected",
)
"""Places of a nightly sync, beside those of the protocol."""

Hook = Callable[[str], None]
Action = Literal["park", "fail", "kill"]


class FailpointError(ConnectionError):
    """An armed failpoint failed on purpose."""


def _park(flag: Path) -> None:
    while flag.exists():
        time.sleep(0.002)


def _fail(flag: Path) -> None:
    raise FailpointError(flag.name)


def _kill(flag: Path) -> None:
    del flag
    os.kill(os.getpid(), signal.SIGKILL)


_ACTIONS: Final[dict[str, Callable[[Path], None]]] = {"park": _park, "fail": _fail, "kill": _kill}


def _hook_at(point: str, folder: Path, visit: int, act: Callable[[Path], None]) -> Hook:
    left = visit

    def visit_point(name: str) -> None:
        nonlocal left
        if name != point:
            return
        left -= 1
        if left != 0:
            return
        flag = folder / f"{os.getpid()}.{name}"
        flag.touch()
        act(flag)

    return visit_point


def _armed(point: str, folder: Path, visit: int, act: Callable[[Path], None]) -> Hook:
    if point not in {*POINTS, *NIGHT}:
        msg = f"the failpoint {point!r} is not one of those in {__name__}.POINTS or NIGHT"
        raise ValueError(msg)
    return _hook_at(point, folder, visit, act)


def hook_at(point: str, folder: Path) -> Hook:
    """A hook for points of somebody else's code, which parks at its first visit of `point`."""
    return _hook_at(point, folder, 1, _park)


def _armed_from_environment() -> Hook | None:
    spec = os.environ.get("PLAIT_FAILPOINT")
    folder = os.environ.get("PLAIT_FAILPOINT_DIR")
    if not spec or not folder:
        return None
    point, _, visit = spec.partition("@")
    act = _ACTIONS[os.environ.get("PLAIT_FAILPOINT_ACTION", "park")]
    return _armed(point, Path(folder), int(visit or 1), act)


hook: Hook | None = _armed_from_environment()


def arm(point: str, *, folder: Path, visit: int = 1, action: Action = "park") -> None:
    """Arm this process, as the environment does for one that has not started yet.

    Raises `ValueError` for a point that is in neither `POINTS` nor `NIGHT`.
    """
    global hook  # noqa: PLW0603 - one process visits its points in many modules
    hook = _armed(point, folder, visit, _ACTIONS[action])


def reach(name: str) -> None:
    """Visit the failpoint `name`; nothing happens unless a test armed it."""
    if hook is not None:
        hook(name)

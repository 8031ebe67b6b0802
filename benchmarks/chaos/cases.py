"""Which point, which faults, which blow: everything about case K follows from the seed and K."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from benchmarks.chaos.job import LANDING, VISIBILITY
from benchmarks.chaos.work import Kind
from plait.failpoints import COMMITS, POINTS

Action: TypeAlias = Literal["kill", "stop_short", "stop_window", "stop_long", "cancel", "fail"]
Rival: TypeAlias = Literal["none", "standby", "race"]
Manner: TypeAlias = Literal["plain", "ignores_filters", "rolls_back"]
Rules: TypeAlias = tuple[dict[str, Any], ...]

OPERATION: Final[dict[Kind, tuple[str, str, str]]] = {
    "upload": ("officeplane", "upload_document", "list_documents"),
    "execute": ("officeplane", "execute_plan", "get_document"),
    "conversation": ("planck", "create_conversation", "list_conversations"),
    "messages": ("planck", "send_message", "list_messages"),
    "chat": ("planck", "chat", ""),
    "batch": ("planck", "create_conversation", "list_conversations"),
    "generation": ("planck", "create_conversation", "list_conversations"),
    "sweep": ("planck", "create_conversation", "list_conversations"),
    "run": ("pletor", "create_run", "list_runs"),
    "rerun": ("pletor", "create_run", "list_runs"),
    "asset": ("pletor", "upload_asset", "list_assets"),
    "review": ("pletor", "resolve_review", "get_run"),
    "post": ("placet", "post_message", "list_messages"),
    "file": ("placet", "store_file", "list_files"),
    "channel": ("placet", "create_channel", "list_channels"),
}
"""Service, effectful operation, and the read its look begins with."""

_CONFLICTING: Final[tuple[Kind, ...]] = ("run", "asset")
"""Keyed, and a repeat is a 409, after which the original is looked for."""
_KEYED: Final[tuple[Kind, ...]] = (*_CONFLICTING, "rerun", "post")
_FINDERS: Final[tuple[Kind, ...]] = (
    *("upload", "execute", "conversation", "messages", "batch"),
    *("review", "file", "channel"),
)
_LOOKERS: Final[tuple[Kind, ...]] = (*_FINDERS, *_CONFLICTING)
_REPEATERS: Final[tuple[Kind, ...]] = (*_FINDERS, *_CONFLICTING, "post")
_SENDERS: Final[tuple[Kind, ...]] = (*_REPEATERS, "chat")
_UNITS: Final[tuple[Kind, ...]] = ("upload", "execute", "messages", "review")
_STREAMED: Final[tuple[Kind, ...]] = ("upload", "asset", "file")
STRANGERS: Final[tuple[Kind, ...]] = (
    *("upload", "conversation", "messages", "batch"),
    *("run", "asset", "post", "file", "channel"),
)
"""Kinds of which somebody else may make one too; a stranger's plan or decision would change what ours is."""
_OFTEN: Final = 0.3
_KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    **{f"verdict.{side}_commit": _LOOKERS for side in ("before", "after")},
    # Where there is a unit, its look connected.
    "connect.after": ("conversation", "chat", "batch", "run", "asset", "review", "post", "file", "channel"),
    # The reader of a stream stops at its last event, before the answer's end.
    "answer.read": tuple(kind for kind in _REPEATERS if kind != "messages"),
    "unit.after_lock": _UNITS,
    "baseline.after_store": _UNITS,
    "chunk.between": _STREAMED,
    "body.last_chunk.before": _STREAMED,
    "takeover.after": _REPEATERS,
    "look.before": _LOOKERS,
    "look.between_pages": ("upload",),
    "look.after": _LOOKERS,
    "resend.before_permit": _REPEATERS,
    "sweep.before_look": ("sweep",),
    "generation.before_insert": ("generation", "rerun"),
    "batch.mid_claim": ("batch",),
    "batch.between_items": ("batch",),
}
_STREAMS: Final = frozenset({"messages", "chat"})
_ANSWERED: Final = frozenset(
    {"answer.headers", "answer.mid_body", "answer.read", "record.before_commit", "record.after_commit"}
)
"""Points that need a whole answer to our request."""
WINDOW: Final = frozenset(
    {"permit.after_commit", "check1.after", "headers.after_write", "check2.after", "chunk.between"}
    | {"body.last_chunk.before"}
)
"""Between the permit and the last byte: only proof of death lets another runner conclude absence."""

SINGLE: Final[tuple[Kind, ...]] = ("upload", "execute", "conversation", "review", "file", "channel")
"""One findable effect and nothing else, so that all other runners can do is to wait for it."""
_ROWS: Final[dict[int, Action]] = {
    0: "kill",
    1: "stop_long",
    3: "stop_window",
    5: "cancel",
    6: "stop_short",
    8: "fail",  # commits only: at no other point is there anything that a database could refuse
}
"""So every point is struck in this row; the rows between draw their blows, most of them kills."""

_ALWAYS: Final = {"nth": (1,)}
_LAG: Final[dict[str, Any]] = {"kind": "listing_lag", "seconds": 0.9 * VISIBILITY}
_LATE_BY: Final = 0.85 * LANDING
"""Later than L + ε, and with the lag later than D + ε: or an engine without D or L would pass."""
_FOUND: Final[dict[str, Rules]] = {
    "after_accept": ({"kind": "after_accept"},),
    "after_accept_reset": ({"kind": "after_accept", "how": "reset"},),
    "mid_body": ({"kind": "mid_body", "bytes": 20},),
    "mid_stream": ({"kind": "mid_stream", "events": 1},),
    "listing_lag": (_LAG, {"kind": "after_accept"}),
}
_FOUND_ANSWERED: Final[dict[str, Rules]] = {"status_after": ({"kind": "status_after", "status": 502},)}
_ABSENT: Final[dict[str, Rules]] = {
    "before_accept": ({"kind": "before_accept"},),
    "before_accept_reset": ({"kind": "before_accept", "how": "reset"},),
    "reset": ({"kind": "reset", "request_bytes": 40},),
}
_ABSENT_ANSWERED: Final[dict[str, Rules]] = {"status": ({"kind": "status", "status": 503},)}
_LATE: Final[dict[str, Rules]] = {
    "late_landing": ({"kind": "late_landing", "seconds": _LATE_BY},),
    "late_landing_502": ({"kind": "late_landing", "seconds": _LATE_BY, "status": 502},),
    "late_landing_lag": (_LAG, {"kind": "late_landing", "seconds": _LATE_BY}),
}
_CALM: Final[dict[str, Rules]] = {"none": ()}
_POLITE: Final[dict[str, Rules]] = {
    "rate_limit": ({"kind": "rate_limit", "wait": 0.1},),
    "limiter": ({"kind": "limiter", "algorithm": "token_bucket", "rate": 20.0, "limit": 1, "nth": None},),
    "clock_skew": ({"kind": "clock_skew", "seconds": -30.0, "nth": None},),
}
_SLOW: Final[dict[str, Rules]] = {"delay": ({"kind": "delay", "seconds": 1.2},)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One blow to one or two runners, and what leads there."""

    number: int
    seed: int
    kind: Kind
    point: str
    visit: int
    action: Action
    fault: str
    rules: Rules
    prelude: str
    """A first runner is killed at this point, so that the armed one takes over; empty: none."""
    rival: Rival
    delay: float
    """Seconds between the rival's start and the blow."""
    stranger: bool
    """Somebody else makes an entry of the same kind before the blow."""
    manner: Manner
    """How the vendor is, all the time."""

    @property
    def token(self) -> str:
        """Names everything of this case at the sandbox."""
        return f"s{self.seed}c{self.number}"

    def describe(self) -> str:
        """One line for people."""
        lead = f", after a kill at {self.prelude}" if self.prelude else ""
        lead += ", beside a stranger" if self.stranger else ""
        lead += f", the vendor {self.manner}" if self.manner != "plain" else ""
        return (
            f"case {self.number}: {self.action} at {self.point}@{self.visit} of {self.kind}, "
            f"fault {self.fault}, rival {self.rival}{lead}"
        )


def make_case(seed: int, number: int, runners: int) -> Case:
    """Case `number` of `seed`. Each row of as many cases as there are points visits every point once."""
    row, place = divmod(number, len(POINTS))
    order = list(POINTS)
    random.Random(f"{seed}:row:{row}").shuffle(order)  # noqa: S311 - chosen by the seed, no secret
    point = order[place]
    rng = random.Random(f"{seed}:case:{number}")  # noqa: S311 - the same
    action = _action(row, point, rng)
    kinds = _KINDS.get(point, _SENDERS)
    if action == "stop_long" and point in WINDOW:  # several effects would wait for one another's proof
        kinds = tuple(kind for kind in kinds if kind in SINGLE or kind in _KEYED)
    kind = rng.choice(kinds)
    fault, rules = _faults(point, kind, rng)
    prelude = _prelude(point, kind, rng)
    looks = point.startswith(("look.", "verdict.", "resend."))
    rival: Rival = "none"
    if runners > 1 and kind != "sweep":
        rival = rng.choice(("standby", "standby", "race")) if action == "kill" and not prelude else "standby"
    return Case(
        number=number,
        seed=seed,
        kind=kind,
        point=point,
        visit=_visit(point, row, rng),
        action=action,
        fault=fault,
        rules=rules,
        prelude=prelude,
        rival=rival,
        delay=rng.uniform(0.0, 0.25),
        stranger=looks and kind in STRANGERS and action != "fail" and rng.random() < 2 * _OFTEN,
        manner=_manner(point, kind, rng),
    )


def _action(row: int, point: str, rng: random.Random) -> Action:
    actions: Sequence[Action] = ("kill", "stop_long", "stop_short", "stop_window", "cancel", "fail")
    weights = [70, 9, 6, 6, 9, 0]
    commits = point.partition(".")[0] in COMMITS
    if commits:
        weights = [58, 8, 6, 6, 8, 14]
    drawn = rng.choices(actions, weights)[0]
    planned = _ROWS.get(row, drawn)
    return drawn if planned == "fail" and not commits else planned


def _visit(point: str, row: int, rng: random.Random) -> int:
    match point.partition(".")[0]:
        case "claim":  # 1 registers the process, 2 claims; where there is a unit, 3 and 4 lock it
            return 2 if row in _ROWS else rng.choice((1, 2, 2, 2, 3))
        case "loop":  # the first beat is at the opening of the ledger
            return rng.choice((2, 3, 4))
        case _:
            return 1


def _manner(point: str, kind: Kind, rng: random.Random) -> Manner:
    if kind not in _CONFLICTING or rng.random() > _OFTEN:
        return "plain"
    # What was rolled back is not found: nothing is concluded, the key is sent again.
    return (
        "ignores_filters" if point.startswith("verdict.") else rng.choice(("ignores_filters", "rolls_back"))
    )


def _prelude(point: str, kind: Kind, rng: random.Random) -> str:
    if kind == "sweep":
        return "check2.after"
    leads: tuple[str, ...] = ("permit.after_commit", "headers.after_write", "body.after_write")
    if point == "takeover.after":
        return rng.choice(("hook.before_permit", *leads))
    if kind in _KEYED:
        leads = ("permit.after_commit", "body.after_write")  # headers alone would use the fault up
    recovery = point.startswith(("look.", "verdict.")) and point != "look.between_pages"
    return rng.choice(leads) if recovery and rng.random() < 0.5 else ""  # noqa: PLR2004 - half of them


def _faults(point: str, kind: Kind, rng: random.Random) -> tuple[str, Rules]:
    groups = _groups(point, kind)
    name = rng.choice(sorted(groups))
    service, operation, look = OPERATION[kind]
    rules = tuple({"service": service, "operation": operation, **_ALWAYS, **rule} for rule in groups[name])
    if look and rng.random() < 0.15:  # noqa: PLR2004 - now and then the look fails as well
        rules += ({"kind": "status", "status": 503, "service": service, "operation": look, **_ALWAYS},)
        name += "+look_503"
    return name, rules


def _groups(point: str, kind: Kind) -> dict[str, Rules]:
    """The faults that lead to the point, or may be met on the way there."""
    torn = {key: _FOUND[key] for key in _FOUND if (key == "mid_stream") <= (kind in _STREAMS)}
    if kind in _STREAMS:
        torn.pop("mid_body")
    refused = _ABSENT | _ABSENT_ANSWERED
    leads = {
        "sweep.before_look": _CALM,
        "giveup.before_close": torn | _ABSENT,
        "giveup.after_close": torn | _ABSENT,
        "renew.before_commit": _SLOW,
        "renew.after_commit": _SLOW,
        "loop.blocked": _SLOW,
        "look.between_pages": torn | _FOUND_ANSWERED,
        "resend.before_permit": refused | (torn | _FOUND_ANSWERED | _LATE if kind in _KEYED else {}),
    }
    if point in leads:
        return leads[point]
    if point.startswith(("look.", "verdict.")) and kind in _KEYED:
        return torn | _FOUND_ANSWERED  # only a repeat of what landed is a 409
    if point.startswith(("look.", "verdict.")):
        return torn | _FOUND_ANSWERED | refused | _LATE
    if point in _ANSWERED:
        return _CALM | _POLITE | (refused if kind != "chat" else {})
    return _CALM | _POLITE | torn | _ABSENT | (_FOUND_ANSWERED | refused | _LATE if kind != "chat" else {})

"""The verdict on one case, by the vendor's own counters and by what the ledger admits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.chaos.cases import Case
from benchmarks.chaos.job import LEASE, SETTLING
from benchmarks.chaos.ledgers import Written
from benchmarks.chaos.work import Intended
from plait.ledger.store import AnyRow
from plait.sandbox.store import EffectRow

GRACE = 10.0
"""Seconds beyond the protocol's own bounds after which a claim or an answer counts as blocked."""
BEFORE_PERMIT = frozenset(
    {"claim.before_commit", "claim.after_commit", "pool.wait", "connect.after", "hook.before_permit"}
    | {"permit.before_commit"}
)
"""A blow here leaves nothing open, so that even a blind effect is done in the end."""
_IDENTIFIED: Final = frozenset(
    {"upload_document", "create_conversation", "create_run", "upload_asset", "resolve_review"}
    | {"post_message", "store_file", "create_channel"}
)
"""Operations whose result has the id that the sandbox counts them by."""
_MARK: Final = " · "
"""Between a name and the mark of ours at its end."""


@dataclass(slots=True)
class Verdict:
    """What came of a case. Everything in `wrong` is a failure of the engine."""

    kills: int = 0
    struck: int = 0
    duplicates: int = 0
    lost: int = 0
    blocked: int = 0
    unknown: int = 0
    settled: int = 0
    failed: int = 0
    """Only of a baseline: its every re-run ends with an error, so none is waiting and none gets done."""
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        """Sum up."""
        for name in ("kills", "struck", "duplicates", "lost", "blocked", "unknown", "settled", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a verdict rests on. Times are the ledger's clock (epoch seconds)."""

    case: Case
    intended: tuple[Intended, ...]
    accepted: dict[str, list[EffectRow]]
    """By operation."""
    written: Written
    struck_at: float
    """When the last blow was over, and a fresh runner could begin."""
    finished: bool
    """Whether the runners came to an end of it within the time allowed."""
    before: tuple[AnyRow, ...] = ()
    """The ledger's rows just before a stopped runner went on."""
    killed: frozenset[int] = frozenset()
    """Process ids of the runners that were killed, the last of them before `struck_at`."""
    erred: bool = False
    """Whether fresh runners ended by themselves, and with an error."""


def judge(evidence: Evidence) -> Verdict:
    """Count what happened and name what must not have."""
    verdict = Verdict()
    for intended in evidence.intended:
        _judge_effect(evidence, intended, verdict)
    _judge_strays(evidence, verdict)
    _judge_times(evidence, verdict)
    _judge_overwrites(evidence, verdict)
    verdict.wrong += [
        f"{row.operation} is an incident: {row.incident}"
        for row in evidence.written.effects
        if row.incident is not None
    ]
    return verdict


def count(evidence: Evidence, intended: Intended, verdict: Verdict) -> int:
    """How often the sandbox accepted the effect, and whether that is too often."""
    rows = _accepted(evidence, intended)
    surplus = max(0, len(rows) - intended.count)
    verdict.duplicates += surplus
    if surplus:
        verdict.wrong.append(f"{intended.label} was accepted {len(rows)} times instead of {intended.count}")
    return len(rows)


def _accepted(evidence: Evidence, intended: Intended) -> list[EffectRow]:
    rows = evidence.accepted[intended.operation]
    return [row for row in rows if intended.is_counted(row.marker, row.entity_id)]


def _judge_effect(evidence: Evidence, intended: Intended, verdict: Verdict) -> None:
    accepted = count(evidence, intended, verdict)
    rows = [row for row in evidence.written.effects if row.step == intended.label]
    done = [row for row in rows if row.state == "done"]
    verdict.settled += len(done)
    if len(done) > accepted or any(row.state == "rejected" for row in rows):
        verdict.lost += 1
        verdict.wrong.append(f"{intended.label} is {[row.state for row in rows]}, accepted {accepted} times")
    if len(rows) == len(done) == intended.count:
        _judge_identity(evidence, intended, done, verdict)
    elif intended.blind and rows and rows[0].state in {"sent", "unknown"}:
        verdict.unknown += 1
    else:
        verdict.blocked += 1
        states = [(row.state, row.reason) for row in rows]
        verdict.wrong.append(f"{intended.label} is not settled: {states}, accepted {accepted} times")
    if intended.blind:
        _judge_blind(evidence, rows, verdict)


def _judge_identity(evidence: Evidence, intended: Intended, done: list[AnyRow], verdict: Verdict) -> None:
    """The recorded result is the accepted one, not a neighbour's; a key it came under is the ledger's."""
    accepted = _accepted(evidence, intended)
    foreign = {row.external_key for row in accepted} - {None, *(row.external_id for row in done)}
    if foreign:
        verdict.wrong.append(f"{intended.label} was accepted under {foreign}, which is no key of the ledger")
    if intended.operation not in _IDENTIFIED:
        return
    mine = {row.entity_id for row in accepted}
    recorded = {row.vendor_id for row in done}
    if recorded - mine or len(recorded) != len(done):
        verdict.lost += 1
        verdict.wrong.append(f"{intended.label} is {len(done)} rows of {recorded}, accepted was {mine}")
    elif len(accepted) == intended.count:
        for row in done:
            _judge_generation(row, accepted, verdict)


def _judge_generation(row: AnyRow, accepted: Sequence[EffectRow], verdict: Verdict) -> None:
    """Where the far end keeps a sign of the ledger's row: one entry bears it, the one that is recorded."""
    signed = [one for one in accepted if one.external_key or _MARK in one.marker]
    if not signed:
        return
    mine = [one.entity_id for one in signed if _bears(one, row.external_id)]
    if len(mine) > 1:
        verdict.duplicates += 1
        verdict.wrong.append(f"generation {row.generation} of {row.step} was accepted as {mine}")
    if row.vendor_id not in mine:
        verdict.lost += 1
        verdict.wrong.append(
            f"generation {row.generation} of {row.step} is recorded as {row.vendor_id}, accepted was {mine}"
        )


def _bears(accepted: EffectRow, external_id: str) -> bool:
    """Whether it came under this id, as a key or as the end of a name."""
    _, mark, end = accepted.marker.rpartition(_MARK)
    if accepted.external_key is not None:
        return accepted.external_key == external_id
    return bool(mark) and external_id.endswith(end.rpartition("-")[2])


def _judge_blind(evidence: Evidence, rows: list[AnyRow], verdict: Verdict) -> None:
    case = evidence.case
    if case.action == "kill" and case.fault == "none" and case.point in BEFORE_PERMIT:
        if any(row.state != "done" for row in rows):
            verdict.wrong.append("killed before the permit, and yet the blind effect is not done")
        return
    open_attempts = [one for one in evidence.written.attempts if one.outcome == "open"]
    if any(row.state == "done" for row in rows) and open_attempts:
        verdict.wrong.append("the blind effect is done although an attempt is open")


def _judge_strays(evidence: Evidence, verdict: Verdict) -> None:
    labels = {intended.label for intended in evidence.intended}
    verdict.wrong += [
        f"the ledger has {row.step}, which nobody asked for: {row.state}"
        for row in evidence.written.effects
        if row.step not in labels
    ]


def _judge_times(evidence: Evidence, verdict: Verdict) -> None:
    for row in evidence.written.effects:
        attempts = [one for one in evidence.written.attempts if one.external_id == row.external_id]
        if (
            row.claimed_at is not None
            and row.claimed_at > evidence.struck_at + LEASE + GRACE + SETTLING * len(attempts)
        ):
            verdict.blocked += 1
            verdict.wrong.append(f"{row.step} was claimed {row.claimed_at - evidence.struck_at:.1f} s late")
        quiet = [at for one in attempts if (at := _quiet_at(evidence, one)) is not None]
        due = max([evidence.struck_at + LEASE, *(each + SETTLING for each in quiet)])
        if row.settled_at is not None and row.settled_at > due + GRACE:
            verdict.blocked += 1
            verdict.wrong.append(f"{row.step} was answered {row.settled_at - due:.1f} s after its bound")
    if not evidence.finished and not verdict.blocked:
        verdict.blocked += 1
        verdict.wrong.append("the runners came to no end")


def _quiet_at(evidence: Evidence, attempt: AnyRow) -> float | None:
    """From when on the attempt wrote nothing. A death counts from our blow, not from when it was noticed."""
    if evidence.written.pids.get(attempt.holder) not in evidence.killed:
        at: float | None = attempt.quiet_at
        return at
    noticed = evidence.struck_at + LEASE
    return noticed if attempt.quiet_at is None else min(noticed, attempt.quiet_at)


def _judge_overwrites(evidence: Evidence, verdict: Verdict) -> None:
    now: dict[str, Any] = {row.external_id: row for row in evidence.written.effects}
    for old in evidence.before:
        if old.state != "done":
            continue
        new = now[old.external_id]
        if (old.vendor_id, old.result, old.settled_at) != (new.vendor_id, new.result, new.settled_at):
            verdict.wrong.append(f"{old.step} was done and was written over by the runner that went on")

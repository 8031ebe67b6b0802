"""What the ledger says, as text for a terminal. Vendors' words lose their control characters here."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer

from plait.content.plain import align
from plait.content.text import one_line, printable
from plait.ledger.reconcile import Reconciled
from plait.ledger.tables import State
from plait.ledger.views import AttemptView, EffectView

REASON: Final = 120
"""Characters of a reason in a table; `show` has it whole."""
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def print_effects(views: Sequence[EffectView]) -> None:
    """A table of effects: what is open, how old, when it is looked at next, who is at it, and why."""
    if not views:
        typer.echo("nothing")
        return
    print_table(
        ["effect", "state", "age", "tries", "next look", "at work", "why"],
        [
            [
                view.external_id,
                standing(view),
                span(view.age),
                str(view.attempts),
                _next_look(view),
                view.held_by or "",
                _why(view),
            ]
            for view in views
        ],
    )


def print_effect(view: EffectView) -> None:
    """One effect with everything that is known of it."""
    facts: dict[str, Any] = {
        "effect": view.external_id,
        "operation": f"{view.system}.{view.operation}",
        "state": standing(view),
        "why": view.reason,
        "incident": (view.incident or {}).get("note"),
        "vendor ids": ", ".join((view.incident or {}).get("vendor_ids", [])) or view.vendor_id,
        "account": view.account,
        "target": view.target,
        "run key": view.run_key,
        "step": view.step,
        "generation": view.generation,
        "age": span(view.age),
        "next look": _next_look(view),
        "at work": view.held_by,
        "inputs": _json(view.inputs),
        "result": _json(view.result),
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            typer.echo(f"{name + ':':<12}{printable(str(value))}")
    if view.history:
        typer.echo("")
        print_table(["try", "sent", "outcome", "quiet", "by", "answer"], map(_attempt, view.history))


def print_reconciled(made: Sequence[Reconciled]) -> None:
    """What became of each effect."""
    if not made:
        typer.echo("nothing was due")
        return
    print_table(
        ["effect", "became", "why"],
        [[item.external_id, item.became, one_line(item.reason, REASON)] for item in made],
    )


def print_table(header: list[str], rows: Iterable[list[str]]) -> None:
    """A drawn table on a terminal that is wide enough, else aligned columns: an id is never cut."""
    clean = [[one_line(cell) for cell in row] for row in rows]
    if not typer.get_text_stream("stdout").isatty() or not _drawn(header, clean):
        typer.echo(align(header, clean))


def _drawn(header: list[str], rows: list[list[str]]) -> bool:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(*header)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    fits = console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width
    if fits:
        console.print(table)
    return fits


def standing(view: EffectView) -> str:
    """Where an effect stands, in one word for people."""
    if view.incident is not None:
        return "incident"
    if view.held_by is not None:
        return "at work"
    if view.state in {State.SENT, State.UNKNOWN}:
        return "unknown" if view.unsettled else "absent"
    return view.state.value


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    left = int(max(seconds, 0))
    parts: list[str] = []
    for size, name in _UNITS:
        count, left = divmod(left, size)
        if count or parts or size == 1:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ") or len(parts) == 1)


def moment(seconds: float | None) -> str:
    """A time of the ledger's clock."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _next_look(view: EffectView) -> str:
    if view.next_look_in is None:
        return ""
    return f"in {span(view.next_look_in)}" if view.next_look_in > 0 else "due"


def _why(view: EffectView) -> str:
    return one_line((view.incident or {}).get("note") or view.reason or "", REASON)


def _attempt(one: AttemptView) -> list[str]:
    silent = f"{one.process} may still write" if one.outcome == "open" and one.quiet_at is None else ""
    outcome = f"{one.outcome} by {one.absent_by}" if one.absent_by else one.outcome
    late = f"wrote late; sweep {moment(one.next_sweep)}" if one.wrote_late else ""
    swept = f"sweep {moment(one.next_sweep)}" if one.next_sweep and not late else ""
    words = _json(one.answer) if one.answer is not None else ""
    why = "; ".join(part for part in (silent, late, swept, words) if part)
    return [str(one.n), moment(one.sent_at), outcome, moment(one.quiet_at), one.quiet_by or "", why]


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)

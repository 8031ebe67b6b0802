"""Planasonix in batches: one task run brings in all history, one plays a whole night."""

import asyncio
from collections.abc import Sequence
from typing import Final

from prefect import task

from blocks import PlanasonixCredentials
from plait.ledger.pipelines import Kind
from plait.pipelines.definitions import Compare
from plait.pipelines.history import look_up_rows
from plait.pipelines.planasonix import PlanasonixConnections, PlanasonixPipelines
from plait.pipelines.play import Due, Played, Player, Rules
from plait.pipelines.source import Source, Synced
from plait.pipelines.sync import sync
from tasks._declare import OPTIONS, Counted
from tasks._progress import Progress, say
from tasks._run import Run, current_run

KINDS: Final[tuple[Kind, ...]] = ("pipeline", "connection")


@task(name="planasonix.sync_history", task_run_name="bring in definitions and run history", **OPTIONS)
async def sync_history(
    planasonix: PlanasonixCredentials | str | None,
    *,
    kinds: Sequence[Kind] = KINDS,
    compare: Compare = "quick",
) -> Synced:
    """Bring definitions and run history into the ledger; what is unchanged costs few requests and no row.

    Args:
        planasonix: A block, its name, or None for the environment.
        kinds: Pipelines with their runs, connections with their sync jobs, or both.
        compare: `full` compares every definition; `quick` whether their numbers have changed, and becomes
            `full` where they have, and once a week.
    """
    done = Synced()
    async with current_run() as run:
        for kind in kinds:
            done += await sync(run.ledger, await source_of(run, planasonix, kind), compare)
    return done


@task(name="planasonix.play_night", task_run_name=Counted("run", "due", "pipeline"), **OPTIONS)
async def play_night(
    planasonix: PlanasonixCredentials | str | None,
    due: Sequence[Due],
    rules: Rules,
    *,
    adopt: bool = False,
) -> tuple[list[Played], int]:
    """Start each once in the run's night, watch all by lists, and keep what became of them.

    Gives one outcome for each, in order, and how many runs were started that were not known before.

    Args:
        planasonix: A block, its name, or None for the environment.
        due: Pipelines to run and connections to sync.
        rules: How.
        adopt: Whether somebody else's active job of a connection may be taken for ours.
    """
    progress = Progress(len(due), description=f"Running {len(due)} pipelines at Planasonix")

    def settled(played: Played) -> None:
        progress.done += 1
        if played.became != "succeeded":
            say(f"{played.name}: {played.became}{f', {played.error}' if played.error else ''}")

    async with current_run() as run, progress.following():
        players = {
            kind: Player(run.ledger, await source_of(run, planasonix, kind, adopt=adopt), run.effects, rules)
            for kind in {one.kind for one in due}
        }
        parts = [player.play(_of(due, kind), on_settled=settled) for kind, player in players.items()]
        played = {(one.kind, one.id): one for part in await asyncio.gather(*parts) for one in part}
    return [played[one.kind, one.id] for one in due], sum(player.started for player in players.values())


@task(name="planasonix.look_up_rows", task_run_name=Counted("look up rows of", "due", "pipeline"), **OPTIONS)
async def look_up_runs(
    planasonix: PlanasonixCredentials | str | None, due: Sequence[Due], *, since: float
) -> Synced:
    """Ask for recent successes whose rows no list has told, each once and at most a thousand.

    Args:
        planasonix: A block, its name, or None for the environment.
        due: Pipelines and connections whose past counts.
        since: A moment in epoch seconds.
    """
    done = Synced()
    async with current_run() as run:
        for kind in KINDS:
            if ids := {one.id for one in _of(due, kind)}:
                done += await look_up_rows(run.ledger, await source_of(run, planasonix, kind), ids, since)
    return done


async def source_of(
    run: Run, planasonix: PlanasonixCredentials | str | None, kind: Kind, *, adopt: bool = False
) -> Source:
    """The account's pipelines, or its connections."""
    client = await run.client(PlanasonixCredentials, PlanasonixCredentials.get_client, planasonix)
    return PlanasonixPipelines(client) if kind == "pipeline" else PlanasonixConnections(client, adopt=adopt)


def _of(due: Sequence[Due], kind: Kind) -> list[Due]:
    return [one for one in due if one.kind == kind]

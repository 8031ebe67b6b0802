"""What the ledger costs: effects per second beside the same HTTP calls without it.

`make bench` prints ratios from one run: each ledger measurement stands between two of the plain
calls, so that a slow moment of the machine hits both. Run alone for numbers that mean something.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Table

from plait.http import Transport
from plait.ledger import Effects, Ledger
from plait.sandbox.process import start_sandbox
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.recovery import CreateConversation
from tests.support.postgres_server import postgres_url

SIZES: Final = (1, 100, 1000)
CONCURRENCY: Final = 32
REPEATS: Final = {1: 40, 100: 5, 1000: 2}
"""Measurements per size; the median counts."""

Run = Callable[[int], Awaitable[None]]


def main() -> None:
    """Measure both databases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="effects at once")
    sizes = parser.parse_args().sizes
    with (
        tempfile.TemporaryDirectory(prefix="plait-bench-") as folder,
        start_sandbox(state=Path(folder) / "s.db") as box,
    ):
        table = asyncio.run(_measure(f"{box.url}/planck/api/v1", Path(folder), sizes))
    Console(width=110).print(table)


async def _measure(planck: str, folder: Path, sizes: list[int]) -> Table:
    table = Table(title="Effects per second (create_conversation against the sandbox) and ratio to no ledger")
    for name in (
        "ledger",
        "how",
        "effects at once",
        "no ledger /s",
        "with ledger /s",
        "ratio",
        "added ms per effect",
    ):
        table.add_column(name, justify="left" if name in {"ledger", "how"} else "right")
    async with Transport(
        system="planck", base_url=planck, headers={"X-API-Key": "pk_live_sandbox"}
    ) as transport:
        client = PlanckClient(transport)
        workspace = (await client.list_workspaces())[0].id
        for database, url in _databases(folder):
            async with Ledger.open(url) as ledger:
                for how in ("single", "batch"):
                    for size in sizes:
                        table.add_row(database, *await _row(how, size, ledger, client, workspace))
    return table


async def _row(how: str, size: int, ledger: Ledger, client: PlanckClient, workspace: str) -> list[str]:
    async def plain(n: int) -> None:
        gate = asyncio.Semaphore(1 if how == "single" else CONCURRENCY)

        async def one() -> None:
            async with gate:
                await client.create_conversation(workspace, name=secrets.token_hex(8))

        await asyncio.gather(*(one() for _ in range(n)))

    async def with_ledger(n: int) -> None:
        effects = ledger.effects(run_key=secrets.token_hex(8))
        recipes = [CreateConversation(client, workspace, f"c{i}") for i in range(n)]
        if how == "single":
            for recipe in recipes:
                await effects.perform(recipe)
        else:
            await _all(effects, recipes)

    before, with_, after = [], [], []
    await with_ledger(1)
    for _ in range(REPEATS.get(size, 2)):
        before.append(await _seconds(plain, size))
        with_.append(await _seconds(with_ledger, size))
        after.append(await _seconds(plain, size))
    bare = statistics.median([(a + b) / 2 for a, b in zip(before, after, strict=True)])
    ours = statistics.median(with_)
    added = (ours - bare) / size * 1000
    return [how, str(size), f"{size / bare:.0f}", f"{size / ours:.0f}", f"{bare / ours:.2f}", f"{added:.2f}"]


async def _all(effects: Effects, recipes: list[CreateConversation]) -> None:
    outcomes = await effects.perform_many(recipes, concurrency=CONCURRENCY)
    failed = [outcome.error for outcome in outcomes if outcome.status != "done"]
    if failed:
        raise RuntimeError(f"{len(failed)} effects failed, first: {failed[0]}")


async def _seconds(run: Run, size: int) -> float:
    begun = time.perf_counter()
    await run(size)
    return time.perf_counter() - begun


def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    yield "sqlite", str(folder / "ledger.db")
    with _schema() as url:
        yield "postgresql", url


@contextmanager
def _schema() -> Iterator[str]:
    schema = f"plait_bench_{secrets.token_hex(4)}"
    with postgres_url() as base, psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            yield f"{base}{'&' if '?' in base else '?'}options=-csearch_path%3D{schema}"
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


if __name__ == "__main__":
    main()

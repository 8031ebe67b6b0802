"""Opening ledgers: migrations in one process."""

import asyncio

from plait.ledger import Ledger


async def test_many_new_ledgers_open_at_once(tmp_path):
    """Alembic works on one database at a time, or one thread's tables land in another's file."""

    async def opened(number):
        async with Ledger.open(tmp_path / f"{number}.db"):
            return number

    assert await asyncio.gather(*map(opened, range(6))) == list(range(6))

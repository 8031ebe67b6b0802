"""Both databases, and a small vendor that counts what it accepted."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import toy_vendor as toy
from postgres_server import postgres_url

from plait.http import Transport
from plait.ledger import Ledger


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server: by `PLAIT_TEST_POSTGRES_URL`, else on loopback, else from a wheel."""
    with postgres_url() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty ledger's URL: a file, or a schema of its own."""
    if request.param == "sqlite":
        yield str(tmp_path / "ledger.db")
        return
    base = request.getfixturevalue("postgres")
    schema = f"plait_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        os.environ["PLAIT_RUN_DIR"] = str(tmp_path / "run")
        yield f"{base}?options=-csearch_path%3D{schema}&application_name={schema}"
        del os.environ["PLAIT_RUN_DIR"]
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """An open ledger with short times."""
    async with Ledger.open(ledger_url, timing=toy.QUICK) as opened:
        yield opened


@pytest.fixture
async def vendor() -> AsyncIterator[toy.Vendor]:
    """A running toy vendor."""
    async with toy.Vendor() as running:
        yield running


@pytest.fixture
async def transport(vendor: toy.Vendor) -> AsyncIterator[Transport]:
    """A transport to the toy vendor."""
    async with Transport(system="toy", base_url=vendor.url) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for something that another task brings about; fails after a minute."""

    async def wait(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.01)

    return wait

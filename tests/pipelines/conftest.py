"""One stand-in of Planasonix for these tests, as new for each; short pages, so that few rows make many."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from planasonix_world import DEFAULTS, World

from plait.ledger import Ledger, Timing
from plait.sandbox.process import SandboxProcess, start_sandbox

TIMING = Timing(landing_cap=0.2, visibility_cap=0.2)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Ten entries a page."""
    state = tmp_path_factory.mktemp("pipelines") / "state.db"
    with start_sandbox(state=state, planasonix=DEFAULTS.model_copy(update={"max_limit": 10})) as process:
        yield process


@pytest.fixture
async def world(sandbox: SandboxProcess) -> AsyncIterator[World]:
    """One of each behaviour, and nothing else."""
    made = World(sandbox.url)
    try:
        await made.start_over()
        yield made
        await made.disarm()
    finally:
        await made.aclose()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    async with Ledger.open(tmp_path / "ledger.db", timing=TIMING) as opened:
        yield opened

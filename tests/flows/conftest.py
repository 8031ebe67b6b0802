"""A real sandbox, documents that no other test has, and a look at what the sandbox counted."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_world import World, make_docx

from plait.sandbox.process import SandboxProcess, start_sandbox
from plait.sandbox.settings import OfficePlaneSettings


@pytest.fixture(scope="session")
def flow_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for the flow tests; effects are compared with those before."""
    state = tmp_path_factory.mktemp("flow-sandbox") / "state.db"
    with start_sandbox(state=state, officeplane=OfficePlaneSettings(ingest_seconds=0)) as process:
        yield process


@pytest.fixture
def world(flow_sandbox: SandboxProcess, tmp_path: Path, prefect_server: str) -> Iterator[World]:
    """The sandbox, a fresh ledger, and an environment that names both."""
    made = World(sandbox=flow_sandbox, folder=tmp_path, prefect_api=prefect_server)
    yield made
    made.drop_faults()


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    """A Word document that no other test has, in content and in name, with the answer to the question."""
    return make_docx(tmp_path / f"lease-{uuid.uuid4().hex[:8]}.docx")

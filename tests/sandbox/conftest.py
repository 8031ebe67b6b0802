"""A real sandbox in its own process, and documents that no other test has."""

import asyncio
import io
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
import pytest_asyncio
from docx import Document
from planasonix_world import World, serving

from plait.sandbox.process import SandboxProcess, start_sandbox
from plait.sandbox.settings import OfficePlaneSettings

SEED = 7


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for all tests that leave nothing behind that others would notice."""
    state = tmp_path_factory.mktemp("sandbox") / "state.db"
    with start_sandbox(state=state, seed=SEED, officeplane=OfficePlaneSettings(ingest_seconds=0)) as process:
        yield process


@pytest.fixture
async def sandbox(sandbox_process: SandboxProcess) -> AsyncIterator[SandboxProcess]:
    """The shared sandbox with no fault armed."""
    yield sandbox_process
    async with httpx.AsyncClient(base_url=sandbox_process.url) as http:
        await http.delete("/_sandbox/faults")


@pytest.fixture
async def control(sandbox: SandboxProcess) -> AsyncIterator[httpx.AsyncClient]:
    """The control routes."""
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/_sandbox") as http:
        yield http


@pytest.fixture
async def officeplane(sandbox: SandboxProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the OfficePlane stand-in: no retries, no redirects."""
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/officeplane", timeout=60) as http:
        yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planasonix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One Planasonix for a module's tests; each begins with `start_over`."""
    async with serving(tmp_path_factory.mktemp("planasonix"), limit=1_000_000) as world:
        yield world


@pytest.fixture
def make_docx() -> Callable[[], bytes]:
    """Makes Word documents of two chapters, each with text of its own."""
    numbers = itertools.count(1)

    def make() -> bytes:
        document = Document()
        document.core_properties.title = f"Report {next(numbers)} {uuid.uuid4()}"
        for name in ("Revenue", "Costs"):
            document.add_heading(name, level=1)
            document.add_heading(f"{name} in detail", level=2)
            document.add_paragraph(f"{name} rose by four percent.")
        buffer = io.BytesIO()
        document.save(buffer)
        return buffer.getvalue()

    return make


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Repeats a question until its answer is true, or fails after some seconds."""

    async def ask(question: Callable[[], object], seconds: float = 5.0) -> None:
        for _ in range(int(seconds / 0.05)):
            if await question():
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"still not so after {seconds} s")

    return ask

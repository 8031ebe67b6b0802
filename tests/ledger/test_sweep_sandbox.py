"""The sweeper against real clients and the sandbox: what is found from a row of the ledger alone."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import docx
import httpx
import pytest

from plait.http import Transport
from plait.ledger import CannotLook, Ledger, Reconciled, Recorded, Timing, store
from plait.ledger.recipe import AnyRecipe
from plait.ledger.sweep import sweep_due
from plait.ledger.views import count_unclear, list_effects, show_effect
from plait.recovery import Recovery, openers_from
from plait.sandbox.process import SandboxProcess, start_sandbox
from plait.sandbox.settings import OfficePlaneSettings
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.recovery import UploadDocument
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.recovery import Chat, CreateConversation, SendMessage

NEAR = Timing(lease=5.0, step=0.05, landing_cap=0.3, visibility_cap=0.1, patience=20.0)
"""For the sandbox; D is far shorter than its late landings."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for this module."""
    state = tmp_path_factory.mktemp("sweep") / "state.db"
    with start_sandbox(state=state, seed=3, officeplane=OfficePlaneSettings(ingest_seconds=0)) as process:
        yield process


@pytest.fixture
def environment(sandbox: SandboxProcess) -> Iterator[dict[str, str]]:
    """What opens the clients; no fault outlives its test."""
    yield {
        "PLAIT_OFFICEPLANE_URL": f"{sandbox.url}/officeplane",
        "PLAIT_PLANCK_URL": f"{sandbox.url}/planck/api/v1",
        "PLAIT_PLANCK_API_KEY": "pk_live_sandbox",
    }
    httpx.delete(f"{sandbox.url}/_sandbox/faults").raise_for_status()


@pytest.fixture
async def found(environment: dict[str, str]) -> AsyncIterator[Recovery]:
    """The way back from rows to the sandbox."""
    async with Recovery(openers_from(environment)) as opened:
        yield opened


@pytest.fixture
async def office(environment: dict[str, str]) -> AsyncIterator[OfficePlaneClient]:
    """OfficePlane's client."""
    transport = Transport(system="officeplane", base_url=environment["PLAIT_OFFICEPLANE_URL"])
    async with OfficePlaneClient(transport) as client:
        yield client


@pytest.fixture
async def planck(environment: dict[str, str]) -> AsyncIterator[PlanckClient]:
    """Planck's client."""
    transport = Transport(
        system="planck",
        base_url=environment["PLAIT_PLANCK_URL"],
        headers={"X-API-Key": environment["PLAIT_PLANCK_API_KEY"]},
    )
    async with PlanckClient(transport) as client:
        yield client


def fault(sandbox: SandboxProcess, kind: str, operation: str, **more: object) -> None:
    """The next request of this operation is struck."""
    service = "officeplane" if operation == "upload_document" else "planck"
    rule = {"kind": kind, "service": service, "operation": operation, "times": 1, **more}
    httpx.post(f"{sandbox.url}/_sandbox/faults", json=rule).raise_for_status()


def letter(folder: Path) -> Path:
    """A document that no other test has."""
    document = docx.Document()
    document.add_heading(f"Letter {uuid.uuid4()}", level=1)
    document.add_paragraph("Some text.")
    document.save(str(folder / "letter.docx"))
    return folder / "letter.docx"


async def test_upload_that_lands_beyond_its_bound_is_an_incident(
    sandbox: SandboxProcess, office: OfficePlaneClient, found: Recovery, tmp_path: Path
):
    """The sandbox takes the upload 3 s late, far beyond D: two documents, and both ids for a person."""
    fault(sandbox, "late_landing", "upload_document", seconds=3.0)
    async with Ledger.open(tmp_path / "ledger.db", timing=NEAR) as ledger:
        effects = ledger.effects(run_key="r")
        uploaded = await effects.perform(UploadDocument(office, letter(tmp_path)))
        made: list[Reconciled] = []
        async with asyncio.timeout(60):
            while not any(item.became == "incident" for item in made):
                await asyncio.sleep(0.2)
                made = await sweep_due(ledger, found.restore)
        (incident,) = await ledger.ask(partial(list_effects, which="incident"))
    ids = incident.incident["vendor_ids"]
    assert 2 == len(ids)
    assert uploaded.id == incident.vendor_id
    assert set(ids) <= {document.id for document in await office.list_documents()}
    assert "DELETE /api/documents/{document_id}" in incident.incident["note"]


@pytest.mark.parametrize("kind", ["upload_document", "create_conversation", "send_message"])
async def test_a_row_is_enough_to_find_the_effect(  # noqa: PLR0917 - fixtures come by name
    sandbox: SandboxProcess,
    office: OfficePlaneClient,
    planck: PlanckClient,
    found: Recovery,
    tmp_path: Path,
    kind: str,
):
    """The run died before its answer: its row alone is enough to find the effect, and nothing is sent."""
    scratch = next(one for one in await planck.list_workspaces() if one.name == "Scratch").id
    talk = (await planck.create_conversation(scratch, f"Talk {uuid.uuid4()}")).id
    recipes: dict[str, AnyRecipe] = {
        "upload_document": UploadDocument(office, letter(tmp_path)),
        "create_conversation": CreateConversation(planck, scratch, "A talk"),
        "send_message": SendMessage(planck, scratch, talk, "What is the rent?"),
    }
    before = _total(sandbox, kind)
    await asyncio.to_thread(fault, sandbox, "delay", kind, seconds=3.0)
    async with Ledger.open(tmp_path / "ledger.db", timing=NEAR) as ledger:
        run = asyncio.create_task(ledger.effects(run_key="r").perform(recipes[kind]))
        async with asyncio.timeout(60):
            while await asyncio.to_thread(_total, sandbox, kind) == before:
                await asyncio.sleep(0.05)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    async with Ledger.open(tmp_path / "ledger.db", timing=NEAR) as ledger:
        (lost_one,) = await ledger.ask(list_effects)
        row = await ledger.database.read(lambda c: store.effect_of(c, lost_one.external_id))
        recipe = await found.restore(_recorded(row))
        async with asyncio.timeout(60):
            while (await ledger.reconcile(lost_one.external_id, recipe, look_now=True)).became != "done":
                await asyncio.sleep(0.2)
        settled = await ledger.ask(partial(show_effect, external_id=lost_one.external_id))
    assert settled.vendor_id
    assert before + 1 == _total(sandbox, kind)


def _recorded(row: store.AnyRow) -> Recorded:
    return Recorded(
        **{
            name: getattr(row, name)
            for name in ("external_id", "system", "operation", "account", "target", "inputs")
        }
    )


def _total(sandbox: SandboxProcess, operation: str) -> int:
    answer = httpx.get(f"{sandbox.url}/_sandbox/effects", params={"operation": operation})
    return int(answer.raise_for_status().json()["total"])


async def test_a_row_of_another_account_is_left_alone(planck: PlanckClient, environment: dict[str, str]):
    """The client here reaches another address: the row is left, and the reason names both."""
    recipe = Chat(planck, "w", "Hello?")
    identity = await recipe.identity()
    recorded = Recorded(
        external_id="x",
        system="planck",
        operation="chat",
        account="https://elsewhere.example/api/v1",
        target="https://elsewhere.example/api/v1/workspaces/w",
        inputs=identity.inputs,
    )
    async with Recovery(openers_from(environment)) as found:
        with pytest.raises(CannotLook, match=r"elsewhere\.example.*PLAIT_PLANCK_URL"):
            await found.restore(recorded)
        with pytest.raises(CannotLook, match=r"no operation planck\.dance"):
            await found.restore(replace(recorded, operation="dance", account=planck.base_url))
        with pytest.raises(CannotLook, match="retention"):
            await found.restore(replace(recorded, account=planck.base_url, inputs=None))
    async with Recovery({}) as none:
        with pytest.raises(CannotLook, match="PLAIT_PLANCK_API_KEY"):
            await none.restore(recorded)
        with pytest.raises(CannotLook, match="its own run settles it"):
            await none.restore(replace(recorded, system="plait", operation="decide"))


async def test_the_same_question_of_another_effect_is_no_second_match(
    planck: PlanckClient, found: Recovery, sandbox: SandboxProcess, tmp_path: Path
):
    """Two effects asked one text in one conversation, the first twice by a lost request: no false alarm."""
    scratch = next(one for one in await planck.list_workspaces() if one.name == "Scratch").id
    talk = (await planck.create_conversation(scratch, f"Talk {uuid.uuid4()}")).id
    recipe = SendMessage(planck, scratch, talk, "What is the rent?")
    fault(sandbox, "before_accept", "send_message")
    async with Ledger.open(tmp_path / "ledger.db", timing=NEAR) as ledger:
        effects = ledger.effects(run_key="r")
        await effects.perform(recipe, step="1")
        await effects.perform(recipe, step="2")
        await asyncio.sleep(0.6)
        made = await sweep_due(ledger, found.restore)
        assert ["done"] == [item.became for item in made]
        assert 0 == await ledger.ask(count_unclear)

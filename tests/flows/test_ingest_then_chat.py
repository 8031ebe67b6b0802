"""`ingest_then_chat` as a function: answers, artifacts, and each effect once."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from flow_world import QUESTION, World, make_docx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import State

from flows._models import Grounding
from flows.ingest_then_chat import ingest_then_chat
from plait.content.blocks import TableBlock

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


async def task_runs_of(state: State) -> Counter[str]:
    """How many task runs of each kind a flow run had."""
    assert state.state_details.flow_run_id is not None
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        runs = await client.read_task_runs(flow_run_filter=mine)
    return Counter(run.name.rsplit("-", 1)[0] for run in runs)


async def artifacts_of(flow_run_id: UUID) -> dict[str, str]:
    """A flow run's artifacts: type to data."""
    async with get_client() as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        found = await client.read_artifacts(artifact_filter=mine)
    return {artifact.type or "": str(artifact.data) for artifact in found}


async def test_answers_come_from_the_documents(world: World) -> None:
    """Real files of four formats are answered with citations, and people get artifacts and a report."""
    documents = [
        str(EXAMPLES / "*.pdf"),
        str(EXAMPLES / "*.docx"),
        str(EXAMPLES / "*.xlsx"),
        str(EXAMPLES / "*.pptx"),
    ]
    questions = ["How much is the security deposit?", "What is the order book, in euros?"]
    state = await ingest_then_chat(
        **world.arguments(documents=documents, questions=questions), return_state=True
    )
    result = await state.aresult()
    assert [one.grounding for one in result.documents] == [Grounding.DOCUMENT] * 4
    assert not result.left_out
    deposit, orders = result.answers
    assert "46,500" in deposit.text
    assert deposit.citations[0].document_name == "office-lease.pdf"
    assert "1,920,000" in orders.text
    assert result.credits_consumed is not None
    assert state.message == "2 answered from 4 documents"
    found = await artifacts_of(state.state_details.flow_run_id)
    assert {"markdown", "table", "progress"} <= set(found)
    assert "46,500" in found["markdown"]
    assert "office-lease.pdf" in found["table"]
    page = result.report.read_text(encoding="utf-8")
    assert "46,500" in page
    assert "<script" not in page


async def test_a_flow_run_has_few_task_runs(world: World, lease: Path) -> None:
    """The budget: one task run a batch or question, because a server takes about 28 a second."""
    other = make_docx(lease.with_name(f"other-{lease.name}"))
    state = await ingest_then_chat(
        **world.arguments(documents=[str(lease), str(other)], questions=[QUESTION] * 3), return_state=True
    )
    await state.aresult()
    runs = await task_runs_of(state)
    assert sum(runs.values()) <= 4 + 3


async def test_a_second_run_with_the_same_key_asks_nothing_twice(world: World, lease: Path) -> None:
    """Same run key: no upload, conversation or message; another: one conversation, and no upload."""
    call = world.arguments(
        documents=[str(lease)], questions=[QUESTION, "And the notice period?"], run_key="first"
    )
    first = await ingest_then_chat(**call)
    once = {"officeplane.upload_document": 1, "planck.create_conversation": 1, "planck.send_message": 2}
    assert world.new_effects() == once
    again = await ingest_then_chat(**call)
    assert world.new_effects() == once
    assert again.answers == first.answers
    assert again.conversation_id == first.conversation_id
    other = await ingest_then_chat(**call | {"run_key": "second"})
    assert world.new_effects() == once | {"planck.create_conversation": 2, "planck.send_message": 4}
    assert other.conversation_id != first.conversation_id


async def test_a_rerun_keeps_the_first_runs_grounding(world: World, lease: Path) -> None:
    """What was sent inline stays inline, even when Planck AI has processed the document by now."""
    call = world.arguments(documents=[str(lease)], run_key="steady", processing_deadline=0)
    first = await ingest_then_chat(**call)
    assert first.documents[0].grounding is Grounding.INLINE
    await asyncio.sleep(1)
    later = await ingest_then_chat(**call | {"run_key": "later"})
    assert later.documents[0].grounding is Grounding.DOCUMENT
    again = await ingest_then_chat(**call)
    assert again.documents == first.documents
    assert world.new_effects()["planck.send_message"] == 2


async def test_the_same_question_twice_is_asked_twice(world: World, lease: Path) -> None:
    """Two equal questions of one run are two intents, and each gets its answer."""
    result = await ingest_then_chat(**world.arguments(documents=[str(lease)], questions=[QUESTION, QUESTION]))
    assert world.new_effects()["planck.send_message"] == 2
    assert all("12,345" in answer.text for answer in result.answers)


async def test_without_a_listing_documents_go_inline(world: World, lease: Path) -> None:
    """`auto` in a workspace that lists nothing sends the Markdown, and follow-ups still see it."""
    result = await ingest_then_chat(
        **world.arguments(
            documents=[str(lease)],
            questions=[QUESTION, "What is the notice period?"],
            workspace="Scratch",
            listing_deadline=0.5,
        )
    )
    assert [one.grounding for one in result.documents] == [Grounding.INLINE]
    assert "12,345" in result.answers[0].text
    assert "seven months" in result.answers[1].text


async def test_what_exceeds_the_inline_budget_is_left_out_by_name(world: World, lease: Path) -> None:
    """A document is never cut silently: it is used whole, or named with the sizes."""
    long = make_docx(lease.with_name("long-" + lease.name))
    call = world.arguments(
        documents=[str(lease), str(long)], workspace="Scratch", grounding="inline", inline_budget=300
    )
    result = await ingest_then_chat(**call)
    assert len(result.documents) == 1
    assert result.left_out[0].name == long.name
    assert "inline_budget" in result.left_out[0].reason


async def test_one_unreadable_document_does_not_lose_the_others(world: World, lease: Path) -> None:
    """The run completes, answers from the rest, and says what was left out and why."""
    fake = lease.with_name("fake.pdf")
    fake.write_text("this is no PDF", encoding="utf-8")
    call = world.arguments(documents=[str(lease), str(fake), str(lease.with_name("none.pdf"))])
    state = await ingest_then_chat(**call, return_state=True)
    result = await state.aresult()
    assert state.is_completed()
    assert "12,345" in result.answers[0].text
    assert {one.name for one in result.left_out} == {"fake.pdf", "none.pdf"}
    assert "left out: fake.pdf" in (state.message or "")
    assert "is named .pdf but is no PDF" in (state.message or "")
    assert "fake.pdf" in result.report.read_text(encoding="utf-8")


async def test_equal_content_is_uploaded_once(world: World, lease: Path) -> None:
    """Two names of one content are one upload, and the second name is said to be that."""
    copy = world.copy(lease, "copy.docx")
    result = await ingest_then_chat(**world.arguments(documents=[str(lease), str(copy)]))
    assert world.new_effects()["officeplane.upload_document"] == 1
    assert result.left_out[0].reason == f"has the same content as {lease.name}"


async def test_a_document_may_come_from_an_address(world: World, lease: Path) -> None:
    """An http address is fetched and named after its path."""
    uploaded = await ingest_then_chat(**world.arguments(documents=[str(lease)]))
    document_id = uploaded.documents[0].officeplane_id
    address = f"{world.officeplane.base_url}/api/documents/{document_id}/download?format=original"
    result = await ingest_then_chat(**world.arguments(documents=[address], grounding="inline"))
    assert result.documents[0].name == "download"
    assert "12,345" in result.answers[0].text
    assert world.new_effects()["officeplane.upload_document"] == 1


async def test_a_vanished_document_is_named_and_may_be_uploaded_again(world: World, lease: Path) -> None:
    """The ledger knows the upload, OfficePlane has lost it: said so, and `generation` repeats it once."""
    call = world.arguments(documents=[str(lease)])
    first = await ingest_then_chat(**call)
    gone = first.documents[0].officeplane_id
    async with world.officeplane.get_client() as client:
        await client.delete_document(gone)
    with pytest.raises(Exception, match="generation=1") as caught:
        await ingest_then_chat(**call)
    assert gone in str(caught.value)
    assert world.new_effects()["officeplane.upload_document"] == 1
    for _ in range(2):
        again = await ingest_then_chat(**call | {"generation": 1})
        assert again.documents[0].officeplane_id != gone
    assert world.new_effects()["officeplane.upload_document"] == 2


async def test_tables_stay_tables(world: World) -> None:
    """A table of the source reaches the answer as a table block, and the report as a table."""
    call = world.arguments(
        documents=[str(EXAMPLES / "employee-handbook.docx")], questions=["How many days is parental leave?"]
    )
    result = await ingest_then_chat(**call)
    tables = [block for block in result.answers[0].blocks if isinstance(block, TableBlock)]
    assert any("Parental leave" in map(str, row) for table in tables for row in table.rows)
    assert "<td" in result.report.read_text(encoding="utf-8")

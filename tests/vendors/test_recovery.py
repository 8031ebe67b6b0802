"""Every guarded effect against the sandbox, its answer lost: once, or said to be unknown."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from uuid import uuid4

import docx
import pytest

from plait.http import Transport
from plait.http.errors import InvalidInput, OutcomeUnknown, PlaitError, ServerFailed, StreamTruncated
from plait.ledger import Absent, Found, Ledger, Look, NotYetKnown, Recipe, Several, Timing
from plait.sandbox.process import start_sandbox
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.models import ActionTree, Document, Execution
from plait.vendors.officeplane.recovery import ExecutePlan, UploadDocument
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.models import ChatMessage, Conversation
from plait.vendors.planck.recovery import Chat, CreateConversation, SendMessage

QUICK = Timing(landing_cap=0.4, visibility_cap=0.1, step=0.1, patience=20.0)


class Judge:
    """The far end: its faults and its own count of effects."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"

    def _ask(self, method: str, path: str, body: object = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - loopback
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    async def fault(self, kind: str, operation: str, **more: object) -> None:
        """The next request of this operation is struck once."""
        service = "officeplane" if operation in {"upload_document", "execute_plan"} else "planck"
        rule = {"kind": kind, "service": service, "operation": operation, "times": 1, **more}
        await asyncio.to_thread(self._ask, "POST", "/faults", rule)

    async def disarm(self) -> None:
        """No more faults."""
        await asyncio.to_thread(self._ask, "DELETE", "/faults")

    async def count(self, operation: str) -> int:
        """Accepted effects of an operation since the sandbox started."""
        found = await asyncio.to_thread(self._ask, "GET", f"/effects?operation={operation}")
        return found["total"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for this module."""
    with start_sandbox(state=tmp_path_factory.mktemp("sandbox") / "state.db", seed=7) as process:
        yield process


@pytest.fixture
async def judge(sandbox):
    """The sandbox's own account, without faults at the start."""
    made = Judge(sandbox.url)
    await made.disarm()
    return made


@pytest.fixture
async def office(sandbox):
    """OfficePlane's client."""
    base = f"{sandbox.url}/officeplane"
    async with OfficePlaneClient(Transport(system="officeplane", base_url=base)) as client:
        yield client


@pytest.fixture
async def planck(sandbox):
    """Planck's client."""
    headers = {"X-API-Key": "pk_live_sandbox"}
    base = f"{sandbox.url}/planck/api/v1"
    async with PlanckClient(Transport(system="planck", base_url=base, headers=headers)) as client:
        yield client


@pytest.fixture
async def scratch(planck):
    """The id of the workspace without documents."""
    return next(workspace.id for workspace in await planck.list_workspaces() if workspace.name == "Scratch")


@pytest.fixture
async def effects(tmp_path):
    """A ledger of its own for each test."""
    async with Ledger.open(tmp_path / "ledger.db", timing=QUICK) as ledger:
        yield ledger.effects(run_key=str(uuid4()), env="test", generation=0)


def _write(path: Path, chapters: int) -> Path:
    document = docx.Document()
    document.add_heading(f"Report {uuid4()}", level=0)
    for number in range(chapters):
        document.add_heading(f"Chapter {number}", level=1)
        document.add_paragraph("Some text.")
    document.save(str(path))
    return path


@pytest.fixture
def report(tmp_path):
    """A DOCX that no other test has."""
    return _write(tmp_path / "report.docx", 3)


async def _none(_ids):
    return set()


async def _look_now(recipe, external_id="test-x-y-0123456789abcdef"):
    """A look with a baseline of this moment."""
    await recipe.identity()
    baseline = await recipe.baseline()

    async def look():
        return await recipe.look(Look(external_id=external_id, baseline=baseline, taken=_none))

    return look


def test_recipes_fit_the_ledger(office, planck, report):
    """Each recipe is one of the ledger's, with the result it promises."""
    upload: Recipe[Document] = UploadDocument(office, report)
    execute: Recipe[Execution] = ExecutePlan(office, str(uuid4()), ActionTree())
    create: Recipe[Conversation] = CreateConversation(planck, "w", "t")
    message: Recipe[ChatMessage] = SendMessage(planck, "w", "c", "t")
    chat: Recipe[ChatMessage] = Chat(planck, "w", "t")
    for recipe in (upload, execute, create, message, chat):
        assert recipe.operation.effect.guarded
        assert recipe.operation.recovery


LOST = [
    ("after_accept", {"how": "close"}),
    ("after_accept", {"how": "reset"}),
    ("before_accept", {"how": "close"}),
    ("status", {"status": 502}),
    ("status_after", {"status": 500}),
    ("status_after", {"status": 504}),
    ("mid_body", {"bytes": 3}),
]


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_upload_happens_once(office, judge, effects, report, loss):
    """Whatever became of the answer: one document, complete, and found by its bytes."""
    kind, more = loss
    before = await judge.count("upload_document")
    await judge.fault(kind, "upload_document", **more)
    document = await effects.perform(UploadDocument(office, report))
    assert document.total_chapters == len(document.chapters) == 3
    assert await judge.count("upload_document") == before + 1
    assert (await effects.perform(UploadDocument(office, report))).id == document.id
    assert await judge.count("upload_document") == before + 1


async def test_a_growing_upload_is_not_yet_known(office, report):
    """While the server ingests, the look waits for it; then it finds exactly that document."""
    recipe = UploadDocument(office, report)
    look = await _look_now(recipe)
    assert await look() == Absent()
    running = asyncio.create_task(office.upload_document(report))
    seen = []
    while not running.done():
        seen.append(type(await look()))
    found = await look()
    assert NotYetKnown in seen
    assert Absent not in seen[seen.index(NotYetKnown) :]
    assert found == Found(await running)


async def test_strangers_documents_are_not_ours(office, report, tmp_path):
    """New files of other content and equal ones of old do not count; two new equal ones are an incident."""
    await office.upload_document(report)
    look = await _look_now(UploadDocument(office, report))
    await office.upload_document(_write(tmp_path / "other.docx", 1))
    assert await look() == Absent()
    ours = await office.upload_document(report)
    assert await look() == Found(ours)
    twin = await office.upload_document(report)
    found = await look()
    assert isinstance(found, Several)
    assert set(found.vendor_ids) == {ours.id, twin.id}


async def test_results_of_other_effects_are_not_ours(office, report):
    """What the ledger holds as another upload's document is no candidate."""
    recipe = UploadDocument(office, report)
    await recipe.identity()
    baseline = await recipe.baseline()
    document = await office.upload_document(report)

    async def taken(ids):
        return {document.id} & set(ids)

    assert await recipe.look(Look(external_id="x", baseline=baseline, taken=taken)) == Absent()


async def test_a_document_without_original_may_be_ours(office, sandbox, report):
    """The server's title fault leaves one whose original is a generated DOCX: that is never absent."""
    look = await _look_now(UploadDocument(office, report))
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="r.docx"\r\n\r\n'
    body += report.read_bytes() + b"\r\n--b--\r\n"
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{sandbox.url}/officeplane/api/documents/upload?title=Renamed%20it",
        data=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    with pytest.raises(urllib.error.HTTPError):
        await asyncio.to_thread(urllib.request.urlopen, request)
    found = await look()
    assert isinstance(found, NotYetKnown)
    assert "no stored original" in found.reason
    [renamed] = [document for document in await office.list_documents() if document.title == "Renamed it"]
    await office.delete_document(renamed.id)


async def test_a_file_the_server_cannot_read_fails_for_good(office, judge, effects, tmp_path):
    """A PDF with header and trailer and nothing between: sent once, looked for, and refused for ever."""
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.7\nnothing of use " + uuid4().hex.encode() + b"\nstartxref\n0\n%%EOF\n")
    before = await judge.count("upload_document")
    with pytest.raises(ServerFailed, match="Error ingesting document") as raised:
        await effects.perform(UploadDocument(office, path))
    assert not raised.value.retryable
    assert await judge.count("upload_document") == before


async def test_a_file_that_changes_after_its_digest_is_not_sent(office, judge, report):
    """The identity is the content, so other content under it must not leave."""
    recipe = UploadDocument(office, report)
    await recipe.identity()
    _write(report, 1)
    before = await judge.count("upload_document")
    with pytest.raises(InvalidInput, match="changed"):
        await recipe.send("x")
    assert await judge.count("upload_document") == before


@pytest.fixture
async def document(office, report):
    """An uploaded document."""
    return await office.upload_document(report)


def _additions(document_id, *titles):
    nodes = [
        {"id": f"n{number}", "action": "add_chapter", "inputs": {"document_id": document_id, "title": title}}
        for number, title in enumerate(titles)
    ]
    return ActionTree.model_validate({"tree": nodes})


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_execution_happens_once(office, judge, effects, document, loss):
    """Each chapter is added once, and a result read off the document says so."""
    kind, more = loss
    before = await judge.count("execute_plan")
    await judge.fault(kind, "execute_plan", **more)
    result = await effects.perform(
        ExecutePlan(office, document.id, _additions(document.id, "Risks", "Costs"))
    )
    assert (result.success, result.completed) == (True, 2)
    assert result.reconstructed is (kind not in {"before_accept", "status"})
    titles = [chapter.title for chapter in (await office.get_document(document.id)).chapters]
    assert titles[-2:] == ["Risks", "Costs"]
    assert len(titles) == 5
    assert await judge.count("execute_plan") == before + 1


async def test_half_an_execution_is_not_guessed_at(office, document):
    """Unchanged is absent, a part is not known, all of it is found."""
    look = await _look_now(ExecutePlan(office, document.id, _additions(document.id, "Risks", "Costs")))
    assert await look() == Absent()
    await office.execute_plan(document.id, _additions(document.id, "Risks"))
    found = await look()
    assert isinstance(found, NotYetKnown)
    assert "1 of 2" in found.reason
    assert "n1 add_chapter" in found.reason
    await office.execute_plan(document.id, _additions(document.id, "Costs"))
    assert isinstance(await look(), Found)


async def test_a_failed_node_is_a_result(office, effects, document):
    """The server's 200 with `success: false` is the answer, and it is kept."""
    node = {"id": "n0", "action": "write_page", "inputs": {"section_id": str(uuid4()), "content": "x"}}
    recipe = ExecutePlan(office, document.id, ActionTree.model_validate({"tree": [node]}))
    result = await effects.perform(recipe)
    assert (result.success, result.failed) == (False, 1)
    assert await effects.perform(recipe) == result


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_conversation_is_made_once(planck, judge, effects, scratch, loss):
    """Its marked name finds it again."""
    kind, more = loss
    before = await judge.count("create_conversation")
    await judge.fault(kind, "create_conversation", **more)
    made = await effects.perform(CreateConversation(planck, scratch, "Weekly  question"))
    assert made.name.startswith("Weekly question · test-")
    assert await judge.count("create_conversation") == before + 1


async def test_a_conversation_is_ours_by_its_marker(planck, scratch):
    """A person may rename its front; two with one marker are an incident."""
    recipe = CreateConversation(planck, scratch, "Talk")
    external_id = f"test-planck-create_conversation-{uuid4().hex}"
    look = await _look_now(recipe, external_id)
    await planck.create_conversation(scratch, "Talk")
    assert await look() == Absent()
    made = await recipe.send(external_id)
    assert await look() == Found(made)
    renamed = await planck.rename_conversation(scratch, made.id, made.name.replace("Talk", "Better"))
    assert await look() == Found(renamed)
    twin = await recipe.send(external_id)
    found = await look()
    assert isinstance(found, Several)
    assert set(found.vendor_ids) == {made.id, twin.id}


@pytest.fixture
async def conversation(planck, scratch):
    """Workspace and conversation, in which something was said already."""
    made = await planck.create_conversation(scratch, f"talk {uuid4()}")
    await planck.send_message(scratch, made.id, "What is new?")
    return scratch, made.id


STREAM_LOST = [
    *LOST,
    ("mid_stream", {"events": 0}),
    ("mid_stream", {"events": 3}),
    ("mid_stream", {"bytes": 200}),
]


@pytest.mark.parametrize("loss", STREAM_LOST, ids=str)
async def test_a_lost_message_is_sent_once(planck, judge, effects, conversation, loss):
    """The question is stored once, though it was asked before, and its answer is the stored one."""
    kind, more = loss
    before = await judge.count("send_message")
    await judge.fault(kind, "send_message", **more)
    message = await effects.perform(SendMessage(planck, *conversation, "What is new?"))
    history = await planck.list_messages(*conversation)
    assert [entry.role for entry in history] == ["user", "assistant", "user", "assistant"]
    assert message.text == history[-1].text
    assert message.reconstructed is (kind not in {"before_accept", "status"})
    assert (message.credits_consumed is None) is message.reconstructed
    assert await judge.count("send_message") == before + 1


DEFECTS = [
    "missing_block_stop",
    "interleaved_blocks",
    "unopened_index",
    "index_gap",
    "repeated_start",
    "double_message_stop",
    "events_after_stop",
    "unknown_event",
    "unknown_block",
    "unknown_delta",
    "broken_json",
    "empty_block",
    "data_only",
    "bom",
    "crlf",
    "cr",
    "no_space",
    "comments",
    "split_data",
    "one_byte",
    "json_answer",
]


async def _defective(sandbox, workspace_id, defect):
    """A stateless answer with this defect."""
    headers = {"X-API-Key": "pk_live_sandbox", "X-Sandbox-Defect": defect}
    base = f"{sandbox.url}/planck/api/v1"
    async with PlanckClient(Transport(system="planck", base_url=base, headers=headers)) as client:
        return await client.chat(workspace_id, "What is new?")


@pytest.mark.parametrize("defect", DEFECTS)
async def test_an_answer_survives_each_defect(sandbox, planck, scratch, defect):
    """The same text arrives as without the defect, with its cost."""
    whole = await planck.chat(scratch, "What is new?")
    message = await _defective(sandbox, scratch, defect)
    assert message.text.split()[: len(whole.text.split())] == whole.text.split()
    assert message.credits_consumed == 1.0


@pytest.mark.parametrize(
    ("defect", "error"),
    [
        ("missing_message_stop", StreamTruncated),
        ("no_last_blank_line", StreamTruncated),
        ("error_event", OutcomeUnknown),
        ("json_error_with_200", OutcomeUnknown),
        ("html_answer", OutcomeUnknown),
    ],
)
async def test_what_is_no_answer_is_not_returned(sandbox, scratch, defect, error):
    """An answer without its end, or an error in its place, is never an answer."""
    with pytest.raises(error):
        await _defective(sandbox, scratch, defect)


async def test_the_same_question_twice_is_an_incident(planck, conversation):
    """Two new messages with our words cannot be told apart."""
    look = await _look_now(SendMessage(planck, *conversation, "And now?"))
    assert await look() == Absent()
    await planck.send_message(*conversation, "And now?")
    assert isinstance(await look(), Found)
    await planck.send_message(*conversation, "And now?")
    assert isinstance(await look(), Several)


async def test_without_a_history_nothing_is_known(vendor, answer):
    """A server that answers 405 for the history: the message may be sent, its loss stays unknown."""
    vendor.handler = lambda _: answer({"detail": "Method Not Allowed"}, 405)
    async with PlanckClient(Transport(system="planck", base_url=vendor.url)) as client:
        look = await _look_now(SendMessage(client, "w", "c", "And now?"))
        found = await look()
    assert isinstance(found, NotYetKnown)
    assert "no history" in found.reason


async def test_a_lost_chat_is_unknown_and_not_asked_again(planck, judge, effects, scratch):
    """Nothing is stored, so only a person, or the wish to pay again, goes on."""
    before = await judge.count("chat")
    await judge.fault("mid_stream", "chat", events=2)
    with pytest.raises(OutcomeUnknown):
        await effects.perform(Chat(planck, scratch, "What is new?"))
    with pytest.raises(OutcomeUnknown):
        await effects.perform(Chat(planck, scratch, "What is new?"))
    assert await judge.count("chat") == before + 1


async def test_a_lost_chat_is_paid_again_where_that_is_accepted(planck, judge, effects, scratch):
    """The caller said so: two questions were charged, and one answer comes back."""
    before = await judge.count("chat")
    await judge.fault("mid_stream", "chat", events=2)
    message = await effects.perform(Chat(planck, scratch, "What is new?", pay_again=True))
    assert message.text
    assert not message.reconstructed
    assert await judge.count("chat") == before + 2


@pytest.mark.parametrize("status", [401, 403])
async def test_a_look_without_permission_asks_for_a_person(vendor, answer, status):
    """Waiting would not make it possible."""
    vendor.handler = lambda _: answer({"data": [], "count": 0})
    async with PlanckClient(Transport(system="planck", base_url=vendor.url)) as client:
        look = await _look_now(SendMessage(client, "w", "c", "And now?"))
        vendor.handler = lambda _: answer({"detail": "no"}, status)
        with pytest.raises(PlaitError) as raised:
            await look()
    assert raised.value.status == status


async def test_a_vendor_that_is_down_is_not_absent(vendor, answer, clock):
    """A look that failed says nothing about the effect."""
    vendor.handler = lambda _: answer({"data": [], "count": 0})
    async with PlanckClient(Transport(system="planck", base_url=vendor.url, clock=clock)) as client:
        looks = [
            await _look_now(SendMessage(client, "w", "c", "And now?")),
            await _look_now(CreateConversation(client, "w", "t")),
        ]
        vendor.handler = lambda _: answer({"detail": "down"}, 503)
        for look in looks:
            found = await look()
            assert isinstance(found, NotYetKnown)
            assert "down" in found.reason

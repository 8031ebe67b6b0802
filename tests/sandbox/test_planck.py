"""The Planck AI stand-in over loopback: reads, refusals, conversations, hang-ups and effects."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from plait.sandbox.planck_settings import DocumentWords, PlanckSettings
from plait.sandbox.planck_store import OPERATIONS, SALES_WAREHOUSE, SCRATCH
from plait.sandbox.server import create_app
from plait.sandbox.settings import OfficePlaneSettings, SandboxSettings
from plait.sandbox.wire import WiredProtocol

EXAMPLES = Path(__file__).parents[2] / "examples"
IN_OPERATIONS = f"/workspaces/{OPERATIONS.id}"
IN_SCRATCH = f"/workspaces/{SCRATCH.id}"
DEPOSIT = "How much is the security deposit?"


@dataclass(frozen=True)
class Running:
    """A sandbox in this process, and clients of its parts."""

    planck: httpx.AsyncClient
    root: httpx.AsyncClient

    async def upload(self, name: str, content: bytes | None = None) -> None:
        """Give OfficePlane a document."""
        data = content or (EXAMPLES / name).read_bytes()
        answer = await self.root.post("/officeplane/api/documents/upload", files={"file": (name, data)})
        answer.raise_for_status()

    async def documents(self) -> list[dict[str, Any]]:
        """What the synced workspace lists."""
        answer = await self.planck.get("/documents/", params={"workspace_id": OPERATIONS.id})
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def ready(self, name: str) -> str:
        """Id of the document once it is ready."""

        async def look() -> str | None:
            listed = {document["name"]: document for document in await self.documents()}
            found = listed.get(name)
            return found["id"] if found and found["status"] == "ready" else None

        return await until(look)

    async def conversation(self, workspace: str = IN_OPERATIONS) -> str:
        """The path of a new conversation."""
        answer = await self.planck.post(f"{workspace}/conversations", json={"name": "A talk"})
        return f"{workspace}/conversations/{answer.json()['id']}"

    async def history(self, conversation: str) -> list[dict[str, Any]]:
        """The messages of a conversation."""
        found: list[dict[str, Any]] = (await self.planck.get(f"{conversation}/messages")).json()["data"]
        return found

    async def effects(self, operation: str) -> list[dict[str, Any]]:
        """What the far end counted."""
        listed: dict[str, Any] = (await self.root.get("/_sandbox/effects")).json()
        return [effect for effect in listed["effects"] if effect["operation"] == operation]


Starter = Callable[..., Awaitable[Running]]


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 5.0) -> Any:
    """The first true answer of `look`."""
    for _ in range(int(seconds / 0.02)):
        if found := await look():
            return found
        await asyncio.sleep(0.02)
    pytest.fail(f"still not so after {seconds} s")


@asynccontextmanager
async def serving(settings: SandboxSettings) -> AsyncIterator[Running]:
    """The sandbox on a free port of this machine."""
    config = uvicorn.Config(
        create_app(settings), http=WiredProtocol, ws="none", port=0, lifespan="on", log_level="warning"
    )
    server = uvicorn.Server(config)
    serving_task = asyncio.create_task(server.serve())
    await until(lambda: asyncio.sleep(0.01, server.started))
    url = "http://127.0.0.1:{1}".format(*server.servers[0].sockets[0].getsockname())
    headers = {"X-API-Key": "pk_live_sandbox"}
    try:
        async with (
            httpx.AsyncClient(base_url=f"{url}/planck/api/v1", headers=headers, timeout=60) as planck,
            httpx.AsyncClient(base_url=url, timeout=60) as root,
        ):
            yield Running(planck, root)
    finally:
        server.should_exit = True
        await serving_task


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starter]:
    """Starts a sandbox with these Planck switches."""
    async with AsyncExitStack() as stack:

        async def begin(**switches: Any) -> Running:
            settings = SandboxSettings(
                state=tmp_path / f"{uuid.uuid4()}.db",
                officeplane=OfficePlaneSettings(ingest_seconds=0),
                planck=PlanckSettings(**({"processing_seconds": 0} | switches)),
            )
            return await stack.enter_async_context(serving(settings))

        yield begin


def about(name: str, document_id: str) -> dict[str, Any]:
    """Settings that name one document."""
    return {"chat_metadata": {"documents": {name: {"id": document_id}}}}


def text_of(content: list[dict[str, Any]]) -> str:
    """The text blocks of an answer."""
    return "\n\n".join(block["text"] for block in content if block["type"] == "text")


async def ask(running: Running, message: str, workspace: str = IN_OPERATIONS, **body: Any) -> dict[str, Any]:
    """A stateless question, answered in one piece."""
    answer = await running.planck.post(
        f"{workspace}/chat", json={"message": message, "stream": False, **body}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("key", "status", "names"),
    [
        ("pk_live_sandbox", 200, ["Operations", "Scratch"]),
        ("pk_live_reader", 200, ["Operations", "Scratch"]),
        ("pk_live_member", 200, ["Operations"]),
        ("pk_live_unknown", 401, None),
        (None, 401, None),
    ],
)
async def test_keys_and_workspaces(start, key, status, names):
    """A key sees its owner's workspaces; no key, or another one, is a 401."""
    running = await start()
    headers = {"X-API-Key": key} if key else {}
    answer = await running.root.get("/planck/api/v1/workspaces", headers=headers)
    assert answer.status_code == status
    if names is None:
        assert answer.json() == {"detail": "Invalid or missing API key"}
    else:
        assert [workspace["name"] for workspace in answer.json()["data"]] == names
        assert answer.json()["count"] == len(names)


async def test_what_is_not_accessible_is_not_found(start):
    """A workspace hidden from the key answers like one that does not exist."""
    running = await start()
    member = {"X-API-Key": "pk_live_member"}
    hidden = await running.planck.get(IN_SCRATCH, headers=member)
    absent = await running.planck.get(f"/workspaces/{uuid.uuid4()}", headers=member)
    assert (
        (hidden.status_code, hidden.json())
        == (absent.status_code, absent.json())
        == (
            404,
            {"detail": "Workspace not found"},
        )
    )
    assert (await running.planck.get(IN_SCRATCH)).json()["name"] == "Scratch"


async def test_a_reader_may_not_write(start):
    """A key that may only read gets 403 on chat and conversations, and nothing is counted."""
    running = await start()
    headers = {"X-API-Key": "pk_live_reader"}
    for path in ("chat", "conversations"):
        body = {"message": "hello", "name": "x"}
        answer = await running.planck.post(f"{IN_OPERATIONS}/{path}", json=body, headers=headers)
        assert (answer.status_code, answer.json()) == (403, {"detail": "Not enough permissions"})
    assert await running.effects("chat") == []
    assert await running.effects("create_conversation") == []


async def test_documents_go_through_their_states(start):
    """A document of OfficePlane is pending, then processing, then ready, and Scratch stays empty."""
    running = await start(processing_seconds=0.6)
    await running.upload("office-lease.pdf")
    seen: list[str] = []

    async def look() -> bool:
        (document,) = await running.documents()
        single = await running.planck.get(f"/documents/{document['id']}")
        assert single.json()["name"] == document["name"] == "office-lease.pdf"
        seen.append(document["status"])
        return document["status"] == "ready"

    await until(look)
    assert list(dict.fromkeys(seen))[-2:] == ["processing", "ready"]
    scratch = await running.planck.get("/documents/", params={"workspace_id": SCRATCH.id})
    assert scratch.json() == {"data": [], "count": 0}


@pytest.mark.parametrize(
    ("switches", "status"),
    [
        ({"document_fate": "fails"}, "failed"),
        ({"document_fate": "stays_pending"}, "pending"),
        ({"document_words": DocumentWords(ready="indexed")}, "indexed"),
    ],
)
async def test_document_words_and_fates(start, switches, status):
    """The switches decide the state and the word for it."""
    running = await start(**switches)
    await running.upload("office-lease.pdf")
    assert [document["status"] for document in await running.documents()] == [status]


async def test_a_document_vanishes(start):
    """A document that vanishes is missing from the list and a 404 on its own."""
    running = await start(document_fate="vanishes", processing_seconds=0.4)
    await running.upload("employee-handbook.docx")
    (document,) = await running.documents()

    async def gone() -> bool:
        return (await running.planck.get(f"/documents/{document['id']}")).status_code == 404

    await until(gone)
    assert await running.documents() == []


async def test_a_scan_fails(start):
    """A picture has no text to answer from."""
    from io import BytesIO  # noqa: PLC0415 - only here

    from PIL import Image  # noqa: PLC0415 - only here

    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    running = await start()
    await running.upload("plan.png", buffer.getvalue())
    assert [document["status"] for document in await running.documents()] == ["failed"]


@pytest.mark.parametrize(("path", "other"), [("/documents", "/documents/"), ("/workspaces/", "/workspaces")])
async def test_the_wrong_slash(start, path, other):
    """The wrong trailing slash is a 307 to the right one, query and all; a switch accepts both."""
    running = await start()
    answer = await running.planck.get(path, params={"workspace_id": OPERATIONS.id})
    assert answer.status_code == 307
    assert httpx.URL(answer.headers["location"]).path == f"/planck/api/v1{other}"
    assert httpx.URL(answer.headers["location"]).params["workspace_id"] == OPERATIONS.id
    tolerant = await start(slash="both")
    assert (await tolerant.planck.get(path, params={"workspace_id": OPERATIONS.id})).status_code == 200


async def test_database_integrations(start):
    """The Operations workspace has the sales warehouse; a switch moves or removes the call."""
    running = await start()
    listed = await running.planck.get(f"{IN_OPERATIONS}/database-integrations")
    assert listed.json()["data"][0]["id"] == SALES_WAREHOUSE.id
    assert (await running.planck.get(f"{IN_SCRATCH}/database-integrations")).json()["count"] == 0
    moved = await start(database_call="integrations")
    assert (await moved.planck.get(f"{IN_OPERATIONS}/database-integrations")).status_code == 404
    listed = await moved.planck.get("/integrations/", params={"workspace_id": OPERATIONS.id})
    assert listed.json()["data"][0]["name"] == "Sales warehouse"


async def test_chat_with_a_document(start):
    """A stateless question is answered with the fact and its place, and counted once by its text."""
    running = await start()
    await running.upload("office-lease.pdf")
    document = await running.ready("office-lease.pdf")
    answer = await ask(running, DEPOSIT, settings=about("office-lease.pdf", document))
    assert "€46,500" in text_of(answer["content"])
    citation = next(block for block in answer["content"] if block["type"] == "text")["citations"][0]
    assert (citation["document_id"], citation["page"]) == (document, 3)
    assert answer["credits_consumed"] == 1
    (effect,) = await running.effects("chat")
    assert effect["marker"] == hashlib.sha256(DEPOSIT.encode()).hexdigest()


async def test_chat_with_an_edited_document(start):
    """Answers come from the document as OfficePlane has it now: gone there, gone here."""
    running = await start()
    await running.upload("office-lease.pdf")
    document = await running.ready("office-lease.pdf")
    (listed,) = (await running.root.get("/officeplane/api/documents")).json()
    await running.root.delete(f"/officeplane/api/documents/{listed['id']}")
    body = {"message": DEPOSIT, "settings": about("office-lease.pdf", document)}
    answer = await running.planck.post(f"{IN_OPERATIONS}/chat", json=body)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Document not found"})


async def test_chat_with_inline_documents(start):
    """Where nothing is synced, the message brings its document, and a follow-up still knows it."""
    running = await start()
    document = "### Deposit\n\n*Page 7*\n\nThe deposit is €900."
    message = f'<<<document name="lease.pdf">>>\n{document}\n<<<end>>>\n\nHow high is the deposit?'
    conversation = await running.conversation(IN_SCRATCH)
    for said in (message, "And how high is it again?"):
        await running.planck.post(f"{conversation}/messages", json={"message": said, "stream": False})
    first, second = [entry for entry in await running.history(conversation) if entry["role"] == "assistant"]
    assert "€900" in text_of(first["content"])
    assert "lease.pdf, Deposit, page 7" in text_of(second["content"])


@pytest.mark.parametrize("reference", [{"id": SALES_WAREHOUSE.id}, {"Sales": {"id": SALES_WAREHOUSE.id}}])
async def test_chat_with_the_database(start, reference):
    """Both shapes of the reference give SQL, a table and a chart."""
    running = await start()
    settings = {"chat_metadata": {"database": reference}}
    answer = await ask(running, "Total revenue by region?", settings=settings)
    blocks = {block["type"]: block for block in answer["content"]}
    assert list(blocks) == ["tool_use", "text", "code", "table", "chart"]
    assert blocks["code"]["code"].startswith("SELECT region, SUM(revenue)")
    assert blocks["table"]["rows"][0] == ["DACH", 2_781_700]


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"{", 400, "The request body must be a JSON object"),
        (b"[1]", 400, "The request body must be a JSON object"),
        (b"{}", 422, "message"),
        (b'{"message": ""}', 422, "message"),
        (b'{"message": "  \\n"}', 422, "message"),
        (b'{"message": 5}', 422, "message"),
        (b'{"message": "x", "settings": {"chat_metadata": {"documents": []}}}', 422, "documents"),
        (b'{"message": "x", "settings": {"chat_metadata": {"database": {"x": 1}}}}', 400, "database"),
        (b'{"message": "x", "settings": {"chat_metadata": {"database": {"id": "y"}}}}', 404, "Database"),
        (
            b'{"message": "x", "settings": {"chat_metadata": {"documents": {"a": {"id": "b"}}}}}',
            404,
            "Document",
        ),
    ],
)
async def test_bad_bodies(start, content, status, detail):
    """A bad body is refused with its reason, on both calls, and has no effect."""
    running = await start()
    conversation = await running.conversation()
    for path in (f"{IN_OPERATIONS}/chat", f"{conversation}/messages"):
        answer = await running.planck.post(
            path, content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status
        assert detail in str(answer.json()["detail"])
        assert isinstance(answer.json()["detail"], list if status == 422 else str)
    assert await running.effects("chat") == []
    assert await running.effects("send_message") == []


async def test_a_document_that_is_not_ready(start):
    """Asking about a document in processing is a 400 that says its status."""
    running = await start(document_fate="stays_pending")
    await running.upload("office-lease.pdf")
    (document,) = await running.documents()
    body = {"message": DEPOSIT, "settings": about("office-lease.pdf", document["id"])}
    answer = await running.planck.post(f"{IN_OPERATIONS}/chat", json=body)
    assert answer.status_code == 400
    assert "status: pending" in answer.json()["detail"]


async def test_conversations(start):
    """Created by name or prompt, listed newest first in pages, renamed and deleted by the owner alone."""
    running = await start()
    for body in ({"name": "One"}, {"name": "One"}, {"prompt": "word " * 40}):
        assert (await running.planck.post(f"{IN_OPERATIONS}/conversations", json=body)).status_code == 200
    assert (await running.planck.post(f"{IN_OPERATIONS}/conversations", json={})).status_code == 400
    page = {"skip": 1, "limit": 1}
    listed = (await running.planck.get(f"{IN_OPERATIONS}/conversations", params=page)).json()
    assert (listed["count"], [entry["name"] for entry in listed["data"]]) == (3, ["One"])
    assert listed["data"][0]["is_owner"] is True
    assert listed["data"][0]["workspace_id"] == OPERATIONS.id
    path = f"{IN_OPERATIONS}/conversations/{listed['data'][0]['id']}"
    member = {"X-API-Key": "pk_live_member"}
    assert (await running.planck.get(path, headers=member)).json()["is_owner"] is False
    assert (await running.planck.patch(path, json={"name": "Two"}, headers=member)).status_code == 403
    assert (await running.planck.patch(path, json={"name": "Two"})).json()["name"] == "Two"
    assert (await running.planck.delete(path, headers=member)).status_code == 403
    assert (await running.planck.delete(path)).status_code == 200
    assert (await running.planck.delete(path)).json() == {"detail": "Conversation not found"}
    assert (await running.planck.get(f"{path}/messages")).status_code == 404
    assert [effect["marker"] for effect in await running.effects("create_conversation")][:2] == ["One", "One"]


async def test_history_and_follow_up(start):
    """Question and answer are stored in order, and a follow-up leans on what was asked before."""
    running = await start()
    await running.upload("employee-handbook.docx")
    document = await running.ready("employee-handbook.docx")
    conversation = await running.conversation()
    first = {
        "message": "How many days of care leave do employees get?",
        "settings": about("employee-handbook.docx", document),
        "stream": False,
    }
    await running.planck.post(f"{conversation}/messages", json=first)
    await running.planck.post(
        f"{conversation}/messages", json={"message": "How is it paid?", "stream": False}
    )
    history = await running.history(conversation)
    assert [entry["role"] for entry in history] == ["user", "assistant", "user", "assistant"]
    assert text_of(history[0]["content"]) == first["message"]
    assert "85%" in text_of(history[3]["content"])
    effects = await running.effects("send_message")
    assert [effect["entity_id"] for effect in effects] == [history[0]["id"], history[2]["id"]]
    assert effects[0]["marker"] == hashlib.sha256(first["message"].encode()).hexdigest()


async def test_history_switches(start):
    """Newest first, content as a string, paging ignored, and a history that is not there."""
    running = await start(history_order="newest_first", history_content="string", paging="ignored")
    conversation = await running.conversation()
    await running.planck.post(f"{conversation}/messages", json={"message": "hello", "stream": False})
    answer = await running.planck.get(f"{conversation}/messages", params={"limit": 1})
    assert [entry["role"] for entry in answer.json()["data"]] == ["assistant", "user"]
    assert answer.json()["data"][1]["content"] == "hello"
    without = await start(history_call="absent")
    conversation = await without.conversation()
    assert (await without.planck.get(f"{conversation}/messages")).status_code == 405


async def test_history_lag(start):
    """A stored message is missing from the history for as long as the lag."""
    running = await start(history_lag=0.5)
    conversation = await running.conversation()
    await running.planck.post(f"{conversation}/messages", json={"message": "hello", "stream": False})
    assert await running.history(conversation) == []

    async def both() -> bool:
        return len(await running.history(conversation)) == 2

    await until(both)


async def hang_up(running: Running, conversation: str) -> None:
    """Send a message and close the connection after the first event."""
    path = f"{conversation}/messages"
    async with running.planck.stream("POST", path, json={"message": "hello"}) as answer:
        async for _ in answer.aiter_bytes():
            break


async def test_hang_up_and_the_server_finishes(start):
    """The reply is stored although nobody read it, and the message counts once."""
    running = await start(thinking=0.2)
    conversation = await running.conversation()
    await hang_up(running, conversation)
    assert [entry["role"] for entry in await running.history(conversation)] == ["user"]

    async def answered() -> bool:
        return [entry["role"] for entry in await running.history(conversation)] == ["user", "assistant"]

    await until(answered)
    assert len(await running.effects("send_message")) == 1


async def test_hang_up_in_the_middle_of_the_text(start):
    """A connection that ends between two deltas changes nothing about what is stored."""
    running = await start(delta_pause=0.05, delta_characters=1)
    conversation = await running.conversation()
    async with running.planck.stream("POST", f"{conversation}/messages", json={"message": "hello"}) as answer:
        async for chunk in answer.aiter_text():
            if "text_delta" in chunk:
                break

    async def answered() -> bool:
        return len(await running.history(conversation)) == 2

    await until(answered, seconds=2)


async def test_hang_up_and_the_reply_is_late(start):
    """The reply lands after the set time, not before."""
    running = await start(late_reply=0.6)
    conversation = await running.conversation()
    await hang_up(running, conversation)
    await asyncio.sleep(0.3)
    assert len(await running.history(conversation)) == 1

    async def answered() -> bool:
        return len(await running.history(conversation)) == 2

    await until(answered)


async def test_hang_up_and_only_the_question_stays(start):
    """With that switch no reply ever comes, and the message still counts."""
    running = await start(after_hang_up="question_only", thinking=0.1)
    conversation = await running.conversation()
    await hang_up(running, conversation)
    await asyncio.sleep(0.5)
    assert [entry["role"] for entry in await running.history(conversation)] == ["user"]
    assert len(await running.effects("send_message")) == 1


async def test_hang_up_and_nothing_stays(start):
    """With that switch a message whose answer nobody took never was; one that was read is stored."""
    running = await start(after_hang_up="nothing", thinking=0.1)
    conversation = await running.conversation()
    await hang_up(running, conversation)
    await asyncio.sleep(0.5)
    assert await running.history(conversation) == []
    assert await running.effects("send_message") == []
    await running.planck.post(f"{conversation}/messages", json={"message": "hello"})
    assert [entry["role"] for entry in await running.history(conversation)] == ["user", "assistant"]


async def test_half_finished_message(start):
    """With that switch the history shows a reply that is still being written."""
    running = await start(half_finished=True, delta_pause=0.05, delta_characters=5)
    await running.upload("office-lease.pdf")
    document = await running.ready("office-lease.pdf")
    conversation = await running.conversation()
    body = {"message": DEPOSIT, "settings": about("office-lease.pdf", document)}
    sending = asyncio.create_task(running.planck.post(f"{conversation}/messages", json=body))

    async def begun() -> list[dict[str, Any]]:
        return (await running.history(conversation))[1:]

    (half,) = await until(begun)
    await sending
    (whole,) = (await running.history(conversation))[1:]
    assert half["id"] == whole["id"]
    assert text_of(whole["content"]).startswith(text_of(half["content"]))
    assert len(text_of(half["content"])) < len(text_of(whole["content"]))


async def test_cut_stream_counts_and_finishes(start):
    """A stream that a fault cuts before its end leaves one effect and a stored reply."""
    running = await start()
    conversation = await running.conversation()
    rule = {"kind": "mid_stream", "service": "planck", "operation": "send_message", "events": 2, "times": 1}
    (await running.root.post("/_sandbox/faults", json=rule)).raise_for_status()
    with pytest.raises(httpx.RemoteProtocolError):
        await running.planck.post(f"{conversation}/messages", json={"message": "hello"})

    async def answered() -> bool:
        return len(await running.history(conversation)) == 2

    await until(answered)
    assert len(await running.effects("send_message")) == 1


async def test_pings(start):
    """While the answer is being made, and for ever with that defect, the stream pings."""
    running = await start(thinking=0.35, ping_every=0.1)
    body = {"message": "hello"}
    answer = await running.planck.post(f"{IN_OPERATIONS}/chat", json=body)
    assert answer.text.count("event: ping") >= 2
    assert "event: message_stop" in answer.text
    defect = {"X-Sandbox-Defect": "pings_for_ever"}
    pings = 0
    path = f"{IN_OPERATIONS}/chat"
    async with running.planck.stream("POST", path, json=body, headers=defect) as endless:
        async for chunk in endless.aiter_text():
            assert "content_block" not in chunk
            pings += chunk.count("event: ping")
            if pings == 6:
                break


async def test_stream_false_can_be_ignored(start):
    """With that switch `stream: false` still streams."""
    running = await start(stream_false="ignored")
    answer = await running.planck.post(f"{IN_OPERATIONS}/chat", json={"message": "hello", "stream": False})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: message_stop" in answer.text


async def test_the_server_stops_while_an_answer_is_made(start):
    """Stopping the sandbox ends unfinished answers instead of waiting for them."""
    running = await start(thinking=60)
    conversation = await running.conversation()
    await hang_up(running, conversation)
    assert len(await running.history(conversation)) == 1


async def test_a_document_is_processed_again(start):
    """With that fate a document that was ready is in processing for a while, then ready again."""
    running = await start(document_fate="processes_again", processing_seconds=0.3)
    await running.upload("office-lease.pdf")
    seen: list[str] = []

    async def look() -> bool:
        (document,) = await running.documents()
        seen.append(document["status"])
        return seen.count("ready") > 1 and seen[-1] == "ready" and "processing" in seen[seen.index("ready") :]

    await until(look)


async def test_document_call_absent(start):
    """Without the single-document call, the list is the only look."""
    running = await start(document_call="absent")
    await running.upload("office-lease.pdf")
    (document,) = await running.documents()
    assert (await running.planck.get(f"/documents/{document['id']}")).json() == {"detail": "Not Found"}


@pytest.mark.parametrize(("shape", "by_id", "by_name"), [("id", 200, 400), ("map", 400, 200)])
async def test_one_shape_of_database_reference(start, shape, by_id, by_name):
    """A switch narrows the reference to one shape; the other is a 400."""
    running = await start(database_reference=shape)
    entry = {"id": SALES_WAREHOUSE.id}
    for reference, status in ((entry, by_id), ({"Sales warehouse": entry}, by_name)):
        body = {"message": "revenue", "settings": {"chat_metadata": {"database": reference}}}
        answer = await running.planck.post(f"{IN_OPERATIONS}/chat", json=body)
        assert answer.status_code == status

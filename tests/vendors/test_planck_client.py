"""Planck's client on loopback: paths, bodies, lists and fallbacks (planck.md §2, §3)."""

import pytest

from plait.http import Transport
from plait.http.errors import InvalidInput, MalformedResponse, NotFound, PermissionDenied
from plait.vendors.coverage import without_method
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.models import ChatSettings, Document, DocumentPhase, DocumentReference
from plait.vendors.planck.operations import OPERATIONS

STREAM = (
    b'event: message_start\ndata: {"id": "m"}\n\n'
    b'event: content_block_start\ndata: {"index": 0, "type": "text", "text": "Hi"}\n\n'
    b"event: message_stop\ndata: {}\n\n"
)


@pytest.fixture
async def client(vendor, clock):
    """A client of the scripted vendor whose retries do not wait."""
    transport = Transport(
        system="planck", base_url=f"{vendor.url}/api/v1", headers={"X-API-Key": "pk_live_x"}, clock=clock
    )
    async with PlanckClient(transport) as made:
        yield made


def _rows(count):
    return [{"id": f"i{number}", "name": f"n{number}"} for number in range(count)]


def _paged(rows, answer, *, cap=None, counted=True):
    """A handler that honours skip and limit over `rows`."""

    def handle(request):
        skip, limit = int(request.query["skip"]), min(int(request.query["limit"]), cap or 10**6)
        return answer({"data": rows[skip : skip + limit], **({"count": len(rows)} if counted else {})})

    return handle


def test_every_operation_has_a_method():
    """A row of the operation table without a coroutine method of its name is a fault."""
    assert without_method(OPERATIONS, PlanckClient) == []


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("size", [(0, None), (1, None), (100, None), (250, None), (120, 50)])
async def test_lists_are_read_to_their_end(client, vendor, answer, size, counted):
    """With and without a count, and where the server's pages are smaller than asked for."""
    count, cap = size
    vendor.handler = _paged(_rows(count), answer, cap=cap, counted=counted)
    assert [item.id for item in await client.list_workspaces()] == [f"i{number}" for number in range(count)]
    assert vendor.asked[0].headers["x-api-key"] == "pk_live_x"


async def test_a_server_that_ignores_skip_and_gives_all(client, vendor, answer):
    """The second page repeats the first: a short or long one was everything."""
    for count in (3, 130):
        vendor.handler = lambda _, count=count: answer({"data": _rows(count)})
        assert len(await client.list_workspaces()) == count
    vendor.handler = lambda _: answer(_rows(2))
    assert len(await client.list_workspaces()) == 2


async def test_a_server_that_repeats_a_full_page_is_not_believed(client, vendor, answer):
    """Half a list is an error: a look at it could miss what is there."""
    for page in ({"data": _rows(100)}, {"data": _rows(100), "count": 250}):
        vendor.handler = lambda _, page=page: answer(page)
        with pytest.raises(MalformedResponse, match="repeats its first page"):
            await client.list_workspaces()


async def test_a_list_that_shrinks_meanwhile_is_read_again(client, vendor, answer):
    """An item removed in front would push another past the reader."""
    rows = _rows(150)

    def handle(request):
        if len(vendor.asked) == 2:
            rows.pop(0)
        return _paged(rows, answer)(request)

    vendor.handler = handle
    assert [item.id for item in await client.list_workspaces()] == [f"i{number}" for number in range(1, 150)]


async def test_a_list_that_ends_before_its_count_is_an_error(client, vendor, answer):
    """The server says five and gives three."""
    vendor.handler = lambda request: answer(
        {"data": _rows(3) if request.query["skip"] == "0" else [], "count": 5}
    )
    with pytest.raises(MalformedResponse, match="ended after 3 of 5"):
        await client.list_workspaces()


@pytest.mark.parametrize("status", [404, 405])
async def test_a_missing_document_call_falls_back_to_the_list(client, vendor, answer, status):
    """The single call is assumed; the list is not."""

    def handle(request):
        if request.path.endswith("/documents/"):
            assert request.query["workspace_id"] == "w"
            return answer({"data": [{"id": "d", "name": "a.pdf", "status": "Indexed"}], "count": 1})
        return answer({"detail": "Not Found"}, status)

    vendor.handler = handle
    assert (await client.get_document("d", workspace_id="w")).phase is DocumentPhase.READY
    with pytest.raises(NotFound, match="not in workspace 'w'"):
        await client.get_document("other", workspace_id="w")
    with pytest.raises(Exception, match="Not Found"):
        await client.get_document("d")


async def test_no_permission_does_not_fall_back(client, vendor, answer):
    """A 403 is an answer, not a missing path."""
    vendor.handler = lambda _: answer({"detail": "no"}, 403)
    with pytest.raises(PermissionDenied):
        await client.get_document("d", workspace_id="w")
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    ("path", "called", "query"),
    [
        (None, "/api/v1/workspaces/w/database-integrations", None),
        ("/integrations/", "/api/v1/integrations/", "w"),
    ],
)
async def test_the_path_of_database_integrations_is_a_setting(vendor, answer, path, called, query):
    """Both candidates of planck.md §3 no. 5 can be used."""
    vendor.handler = lambda _: answer(
        {"data": [{"id": "db", "name": "Sales", "engine": "sqlite"}], "count": 1}
    )
    transport = Transport(system="planck", base_url=f"{vendor.url}/api/v1")
    async with PlanckClient(transport, database_integrations_path=path) as client:
        [found] = await client.list_database_integrations("w")
    assert found.model_extra == {"engine": "sqlite"}
    assert vendor.asked[0].path == called
    assert vendor.asked[0].query.get("workspace_id") == query


async def test_a_question_carries_its_references(client, vendor, reply):
    """Documents keyed by name, equal names kept apart, the database by id; `stream` is never sent."""
    vendor.handler = lambda _: reply(200, (STREAM,), "text/event-stream")
    settings = ChatSettings(
        documents=(
            DocumentReference(id="1", name="a.pdf"),
            DocumentReference(id="2", name="a.pdf"),
            DocumentReference(id="1", name="a.pdf"),
        ),
        database_id="db",
    )
    message = await client.chat("w", "what?", settings)
    [request] = vendor.asked
    assert request.path == "/api/v1/workspaces/w/chat"
    assert request.headers["accept"] == "text/event-stream"
    assert request.json() == {
        "message": "what?",
        "settings": {
            "chat_metadata": {
                "documents": {"a.pdf": {"id": "1"}, "a (2).pdf": {"id": "2"}},
                "database": {"id": "db"},
            }
        },
    }
    assert (message.text, message.credits_consumed) == ("Hi", None)


async def test_a_bare_question_has_no_settings(client, vendor, reply):
    """What is not meant is not sent; an empty question is refused."""
    vendor.handler = lambda _: reply(200, (STREAM,), "text/event-stream")
    await client.send_message("w", "c", "what?")
    assert vendor.asked[0].json() == {"message": "what?"}
    with pytest.raises(InvalidInput, match="empty"):
        await client.chat("w", "  ")
    assert len(vendor.asked) == 1


async def test_conversations_are_made_renamed_and_deleted(client, vendor, answer, reply):
    """Paths, bodies, an answer without a body, and a delete whose first answer was lost."""
    base = "/api/v1/workspaces/w/conversations"

    def handle(request):
        match request.method:
            case "POST":
                return answer({"id": "c", "name": request.json()["name"], "is_owner": True})
            case "PATCH":
                return reply(204)
            case "DELETE" if len(vendor.asked) == 3:
                return None
        return answer({"detail": "Not found"}, 404)

    vendor.handler = handle
    assert (await client.create_conversation("w", "talk")).is_owner
    assert (await client.rename_conversation("w", "c", "chat")).name == "chat"
    await client.delete_conversation("w", "c")
    assert vendor.calls() == [f"POST {base}", f"PATCH {base}/c", f"DELETE {base}/c", f"DELETE {base}/c"]
    with pytest.raises(NotFound):
        await client.delete_conversation("w", "c")


async def test_history_is_given_oldest_first(client, vendor, answer):
    """Newest-first lists are turned by their times; content may be a string or blocks."""
    rows = [
        {"id": "3", "role": "user", "content": "again", "created_at": "2026-01-01T00:00:02Z"},
        {
            "id": "2",
            "role": "assistant",
            "content": [{"type": "text", "text": "b"}],
            "created_at": "2026-01-01T00:00:01",
        },
        {"id": "1", "role": "user", "content": "a", "created_at": "2026-01-01T00:00:01Z"},
    ]
    vendor.handler = lambda _: answer({"data": rows, "count": 3})
    assert [(message.id, message.text) for message in await client.list_messages("w", "c")] == [
        ("1", "a"),
        ("2", "b"),
        ("3", "again"),
    ]


@pytest.mark.parametrize(
    ("row", "phase"),
    [
        ({"status": "Completed"}, DocumentPhase.READY),
        ({"status": " AVAILABLE "}, DocumentPhase.READY),
        ({"status": "canceled"}, DocumentPhase.FAILED),
        ({"status": "Review"}, DocumentPhase.WAITING),
        ({"status": None}, DocumentPhase.WAITING),
        ({}, DocumentPhase.WAITING),
        ({"state": "failed"}, DocumentPhase.FAILED),
    ],
)
def test_status_words_are_classified_and_kept(row, phase):
    """Any key that starts with `stat`, any case; unknown words wait, and stay readable."""
    document = Document.model_validate({"id": "d", "name": "a.pdf", **row})
    assert document.phase is phase
    assert document.status == (next(iter(row.values())) if row else None)

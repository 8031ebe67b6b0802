"""OfficePlane's client against its quirks, on loopback (officeplane.md §3, §7)."""

import hashlib

import pytest

from plait.http import Transport
from plait.http.errors import InvalidInput, NotFound, OutcomeUnknown, ServerFailed, ValidationFailed
from plait.vendors.coverage import without_method
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.models import ActionTree, PlanRequest, VerifyRequest
from plait.vendors.officeplane.operations import OPERATIONS

ID = "6f0a2e0e-8f6b-4e0e-9d39-2f6b5c1f0001"
OTHER = "6f0a2e0e-8f6b-4e0e-9d39-2f6b5c1f0002"
PDF = b"%PDF-1.7\n1 0 obj\nendobj\nstartxref\n0\n%%EOF\n"
DOCUMENT = {
    "id": ID,
    "title": "Report",
    "author": None,
    "chapters": [
        {
            "id": "c1",
            "title": "One",
            "order_index": 0,
            "sections": [{"id": "s1", "title": "A", "page_count": 2}],
        }
    ],
    "total_chapters": 1,
    "total_pages": 2,
    "colour": "blue",
}


@pytest.fixture
async def client(vendor, clock):
    """A client of the scripted vendor whose retries do not wait."""
    async with OfficePlaneClient(Transport(system="officeplane", base_url=vendor.url, clock=clock)) as made:
        yield made


def _tree(**inputs):
    return ActionTree.model_validate(
        {
            "tree": [
                {
                    "id": "n0",
                    "action": "add_chapter",
                    "inputs": {"title": "New", **inputs},
                    "status": "pending",
                }
            ]
        }
    )


def test_every_operation_has_a_method():
    """A row of the operation table without a coroutine method of its name is a fault."""
    assert without_method(OPERATIONS, OfficePlaneClient) == []
    assert without_method(OPERATIONS, object) == [operation.key for operation in OPERATIONS]


async def test_upload_sends_one_part_and_no_parameters(client, vendor, answer, tmp_path):
    """Title, author and collection break the server, so the query is empty; the name is made safe."""
    path = tmp_path / "Übersicht.pdf"
    path.write_bytes(PDF)
    vendor.handler = lambda _: answer(DOCUMENT)
    document = await client.upload_document(path)
    [request] = vendor.asked
    assert request.path == "/api/documents/upload"
    assert request.query == {}
    assert b'name="file"; filename="Ubersicht.pdf"' in request.body
    assert b"Content-Type: application/pdf" in request.body
    assert PDF in request.body
    assert document.chapters[0].sections[0].page_count == 2
    assert document.model_extra == {"colour": "blue"}


async def test_an_unusable_file_is_never_sent(client, vendor, tmp_path):
    """The preflight refuses before a connection is made."""
    path = tmp_path / "a.pdf"
    path.write_bytes(b"text")
    with pytest.raises(InvalidInput):
        await client.upload_document(path)
    assert vendor.asked == []


async def test_a_failed_upload_is_not_sent_again(client, vendor, answer, tmp_path):
    """A 500 may have created the document: one request, and the outcome is unknown."""
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF)
    vendor.handler = lambda _: answer({"detail": "Error importing document: broken"}, 500)
    with pytest.raises(OutcomeUnknown) as raised:
        await client.upload_document(path)
    assert raised.value.message.startswith("Error importing document")
    assert len(vendor.asked) == 1


async def test_lists_read_their_mixed_key_styles(client, vendor, answer):
    """`createdAt` among snake case, a vanished fraction, an unreadable time, unknown fields."""
    vendor.handler = lambda _: answer(
        [
            {"id": ID, "title": "a", "createdAt": "2026-11-22T04:03:03+00:00", "total_chapters": 3},
            {"id": OTHER, "title": None, "createdAt": "soon", "total_chapters": 0, "extra": [1]},
        ]
    )
    first, second = await client.list_documents()
    assert first.created_at is not None
    assert first.created_at.isoformat() == "2026-11-22T04:03:03+00:00"
    assert second.created_at is None
    assert second.model_extra == {"extra": [1]}


async def test_a_plain_404_of_a_delete_is_not_found(client, vendor, answer):
    """At the first try there was nothing to delete."""
    vendor.handler = lambda _: answer({"detail": "Document not found"}, 404)
    with pytest.raises(NotFound, match="Document not found"):
        await client.delete_document(ID)


async def test_a_404_after_a_lost_answer_means_deleted(client, vendor, answer):
    """The first DELETE worked and its answer was lost; the second finds nothing."""
    vendor.handler = lambda _: (
        None if len(vendor.asked) == 1 else answer({"detail": "Document not found"}, 404)
    )
    assert (await client.delete_document(ID)).id == ID
    assert vendor.calls() == [f"DELETE /api/documents/{ID}"] * 2


@pytest.mark.parametrize("document_id", ["doc-abc-123", "", "../x"])
async def test_ids_that_the_server_would_crash_on_are_refused(client, vendor, document_id):
    """A malformed id is a bare 500 at the vendor, so it is refused here with its value."""
    with pytest.raises(InvalidInput, match="is not a UUID"):
        await client.get_document(document_id)
    assert vendor.asked == []


async def test_a_bare_text_500_is_readable(client, vendor, reply):
    """An unhandled exception has no JSON and no request id; a read is tried again, then says so."""
    vendor.handler = lambda _: reply(500, (b"Internal Server Error",), "text/plain; charset=utf-8")
    with pytest.raises(ServerFailed, match="Internal Server Error"):
        await client.get_document(ID)
    assert len(vendor.asked) > 1


async def test_detail_may_be_a_list(client, vendor, answer):
    """FastAPI's validation errors name the field and do not repeat what was sent."""
    detail = [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required", "input": {"a": "b"}}]
    vendor.handler = lambda _: answer({"detail": detail}, 422)
    with pytest.raises(ValidationFailed, match=r"body\.prompt: Field required"):
        await client.plan_document(ID, PlanRequest(prompt=""))


async def test_downloads_are_saved_whole_with_digest_and_name(client, vendor, reply, tmp_path):
    """Latin-1 bytes in the header are survived."""
    header = ("Content-Disposition", 'attachment; filename="r\xe9sum\xe9.pdf"')
    vendor.handler = lambda _: reply(200, (PDF[:10], PDF[10:]), "application/pdf", (header,))
    saved = await client.download_document(ID, tmp_path / "out.pdf")
    assert saved.path.read_bytes() == PDF
    assert saved.sha256 == hashlib.sha256(PDF).hexdigest()
    assert saved.filename == "résumé.pdf"
    assert vendor.asked[0].query == {"format": "original"}


async def test_pdf_is_not_a_download_format(client, vendor, tmp_path):
    """The overview offers it and the server refuses it."""
    with pytest.raises(InvalidInput, match="original, docx, markdown"):
        await client.download_document(ID, tmp_path / "x", download_format="pdf")
    assert vendor.asked == []


async def test_plan_is_read_and_executed_as_the_server_wants_it(client, vendor, answer):
    """The plan's `tree` object goes back under `tree`, placeholders kept, no null children."""
    node = {
        "id": "node_0",
        "action": "add_chapter",
        "description": "x",
        "status": "pending",
        "inputs": {"title": "T"},
    }
    page = {"id": "node_1", "action": "write_page", "inputs": {"section_id": "$node_0.id", "note": None}}
    plan = {
        "document": {"id": ID, "title": "Report", "chapter_count": 1},
        "plan": {"plan_id": "plan_12345678", "total_actions": 2, "tree_visualization": "..."},
        "tree": {
            "id": "plan_12345678",
            "created_at": "2026-11-22T04:03:03.1",
            "tree": [{**node, "children": [page]}],
        },
        "orchestration": {"strategy": "x"},
    }
    result = {
        "success": False,
        "completed": 1,
        "failed": 1,
        "total": 2,
        "progress": [
            {"node_id": "node_0", "action": "add_chapter", "status": "completed", "output": {"id": "c"}}
        ],
        "errors": {"node_1": "Section not found"},
    }
    vendor.handler = lambda request: answer(plan if request.path.endswith("/plan") else result)
    made = await client.plan_document(ID, PlanRequest(prompt="add a chapter"))
    execution = await client.execute_plan(ID, made.tree)
    sent = vendor.asked[1].json()
    assert sent["tree"]["tree"][0]["children"][0]["inputs"] == {"section_id": "$node_0.id", "note": None}
    assert sent["tree"]["tree"][0]["children"][0]["children"] == []
    assert execution.success is False
    assert execution.errors == {"node_1": "Section not found"}


async def test_a_plan_for_another_document_is_refused(client, vendor):
    """The server obeys the nodes and ignores the address, so a mismatch would edit the wrong document."""
    with pytest.raises(InvalidInput, match=OTHER):
        await client.execute_plan(ID, _tree(document_id=OTHER))
    with pytest.raises(InvalidInput, match="no nodes"):
        await client.execute_plan(ID, ActionTree())
    assert vendor.asked == []


@pytest.mark.parametrize(
    ("verification", "verified"),
    [
        ({"verified": True, "confidence": 0.9, "findings": [{"check": "a", "passed": True}]}, True),
        ({"verified": False, "raw_response": "?"}, False),
        ({"title": "Report", "chapters": []}, None),
        ({"verified": "yes"}, None),
        (["anything"], None),
    ],
)
async def test_a_missing_verdict_is_unknown(client, vendor, answer, verification, verified):
    """Only a boolean counts; any other JSON is kept and never read as true."""
    body = {
        "document_id": ID,
        "original_request": "x",
        "verification": verification,
        "document_stats": {"pages": 1},
    }
    vendor.handler = lambda _: answer(body)
    assert (await client.verify_document(ID, VerifyRequest(original_request="x"))).verified is verified


async def test_system_calls(client, vendor, answer, reply):
    """Health and figures are JSON, metrics are text."""
    answers = {
        "/health": answer({"status": "ok"}),
        "/metrics": reply(200, (b"a_total 1\n",), "text/plain; version=1.0.0; charset=utf-8"),
        "/api/metrics": answer({"tasks": {"total": 2, "byState": {"QUEUED": 2}}, "system": {"uptime": 0}}),
    }
    vendor.handler = lambda request: answers[request.path]
    assert (await client.health()).ok
    assert await client.metrics() == "a_total 1\n"
    assert (await client.system_metrics()).tasks.by_state == {"QUEUED": 2}

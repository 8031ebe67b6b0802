"""The OfficePlane stand-in answers as officeplane.md says, quirks included."""

import asyncio
import hashlib
import io
import json
import struct
import uuid
import zlib
from datetime import datetime

import httpx
import pytest
from docx import Document

from plait.sandbox.process import start_sandbox
from plait.sandbox.settings import OfficePlaneSettings

NOWHERE = "00000000-0000-4000-8000-000000000000"


async def _upload(http, content, filename="report.docx", **params):
    return await http.post("/api/documents/upload", files={"file": (filename, content)}, params=params)


def _png():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    pixel = zlib.compress(b"\x00\xff\x00\x00")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


async def test_upload_answers_the_hierarchy_and_counts_one_effect(officeplane, control, make_docx):
    """200 with chapters, sections and page counts, no content; one effect row by the file's digest."""
    content = make_docx()
    answer = await _upload(officeplane, content)
    assert answer.status_code == 200
    document = answer.json()
    assert set(document) == {"id", "title", "author", "chapters", "total_chapters", "total_pages"}
    assert [chapter["title"] for chapter in document["chapters"]] == ["Revenue", "Costs"]
    assert set(document["chapters"][0]["sections"][0]) == {"id", "title", "order_index", "page_count"}
    marker = hashlib.sha256(content).hexdigest()
    rows = (await control.get("/effects", params={"marker": marker})).json()["effects"]
    assert [(row["operation"], row["entity_id"]) for row in rows] == [("upload_document", document["id"])]
    assert (await officeplane.get(f"/api/documents/{document['id']}")).json() == document


async def test_the_list_is_newest_first_and_says_little(officeplane, make_docx):
    """No file name, no digest; times with milliseconds padded to six digits and an offset."""
    first = (await _upload(officeplane, make_docx())).json()["id"]
    second = (await _upload(officeplane, make_docx())).json()["id"]
    rows = (await officeplane.get("/api/documents")).json()
    assert [row["id"] for row in rows][:2] == [second, first]
    assert set(rows[0]) == {"id", "title", "author", "createdAt", "total_chapters", "total_sections"}
    assert rows[0]["createdAt"].endswith("+00:00")
    assert datetime.fromisoformat(rows[0]["createdAt"]).microsecond % 1000 == 0


async def test_delete_is_200_then_404(officeplane, make_docx):
    """The first answer names the id, the second is 404."""
    made = (await _upload(officeplane, make_docx())).json()["id"]
    answer = await officeplane.delete(f"/api/documents/{made}")
    assert (answer.status_code, answer.json()) == (200, {"status": "deleted", "id": made})
    assert (await officeplane.delete(f"/api/documents/{made}")).json() == {"detail": "Document not found"}
    assert (await officeplane.get(f"/api/documents/{made}")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/documents/doc-abc-123", None),
        ("DELETE", "/api/documents/doc-abc-123", None),
        ("GET", "/api/documents/doc-abc-123/download", None),
        ("POST", "/api/documents/doc-abc-123/plan", {"prompt": "x"}),
        ("POST", "/api/documents/doc-abc-123/verify", {"original_request": "x"}),
    ],
)
async def test_a_malformed_id_is_a_text_500(method, path, body, officeplane):
    """Plain text of 21 bytes, without `x-request-id` and CORS headers."""
    answer = await officeplane.request(method, path, json=body, headers={"Origin": "http://elsewhere"})
    assert (answer.status_code, answer.content) == (500, b"Internal Server Error")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert not {"x-request-id", "access-control-allow-origin"} & set(answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", f"/api/documents/{NOWHERE}", 404, "Document not found"),
        ("GET", f"/api/documents/{NOWHERE}/download", 404, "Document not found"),
        ("GET", f"/api/documents/{NOWHERE}/outline", 404, "Not Found"),
        ("GET", "/api/nothing", 404, "Not Found"),
        ("PUT", "/api/documents", 405, "Method Not Allowed"),
        ("GET", "/api/teams/team_0123456789ab", 404, "Not Found"),
    ],
)
async def test_errors_are_a_detail_and_nothing_else(method, path, status, detail, officeplane):
    """Unknown routes, missing entities and wrong methods, in the server's own words."""
    answer = await officeplane.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


async def test_validation_errors_are_lists(officeplane, make_docx):
    """422 with `type`, `loc`, `msg`; a body that is not JSON is `json_invalid`."""
    missing = await officeplane.post("/api/documents/upload", files={"other": ("a.docx", make_docx())})
    assert missing.status_code == 422
    assert missing.json()["detail"][0]["loc"] == ["body", "file"]
    broken = await officeplane.post(
        f"/api/documents/{NOWHERE}/plan", content=b"{", headers={"content-type": "application/json"}
    )
    assert broken.json()["detail"][0]["type"] == "json_invalid"
    no_tree = await officeplane.post(f"/api/documents/{NOWHERE}/execute", json={"actions": []})
    assert no_tree.json()["detail"][0]["loc"] == ["body", "tree"]


async def test_slash_head_and_request_id(officeplane):
    """307 on a trailing slash, 405 on HEAD, and the request id comes back."""
    slashed = await officeplane.get("/api/documents/")
    assert slashed.status_code == 307
    assert httpx.URL(slashed.headers["location"]).path == "/officeplane/api/documents"
    assert (await officeplane.head("/api/documents")).status_code == 405
    echoed = await officeplane.get("/health", headers={"x-request-id": "mine"})
    assert (echoed.headers["x-request-id"], echoed.json()) == ("mine", {"status": "ok"})
    assert uuid.UUID((await officeplane.get("/health")).headers["x-request-id"])


@pytest.mark.parametrize(
    "case",
    [
        ("notes.txt", b"just some text", 400, "(detected: unknown)"),
        ("report.docx", b"just some text", 400, "(detected: unknown)"),
        ("empty.pdf", b"", 400, "(detected: unknown)"),
        ("short.pdf", b"%PDF-1", 400, "(detected: unknown)"),
        (
            "old.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            500,
            "No driver available for legacy format conversion",
        ),
        (
            "old.ppt",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            500,
            "No driver available for legacy format conversion",
        ),
        ("broken.docx", b"PK\x03\x04" + bytes(600), 500, "Error ingesting document: "),
        ("broken.pdf", b"%PDF-1.4\n" + bytes(600), 500, "Error ingesting document: "),
    ],
)
async def test_uploads_that_are_refused_leave_nothing(case, officeplane, control):
    """The vendor's status and words, and neither document nor effect."""
    filename, content, status, words = case
    answer = await _upload(officeplane, content, filename)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    marker = hashlib.sha256(content).hexdigest()
    assert (await control.get("/effects", params={"marker": marker})).json()["total"] == 0


async def test_the_format_is_told_by_content_not_by_name(officeplane, make_docx):
    """A Word file called .bin is accepted."""
    assert (await _upload(officeplane, make_docx(), "report.bin")).status_code == 200


async def test_images_get_ocr_headers(officeplane):
    """Accepted with a title from the file's name; there is no OCR here."""
    answer = await _upload(officeplane, _png(), "site-photo.png")
    assert (answer.headers["x-ocr-used"], answer.headers["x-ocr-format"]) == ("true", "png")
    assert answer.json()["title"] == "site photo"


@pytest.mark.parametrize("params", [{"title": "Renamed"}, {"author": "Somebody"}])
async def test_title_or_author_fail_although_the_document_exists(params, officeplane, control, make_docx):
    """500, one effect, renamed, and the later original is a generated DOCX."""
    content = make_docx()
    answer = await _upload(officeplane, content, **params)
    assert answer.status_code == 500
    assert answer.json()["detail"].startswith("Error importing document: 1 validation error")
    rows = (await control.get("/effects", params={"marker": hashlib.sha256(content).hexdigest()})).json()
    made = rows["effects"][0]["entity_id"]
    document = (await officeplane.get(f"/api/documents/{made}")).json()
    assert params.items() <= document.items()
    original = await officeplane.get(f"/api/documents/{made}/download")
    assert original.status_code == 200
    assert original.content != content
    texts = [paragraph.text for paragraph in Document(io.BytesIO(original.content)).paragraphs]
    assert "Revenue rose by four percent." in texts
    expected = f"{document['title'].replace(' ', '_')}.docx"
    assert original.headers["content-disposition"] == f'attachment; filename="{expected}"'


async def test_an_unknown_collection_is_a_404_after_the_document_was_made(officeplane, control, make_docx):
    """404, one effect, and the original is there."""
    content = make_docx()
    answer = await _upload(officeplane, content, collection_id=NOWHERE)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Collection not found"})
    rows = (await control.get("/effects", params={"marker": hashlib.sha256(content).hexdigest()})).json()
    made = rows["effects"][0]["entity_id"]
    assert (await officeplane.get(f"/api/documents/{made}/download")).content == content


async def test_form_fields_beside_the_file_are_ignored(officeplane, make_docx):
    """Title and author count only in the query."""
    answer = await officeplane.post(
        "/api/documents/upload", files={"file": ("a.docx", make_docx())}, data={"title": "Ignored"}
    )
    assert answer.status_code == 200
    assert answer.json()["title"] != "Ignored"


async def test_the_same_file_twice_is_two_documents(officeplane, make_docx):
    """There is no checksum test."""
    content = make_docx()
    made = [(await _upload(officeplane, content)).json()["id"] for _ in range(2)]
    assert made[0] != made[1]


async def test_downloads_in_every_format(officeplane, make_docx):
    """The original byte for byte, a generated DOCX, Markdown; pdf is a 400."""
    content = make_docx()
    path = f"/api/documents/{(await _upload(officeplane, content)).json()['id']}/download"
    original = await officeplane.get(path)
    assert original.content == content
    assert int(original.headers["content-length"]) == len(content)
    assert not {"etag", "accept-ranges", "last-modified"} & set(original.headers)
    for word in ("markdown", "md"):
        markdown = await officeplane.get(path, params={"format": word})
        assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
        assert "## Costs" in markdown.text
    generated = await officeplane.get(path, params={"format": "docx"})
    assert Document(io.BytesIO(generated.content)).paragraphs
    pdf = await officeplane.get(path, params={"format": "pdf"})
    assert (pdf.status_code, pdf.json()["detail"]) == (
        400,
        "Unsupported format: pdf. Use 'original', 'docx', or 'markdown'.",
    )


async def _raw_upload_and_download(sandbox, filename: bytes, content):
    boundary = b"b0undary"
    body = (
        (
            b"--"
            + boundary
            + b'\r\nContent-Disposition: form-data; name="file"; filename="'
            + filename
            + b'"\r\n\r\n'
        )
        + content
        + b"\r\n--"
        + boundary
        + b"--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b0undary"}
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/officeplane") as http:
        answer = await http.post("/api/documents/upload", content=body, headers=headers)
        return await http.get(f"/api/documents/{answer.json()['id']}/download")


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("Résumé.docx", b'attachment; filename="R\xe9sum\xe9.docx"'),
        ('the \\"best\\" one.docx', b'attachment; filename="the "best" one.docx"'),
    ],
)
async def test_content_disposition_is_raw_latin_1_without_escapes(filename, header, sandbox, make_docx):
    """Accents go out as single bytes, quotes as they are."""
    answer = await _raw_upload_and_download(sandbox, filename.encode(), make_docx())
    raw = dict(answer.headers.raw)
    assert raw[b"content-disposition"] == header


async def test_a_name_outside_latin_1_is_a_text_500(sandbox, make_docx):
    """The document exists, and its original cannot be downloaded."""
    answer = await _raw_upload_and_download(sandbox, "報告.docx".encode(), make_docx())
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_a_running_upload_is_listed_with_growing_chapters(tmp_path, make_docx, eventually):
    """The list shows the document before its upload is answered, with fewer chapters."""
    slow = OfficePlaneSettings(ingest_seconds=1.5)
    process = await asyncio.to_thread(start_sandbox, state=tmp_path / "state.db", officeplane=slow)
    try:
        async with httpx.AsyncClient(base_url=f"{process.url}/officeplane", timeout=60) as http:
            running = asyncio.create_task(_upload(http, make_docx()))
            seen = []

            async def grown():
                rows = (await http.get("/api/documents")).json()
                seen.extend(row["total_chapters"] for row in rows)
                return running.done()

            await eventually(grown)
            assert (await running).json()["total_chapters"] == 2
    finally:
        await asyncio.to_thread(process.stop)
    assert {0, 1, 2} == set(seen)
    assert seen == sorted(seen)


async def test_plan_execute_verify_work_together(officeplane, control, make_docx):
    """A plan's tree runs as it is, its placeholders resolve, and verify finds the new text."""
    document = (await _upload(officeplane, make_docx())).json()
    path = f"/api/documents/{document['id']}"
    prompt = (
        'Add a chapter "Outlook". Add a section "Risks" to the chapter "Costs". Replace "four" with "five".'
    )
    plan = (await officeplane.post(f"{path}/plan", json={"prompt": prompt})).json()
    actions = [node["action"] for node in plan["tree"]["tree"]]
    assert actions == [
        *("add_chapter", "add_section", "write_page", "add_section", "write_page"),
        *("edit_page", "edit_page"),
    ]
    assert plan["tree"]["tree"][1]["inputs"]["chapter_id"] == "$node_0.id"
    assert plan["plan"]["total_actions"] == 7
    done = (await officeplane.post(f"{path}/execute", json={"tree": plan["tree"]})).json()
    assert (done["success"], done["completed"], done["failed"], done["errors"]) == (True, 7, 0, {})
    after = (await officeplane.get(path)).json()
    assert [chapter["title"] for chapter in after["chapters"]] == ["Revenue", "Costs", "Outlook"]
    assert [section["title"] for section in after["chapters"][1]["sections"]] == ["Costs in detail", "Risks"]
    markdown = (await officeplane.get(f"{path}/download", params={"format": "markdown"})).text
    assert "Costs rose by five percent." in markdown
    wanted = {"original_request": prompt, "expected_changes": ['chapter "Outlook"', '"rose by five"']}
    verified = (await officeplane.post(f"{path}/verify", json=wanted)).json()
    assert verified["verification"]["verified"] is True
    wanted["expected_changes"].append('"no such words"')
    verified = (await officeplane.post(f"{path}/verify", json=wanted)).json()
    assert verified["verification"]["verified"] is False
    rows = (await control.get("/effects", params={"operation": "execute_plan"})).json()["effects"]
    assert [row["entity_id"] for row in rows].count(document["id"]) == 1


async def test_any_prompt_with_words_becomes_a_plan_and_one_without_does_not(officeplane, make_docx):
    """Free words give one chapter; an empty prompt is the vendor's 500."""
    made = (await _upload(officeplane, make_docx())).json()["id"]
    plan = await officeplane.post(f"/api/documents/{made}/plan", json={"prompt": "something about risks"})
    assert plan.json()["tree"]["tree"][0]["inputs"]["title"] == "something about risks"
    empty = await officeplane.post(f"/api/documents/{made}/plan", json={"prompt": ""})
    assert (empty.status_code, empty.json()) == (500, {"detail": "LLM returned no actions"})


async def test_execute_is_not_atomic_and_ignores_the_id_in_its_url(officeplane, make_docx):
    """200 with failed nodes; what completed stays; children of a failed node run all the same."""
    made = (await _upload(officeplane, make_docx())).json()["id"]
    child = {"id": "c", "action": "add_chapter", "inputs": {"document_id": made, "title": "Kept"}}
    nodes = [
        {
            "id": "a",
            "action": "add_section",
            "inputs": {"chapter_id": NOWHERE, "title": "x"},
            "children": [child],
        },
        {"id": "b", "action": "polish", "inputs": {}},
    ]
    answer = await officeplane.post(f"/api/documents/{NOWHERE}/execute", json={"tree": {"tree": nodes}})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["completed"], body["failed"], body["total"]) == (False, 1, 2, 3)
    assert body["errors"] == {"a": "Chapter not found", "b": "Unknown action: polish"}
    titles = [
        chapter["title"] for chapter in (await officeplane.get(f"/api/documents/{made}")).json()["chapters"]
    ]
    assert titles[-1] == "Kept"


async def test_execute_counts_each_run_as_one_effect(officeplane, control, make_docx):
    """The same tree twice adds twice and is counted twice, under the tree's digest."""
    made = (await _upload(officeplane, make_docx())).json()["id"]
    tree = {"tree": [{"id": "a", "action": "add_chapter", "inputs": {"document_id": made, "title": "Twice"}}]}
    for _ in range(2):
        await officeplane.post(f"/api/documents/{made}/execute", json={"tree": tree})
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    marker = hashlib.sha256(canonical).hexdigest()
    assert (await control.get("/effects", params={"marker": marker})).json()["total"] == 2


@pytest.mark.parametrize(
    ("tree", "status", "words"),
    [
        ({}, 200, '"success":true'),
        ({"tree": [{"id": "a", "action": "add_chapter", "children": None}]}, 500, "Execution failed: "),
        ({"tree": [{"id": "a", "action": "add_chapter", "status": "odd"}]}, 500, "Execution failed: "),
    ],
)
async def test_execute_with_an_odd_tree(tree, status, words, officeplane):
    """No nodes is a success; a malformed node is a 500 and nothing runs."""
    answer = await officeplane.post(f"/api/documents/{NOWHERE}/execute", json={"tree": tree})
    assert answer.status_code == status
    assert words in answer.text


async def test_without_a_model_plan_fails_and_verify_outlines(tmp_path, make_docx):
    """The switch `llm=absent`: 500 for plan, and a verification without `verified`."""
    absent = OfficePlaneSettings(llm="absent", ingest_seconds=0, error_bodies="documented")
    process = await asyncio.to_thread(start_sandbox, state=tmp_path / "state.db", officeplane=absent)
    try:
        async with httpx.AsyncClient(base_url=f"{process.url}/officeplane") as http:
            made = (await _upload(http, make_docx())).json()["id"]
            plan = await http.post(f"/api/documents/{made}/plan", json={"prompt": "x"})
            verify = await http.post(f"/api/documents/{made}/verify", json={"original_request": "x"})
    finally:
        await asyncio.to_thread(process.stop)
    assert plan.json() == {"detail": "LLM returned no actions", "status_code": 500}
    assert "verified" not in verify.json()["verification"]
    assert verify.json()["verification"]["chapters"]


async def test_metrics(officeplane):
    """Prometheus text at the root, JSON under /api."""
    text = await officeplane.get("/metrics")
    assert text.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert "process_resident_memory_bytes" in text.text
    figures = (await officeplane.get("/api/metrics")).json()
    assert figures["tasks"]["total"] == 0
    assert figures["system"]["memoryUsageMb"] > 0

"""The OfficePlane stand-in: documents, health and metrics (officeplane.md §3.1 to §3.8, §3.13).

It answers like the vendor's server, quirks included, as far as the contract knows it; instances,
tasks, generation and teams are not offered and answer 404. There is no language model: structure is
read from the files themselves, plans and verifications follow rules.
"""

import resource
import uuid
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import FastAPI, File, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plait.sandbox.context import SandboxContext
from plait.sandbox.officeplane_documents import StoredContent, StoredDocument, extracted
from plait.sandbox.officeplane_execute import execute
from plait.sandbox.officeplane_ingest import IMAGES, Received, ingest
from plait.sandbox.officeplane_plan import plan_answer, plan_nodes, verification
from plait.sandbox.officeplane_render import UnwritableHeader, as_docx, as_markdown, original
from plait.sandbox.store import Transaction
from plait.vendors.officeplane.operations import (
    DELETE_DOCUMENT,
    DOWNLOAD_DOCUMENT,
    EXECUTE_PLAN,
    GET_DOCUMENT,
    HEALTH,
    LIST_DOCUMENTS,
    METRICS,
    PLAN_DOCUMENT,
    SYSTEM_METRICS,
    UPLOAD_DOCUMENT,
    VERIFY_DOCUMENT,
)

_PROMETHEUS: Final = "text/plain; version=1.0.0; charset=utf-8"


class VendorCrash(Exception):
    """Ends as the vendor's text 500: plain, without `x-request-id` and CORS headers."""


class PlanBody(BaseModel):
    """Everything but the prompt is ignored by the vendor."""

    prompt: str
    max_chapters: int = 20
    max_sections_per_chapter: int = 10
    max_pages_per_section: int = 5
    include_content_outlines: bool = True


class ExecuteBody(BaseModel):
    """`tree` holds the nodes under a second `tree`."""

    tree: dict[str, Any]


class VerifyBody(BaseModel):
    """What was asked for and what should be there now."""

    original_request: str
    expected_changes: list[str] | None = None


def create_officeplane(context: SandboxContext) -> ASGIApp:
    """The stand-in as an ASGI application whose root is OfficePlane's base URL."""
    app = FastAPI(title="OfficePlane", version="0.2.0")
    app.add_middleware(_RequestId)
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
    )
    if context.settings.officeplane.error_bodies == "documented":
        app.add_exception_handler(HTTPException, _documented_error)
    endpoints = _Documents(context)
    for operation, endpoint in (
        (UPLOAD_DOCUMENT, endpoints.upload),
        (LIST_DOCUMENTS, endpoints.list_all),
        (GET_DOCUMENT, endpoints.get),
        (DELETE_DOCUMENT, endpoints.delete),
        (DOWNLOAD_DOCUMENT, endpoints.download),
        (PLAN_DOCUMENT, endpoints.plan),
        (EXECUTE_PLAN, endpoints.execute),
        (VERIFY_DOCUMENT, endpoints.verify),
        (HEALTH, health),
        (METRICS, metrics),
        (SYSTEM_METRICS, system_metrics),
    ):
        app.add_api_route(operation.path, endpoint, methods=[operation.method], response_model=None)
    return _Crashes(app)


class _Documents:
    """The document endpoints."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context

    async def upload(
        self,
        file: Annotated[UploadFile, File()],
        title: str | None = None,
        author: str | None = None,
        collection_id: str | None = None,
    ) -> Response:
        """Ingest inside the request; errors may come after the document exists [ran]."""
        received = Received(
            file=file.file,
            filename=file.filename or "",
            title=title,
            author=author,
            collection_id=collection_id,
        )
        document, content = await ingest(self._context, received)
        headers = {}
        if document.source_format in IMAGES:
            headers = {"X-OCR-Used": "true", "X-OCR-Format": document.source_format}
        return JSONResponse(_hierarchy(document, content), headers=headers)

    async def list_all(self) -> Response:
        """Everything, newest first, without file names or digests [ran]."""
        documents = await self._context.store.list(StoredDocument)
        documents.sort(key=lambda document: document.created_at)
        return JSONResponse([_row(document) for document in reversed(documents)])

    async def get(self, document_id: str) -> Response:
        """Hierarchy and page counts, no content [ran]."""
        return JSONResponse(_hierarchy(*await self._load(document_id)))

    async def delete(self, document_id: str) -> Response:
        """200 with the id, then 404 [ran]."""
        wanted = _uuid(document_id)

        def work(transaction: Transaction) -> bool:
            transaction.delete(StoredContent, wanted)
            there = transaction.delete(StoredDocument, wanted)
            if there:
                transaction.record(DELETE_DOCUMENT, entity_id=wanted, marker=wanted)
            return there

        if not await self._context.store.transact(work):
            raise HTTPException(404, "Document not found")
        return JSONResponse({"status": "deleted", "id": wanted})

    async def download(self, document_id: str, format: str = "original") -> Response:  # noqa: A002 - the wire's name
        """Bytes as uploaded, or made from the current text where none were stored [ran]."""
        document, content = await self._load(document_id)
        current = extracted(document, content)
        try:
            match format:
                case "original" if document.filename is not None:
                    return await original(self._context.library.original(document.id), document.filename)
                case "original" | "docx":
                    return await as_docx(current)
                case "markdown" | "md":
                    return await as_markdown(current)
        except UnwritableHeader as error:
            raise VendorCrash(str(error)) from error
        raise HTTPException(400, f"Unsupported format: {format}. Use 'original', 'docx', or 'markdown'.")

    async def plan(self, document_id: str, body: PlanBody) -> Response:
        """Nodes by rules of our own; stores nothing [ran for the shape, assumed for the content]."""
        document, content = await self._load(document_id)
        absent = self._context.settings.officeplane.llm == "absent"
        nodes = [] if absent else plan_nodes(document, content, body.prompt)
        if not nodes:
            raise HTTPException(500, "LLM returned no actions")
        return JSONResponse(plan_answer(document, content, body.prompt, nodes, self._context.now()))

    async def execute(self, document_id: str, body: ExecuteBody) -> Response:  # noqa: ARG002 - the vendor ignores it too
        """200 also where nodes failed; the id in the URL is not looked at [ran]."""
        try:
            execution = await execute(self._context, body.tree)
        except ValidationError as error:
            raise HTTPException(500, f"Execution failed: {error}") from error
        return JSONResponse(execution.model_dump(exclude_none=True))

    async def verify(self, document_id: str, body: VerifyBody) -> Response:
        """A look at the text by rules of our own; without a model an outline [ran]."""
        document, content = await self._load(document_id)
        if self._context.settings.officeplane.llm == "absent":
            found = _outline(document, content)
        else:
            found = verification(document, content, body.original_request, body.expected_changes)
        return JSONResponse(
            {
                "document_id": document.id,
                "document_title": document.title,
                "original_request": body.original_request,
                "verification": found,
                "document_stats": {
                    "chapters": len(content.chapters),
                    "sections": len(content.sections),
                    "pages": len(content.pages),
                },
            }
        )

    async def _load(self, document_id: str) -> tuple[StoredDocument, StoredContent]:
        found = await self._context.library.load(_uuid(document_id))
        if found is None:
            raise HTTPException(404, "Document not found")
        return found


async def health() -> Response:
    """Does not look at the database [ran]."""
    return JSONResponse({"status": "ok"})


async def metrics() -> Response:
    """Prometheus text; only `/render`, which is not offered here, would feed the counters."""
    lines = [
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {_memory_kib() * 1024}",
        "# TYPE officeplane_requests_total counter",
        "# TYPE officeplane_failures_total counter",
        "# TYPE officeplane_convert_duration_seconds histogram",
        "# TYPE officeplane_render_duration_seconds histogram",
        "# TYPE officeplane_total_duration_seconds histogram",
    ]
    return PlainTextResponse("\n".join(lines) + "\n", media_type=_PROMETHEUS)


async def system_metrics() -> Response:
    """Counts of tasks and instances, of which this stand-in has none; `uptime` is always 0."""
    return JSONResponse(
        {
            "tasks": {"total": 0, "byState": {}, "avgDurationMs": 0, "failureRate": 0},
            "system": {"uptime": 0, "memoryUsageMb": _memory_kib() // 1024, "cpuPercent": 0.0},
            "instances": {"total": 0, "byState": {}},
        }
    )


def _memory_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise VendorCrash(f"{value!r} is not a UUID") from error


def _moment(moment: datetime) -> str:
    """Milliseconds padded to six digits; no fraction where it is 0 (officeplane.md §2.5)."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000).isoformat()


def _row(document: StoredDocument) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "author": document.author,
        "createdAt": _moment(document.created_at),
        "total_chapters": document.total_chapters,
        "total_sections": document.total_sections,
    }


def _hierarchy(document: StoredDocument, content: StoredContent) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "author": document.author,
        "chapters": _chapters(content),
        "total_chapters": len(content.chapters),
        "total_pages": len(content.pages),
    }


def _chapters(content: StoredContent) -> list[dict[str, Any]]:
    return [
        {
            "id": chapter.id,
            "title": chapter.title,
            "order_index": index,
            "sections": [
                {
                    "id": section.id,
                    "title": section.title,
                    "order_index": place,
                    "page_count": len(section.pages),
                }
                for place, section in enumerate(chapter.sections)
            ],
        }
        for index, chapter in enumerate(content.chapters)
    ]


def _outline(document: StoredDocument, content: StoredContent) -> dict[str, Any]:
    return {"title": document.title, "author": document.author, "chapters": _chapters(content)}


async def _documented_error(_: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return JSONResponse({"detail": detail, "status_code": status}, status)


class _RequestId:
    """Echoes `x-request-id` or makes one; sits inside the crash handler, which is why that has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = next((value for name, value in scope.get("headers", ()) if name == b"x-request-id"), None)
        request_id = given or str(uuid.uuid4()).encode()

        async def tag(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        await self._app(scope, receive, tag)


class _Crashes:
    """Lets the framework answer an intended crash with its text 500, and ends the exception there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except VendorCrash:
            return

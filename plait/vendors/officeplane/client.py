"""OfficePlane as typed calls (officeplane.md §3)."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from plait.http import Downloaded, Transport, Upload
from plait.http.errors import InvalidInput, NotFound
from plait.vendors.officeplane import operations
from plait.vendors.officeplane.formats import MAX_SIZE, check_document, wire_filename
from plait.vendors.officeplane.models import (
    ActionNode,
    ActionTree,
    DeletedDocument,
    Document,
    DocumentSummary,
    DownloadFormat,
    Execution,
    Health,
    Plan,
    PlanRequest,
    SystemMetrics,
    Verification,
    VerifyRequest,
)

DOWNLOAD_FORMATS: Final = ("original", "docx", "markdown")


class OfficePlaneClient:
    """One method per operation. Every method raises the errors of `plait.http.errors`.

    Args:
        transport: made for the server's root, e.g. `http://localhost:8001`; closed with the client.
        max_upload_size: bytes above which a file is refused before it is sent.
    """

    def __init__(self, transport: Transport, *, max_upload_size: int = MAX_SIZE) -> None:
        self._transport = transport
        self.max_upload_size = max_upload_size

    @property
    def base_url(self) -> str:
        """The server's address, without secrets."""
        return self._transport.base_url

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def upload_document(self, path: Path, *, filename: str | None = None) -> Document:
        """Upload a file and have it ingested, which takes seconds to minutes (officeplane.md §3.1).

        The same file twice makes two documents. Title, author and collection are never sent: the
        server stores the document and then answers 500 or 404.

        Args:
            path: a document of a format in `formats.Format`.
            filename: the name to store; by default the file's own, in characters the server can return.

        Raises:
            InvalidInput: before anything is sent, where the file cannot be used.
        """
        detected = await asyncio.to_thread(check_document, path, max_size=self.max_upload_size)
        name = wire_filename(filename or path.name)
        upload = Upload(field="file", path=path, filename=name, media_type=detected.media_type)
        answer = await self._transport.call(operations.UPLOAD_DOCUMENT, upload=upload)
        return answer.read(Document)

    async def list_documents(self) -> list[DocumentSummary]:
        """Every document, newest first, those still being ingested included (officeplane.md §3.2)."""
        answer = await self._transport.call(operations.LIST_DOCUMENTS)
        return answer.read_list(DocumentSummary)

    async def get_document(self, document_id: str) -> Document:
        """A document's chapters and sections, without content (officeplane.md §3.3)."""
        answer = await self._transport.call(operations.GET_DOCUMENT, path=_document_path(document_id))
        return answer.read(Document)

    async def delete_document(self, document_id: str) -> DeletedDocument:
        """Delete a document with its sections and tasks (officeplane.md §3.4).

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        try:
            answer = await self._transport.call(operations.DELETE_DOCUMENT, path=_document_path(document_id))
        except NotFound as error:
            if not error.after_loss:
                raise
            return DeletedDocument(id=document_id)
        return answer.read(DeletedDocument)

    async def download_document(
        self,
        document_id: str,
        destination: Path,
        *,
        download_format: DownloadFormat = "original",
        limit: int | None = None,
    ) -> Downloaded:
        """Save a document to `destination` in constant memory (officeplane.md §3.5).

        `original` of a document without stored bytes is a generated DOCX, and the server does not say so.

        Args:
            document_id: the document's UUID.
            destination: the file to write.
            download_format: `original`, `docx` or `markdown`; the server has no `pdf`.
            limit: most bytes to accept.
        """
        if download_format not in DOWNLOAD_FORMATS:
            offer = ", ".join(DOWNLOAD_FORMATS)
            raise InvalidInput(f"download format {download_format!r} is not offered; use one of: {offer}")
        return await self._transport.download(
            operations.DOWNLOAD_DOCUMENT,
            destination,
            path=_document_path(document_id),
            query={"format": download_format},
            limit=limit,
        )

    async def plan_document(self, document_id: str, request: PlanRequest) -> Plan:
        """Let the vendor plan edits; costs a language model call, stores nothing (officeplane.md §3.6)."""
        answer = await self._transport.call(
            operations.PLAN_DOCUMENT, path=_document_path(document_id), json=request.model_dump(mode="json")
        )
        return answer.read(Plan)

    async def execute_plan(self, document_id: str, tree: ActionTree) -> Execution:
        """Carry out a plan; what failed is in the result, not an error (officeplane.md §3.7).

        Raises:
            InvalidInput: the plan has no nodes, or a node names another document: the server obeys
                the nodes and ignores the document in the address.
        """
        path = _document_path(document_id)
        check_tree(document_id, tree)
        body = {"tree": tree.model_dump(mode="json", exclude_none=True)}
        answer = await self._transport.call(operations.EXECUTE_PLAN, path=path, json=body)
        return answer.read(Execution)

    async def verify_document(self, document_id: str, request: VerifyRequest) -> Verification:
        """Let the vendor compare the document with what was wanted (officeplane.md §3.8).

        Costs a language model call and stores nothing. `verified` None means that it did not say.
        """
        answer = await self._transport.call(
            operations.VERIFY_DOCUMENT, path=_document_path(document_id), json=request.model_dump(mode="json")
        )
        return answer.read(Verification)

    async def health(self) -> Health:
        """Whether the server answers; it does not look at its database (officeplane.md §3.13)."""
        return (await self._transport.call(operations.HEALTH)).read(Health)

    async def metrics(self) -> str:
        """The server's metrics in Prometheus text format (officeplane.md §3.13)."""
        answer = await self._transport.call(operations.METRICS, accept="text/plain")
        return answer.content.decode("utf-8", "replace")

    async def system_metrics(self) -> SystemMetrics:
        """Counts of tasks and the server process's load (officeplane.md §3.13)."""
        return (await self._transport.call(operations.SYSTEM_METRICS)).read(SystemMetrics)


def check_tree(document_id: str, tree: ActionTree) -> None:
    """Raise `InvalidInput` where executing `tree` would do nothing, or touch another document."""
    nodes = tree.nodes()
    if not nodes:
        raise InvalidInput("the plan has no nodes, so there is nothing to execute; plan the document again")
    for node in nodes:
        named = _named_document(node)
        if named is not None and named.lower() != document_id.lower():
            raise InvalidInput(
                f"node {node.id!r} of the plan changes document {named!r}, not {document_id!r}; "
                "execute the plan on the document it was made for"
            )


def _named_document(node: ActionNode) -> str | None:
    """The document a node acts on; `$node_0.id` and the like are placeholders."""
    named: Any = node.inputs.get("document_id")
    return named if isinstance(named, str) and named and not named.startswith("$") else None


def _document_path(document_id: str) -> dict[str, str]:
    """The path parameter; the server answers a malformed id with a bare 500 (officeplane.md §2.3)."""
    try:
        UUID(document_id)
    except ValueError as error:
        raise InvalidInput(
            f"document id {document_id!r} is not a UUID; use an id from list_documents"
        ) from error
    return {"document_id": document_id}

"""How OfficePlane's effects are found again after a lost answer (officeplane.md §6)."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plait import failpoints
from plait.http import Downloaded
from plait.http.errors import (
    AuthenticationFailed,
    InvalidInput,
    NotFound,
    PermissionDenied,
    PlaitError,
    ServerFailed,
)
from plait.http.operation import Operation
from plait.ledger.recipe import (
    Absent,
    AnyRecipe,
    Found,
    Identity,
    Json,
    Look,
    NotYetKnown,
    Recorded,
    Several,
    Verdict,
)
from plait.vendors.officeplane import operations
from plait.vendors.officeplane.client import OfficePlaneClient, check_tree
from plait.vendors.officeplane.formats import MEDIA_TYPES, Format, check_document, file_digest
from plait.vendors.officeplane.models import ActionTree, Document, DocumentSummary, DownloadFormat, Execution
from plait.vendors.officeplane.outline import Outline, missing_changes, outline_of, reconstructed

_FINAL_UPLOADS: Final = (
    "Error ingesting document",
    "Error importing document",
    "No driver available",
)


@dataclass(slots=True)
class UploadDocument:
    """Upload one file; the same content to the same server is one effect for ever."""

    client: OfficePlaneClient
    path: Path
    filename: str | None = None
    _sha256: str = field(default="", init=False, repr=False, compare=False)
    _strangers: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Documents whose stored original is another file: that never changes."""

    operation: Operation = field(default=operations.UPLOAD_DOCUMENT, init=False, repr=False)
    result_type: type[Document] = field(default=Document, init=False, repr=False)

    async def identity(self) -> Identity:
        """The file's digest at this server. Raises `InvalidInput` for a file that cannot be sent."""
        await asyncio.to_thread(check_document, self.path, max_size=self.client.max_upload_size)
        self._sha256 = await asyncio.to_thread(file_digest, self.path)
        return Identity(
            account=self.client.base_url,
            target=self.client.base_url,
            inputs={"sha256": self._sha256},
            unit=f"officeplane:{self.client.base_url}:upload:{self._sha256}",
            by_content=True,
        )

    async def baseline(self) -> Json:
        """The documents listed before, and what we are about to send."""
        listed = await self.client.list_documents()
        return {"sha256": self._sha256, "ids": [document.id for document in listed]}

    async def send(self, external_id: str) -> Document:
        """Upload. The server stores no id of ours, so `external_id` is not sent."""
        del external_id
        if await asyncio.to_thread(file_digest, self.path) != self._sha256:
            raise InvalidInput(f"{self.path} changed after it was read; run again with the file as it is now")
        return await self.client.upload_document(self.path, filename=self.filename)

    async def look(self, context: Look) -> Verdict[Document]:
        """Compare the original of every document that is new and nobody's (officeplane.md §6.1)."""
        try:
            return await self._look(context)
        except PlaitError as error:
            return _cannot_look(error)

    def vendor_id(self, result: Document) -> str:
        """The document's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """Whether the server read the file and could not use it: it will not another time either."""
        return error.message.startswith(_FINAL_UPLOADS)

    async def _look(self, context: Look) -> Verdict[Document]:
        listed = await self.client.list_documents()
        known = set(context.baseline["ids"]) | self._strangers
        fresh = [document for document in listed if document.id not in known]
        taken = await context.taken([document.id for document in fresh])
        matches, unsettled = await self._compare(
            [document for document in fresh if document.id not in taken], context.baseline["sha256"]
        )
        if len(matches) > 1:
            return Several(tuple(document.id for document in matches))
        if matches:
            return await self._complete(matches[0])
        if unsettled:
            return NotYetKnown(
                f"{len(unsettled)} new documents show no stored original, so they may be ours: "
                f"{', '.join(unsettled[:5])}"
            )
        return Absent()

    async def _compare(
        self, candidates: Sequence[DocumentSummary], sha256: str
    ) -> tuple[list[DocumentSummary], list[str]]:
        """Those with our bytes, and the ids of those that may come to have them."""
        matches: list[DocumentSummary] = []
        unsettled: list[str] = []
        for document in candidates:
            failpoints.reach("look.between_pages")
            try:
                original = await _fetch(self.client, document.id, "original")
            except NotFound:
                continue  # deleted since it was listed
            except ServerFailed:
                # Names outside Latin-1 make a download fail (officeplane.md §3.5); ours has none, but
                # until its original is stored the title is the name.
                unsettled.append(document.id)
                continue
            if original.sha256 == sha256:
                matches.append(document)
            elif _generated(original, document):
                unsettled.append(document.id)
            else:
                self._strangers.add(document.id)
        return matches, unsettled

    async def _complete(self, listed: DocumentSummary) -> Verdict[Document]:
        """The match as the upload would have answered it, once it has stopped growing."""
        document = await self.client.get_document(listed.id)
        counts = (len(document.chapters), document.total_chapters, listed.total_chapters)
        if len(set(counts)) > 1 or not document.chapters:
            return NotYetKnown(
                f"document {listed.id} is still being written: its chapters count {counts}", 2.0
            )
        return Found(document)


@dataclass(slots=True)
class ExecutePlan:
    """Carry out a plan on one document."""

    client: OfficePlaneClient
    document_id: str
    tree: ActionTree

    operation: Operation = field(default=operations.EXECUTE_PLAN, init=False, repr=False)
    result_type: type[Execution] = field(default=Execution, init=False, repr=False)

    async def identity(self) -> Identity:
        """The document and the plan's nodes. Raises `InvalidInput` for a plan of another document."""
        check_tree(self.document_id, self.tree)
        nodes = [node.model_dump(mode="json", exclude_none=True) for node in self.tree.tree]
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/documents/{self.document_id}",
            inputs={"tree": nodes},
            unit=f"officeplane:{self.client.base_url}:document:{self.document_id}",
        )

    async def baseline(self) -> Json:
        """The document's outline and the digest of its Markdown."""
        outline, markdown, _ = await self._state()
        return {"outline": outline.model_dump(mode="json"), "markdown": markdown}

    async def send(self, external_id: str) -> Execution:
        """Execute. The server stores no id of ours, so `external_id` is not sent."""
        del external_id
        return await self.client.execute_plan(self.document_id, self.tree)

    async def look(self, context: Look) -> Verdict[Execution]:
        """Compare the document with what it was (officeplane.md §6).

        Unchanged is absent; every planned change visible is done. A part of them is neither: the
        server may be at work, or nodes failed, and sending again would add the others twice.
        """
        try:
            now, digest, text = await self._state()
        except PlaitError as error:
            return _cannot_look(error)
        before = Outline.model_validate(context.baseline["outline"])
        if now == before and digest == context.baseline["markdown"]:
            return Absent()
        nodes = self.tree.nodes()
        missing = missing_changes(nodes, before, now, text)
        if not missing:
            return Found(reconstructed(nodes))
        return NotYetKnown(
            f"document {self.document_id} changed, but {len(missing)} of {len(nodes)} planned changes "
            f"cannot be seen in it (first {missing[0]}): at work, or failed; compare it with the plan"
        )

    def vendor_id(self, result: Execution) -> str:
        """The document's id: an execution has none."""
        del result
        return self.document_id

    def final(self, error: PlaitError) -> bool:
        """Whether the server could not read the plan's nodes (officeplane.md §3.7)."""
        return error.message.startswith("Execution failed")

    async def _state(self) -> tuple[Outline, str, str]:
        """The outline, the Markdown's digest and the Markdown."""
        outline = outline_of(await self.client.get_document(self.document_id))
        async with _folder() as folder:
            saved = await self.client.download_document(
                self.document_id, folder / "document.md", download_format="markdown"
            )
            text = await asyncio.to_thread(saved.path.read_text, "utf-8", "replace")
        return outline, saved.sha256, text


def restore(client: OfficePlaneClient, recorded: Recorded) -> AnyRecipe | None:
    """The recipe of a recorded effect, able to look and not to send; None for an unknown operation."""
    match recorded.operation:
        case "upload_document":
            return UploadDocument(client, _NO_FILE)
        case "execute_plan":
            _, _, document_id = recorded.target.rpartition("/")
            return ExecutePlan(client, document_id, ActionTree.model_validate(recorded.inputs))
    return None


_NO_FILE: Final = Path("the-ledger-keeps-no-files")
"""A look compares digests, and these are in the baseline."""


def _cannot_look(error: PlaitError) -> NotYetKnown:
    """What a failed look says. Raises where only a person can make the look possible again."""
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        raise error
    return NotYetKnown(f"OfficePlane could not be asked: {error}", error.retry_after)


def _generated(original: Downloaded, document: DocumentSummary) -> bool:
    """Whether a download looks like the DOCX the server makes where no original is stored.

    It is named after the title, with underscores for spaces (officeplane.md §3.5).
    """
    if original.media_type != MEDIA_TYPES[Format.DOCX]:
        return False
    name = original.filename
    return name is None or _plain(name.removesuffix(".docx")) == _plain(document.title or "")


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


async def _fetch(client: OfficePlaneClient, document_id: str, download_format: DownloadFormat) -> Downloaded:
    """What a download is, without keeping the file."""
    async with _folder() as folder:
        return await client.download_document(
            document_id, folder / "download", download_format=download_format
        )


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="plait-")
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

"""What one case asks for: a few effects, and how the sandbox's own counters tell them apart."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "upload",
    "execute",
    "conversation",
    "messages",
    "chat",
    "batch",
    "generation",
    "sweep",
    "run",
    "rerun",
    "asset",
    "review",
    "post",
    "file",
    "channel",
]
BATCH: Final = 4

_TYPES: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    'officeDocument" Target="word/document.xml"/></Relationships>'
)
_DOCUMENT: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    "<w:p><w:r><w:t>The rent of the warehouse is {token}.</w:t></w:r></w:p></w:body></w:document>"
)


@dataclass(frozen=True, slots=True)
class Intended:
    """One effect that has to happen exactly `count` times (at most once where it is blind)."""

    label: str
    """Its step in the ledger."""
    operation: str
    wanted: str
    """What the sandbox's effect row shows of it: the marker or its front, or the entity's id."""
    count: int = 1
    blind: bool = False

    def is_counted(self, marker: str, entity_id: str) -> bool:
        """Whether a row of the sandbox's counters is this effect."""
        return self.wanted in {marker, entity_id} or marker.startswith(f"{self.wanted} · ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The inputs of one case. What an id names exists before it begins."""

    kind: Kind
    token: str
    document_id: str = ""
    conversation_id: str = ""
    run_id: str = ""
    review_id: str = ""
    """A decision that the run waits for."""
    file_id: str = ""
    """A picture to attach."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Titles and questions, all different."""
        size = {"batch": BATCH, "messages": 2}.get(self.kind, 1)
        return tuple(f"What is {self.token} number {n}?" for n in range(size))

    @property
    def document(self) -> bytes:
        """A small Word document with a text of its own; the same bytes at every call."""
        return word_document(self.token)

    @property
    def tree(self) -> dict[str, object]:
        """A plan that adds one chapter."""
        inputs = {"document_id": self.document_id, "title": f"Chapter {self.token}"}
        return {"tree": [{"id": "n1", "action": "add_chapter", "inputs": inputs, "children": []}]}

    @property
    def _digest_of_document(self) -> str:
        return hashlib.sha256(self.document).hexdigest()

    def intended(self) -> tuple[Intended, ...]:
        """What must have happened in the end."""
        first = self.texts[0]
        single: dict[Kind, tuple[str, str, str]] = {
            "upload": ("document", "upload_document", self._digest_of_document),
            "execute": ("plan", "execute_plan", self.document_id),
            "chat": ("question", "chat", _digest(first)),
            "generation": ("conversation 0", "create_conversation", first),
            "run": ("run", "create_run", first),
            "rerun": ("run", "create_run", first),
            "asset": ("asset", "upload_asset", self._digest_of_document),
            "review": ("decision", "resolve_review", self.review_id),
            "post": ("review", "post_message", _digest(first)),
            "file": ("file", "store_file", self._digest_of_document),
            "channel": ("channel", "create_channel", first),
        }
        if self.kind in single:
            count = 2 if self.kind in {"generation", "rerun"} else 1
            return (Intended(*single[self.kind], count=count, blind=self.kind == "chat"),)
        if self.kind == "messages":
            return tuple(
                Intended(f"message {n}", "send_message", _digest(text)) for n, text in enumerate(self.texts)
            )
        return tuple(
            Intended(f"conversation {n}", "create_conversation", text) for n, text in enumerate(self.texts)
        )


def word_document(token: str) -> bytes:
    """A DOCX of a few hundred bytes; building one with a library would cost more than its upload."""
    buffer = io.BytesIO()
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": _RELATIONS,
        "word/document.xml": _DOCUMENT.format(token=token),
    }
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

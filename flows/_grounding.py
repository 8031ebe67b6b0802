"""How the documents reach Planck AI: by reference where its workspace lists them, else inline."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from pydantic import BaseModel, Field

from blocks import OfficePlaneServer, PlanckCredentials
from flows._models import Grounding, LeftOut, SourceDocument, UsedDocument
from plait.http.errors import PlaitError
from plait.vendors.officeplane.formats import wire_filename
from plait.vendors.officeplane.models import Document
from plait.vendors.planck.models import ChatSettings, DocumentReference
from tasks import Run
from tasks._decision import Decision
from tasks._progress import say
from tasks.officeplane_batch import read_markdown
from tasks.planck_documents import Listed, Wanted, wait_for_documents

_MARK: Final = "<<<"


class Ingested(BaseModel):
    """A file and what OfficePlane made of it."""

    file: SourceDocument
    document: Document


class Ingestion(BaseModel):
    """What became of the readable files at OfficePlane."""

    digests: list[str]
    """Of every readable file, so that a re-run of the same files is the same decision."""
    ingested: list[Ingested]
    left_out: list[LeftOut]


class GroundingRules(BaseModel):
    """What the caller wants of the grounding."""

    mode: Grounding
    inline_budget: int
    """Characters of Markdown that the first message may carry."""
    listing_deadline: float
    """Seconds."""
    processing_deadline: float
    """Seconds."""


class Grounds(BaseModel):
    """What every question of one run rests on."""

    used: list[UsedDocument] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)
    preamble: str = ""
    """The inline documents; goes before the first question."""

    @property
    def settings(self) -> ChatSettings:
        """The documents to refer to in every message."""
        return ChatSettings(
            documents=tuple(
                DocumentReference(id=one.planck_id, name=one.name) for one in self.used if one.planck_id
            )
        )


async def ground(
    run: Run,
    ingestion: Ingestion,
    rules: GroundingRules,
    *,
    officeplane: OfficePlaneServer | str | None,
    planck: PlanckCredentials | str | None,
    workspace_id: str,
) -> Grounds:
    """Decide once per run key how each document is grounded; a re-run asks exactly the same."""

    async def choose() -> Grounds:
        grounds = Grounds(left_out=list(ingestion.left_out))
        listed = await _listed(ingestion.ingested, rules, planck, workspace_id)
        inline: list[Ingested] = []
        for one, standing in zip(ingestion.ingested, listed, strict=True):
            if standing is not None and standing.standing == "ready":
                grounds.used.append(_used(one, Grounding.DOCUMENT, standing.planck_id))
            elif rules.mode is Grounding.DOCUMENT:
                grounds.left_out.append(LeftOut(name=one.file.name, reason=_why_not(standing, rules)))
            else:
                inline.append(one)
        if inline:
            await _put_inline(grounds, inline, rules, officeplane)
        return grounds

    inputs = {"documents": sorted(ingestion.digests), "mode": rules.mode.value}
    decision = Decision(about=workspace_id, inputs=inputs, model=Grounds, choose=choose)
    return (await run.effects().perform(decision, step="grounding")).choice


async def _listed(
    ingested: Sequence[Ingested],
    rules: GroundingRules,
    planck: PlanckCredentials | str | None,
    workspace_id: str,
) -> Sequence[Listed | None]:
    if rules.mode is Grounding.INLINE:
        return [None] * len(ingested)
    say("Waiting for Planck AI to list and process the documents")
    patient = rules.mode is Grounding.DOCUMENT
    return await wait_for_documents(
        planck,
        workspace_id,
        [Wanted(officeplane_id=one.document.id, names=_names(one)) for one in ingested],
        listing_deadline=rules.processing_deadline if patient else rules.listing_deadline,
        processing_deadline=rules.processing_deadline,
    )


def _names(one: Ingested) -> tuple[str, ...]:
    return tuple(dict.fromkeys((one.file.name, wire_filename(one.file.name))))


def _used(one: Ingested, grounding: Grounding, planck_id: str | None = None) -> UsedDocument:
    return UsedDocument(
        name=one.file.name,
        sha256=one.file.sha256,
        officeplane_id=one.document.id,
        grounding=grounding,
        planck_id=planck_id,
    )


def _why_not(standing: Listed | None, rules: GroundingRules) -> str:
    reasons = {
        "absent": f"not listed in the Planck workspace within {rules.processing_deadline:g} s",
        "ambiguous": "the Planck workspace lists several documents of this name; remove the old ones",
        "failed": f"Planck AI could not process it (status {standing.word if standing else None!r})",
        "waiting": f"not processed by Planck AI within {rules.processing_deadline:g} s "
        f"(status {standing.word if standing else None!r})",
    }
    remedy = "; try grounding 'inline'"
    return reasons[standing.standing if standing else "absent"] + remedy


async def _put_inline(
    grounds: Grounds,
    inline: Sequence[Ingested],
    rules: GroundingRules,
    officeplane: OfficePlaneServer | str | None,
) -> None:
    texts = await read_markdown(
        officeplane, [one.document.id for one in inline], limit=max(rules.inline_budget, 1)
    )
    left = rules.inline_budget
    parts: list[str] = []
    for one, text in zip(inline, texts, strict=True):
        if isinstance(text, PlaitError):
            grounds.left_out.append(LeftOut(name=one.file.name, reason=text.message))
        elif len(text) > left:
            grounds.left_out.append(LeftOut(name=one.file.name, reason=_too_long(text, left)))
        else:
            left -= len(text)
            parts.append(inline_document(one.file.name, text))
            grounds.used.append(_used(one, Grounding.INLINE))
    grounds.preamble = "\n".join(parts)


def _too_long(text: str, left: int) -> str:
    return (
        f"its Markdown has {len(text):,} characters and {left:,} of the inline budget are left; "
        "raise inline_budget, or use a workspace that lists the document"
    )


def inline_document(name: str, markdown: str) -> str:
    """One document between delimiters that its own text cannot forge."""
    safe = "".join(" " if char in '"\r\n' else char for char in PurePath(name).name)
    lines = [f" {line}" if line.lstrip().startswith(_MARK) else line for line in markdown.splitlines()]
    return "\n".join([f'<<<document name="{safe}">>>', *lines, "<<<end>>>", ""])

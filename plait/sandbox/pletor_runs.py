"""How a run of the Pletor stand-in gets on: work, review, more work, an end.

A run is brought up to date when somebody looks at it, from nothing but what is stored: a sandbox that
was killed goes on where it was. Pictures have ids and contents that follow from run and turn, so that two
looks at once make the same ones.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.pletor_pictures import compose, draw_picture
from plait.sandbox.pletor_store import (
    AGENTS,
    APPS,
    Definition,
    Piece,
    ReviewKind,
    Stage,
    StoredAsset,
    StoredReview,
    StoredRun,
)
from plait.sandbox.store import Transaction
from plait.vendors.pletor.operations import CANCEL_APP_RUN, CANCEL_RUN, RESOLVE_REVIEW

_PROMPTS: Final[dict[ReviewKind, str]] = {
    "approval": "Approve this picture?",
    "selection": "Which of these pictures?",
    "edit": "Is this text right?",
}
_DECISIONS: Final = frozenset({"approve", "reject", "regenerate"})
_APPROVED: Final = "approve"


@dataclass(frozen=True, slots=True)
class Made:
    """What one piece of work brought forth, and the assets to store for it."""

    pieces: list[Piece]
    assets: list[StoredAsset]


class Runs:
    """Runs in the store, and the pictures they make."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._settings = context.settings.pletor
        self._folder = context.settings.files / "pletor"

    def path(self, asset_id: str) -> Path:
        """Where an asset's bytes are."""
        return self._folder / asset_id

    async def prepare(self) -> None:
        """Make the folder of the assets."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)

    async def up_to_date(self, run: StoredRun) -> StoredRun:
        """The run as it stands now."""
        while run.state == "working" and time.time() >= run.began + self._settings.work_seconds:
            stage = _definition(run).stages[run.stage]
            made = await self._make(run, stage, f"{run.stage}.{run.turn}", 0)
            run = await self._context.store.transact(
                lambda transaction, run=run, stage=stage, made=made: self._end_work(  # type: ignore[misc]
                    transaction, run, stage, made
                )
            )
        return run

    def _end_work(self, transaction: Transaction, seen: StoredRun, stage: Stage, made: Made) -> StoredRun:
        run = transaction.get(StoredRun, seen.id)
        if run is None or (run.state, run.stage, run.turn) != (seen.state, seen.stage, seen.turn):
            return run or seen
        for asset in made.assets:
            transaction.put(asset)
        run.updated_at = self._context.now()
        if stage.fails:
            run.state, run.error = "failed", "The model refused to work on this"
        elif run.is_app and self._settings.app_reviews == "for_ever":
            self._ask(run, ("approval",), made.pieces)
        elif stage.reviews:
            self._ask(run, stage.reviews, made.pieces)
        else:
            run.accepted.extend(made.pieces)
            self._next_stage(run)
        transaction.put(run)
        return run

    def _ask(self, run: StoredRun, kinds: Sequence[ReviewKind], pieces: list[Piece]) -> None:
        run.state = "reviewing"
        run.reviews.extend(
            StoredReview(
                id=str(uuid.uuid4()),
                stage=run.stage,
                kind=kind,
                turn=0,
                options=[piece for piece in pieces if _belongs(piece, kind)],
                asked_at=time.time(),
            )
            for kind in kinds
        )

    def _next_stage(self, run: StoredRun) -> None:
        if run.stage + 1 == len(_definition(run).stages):
            run.state = "completed"
            return
        run.state, run.stage, run.began = "working", run.stage + 1, time.time()

    async def _make(self, run: StoredRun, stage: Stage, label: str, turn: int) -> Made:
        """Draw and write what a stage asks for; the same label makes the same things."""
        title, style = str(run.value("title") or ""), str(run.value("style") or "")
        turns = range(turn * stage.texts, (turn + 1) * stage.texts)
        texts = [Piece(text=compose(title=title, style=style, turn=each)) for each in turns]
        made = Made(pieces=[], assets=[])
        for number in range(stage.pictures):
            asset_id = str(uuid.uuid5(uuid.UUID(run.id), f"{label}.{number}"))
            path = self.path(asset_id)
            await asyncio.to_thread(
                draw_picture,
                path,
                title=title,
                note=" · ".join(filter(None, (_definition(run).name, style, f"variant {number + 1}"))),
                seed=self._seed(title, style, label, number),
                pasted=[self.path(each) for each in _input_assets(run)],
            )
            made.pieces.append(Piece(asset_id=asset_id))
            made.assets.append(await self._asset(run, asset_id, path, number))
        made.pieces.extend(texts)
        return made

    def _seed(self, *what: object) -> int:
        text = ":".join(map(str, (self._context.settings.seed, *what)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    async def _asset(self, run: StoredRun, asset_id: str, path: Path, number: int) -> StoredAsset:
        content = await asyncio.to_thread(path.read_bytes)
        return StoredAsset(
            id=asset_id,
            parent=run.organization,
            created_at=self._context.now(),
            filename=f"picture-{number + 1}.png",
            media_type="image/png",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            run_id=run.id,
        )

    # ------------------------------------------------------------ decisions

    async def decide(
        self, run: StoredRun, review_id: str, decision: dict[str, Any], key: str | None
    ) -> StoredRun | None:
        """Take a decision; None where it was taken before.

        Raises:
            HTTPException: 404 for an unknown review, 422 for a decision that does not fit it, 409 where
                the run has ended.
        """
        review = next((each for each in run.reviews if each.id == review_id), None)
        if review is None:
            raise HTTPException(404, "Review not found")
        _check(review, decision)
        anew = await self._anew(run, review) if decision["decision"] == "regenerate" else None

        def work(transaction: Transaction) -> StoredRun | None:
            current = transaction.get(StoredRun, run.id) or run
            asked = next(each for each in current.reviews if each.id == review_id)
            if asked.decided_at is not None:
                return None
            if current.state != "reviewing":
                raise HTTPException(409, f"The run is {current.state}")
            transaction.record(
                RESOLVE_REVIEW, entity_id=review_id, marker=f"{run.id}/{review_id}", external_key=key
            )
            for asset in anew.assets if anew else ():
                transaction.put(asset)
            self._apply(current, asked, decision, anew.pieces if anew else [])
            current.updated_at = self._context.now()
            transaction.put(current)
            return current

        return await self._context.store.transact(work)

    async def _anew(self, run: StoredRun, review: StoredReview) -> Made:
        stage = _definition(run).stages[review.stage]
        others: dict[ReviewKind, dict[str, int]] = {"edit": {"pictures": 0}, "approval": {"texts": 0}}
        wanted = stage.model_copy(update=others.get(review.kind, {}))
        turn = review.turn + 1
        return await self._make(run, wanted, f"{review.stage}.{review.kind}.{turn}", turn)

    def _apply(
        self, run: StoredRun, review: StoredReview, decision: dict[str, Any], anew: list[Piece]
    ) -> None:
        review.decided_at, review.decision = time.time(), decision
        match decision["decision"]:
            case "reject":
                run.state, run.error = "failed", "Rejected in review"
                return
            case "regenerate":
                again = {"id": str(uuid.uuid4()), "turn": review.turn + 1, "options": anew}
                again |= {"asked_at": time.time() + self._settings.work_seconds}
                run.reviews.append(review.model_copy(update={**again, "decided_at": None, "decision": None}))
                return
        run.accepted.extend(_chosen(review, decision))
        if not run.open_reviews:
            self._next_stage(run)

    async def cancel(self, run: StoredRun) -> StoredRun:
        """End a run that goes on. Raises `HTTPException`: 409 where it has ended."""
        operation: Operation = CANCEL_APP_RUN if run.is_app else CANCEL_RUN

        def work(transaction: Transaction) -> StoredRun:
            current = transaction.get(StoredRun, run.id) or run
            if current.state not in {"working", "reviewing"}:
                raise HTTPException(409, f"The run is {current.state}")
            current.state, current.updated_at = "canceled", self._context.now()
            transaction.put(current)
            transaction.record(operation, entity_id=run.id, marker=run.id, external_key=run.external_id)
            return current

        return await self._context.store.transact(work)


def prompt_of(review: StoredReview) -> str:
    """What the person is asked."""
    texts = review.kind == "selection" and all(piece.text is not None for piece in review.options)
    return "Which of these texts?" if texts else _PROMPTS[review.kind]


def _belongs(piece: Piece, kind: ReviewKind) -> bool:
    """Whether a review of this kind is about it: a selection may offer anything."""
    return kind == "selection" or (piece.text is not None) == (kind == "edit")


def _definition(run: StoredRun) -> Definition:
    return (APPS if run.is_app else AGENTS)[run.definition]


def _input_assets(run: StoredRun) -> list[str]:
    value = run.value("image")
    return list(value.get("asset_ids", [])) if isinstance(value, dict) else []


def _check(review: StoredReview, decision: dict[str, Any]) -> None:
    """422 for what the review does not offer."""
    if decision.get("decision") not in _DECISIONS:
        raise HTTPException(422, f"decision must be one of {', '.join(sorted(_DECISIONS))}")
    if decision["decision"] == _APPROVED and review.kind == "selection":
        chosen = decision.get("selected_asset_ids") or []
        taken = [*chosen, *([decision["text"]] if decision.get("text") else [])]
        offered = {piece.asset_id or piece.text for piece in review.options}
        if not taken or not set(taken) <= offered:
            raise HTTPException(
                422, "selected_asset_ids and text must name some of the options, and nothing else"
            )


def _chosen(review: StoredReview, decision: dict[str, Any]) -> list[Piece]:
    match review.kind:
        case "selection":
            pictures = [Piece(asset_id=asset_id) for asset_id in decision.get("selected_asset_ids") or []]
            return [*pictures, *([Piece(text=decision["text"])] if decision.get("text") else [])]
        case "edit":
            return [Piece(text=decision.get("text") or review.options[0].text)]
        case _:
            return review.options

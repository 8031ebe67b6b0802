"""Runs, assets and pages as the Pletor stand-in writes them."""

import time
from typing import Any, Final

from fastapi.responses import JSONResponse, Response

from plait.sandbox.pletor_runs import prompt_of
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_store import Piece, StoredAsset, StoredReview, StoredRun

_ENDED: Final = frozenset({"completed", "failed", "canceled"})
_PENDING: Final = 0.25
"""Which part of its first work a run is `pending`."""


def page_of(
    shown: list[dict[str, Any]], settings: PletorSettings, *, limit: int, after: str | None
) -> Response:
    """One page: all of it after the row with this id, at most `limit` [assumed]."""
    honoured = settings.paging == "honoured"
    ids = [row.get("id") or row.get("run_id") for row in shown]
    first = ids.index(after) + 1 if honoured and after in ids else 0
    rows = shown[first : first + limit] if honoured else shown
    if settings.envelope == "bare":
        return JSONResponse(rows)
    more = {"has_more": first + limit < len(shown)} if honoured else {}
    return JSONResponse({settings.envelope: rows, **more})


def shown_asset(asset: StoredAsset) -> dict[str, Any]:
    """An asset; digest and size are [assumed]."""
    fields = {"id", "external_id", "filename", "media_type", "size", "sha256", "run_id"}
    return {**asset.model_dump(include=fields), "created_at": asset.created_at.isoformat()}


def created(shown: dict[str, Any], settings: PletorSettings) -> Response:
    """The answer to a create."""
    if not settings.echo:
        shown.pop("external_id")
    return JSONResponse(shown, settings.create_status)


def shown_run(run: StoredRun, settings: PletorSettings, *, stale: bool = False) -> dict[str, Any]:
    """A run; with `stale` as a lagging replica has it."""
    early = stale and run.state not in _ENDED
    listed = [] if early else _listed_reviews(run, settings)
    decided = [] if early else [review for review in run.reviews if review.decision is not None]
    return {
        settings.id_name: run.id,
        "status": settings.status_words.pending if early else _status(run, settings),
        "external_id": run.external_id,
        "app_id" if run.is_app else "agent_id": run.definition,
        "inputs": run.inputs,
        "awaiting_human_review": bool(listed),
        "pending_reviews": [
            _pending(review) for review in listed if time.time() >= review.asked_at + settings.review_lag
        ],
        **({"reviews": [_decided(review) for review in decided]} if settings.decision_shown else {}),
        **_products(run, settings),
        "error": run.error,
        "created_at": run.created_at.isoformat(),
        "updated_at": run.updated_at.isoformat(),
    }


def _status(run: StoredRun, settings: PletorSettings) -> str:
    words = settings.status_words
    if run.state == "working":
        fresh = run.stage == 0 and time.time() < run.began + _PENDING * settings.work_seconds
        return words.pending if fresh else words.running
    return str(getattr(words, run.state))


def _listed_reviews(run: StoredRun, settings: PletorSettings) -> list[StoredReview]:
    """What is asked now, and what was answered a moment ago where the server lags."""
    now = time.time()
    asked = [] if run.state != "reviewing" else [r for r in run.open_reviews if r.asked_at <= now]
    lagging = [r for r in run.reviews if r.decided_at and now < r.decided_at + settings.resolved_lag]
    return [*lagging, *asked]


def _pending(review: StoredReview) -> dict[str, Any]:
    return {
        "id": review.id,
        "node_id": f"node_{review.stage}_{review.kind}",
        "type": review.kind,
        "prompt": prompt_of(review),
        "options": [piece.model_dump(exclude_none=True) for piece in review.options],
        "created_at": review.asked_at,
    }


def _decided(review: StoredReview) -> dict[str, Any]:
    return {"id": review.id, "type": review.kind, "decided_at": review.decided_at, **(review.decision or {})}


def _products(run: StoredRun, settings: PletorSettings) -> dict[str, Any]:
    made = run.accepted if run.state == "completed" else []
    match settings.output_shape:
        case "outputs":
            return {"outputs": [_output(number, piece) for number, piece in enumerate(made)]}
        case "text_only":
            return {"results": [{"text": piece.text} for piece in made if piece.text is not None]}
        case "empty":
            return {"results": []}
        case _:
            return {"results": [piece.model_dump(exclude_none=True) for piece in made]}


def _output(number: int, piece: Piece) -> dict[str, Any]:
    made = {"value": piece.text} if piece.asset_id is None else {"asset_ids": [piece.asset_id]}
    return {"id": f"output_{number}", **made}

"""Lists as Planck AI pages them, and the history of a conversation (planck.md §2.3, §3.1) [assumed]."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.responses import JSONResponse

from plait.sandbox.planck_settings import PlanckSettings
from plait.sandbox.planck_store import StoredMessage


def page_of(
    entries: Sequence[dict[str, Any]], skip: int, limit: int, settings: PlanckSettings
) -> JSONResponse:
    """`{"data", "count"}`; `count` is of all entries."""
    page = entries if settings.paging == "ignored" else entries[skip : skip + limit]
    return JSONResponse({"data": list(page), "count": len(entries)})


def shown_history(messages: Sequence[StoredMessage], settings: PlanckSettings) -> list[dict[str, Any]]:
    """The messages that the history already shows, in the order of the switch."""
    newest = datetime.now(UTC) - timedelta(seconds=settings.history_lag)
    seen = [message for message in messages if not settings.history_lag or message.created_at <= newest]
    ordered = seen if settings.history_order == "oldest_first" else seen[::-1]
    return [_shown(message, settings) for message in ordered]


def _shown(message: StoredMessage, settings: PlanckSettings) -> dict[str, Any]:
    content: Any = message.text if settings.history_content == "string" else message.content
    return {
        "id": message.id,
        "role": message.role,
        "content": content,
        "created_at": message.created_at.isoformat(),
    }

"""The page where people answer: an inbox in the browser, in place of the vendor's dashboard.

Everything on it comes from this process; no other host is asked. What agents wrote is untrusted:
texts arrive as sanitised HTML or are set as text, pictures that could hold scripts are only offered
for download, and the policy forbids inline code.
"""

import asyncio
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any, Final

import nh3
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from plait.content.prose import prose_html
from plait.http.address import is_loopback
from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_files import Files
from plait.sandbox.placet_messages import Body, Name, delete_message
from plait.sandbox.placet_push import Push
from plait.sandbox.placet_reviews import Given, Reviews
from plait.sandbox.placet_store import (
    PENDING,
    StoredChannel,
    StoredFile,
    StoredMessage,
    count_messages,
    files_of,
    find_messages,
    moment,
    new_id,
    shown_message,
    shown_review,
    text_of,
)
from plait.sandbox.placet_wire import answer, refuse
from plait.sandbox.store import Transaction

PAGE: Final = Path(__file__).parent / "placet_page"
PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Shown in the page. An SVG may hold scripts, so it is a download."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_LISTED: Final = 200
_ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_TITLE_LENGTH: Final = 120


class Answer(Body):
    """What the page sends."""

    response: dict[str, Any]
    feedback: str | None = None
    modified_file_ids: dict[str, str] | None = None


class Written(Body):
    """A person's own message."""

    text: Name


class Reviewer:
    """The page's routes. They show every channel: this is the sandbox, and everybody is its user."""

    def __init__(self, context: SandboxContext, reviews: Reviews, files: Files, push: Push) -> None:
        self._context = context
        self._folder = context.settings.files
        self._reviews = reviews
        self._files = files
        self._push = push

    def routes(self) -> list[Route]:
        """To be served at the stand-in's root."""
        return [
            Route("/", self._page),
            Route("/{asset}", self._asset),
            Route("/reviewer/inbox", self._inbox),
            Route("/reviewer/messages/{message_id}", self._message),
            Route("/reviewer/messages/{message_id}", self._delete, methods=["DELETE"]),
            Route("/reviewer/messages/{message_id}/respond", self._respond, methods=["POST"]),
            Route("/reviewer/messages/{message_id}/webhook", self._tell_again, methods=["POST"]),
            Route("/reviewer/messages/{message_id}/files", self._keep_file, methods=["POST"]),
            Route("/reviewer/channels/{channel_id}/messages", self._write, methods=["POST"]),
            Route("/reviewer/files/{file_id}", self._file),
        ]

    async def _page(self, request: Request) -> Response:
        _check_host(request)
        return _guarded(FileResponse(PAGE / "index.html", media_type="text/html"))

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["asset"]
        if name not in _ASSETS:
            raise HTTPException(404)
        return _guarded(FileResponse(PAGE / name, media_type=_ASSETS[name]))

    async def _inbox(self, request: Request) -> Response:
        """What waits, most urgent first; what was answered and the other messages, newest first."""
        _check_host(request)

        def work(transaction: Transaction) -> dict[str, Any]:
            channels = transaction.list(StoredChannel)
            names = {channel.id: channel.name for channel in channels}
            urgent = "json_extract(data, '$.review.expires_at'), seq"
            waiting = find_messages(transaction, PENDING, order=urgent, limit=_LISTED)
            reviewed = "json_extract(data, '$.review') IS NOT NULL"
            closed = find_messages(transaction, f"{reviewed} AND NOT {PENDING}", limit=_LISTED)
            others = find_messages(transaction, f"NOT {reviewed}", limit=_LISTED)
            counts = count_messages(transaction, PENDING)
            return {
                "now": moment(self._context.now()),
                "channels": [
                    {"id": channel.id, "name": channel.name, "waiting": counts.get(channel.id, 0)}
                    for channel in channels
                ],
                "total": sum(counts.values()),
                "waiting": [_summary(transaction, message, names) for message in waiting],
                "answered": [_summary(transaction, message, names) for message in closed],
                "messages": [_summary(transaction, message, names) for message in others],
            }

        return _guarded(answer(await self._context.store.transact(work)))

    async def _message(self, request: Request) -> Response:
        """One message with all that a person needs to decide."""
        _check_host(request)
        message_id = request.path_params["message_id"]
        shown = await self._context.store.transact(lambda t: self._detail(t, message_id))
        return _guarded(answer(shown))

    def _detail(self, transaction: Transaction, message_id: str) -> dict[str, Any]:
        message = _existing(transaction, message_id)
        channel = transaction.get(StoredChannel, message.parent)
        names = {channel.id: channel.name} if channel is not None else {}
        review = message.review
        return {
            **_summary(transaction, message, names),
            "html": prose_html(message.text or ""),
            "review": None if review is None else shown_review(review, redacted=True),
            "files": [self._shown_file(file) for file in files_of(transaction, message)],
            "changed": {
                original: self._shown_file(file)
                for original, file_id in ((review.modified_file_ids if review else None) or {}).items()
                if (file := transaction.get(StoredFile, file_id)) is not None
            },
            "rounds": [_summary(transaction, each, names) for each in _rounds(transaction, message)],
        }

    def _shown_file(self, file: StoredFile) -> dict[str, Any]:
        return {
            "id": file.id,
            "name": file.filename,
            "type": file.mime_type,
            "size": file.size,
            "picture": file.mime_type in PICTURES,
            "text": text_of(file, self._folder),
        }

    async def _respond(self, request: Request) -> Response:
        """A person's answer, as the vendor's own dashboard gives it (placet.md §3.7)."""
        body = await _body(request, Answer)
        given = Given(body.response, body.feedback, body.modified_file_ids)
        await self._reviews.respond(request.path_params["message_id"], given)
        return _guarded(answer({"answered": True}, 201))

    async def _tell_again(self, request: Request) -> Response:
        """The webhook of an answer once more, as the dashboard's retry does (placet.md §5.2)."""
        _check_page(request)
        await self._reviews.tell_again(request.path_params["message_id"])
        return _guarded(answer({"told": True}, 202))

    async def _keep_file(self, request: Request) -> Response:
        """A changed version of an attachment; its id goes into `modifiedFileIds` of the answer."""
        _check_page(request)
        message_id = request.path_params["message_id"]
        message = await self._context.store.transact(lambda t: _existing(t, message_id))
        channel = await self._context.store.get(StoredChannel, message.parent)
        async with request.form(max_files=1) as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile) or channel is None:
                refuse(400, "No file provided")
            kept = await self._files.keep_for_person(channel.parent, channel.id, upload)
        return _guarded(answer({"id": kept["id"]}, 201))

    async def _write(self, request: Request) -> Response:
        """A person's own message; the channel's webhook and sockets hear of it (placet.md §5.2)."""
        body = await _body(request, Written)
        now = self._context.now()

        def work(transaction: Transaction) -> tuple[StoredChannel, StoredMessage]:
            channel = transaction.get(StoredChannel, request.path_params["channel_id"])
            if channel is None:
                refuse(404, "Agent not found")
            message = StoredMessage(
                id=new_id(),
                parent=channel.id,
                created_at=now,
                updated_at=now,
                sender_type="user",
                sender_id=channel.parent,
                text=body.text,
            )
            transaction.put(message)
            return channel, message

        channel, message = await self._context.store.transact(work)
        shown = shown_message(message, [])
        await self._push.emit(channel.id, "message:created", shown)
        told = {"event": "message:created", "channelId": channel.id, "message": shown}
        self._push.dispatch(channel, None, told, mark=False)
        return _guarded(answer({"id": message.id}, 201))

    async def _delete(self, request: Request) -> Response:
        """A person deletes a message: no event tells of it (placet.md §3.4)."""
        _check_page(request)
        message_id = request.path_params["message_id"]

        def work(transaction: Transaction) -> list[StoredFile]:
            return delete_message(transaction, _existing(transaction, message_id))

        for file in await self._context.store.transact(work):
            await asyncio.to_thread(file.path(self._folder).unlink, missing_ok=True)
        return _guarded(answer({"deleted": True}))

    async def _file(self, request: Request) -> Response:
        """A picture to look at, or a file to download; nothing that a browser would run."""
        _check_host(request)
        file = await self._context.store.get(StoredFile, request.path_params["file_id"])
        if file is None:
            refuse(404, "Attachment not found")
        picture = file.mime_type in PICTURES
        sent = FileResponse(
            file.path(self._folder),
            media_type=file.mime_type if picture else "application/octet-stream",
            filename=file.filename,
            content_disposition_type="inline" if picture else "attachment",
        )
        return _guarded(sent)


def _existing(transaction: Transaction, message_id: str) -> StoredMessage:
    message = transaction.get(StoredMessage, message_id)
    if message is None:
        refuse(404, "Message not found")
    return message


def _rounds(transaction: Transaction, message: StoredMessage) -> list[StoredMessage]:
    """The chain a message belongs to, by number; nothing where it stands alone."""
    if message.iteration_group_id is None:
        return []
    where = "parent = ? AND json_extract(data, '$.iteration_group_id') = ?"
    found = find_messages(transaction, where, (message.parent, message.iteration_group_id))
    return sorted(found, key=lambda each: each.iteration or 0)


def _summary(transaction: Transaction, message: StoredMessage, names: dict[str, str]) -> dict[str, Any]:
    """One row of a list."""
    review = message.review
    lines = _lines(message)
    pictures = [file.id for file in files_of(transaction, message) if file.mime_type in PICTURES]
    return {
        "id": message.id,
        "channelId": message.parent,
        "channel": names.get(message.parent, ""),
        "title": lines[0] if lines else _untitled(message),
        "snippet": lines[1] if len(lines) > 1 else "",
        "sender": message.sender_type,
        "level": message.status,
        "streaming": message.stream_state,
        "type": review.type if review is not None else None,
        "status": review.status if review is not None else None,
        "outcome": _outcome(message),
        "delivery": message.delivery_status,
        "round": message.iteration,
        "picture": pictures[0] if pictures else None,
        "pictures": len(pictures),
        "createdAt": moment(message.created_at),
        "updatedAt": moment(message.updated_at),
        "expiresAt": moment(review.expires_at) if review is not None else None,
        "completedAt": moment(review.completed_at) if review is not None else None,
    }


def _lines(message: StoredMessage) -> list[str]:
    """The first two lines of the text that say something, without Markdown's marks."""
    said = (_bare(line) for line in filter(str.strip, (message.text or "").splitlines()))
    return list(islice(filter(None, said), 2))


def _bare(line: str) -> str:
    bare = " ".join(unescape(nh3.clean(prose_html(line.strip()), tags=set())).split())
    return bare if len(bare) <= _TITLE_LENGTH else f"{bare[: _TITLE_LENGTH - 1]}…"


def _untitled(message: StoredMessage) -> str:
    return message.review.type.capitalize() if message.review is not None else "File"


def _outcome(message: StoredMessage) -> str | None:
    """What was answered, in a few words; never a form's values."""
    review = message.review
    if review is None or review.status == "pending":
        return None
    if review.status == "expired":
        return "Expired"
    response = review.response or {}
    if response.get("_dismissed") is True:
        return "Dismissed"
    payload = review.payload or {}
    if review.type == "approval":
        return _label(payload.get("options"), response.get("selectedOption"))
    if review.type == "selection" and isinstance(response.get("selectedIds"), list):
        return ", ".join(_label(payload.get("items"), chosen) for chosen in response["selectedIds"])
    return "Answered"


def _label(choices: Any, chosen: Any) -> str:
    found = (c for c in choices or () if isinstance(c, dict) and c.get("id") == chosen)
    return str(next(found, {}).get("label") or chosen)


async def _body(request: Request, model: Any) -> Any:
    _check_page(request)
    try:
        return model.model_validate_json(await request.body())
    except ValidationError:
        refuse(400, "Validation failed")


def _check_page(request: Request) -> None:
    """Only our own page sends this header; another site's would need a leave that nobody gives."""
    _check_host(request)
    if request.headers.get("x-reviewer") != "page":
        refuse(403, "Answers come from the reviewer page")


def _check_host(request: Request) -> None:
    """A foreign name that resolves to this machine is not us."""
    server = request.scope.get("server") or ("", 0)
    if is_loopback(str(server[0])) and not is_loopback(request.url.hostname or ""):
        refuse(403, "Ask for this page by the sandbox's own address")


def _guarded(response: Response) -> Response:
    response.headers.update(
        {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
    )
    return response

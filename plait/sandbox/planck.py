"""The Planck AI stand-in: chat over documents and a database (planck.md).

Paths and bodies of workspaces, documents, chat and conversations are [vendor]; everything about
history, single documents, database integrations, paging, renaming and deleting is [assumed]. It
pretends no language model: answers are found by text search or by SQL made by rules, and say so.
Users and keys are seeded; the admin endpoints are not offered.
"""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Final, get_args

from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from plait.sandbox.context import SandboxContext
from plait.sandbox.planck_chat import Chat, ChatBody
from plait.sandbox.planck_defects import answer_frames, replacement
from plait.sandbox.planck_history import page_of, shown_history
from plait.sandbox.planck_messages import Answering
from plait.sandbox.planck_settings import PlanckSettings, StreamDefect
from plait.sandbox.planck_store import (
    CALLERS,
    SALES_WAREHOUSE,
    Caller,
    StoredConversation,
    StoredMessage,
    SyncedDocument,
    SyncedDocuments,
    Workspace,
)
from plait.sandbox.planck_stream import AnswerStream, Job, consumed
from plait.sandbox.store import Transaction
from plait.vendors.planck.operations import (
    CHAT,
    CREATE_CONVERSATION,
    DELETE_CONVERSATION,
    GET_CONVERSATION,
    GET_DOCUMENT,
    GET_WORKSPACE,
    LIST_CONVERSATIONS,
    LIST_DATABASE_INTEGRATIONS,
    LIST_DOCUMENTS,
    LIST_MESSAGES,
    LIST_WORKSPACES,
    RENAME_CONVERSATION,
    SEND_MESSAGE,
)

_DEFECTS: Final[tuple[StreamDefect, ...]] = get_args(StreamDefect)
_NAME_LENGTH: Final = 60

Skip = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1)]
"""The template's default page has 100 entries [inferred]."""


class NewConversation(BaseModel):
    """By name, or by prompt, from which the server makes a name [vendor]."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1)] | None = None
    prompt: Annotated[str, Field(min_length=1)] | None = None


class Rename(BaseModel):
    """A conversation's new name [assumed]."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1)


class Planck:
    """The stand-in as an ASGI application whose root is Planck AI's base URL."""

    def __init__(self, context: SandboxContext) -> None:
        self._settings = context.settings.planck
        documents = SyncedDocuments(context)
        chat = Chat(context, documents)
        self._answering = Answering(context, chat)
        self._app = FastAPI(title="Planck AI", redirect_slashes=self._settings.slash == "redirect")
        self._app.add_exception_handler(RequestValidationError, _invalid)
        self._add_reads(_Reads(context, documents))
        self._add_conversations(_Conversations(context, chat, self._answering))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def aclose(self) -> None:
        """Give up answers that are still being made."""
        await self._answering.aclose()

    def _add_reads(self, reads: "_Reads") -> None:
        self._route("GET", LIST_WORKSPACES.path, reads.workspaces)
        self._route("GET", GET_WORKSPACE.path, reads.workspace)
        self._route("GET", LIST_DOCUMENTS.path, reads.documents)
        if self._settings.document_call == "present":
            self._route("GET", GET_DOCUMENT.path, reads.document)
        if self._settings.database_call == "workspace":
            self._route("GET", LIST_DATABASE_INTEGRATIONS.path, reads.databases)
        elif self._settings.database_call == "integrations":
            self._route("GET", "/integrations/", reads.databases)

    def _add_conversations(self, conversations: "_Conversations") -> None:
        for operation, endpoint in (
            (CHAT, conversations.chat),
            (CREATE_CONVERSATION, conversations.create),
            (LIST_CONVERSATIONS, conversations.list_all),
            (GET_CONVERSATION, conversations.get),
            (RENAME_CONVERSATION, conversations.rename),
            (DELETE_CONVERSATION, conversations.delete),
            (SEND_MESSAGE, conversations.send),
        ):
            self._route(operation.method, operation.path, endpoint)
        if self._settings.history_call == "present":
            self._route("GET", LIST_MESSAGES.path, conversations.history)

    def _route(self, method: str, path: str, endpoint: Any) -> None:
        self._app.add_api_route(path, endpoint, methods=[method], response_model=None)
        if self._settings.slash == "both":
            other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
            self._app.add_api_route(other, endpoint, methods=[method], response_model=None)


def create_planck(context: SandboxContext) -> Planck:
    """The stand-in; close it with `aclose` before the store."""
    return Planck(context)


def _caller(key: Annotated[str | None, Header(alias="X-API-Key")] = None) -> Caller:
    """401 for a missing or unknown key [vendor]; the wording is [assumed]."""
    caller = CALLERS.get(key or "")
    if caller is None:
        raise HTTPException(401, "Invalid or missing API key")
    return caller


Authenticated = Annotated[Caller, Depends(_caller)]


def _workspace(workspace_id: str, caller: Authenticated) -> Workspace:
    """404 for what is absent or not accessible [vendor]."""
    found = next((known for known in caller.workspaces if known.id == workspace_id), None)
    if found is None:
        raise HTTPException(404, "Workspace not found")
    return found


Visible = Annotated[Workspace, Depends(_workspace)]


def _writer(caller: Authenticated) -> Caller:
    """403 for a key whose owner may only read [vendor]."""
    if not caller.may_write:
        raise HTTPException(403, "Not enough permissions")
    return caller


Writer = Annotated[Caller, Depends(_writer)]


def _wanted_defects(
    sent: Annotated[str | None, Header(alias="X-Sandbox-Defect")] = None,
) -> tuple[StreamDefect, ...]:
    """The defects this request asks for; 400 names those that do not exist."""
    names = [name.strip() for name in (sent or "").split(",") if name.strip()]
    unknown = sorted(set(names) - set(_DEFECTS))
    if unknown:
        known = ", ".join(_DEFECTS)
        raise HTTPException(400, f"X-Sandbox-Defect names {', '.join(unknown)}; there are {known}")
    return tuple(defect for defect in _DEFECTS if defect in names)


Defects = Annotated[tuple[StreamDefect, ...], Depends(_wanted_defects)]


class _Reads:
    """Workspaces, documents and databases."""

    def __init__(self, context: SandboxContext, documents: SyncedDocuments) -> None:
        self._settings = context.settings.planck
        self._documents = documents

    async def workspaces(self, caller: Authenticated, skip: Skip = 0, limit: Limit = 100) -> Response:
        """The workspaces this key may see [doc], paged [assumed]."""
        return page_of([_shown_workspace(known) for known in caller.workspaces], skip, limit, self._settings)

    async def workspace(self, workspace: Visible) -> Response:
        """One workspace [vendor]."""
        return JSONResponse(_shown_workspace(workspace))

    async def documents(self, workspace: Visible, skip: Skip = 0, limit: Limit = 100) -> Response:
        """The documents of a workspace, which the query must name [vendor]."""
        found = await self._documents.list(workspace)
        return page_of([self._shown(document) for document in found], skip, limit, self._settings)

    async def document(self, document_id: str, _: Authenticated) -> Response:
        """One document and its status [assumed]."""
        found = await self._documents.find(document_id)
        if found is None:
            raise HTTPException(404, "Document not found")
        return JSONResponse(self._shown(found))

    async def databases(self, workspace: Visible, skip: Skip = 0, limit: Limit = 100) -> Response:
        """The databases connected to a workspace [assumed]."""
        shown = [{"id": SALES_WAREHOUSE.id, "name": SALES_WAREHOUSE.name, "type": "sqlite"}]
        found = shown if workspace is SALES_WAREHOUSE.workspace else []
        return page_of(found, skip, limit, self._settings)

    def _shown(self, document: SyncedDocument) -> dict[str, Any]:
        word = getattr(self._settings.document_words, document.phase)
        return {"id": document.id, "name": document.source.name, "status": word}


class _Conversations:
    """Chat, conversations and their messages."""

    def __init__(self, context: SandboxContext, chat: Chat, answering: Answering) -> None:
        self._context = context
        self._settings = context.settings.planck
        self._chat = chat
        self._answering = answering

    async def chat(
        self, workspace: Visible, _: Writer, body: Annotated[ChatBody, Body()], defects: Defects
    ) -> Any:
        """A question without a conversation: nothing is stored, credits are used [vendor]."""
        question = await self._chat.question(body, workspace)
        return await self._reply(await self._answering.chat(question, CHAT), body, defects)

    async def create(
        self, workspace: Visible, caller: Writer, body: Annotated[NewConversation, Body()]
    ) -> Response:
        """A new conversation at every call: equal names are allowed. A prompt is not answered [assumed]."""
        name = body.name or _name_from(body.prompt)
        if name is None:
            raise HTTPException(400, "Either name or prompt is required")
        conversation = StoredConversation(
            id=str(uuid.uuid4()),
            parent=workspace.id,
            created_at=self._context.now(),
            name=name,
            owner=caller.name,
        )

        def work(transaction: Transaction) -> None:
            transaction.put(conversation)
            transaction.record(CREATE_CONVERSATION, entity_id=conversation.id, marker=name)

        await self._context.store.transact(work)
        return JSONResponse(_shown_conversation(conversation, caller))

    async def list_all(
        self, workspace: Visible, caller: Authenticated, skip: Skip = 0, limit: Limit = 100
    ) -> Response:
        """The conversations of a workspace, newest first [assumed]."""
        found = await self._context.store.list(StoredConversation, parent=workspace.id)
        shown = [_shown_conversation(conversation, caller) for conversation in reversed(found)]
        return page_of(shown, skip, limit, self._settings)

    async def get(self, workspace: Visible, caller: Authenticated, conversation_id: str) -> Response:
        """One conversation [assumed]."""
        return JSONResponse(_shown_conversation(await self._load(workspace, conversation_id), caller))

    async def rename(
        self, workspace: Visible, caller: Writer, conversation_id: str, body: Annotated[Rename, Body()]
    ) -> Response:
        """A new name; only the owner may give it [assumed]."""
        conversation = await self._owned(workspace, caller, conversation_id)
        renamed = conversation.model_copy(update={"name": body.name})

        def work(transaction: Transaction) -> None:
            transaction.put(renamed)
            transaction.record(RENAME_CONVERSATION, entity_id=renamed.id, marker=renamed.name)

        await self._context.store.transact(work)
        return JSONResponse(_shown_conversation(renamed, caller))

    async def delete(self, workspace: Visible, caller: Writer, conversation_id: str) -> Response:
        """200 with a message, as the template does [inferred]; then 404."""
        conversation = await self._owned(workspace, caller, conversation_id)

        def work(transaction: Transaction) -> None:
            for message in transaction.list(StoredMessage, parent=conversation.id):
                transaction.delete(StoredMessage, message.id)
            if transaction.delete(StoredConversation, conversation.id):
                transaction.record(DELETE_CONVERSATION, entity_id=conversation.id, marker=conversation.id)

        await self._context.store.transact(work)
        return JSONResponse({"message": "Conversation deleted successfully"})

    async def send(
        self,
        workspace: Visible,
        _: Writer,
        conversation_id: str,
        body: Annotated[ChatBody, Body()],
        defects: Defects,
    ) -> Any:
        """A message of a conversation; the answer streams [vendor]."""
        conversation = await self._load(workspace, conversation_id)
        history = await self._context.store.list(StoredMessage, parent=conversation.id)
        question = await self._chat.question(body, workspace, history)
        job = await self._answering.message(conversation.id, question, SEND_MESSAGE)
        return await self._reply(job, body, defects)

    async def history(
        self, workspace: Visible, _: Authenticated, conversation_id: str, skip: Skip = 0, limit: Limit = 100
    ) -> Response:
        """The messages of a conversation [assumed]."""
        conversation = await self._load(workspace, conversation_id)
        messages = await self._context.store.list(StoredMessage, parent=conversation.id)
        return page_of(shown_history(messages, self._settings), skip, limit, self._settings)

    async def _reply(self, job: Job, body: ChatBody, sent: Sequence[StreamDefect]) -> Any:
        """Events, or one JSON answer where the caller asked for it."""
        defects = tuple(dict.fromkeys((*self._settings.stream_defects, *sent)))
        plain = not body.stream and self._settings.stream_false == "honoured"
        strange = replacement(defects)
        if strange is None and not plain and "json_answer" not in defects:
            return AnswerStream(job, self._settings, defects, _frames(self._settings, defects))
        job.settle(delivered=True)
        await job.finished.wait()
        if job.blocks.cancelled():
            raise HTTPException(500, "The answer could not be made")
        answer = {"id": job.id, "role": "assistant", "content": job.blocks.result()}
        return strange or JSONResponse({**answer, **consumed(self._settings)})

    async def _load(self, workspace: Workspace, conversation_id: str) -> StoredConversation:
        found = await self._context.store.get(StoredConversation, conversation_id)
        if found is None or found.parent != workspace.id:
            raise HTTPException(404, "Conversation not found")
        return found

    async def _owned(self, workspace: Workspace, caller: Caller, conversation_id: str) -> StoredConversation:
        found = await self._load(workspace, conversation_id)
        if found.owner != caller.name:
            raise HTTPException(403, "Not enough permissions")
        return found


def _frames(settings: PlanckSettings, defects: Sequence[StreamDefect]) -> Any:
    return lambda job, blocks: answer_frames(job, blocks, settings, defects)


def _shown_workspace(workspace: Workspace) -> dict[str, Any]:
    return {"id": workspace.id, "name": workspace.name, "description": workspace.description}


def _shown_conversation(conversation: StoredConversation, caller: Caller) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "name": conversation.name,
        "workspace_id": conversation.parent,
        "is_owner": conversation.owner == caller.name,
        "created_at": conversation.created_at.isoformat(),
    }


def _name_from(prompt: str | None) -> str | None:
    """The server's own name for a prompt, which nobody can foresee [vendor]."""
    if prompt is None:
        return None
    words = " ".join(prompt.split())
    return words if len(words) <= _NAME_LENGTH else f"{words[: _NAME_LENGTH - 1]}…"


async def _invalid(_: Request, error: Exception) -> Response:
    """400 for a body that is no JSON object [vendor], 422 with a list for bad fields [assumed]."""
    if not isinstance(error, RequestValidationError):
        raise error
    details = jsonable_encoder(error.errors(), exclude={"ctx", "url"})
    if any(detail["type"] == "json_invalid" or tuple(detail["loc"]) == ("body",) for detail in details):
        return JSONResponse({"detail": "The request body must be a JSON object"}, status_code=400)
    return JSONResponse({"detail": details}, status_code=422)

"""Planck AI as typed calls (planck.md §3)."""

from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pydantic import ValidationError

from plait.http import Answer, Transport
from plait.http.errors import InvalidInput, MalformedResponse, NotFound, RequestRejected
from plait.http.operation import Operation
from plait.vendors.planck import operations
from plait.vendors.planck.history import in_order
from plait.vendors.planck.models import (
    ChatMessage,
    ChatSettings,
    Conversation,
    ConversationRequest,
    DatabaseIntegration,
    Document,
    HistoryMessage,
    Received,
    Workspace,
    Wrapper,
)
from plait.vendors.planck.paging import Page, read_all
from plait.vendors.planck.stream import Finished, StreamItem, read_items

METHOD_NOT_ALLOWED: Final = 405
_NO_REFERENCES: Final = ChatSettings()
ItemT = TypeVar("ItemT", bound=Received)


class PlanckClient:
    """One method per operation. Every method raises the errors of `plait.http.errors`.

    Args:
        transport: made for the base that ends in `/api/v1`, with `X-API-Key`; closed with the client.
        database_integrations_path: where a deployment lists database integrations; the documented
            operation has no documented path. `{workspace_id}` is filled in, or sent as a query
            where the path has no place for it (`/integrations/`).
    """

    def __init__(self, transport: Transport, *, database_integrations_path: str | None = None) -> None:
        self._transport = transport
        path = database_integrations_path or operations.LIST_DATABASE_INTEGRATIONS.path
        self._list_integrations = replace(operations.LIST_DATABASE_INTEGRATIONS, path=path)

    @property
    def base_url(self) -> str:
        """The API's address, without secrets."""
        return self._transport.base_url

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def list_workspaces(self) -> list[Workspace]:
        """Every workspace this key may see (planck.md §3 no. 1)."""
        return await self._list(operations.LIST_WORKSPACES, Workspace, what="workspaces")

    async def get_workspace(self, workspace_id: str) -> Workspace:
        """One workspace; `NotFound` also where the key may not see it (planck.md §2.2)."""
        path = {"workspace_id": workspace_id}
        return (await self._transport.call(operations.GET_WORKSPACE, path=path)).read(Workspace)

    async def list_documents(self, workspace_id: str) -> list[Document]:
        """Every document of a workspace with its processing status (planck.md §3 no. 3)."""
        query = {"workspace_id": workspace_id}
        return await self._list(operations.LIST_DOCUMENTS, Document, query=query, what="documents")

    async def get_document(self, document_id: str, *, workspace_id: str | None = None) -> Document:
        """A document and its processing status (planck.md §3 no. 4).

        The path is assumed: where it answers 404 or 405 and a workspace is given, the document is
        looked for in that workspace's list.

        Raises:
            NotFound: it is in neither place, or access to it was removed.
        """
        try:
            answer = await self._transport.call(operations.GET_DOCUMENT, path={"document_id": document_id})
        except RequestRejected as error:
            missing = isinstance(error, NotFound) or error.status == METHOD_NOT_ALLOWED
            if workspace_id is None or not missing:
                raise
            for document in await self.list_documents(workspace_id):
                if document.id == document_id:
                    return document
            raise NotFound(
                f"document {document_id!r} is not in workspace {workspace_id!r}, or this key may not see it",
                system=operations.SYSTEM,
                operation=operations.GET_DOCUMENT.name,
                status=error.status,
            ) from error
        return answer.read(Document)

    async def list_database_integrations(self, workspace_id: str) -> list[DatabaseIntegration]:
        """Every database connected to a workspace (planck.md §3 no. 5)."""
        in_path = "{workspace_id}" in self._list_integrations.path
        place: Mapping[str, str] = {"workspace_id": workspace_id}
        return await self._list(
            self._list_integrations,
            DatabaseIntegration,
            path=place if in_path else None,
            query=None if in_path else place,
            what="database integrations",
        )

    async def list_conversations(self, workspace_id: str) -> list[Conversation]:
        """Every conversation of a workspace that this key may see (planck.md §3 no. 10)."""
        path = {"workspace_id": workspace_id}
        return await self._list(operations.LIST_CONVERSATIONS, Conversation, path=path, what="conversations")

    async def create_conversation(self, workspace_id: str, name: str) -> Conversation:
        """Create an empty conversation (planck.md §3 no. 7). The same name twice makes two."""
        answer = await self._transport.call(
            operations.CREATE_CONVERSATION, path={"workspace_id": workspace_id}, json=_named(name)
        )
        return answer.read(Conversation)

    async def get_conversation(self, workspace_id: str, conversation_id: str) -> Conversation:
        """One conversation; the path is assumed (planck.md §3 no. 11)."""
        path = _conversation(workspace_id, conversation_id)
        return (await self._transport.call(operations.GET_CONVERSATION, path=path)).read(Conversation)

    async def rename_conversation(self, workspace_id: str, conversation_id: str, name: str) -> Conversation:
        """Give a conversation another name (planck.md §3 no. 11)."""
        path = _conversation(workspace_id, conversation_id)
        answer = await self._transport.call(operations.RENAME_CONVERSATION, path=path, json=_named(name))
        if not answer.content:
            return Conversation(id=conversation_id, name=name, workspace_id=workspace_id)
        return answer.read(Conversation)

    async def delete_conversation(self, workspace_id: str, conversation_id: str) -> None:
        """Delete a conversation with its messages (planck.md §3 no. 11).

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        path = _conversation(workspace_id, conversation_id)
        try:
            await self._transport.call(operations.DELETE_CONVERSATION, path=path)
        except NotFound as error:
            if not error.after_loss:
                raise

    async def list_messages(self, workspace_id: str, conversation_id: str) -> list[HistoryMessage]:
        """A conversation's messages, oldest first where their times are known (planck.md §3 no. 9)."""
        path = _conversation(workspace_id, conversation_id)
        found = await self._list(operations.LIST_MESSAGES, HistoryMessage, path=path, what="messages")
        return in_order(found)

    async def chat(
        self, workspace_id: str, text: str, settings: ChatSettings = _NO_REFERENCES
    ) -> ChatMessage:
        """Ask without a conversation; nothing is stored, credits are used (planck.md §3 no. 6).

        Raises:
            StreamTruncated: the answer broke off; `partial` is what had come.
            OutcomeUnknown: the answer was lost, or the vendor reported an error in it.
        """
        async with self.stream_chat(workspace_id, text, settings) as items:
            return await _finished(items)

    async def send_message(
        self, workspace_id: str, conversation_id: str, text: str, settings: ChatSettings = _NO_REFERENCES
    ) -> ChatMessage:
        """Ask in a conversation and read the answer to its end (planck.md §3 no. 8); raises as `chat`."""
        async with self.stream_message(workspace_id, conversation_id, text, settings) as items:
            return await _finished(items)

    def stream_chat(
        self, workspace_id: str, text: str, settings: ChatSettings = _NO_REFERENCES
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamItem]]:
        """As `chat`, piece by piece: `async with client.stream_chat(...) as items: async for item in items`.

        The last item is `Finished`; leaving earlier hangs up, which the vendor may not notice.
        """
        return self._stream(operations.CHAT, {"workspace_id": workspace_id}, text, settings)

    def stream_message(
        self, workspace_id: str, conversation_id: str, text: str, settings: ChatSettings = _NO_REFERENCES
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamItem]]:
        """As `send_message`, piece by piece; see `stream_chat`."""
        return self._stream(
            operations.SEND_MESSAGE, _conversation(workspace_id, conversation_id), text, settings
        )

    @asynccontextmanager
    async def _stream(
        self, operation: Operation, path: Mapping[str, str], text: str, settings: ChatSettings
    ) -> AsyncIterator[AsyncIterator[StreamItem]]:
        if not text.strip():
            raise InvalidInput("the message is empty; say what to ask")
        body = settings.request(text).model_dump(mode="json", exclude_none=True)
        async with (
            self._transport.stream(operation, path=path, json=body) as stream,
            aclosing(read_items(stream, operation)) as items,
        ):
            yield items

    async def _list(
        self,
        operation: Operation,
        model: type[ItemT],
        *,
        what: str,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> list[ItemT]:
        async def fetch(skip: int, limit: int) -> Page[ItemT]:
            page = {**(query or {}), "skip": skip, "limit": limit}
            return _page(await self._transport.call(operation, path=path, query=page), model)

        return await read_all(fetch, _identity, what=what)


def _page(answer: Answer, model: type[ItemT]) -> Page[ItemT]:
    """A page in its wrapper, or a bare array."""
    if answer.content.lstrip().startswith(b"["):
        return Page(answer.read_list(model))
    wrapper = answer.read(Wrapper)
    try:
        return Page([model.model_validate(item) for item in wrapper.data], wrapper.count)
    except ValidationError as error:
        raise MalformedResponse(
            f"the list holds an item that is no {model.__name__}: {error.errors()[0]['msg']}",
            system=operations.SYSTEM,
            operation=answer.operation.name,
            status=answer.status,
        ) from error


def _identity(item: Received) -> Hashable:
    """An item's id; its whole content where the server gives none."""
    return getattr(item, "id", None) or item.model_dump_json()


def _conversation(workspace_id: str, conversation_id: str) -> dict[str, str]:
    return {"workspace_id": workspace_id, "conversation_id": conversation_id}


def _named(name: str) -> dict[str, Any]:
    if not name.strip():
        raise InvalidInput("the conversation's name is empty; give it one")
    return ConversationRequest(name=name).model_dump(mode="json")


async def _finished(items: AsyncIterator[StreamItem]) -> ChatMessage:
    async for item in items:
        if isinstance(item, Finished):
            return item.message
    raise AssertionError("read_items ends with Finished or raises")

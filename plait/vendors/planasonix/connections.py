"""Connections: sources and destinations (planasonix.md §3.1)."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from plait.vendors.planasonix import bodies, operations
from plait.vendors.planasonix.models import Connection, ConnectionCheck, NewConnection
from plait.vendors.planasonix.paging import Page, items
from plait.vendors.planasonix.wire import Caller


class Connections(Caller):
    """The calls of connections."""

    def connection_pages(
        self, *, kind: str | None = None, search: str | None = None, start: str | None = None
    ) -> AsyncGenerator[Page[Connection], None]:
        """Connections as the server lists them, page by page, from a cursor on. It may ignore a filter."""
        query = {"type": kind, "search": search}
        return self.pages(operations.LIST_CONNECTIONS, Connection, query=query, start=start)

    async def list_connections(
        self, *, kind: str | None = None, search: str | None = None
    ) -> list[Connection]:
        """Every connection, or those of a type; `search` is the server's own."""
        found = self.connection_pages(kind=kind, search=search)
        return [each async for each in items(found) if kind in {None, each.type}]

    async def get_connection(self, connection_id: str) -> Connection:
        """A connection with its settings; secrets in them are never in clear."""
        return await self.one(operations.GET_CONNECTION, Connection, path=_path(connection_id))

    async def create_connection(self, connection: NewConnection) -> Connection:
        """Create a connection. The same one twice makes two.

        Raises:
            InvalidInput: the dialect cannot carry it, before anything is sent.
        """
        body = bodies.connection(await self.dialect(), connection)
        known = connection.model_dump(include={"name", "type"})
        return await self.one(operations.CREATE_CONNECTION, Connection, json=body, known=known)

    async def update_connection(
        self,
        connection_id: str,
        *,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        credential_id: str | None = None,
    ) -> Connection:
        """Change a connection: read, merge, write whole; what is None stays.

        Raises:
            InvalidInput: the settings must be sent whole, and the server hides some that are not given anew.
        """
        current = await self.get_connection(connection_id)
        body = bodies.connection_change(
            await self.dialect(), current, name=name, settings=settings, credential_id=credential_id
        )
        await self.call(operations.UPDATE_CONNECTION, path=_path(connection_id), json=body)
        return await self.get_connection(connection_id)

    async def delete_connection(self, connection_id: str) -> None:
        """Delete a connection.

        Raises:
            Conflict: a pipeline uses it.
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        await self.gone(operations.DELETE_CONNECTION, _path(connection_id))

    async def test_connection(self, connection: NewConnection) -> ConnectionCheck:
        """Try settings that need not be stored; a failed test is an answer, no error."""
        body = bodies.settings_to_test(await self.dialect(), connection)
        return await self.one(operations.TEST_CONNECTION, ConnectionCheck, json=body)


def _path(connection_id: str) -> dict[str, str]:
    return {"connection_id": connection_id}

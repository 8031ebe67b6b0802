"""Connections and pipelines of the Planasonix stand-in (planasonix.md §3.1, §3.2)."""

from typing import Any, Final

from starlette.responses import JSONResponse, Response

from plait.http.operation import Effect, Operation, Source
from plait.sandbox.planasonix_desk import Desk, belonging, connection_of, pipeline_of
from plait.sandbox.planasonix_records import Connection, Pipeline
from plait.sandbox.planasonix_store import Filter, Page, Shelf
from plait.sandbox.planasonix_voices import part_of
from plait.sandbox.planasonix_wire import Call, Refusal, refused_field

GALLERY: Final = Operation(
    system="planasonix",
    name="connector_gallery",
    method="GET",
    path="/connector-gallery",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
)
"""A call of the Go client that ours does not make."""
_CATEGORIES: Final = frozenset({"source", "destination"})
_STATUSES: Final = frozenset({"draft", "active", "paused", "error", "archived"})
_KINDS: Final = tuple(
    {"id": kind, "name": name, "category": category, "description": f"{name} as a {category}"}
    for kind, name, category in (
        ("postgres", "PostgreSQL", "source"),
        ("mysql", "MySQL", "source"),
        ("salesforce", "Salesforce", "source"),
        ("google_sheets", "Google Sheets", "source"),
        ("snowflake", "Snowflake", "destination"),
    )
)
_EVERYTHING: Final = Page(limit=None)


def _like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _narrowed(call: Call, where: Filter, fields: dict[str, str]) -> Filter:
    """By equality of JSON fields, and by `search` in the name."""
    for name, path in fields.items():
        if (wanted := call.query(name)) is not None:
            where = where.also(f"json_extract(data, '$.{path}') = ?", wanted)
    if (text := call.query("search")) is not None:
        where = where.also("json_extract(data, '$.name') LIKE ? ESCAPE '\\'", _like(text))
    return where


class Connections:
    """Connections: settings in, settings without secrets out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_all(self, call: Call) -> Response:
        """By last change, newest first [assumed]."""
        part = part_of(call, "connection", self._desk.settings)
        where = _narrowed(call, belonging(call), {"type": "type"})
        found, part = await self._desk.listed(call, "connection", Connection, where, part)
        showing = self._desk.showing(call.voice)
        shown = [showing.connection(each, whole=False) for each in found]
        return self._desk.answers.many(call, "connection", shown, part)

    async def get(self, call: Call) -> Response:
        """One, with its settings."""
        return self._answer(call, await self._desk.transact(lambda shelf: connection_of(shelf, call)))

    async def create(self, call: Call) -> Response:
        """A new one; names need not be unique."""
        now = self._desk.now()
        name, kind = call.text("name", required=True), call.text("type", required=True)
        config, category = _settings_of(call), _category_of(call)

        def work(shelf: Shelf) -> Connection:
            made = Connection(
                id=shelf.new_id(Connection),
                organization=call.organization,
                at=now,
                created_at=now,
                name=str(name),
                type=str(kind),
                category=category or "source",
                config=config or {},
                credential_id=call.text("credential_id"),
            )
            shelf.add(made)
            shelf.transaction.record(call.operation, entity_id=made.id, marker=made.name)
            return made

        return self._answer(call, await self._desk.transact(work), 201)

    async def update(self, call: Call) -> Response:
        """Settings are replaced as a whole: the page leaves that open (planasonix.md §3.1)."""
        now, config, category = self._desk.now(), _settings_of(call), _category_of(call)

        def work(shelf: Shelf) -> Connection:
            connection = connection_of(shelf, call)
            connection.name = call.text("name") or connection.name
            connection.config = connection.config if config is None else _unmasked(connection, config)
            connection.category = category or connection.category
            if call.has("credential_id"):
                connection.credential_id = call.text("credential_id")
            connection.at = now
            shelf.save(connection)
            shelf.transaction.record(call.operation, entity_id=connection.id, marker=connection.id)
            return connection

        return self._answer(call, await self._desk.transact(work))

    async def delete(self, call: Call) -> Response:
        """409 while a pipeline uses it [inferred]."""

        def work(shelf: Shelf) -> None:
            connection = connection_of(shelf, call)
            using = belonging(call).also(
                "kind = ? AND instr(data, ?) > 0", Pipeline.kind, f'"{connection.id}"'
            )
            pipelines, _ = shelf.items(Pipeline, using, _EVERYTHING)
            if any(not each.trashed for each in pipelines):
                raise Refusal(409, "conflict", "The connection is used by a pipeline")
            shelf.delete(connection)
            shelf.transaction.record(call.operation, entity_id=connection.id, marker=connection.id)

        await self._desk.transact(work)
        return Response(status_code=204)

    @staticmethod
    async def test(call: Call) -> Response:
        """Settings, not a stored connection; a failed test is a 200. A host under `.invalid` fails here."""
        if call.voice != "go":
            call.text("type", required=True)
        config = _settings_of(call) or {}
        unknown = next((str(each) for each in config.values() if str(each).endswith(".invalid")), None)
        message = "Connection successful" if unknown is None else f"Could not resolve host {unknown}"
        return JSONResponse({"success": unknown is None, "message": message})

    @staticmethod
    async def gallery(_: Call) -> Response:
        """The kinds there are [vendor go]; the same object at every mount."""
        return JSONResponse({"connectors": [dict(kind) for kind in _KINDS]})

    def _answer(self, call: Call, connection: Connection, status: int = 200) -> Response:
        shown = self._desk.showing(call.voice).connection(connection, whole=True)
        return self._desk.answers.one(call, "connection", shown, status)


def _settings_of(call: Call) -> dict[str, Any] | None:
    """`config`, or `params` of texts on the Go mount."""
    if call.voice != "go":
        return call.object("config")
    params = call.object("params")
    if params is not None and not all(isinstance(value, str) for value in params.values()):
        raise refused_field("params", "not a map of strings")
    return params


def _category_of(call: Call) -> str | None:
    category = call.text("category")
    if category is not None and category not in _CATEGORIES:
        raise refused_field("category", "not source or destination")
    return category


def _unmasked(connection: Connection, config: dict[str, Any]) -> dict[str, Any]:
    """A masked secret that comes back as it was shown is the one that is stored [assumed]."""
    hidden = {name for name, value in config.items() if value == "********" and name in connection.config}
    return {name: connection.config[name] if name in hidden else value for name, value in config.items()}


class Pipelines:
    """Pipelines and their status."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_all(self, call: Call) -> Response:
        """By last change, newest first [assumed]; what is in the trash is not listed."""
        part = part_of(call, "pipeline", self._desk.settings)
        where = belonging(call).also("json_extract(data, '$.trashed') = 0")
        fields = {"project_id": "project_id", "folder_id": "folder_id", "status": "status"}
        where = _narrowed(call, where, fields)
        found, part = await self._desk.listed(call, "pipeline", Pipeline, where, part)
        showing = self._desk.showing(call.voice)
        shown = [showing.pipeline(each, whole=False) for each in found]
        return self._desk.answers.many(call, "pipeline", shown, part)

    async def get(self, call: Call) -> Response:
        """One, with its graph."""
        return self._answer(call, await self._desk.transact(lambda shelf: pipeline_of(shelf, call)))

    async def create(self, call: Call) -> Response:
        """A draft, or what the Go client asks for; it knows no projects."""
        now = self._desk.now()
        name = call.text("name", required=True)
        project = call.text("project_id", required=call.voice == "docs")
        status = _status_of(call) or ("paused" if call.voice == "go" else "draft")
        nodes, edges = call.list("nodes"), call.list("edges")

        def work(shelf: Shelf) -> Pipeline:
            made = Pipeline(
                id=shelf.new_id(Pipeline),
                organization=call.organization,
                at=now,
                created_at=now,
                name=str(name),
                project_id=project,
                folder_id=call.text("folder_id"),
                status=status,
                nodes=nodes or [],
                edges=edges or [],
            )
            shelf.add(made)
            shelf.transaction.record(call.operation, entity_id=made.id, marker=made.name)
            return made

        return self._answer(call, await self._desk.transact(work), 201)

    async def update(self, call: Call) -> Response:
        """Name and graph; lists are replaced as a whole."""
        now, nodes, edges = self._desk.now(), call.list("nodes"), call.list("edges")

        def work(shelf: Shelf) -> Pipeline:
            pipeline = pipeline_of(shelf, call)
            pipeline.name = call.text("name") or pipeline.name
            pipeline.nodes = pipeline.nodes if nodes is None else nodes
            pipeline.edges = pipeline.edges if edges is None else edges
            return self._changed(shelf, call, pipeline, now)

        return self._answer(call, await self._desk.transact(work))

    async def set_status(self, call: Call) -> Response:
        """Pause and resume [vendor go]."""
        now, status = self._desk.now(), _status_of(call)
        if status is None:
            raise refused_field("status", "blank")

        def work(shelf: Shelf) -> Pipeline:
            pipeline = pipeline_of(shelf, call)
            pipeline.status = status
            return self._changed(shelf, call, pipeline, now)

        return self._answer(call, await self._desk.transact(work))

    async def delete(self, call: Call) -> Response:
        """Into the trash."""
        now = self._desk.now()

        def work(shelf: Shelf) -> None:
            pipeline = pipeline_of(shelf, call)
            pipeline.trashed = True
            self._changed(shelf, call, pipeline, now)

        await self._desk.transact(work)
        return Response(status_code=204)

    @staticmethod
    def _changed(shelf: Shelf, call: Call, pipeline: Pipeline, now: float) -> Pipeline:
        pipeline.at = now
        shelf.save(pipeline)
        shelf.transaction.record(call.operation, entity_id=pipeline.id, marker=pipeline.id)
        return pipeline

    def _answer(self, call: Call, pipeline: Pipeline, status: int = 200) -> Response:
        shown = self._desk.showing(call.voice).pipeline(pipeline, whole=True)
        return self._desk.answers.one(call, "pipeline", shown, status)


def _status_of(call: Call) -> str | None:
    status = call.text("status")
    if status is not None and status not in _STATUSES:
        raise refused_field("status", f"not one of {', '.join(sorted(_STATUSES))}")
    return status

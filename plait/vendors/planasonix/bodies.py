"""What we send, written as a dialect wants it (planasonix.md §7.1 C3, C6 to C8).

Resources are written in camelCase, orchestration in snake_case, whatever a server answers in.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import SecretStr

from plait.http.errors import InvalidInput
from plait.vendors.planasonix.dialects import Dialect
from plait.vendors.planasonix.models import (
    BackfillOptions,
    Connection,
    NewConnection,
    NewPipeline,
    NewSchedule,
    Pipeline,
    Schedule,
    SyncOptions,
)

MARKER: Final = "plait"
"""The name in a job's metadata under which our key stands."""
_MASKS: Final = frozenset("*•xX●")
_LEAST_MASK: Final = 3


def connection(dialect: Dialect, new: NewConnection) -> dict[str, Any]:
    """A connection to create. Raises `InvalidInput` where the dialect cannot carry it."""
    return {"name": new.name, **settings_to_test(dialect, new)} | _present(category=_category(dialect, new))


def settings_to_test(dialect: Dialect, new: NewConnection) -> dict[str, Any]:
    """A connection's settings alone."""
    body = {"type": new.type, dialect.settings: _settings(dialect, new.settings)}
    return body | (_present(credentialId=new.credential_id) if dialect.settings == "config" else {})


def connection_change(
    dialect: Dialect,
    current: Connection,
    *,
    name: str | None,
    settings: Mapping[str, Any] | None,
    credential_id: str | None,
) -> dict[str, Any]:
    """The whole connection with the changes in it; nobody says whether a PUT replaces or merges.

    Raises:
        InvalidInput: the settings must be sent whole, and the server hides some that are not given anew.
    """
    body = _present(
        name=name or current.name,
        type=current.type,
        category=current.category if dialect.settings == "params" else None,
        credentialId=(credential_id or current.credential_id) if dialect.settings == "config" else None,
    )
    if settings is None and dialect.settings == "config":
        return body
    merged = {**current.settings, **(settings or {})}
    if hidden := sorted(key for key, value in merged.items() if _masked(value)):
        raise InvalidInput(
            f"the settings are written whole, and the server hides {', '.join(hidden)}; give them anew"
        )
    return {**body, dialect.settings: _settings(dialect, merged)}


def pipeline(dialect: Dialect, new: NewPipeline) -> dict[str, Any]:
    """A pipeline to create."""
    body: dict[str, Any] = {"name": new.name, "nodes": new.nodes, "edges": new.edges}
    if dialect.settings == "params":
        return {**body, "status": "paused"}
    return body | _present(projectId=new.project_id, folderId=new.folder_id)


def pipeline_change(
    current: Pipeline,
    *,
    name: str | None,
    nodes: Sequence[Mapping[str, Any]] | None,
    edges: Sequence[Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """The whole pipeline with the changes in it."""
    return {
        "id": current.id,
        "name": name or current.name,
        "nodes": (current.nodes or []) if nodes is None else [dict(node) for node in nodes],
        "edges": (current.edges or []) if edges is None else [dict(edge) for edge in edges],
    }


def run(dialect: Dialect, values: Mapping[str, Any], environment_id: str | None) -> dict[str, Any]:
    """What a run is started with."""
    body = {dialect.run_values: dict(values)} if values else {}
    return body | _present(environmentId=environment_id)


def sync(options: SyncOptions, key: str | None) -> dict[str, Any]:
    """A sync to start; the key stands in the body and, as a marker, in the job's metadata."""
    body = options.model_dump(mode="json", exclude_none=True, exclude={"metadata"})
    metadata = dict(options.metadata) if key is None else {**options.metadata, MARKER: key}
    return body | ({"metadata": metadata} if metadata else {}) | _present(idempotency_key=key)


def backfill(options: BackfillOptions) -> dict[str, Any]:
    """A backfill to start."""
    body = options.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in body.items() if value not in ([], {})}


def schedule(dialect: Dialect, new: NewSchedule) -> dict[str, Any]:
    """A schedule to create."""
    body: dict[str, Any] = {
        "pipelineId": new.pipeline_id,
        "cronExpression": new.cron_expression,
        "timezone": new.timezone,
        "enabled": new.enabled,
    }
    return {**body, "frequency": "custom"} if dialect.frequency else body


def schedule_change(
    dialect: Dialect,
    current: Schedule,
    *,
    cron_expression: str | None,
    timezone: str | None,
    enabled: bool | None,
) -> dict[str, Any]:
    """The whole schedule with the changes in it: what is left out or empty may be wiped (C8)."""
    body = _present(
        pipelineId=current.pipeline_id,
        cronExpression=cron_expression or current.cron_expression,
        timezone=timezone or current.timezone or "UTC",
        enabled=current.enabled if enabled is None else enabled,
    )
    if not dialect.frequency:
        return body
    kept = current.frequency if cron_expression in {None, current.cron_expression} else None
    return {**body, "frequency": kept or "custom"}


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _category(dialect: Dialect, new: NewConnection) -> str | None:
    if dialect.settings == "config":
        return None
    if new.category is None:
        raise InvalidInput(f"the {dialect.name} dialect needs a connection's category: source or destination")
    return new.category


def _settings(dialect: Dialect, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings; the bare dialect takes texts only."""
    shown = {name: _revealed(value) for name, value in settings.items()}
    if dialect.settings == "config":
        return shown
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in shown.items()}


def _revealed(value: Any) -> Any:
    """A setting as it is sent: what was given as a secret is one only on our side."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _revealed(inner) for name, inner in value.items()}
    return [_revealed(inner) for inner in value] if isinstance(value, list) else value


def _masked(value: Any) -> bool:
    """Whether a setting is shown as stars, in place of a secret."""
    return isinstance(value, str) and len(value) >= _LEAST_MASK and set(value) <= _MASKS

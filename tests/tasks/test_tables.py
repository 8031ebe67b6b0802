"""Each operation of each table has a client method, a task and a stand-in route, and nothing is left over."""

import inspect
from typing import Any

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

import tasks.officeplane
import tasks.placet
import tasks.planasonix
import tasks.planck
import tasks.pletor
from blocks import OfficePlaneServer, PlanckCredentials
from plait.cli import all_operations, has_client, stand_in_routes
from plait.http.operation import Operation
from plait.vendors.officeplane.recovery import UploadDocument
from tasks import pletor_runs, reviews
from tasks._declare import System
from tasks.officeplane_batch import read_markdown, upload_documents
from tasks.planasonix_batch import look_up_runs, play_night, sync_history
from tasks.planasonix_waiting import sync_connection, wait_for_job, wait_for_run
from tasks.planck_documents import wait_for_documents

MODULES = {
    "officeplane": tasks.officeplane,
    "planck": tasks.planck,
    "placet": tasks.placet,
    "pletor": tasks.pletor,
    "planasonix": tasks.planasonix,
}
BATCHES = (
    upload_documents,
    read_markdown,
    wait_for_documents,
    wait_for_run,
    wait_for_job,
    sync_connection,
    sync_history,
    play_night,
    look_up_runs,
    *(task for module in (pletor_runs, reviews) for task in vars(module).values() if isinstance(task, Task)),
)


def declared(system: str) -> dict[str, Task[..., Any]]:
    """The tasks of a system's module."""
    return {name: value for name, value in vars(MODULES[system]).items() if isinstance(value, Task)}


@pytest.mark.parametrize("operation", all_operations(), ids=lambda operation: operation.key)
def test_every_operation_has_all_its_parts(operation: Operation) -> None:
    """A row of the table without client method, task or stand-in route is not finished."""
    assert has_client(operation)
    assert declared(operation.system)[operation.name].name == operation.key
    assert (operation.system, operation.method, operation.path) in stand_in_routes()


@pytest.mark.parametrize("system", MODULES)
def test_every_task_is_an_operation(system: str) -> None:
    """A task module holds nothing that its operation table does not name."""
    names = {operation.name for operation in all_operations() if operation.system == system}
    assert set(declared(system)) == names


@pytest.mark.parametrize(
    "found",
    [*(task for system in MODULES for task in declared(system).values()), *BATCHES],
    ids=lambda t: t.name,
)
def test_no_task_is_cached_persisted_or_tagged(found: Task[..., Any]) -> None:
    """The ledger replays; Prefect's cache could hand one account another's result, and tags cost a call."""
    assert found.cache_policy is NO_CACHE
    assert found.persist_result is False
    assert not found.tags
    assert found.retry_condition_fn is not None
    assert found.description


def test_a_task_carries_the_signature_and_words_of_its_method() -> None:
    """A block stands where the client stood; the rest is the method's own."""
    upload = inspect.signature(tasks.officeplane.upload_document.fn)
    assert list(upload.parameters) == ["officeplane", "path", "filename"]
    assert tasks.officeplane.upload_document.description == inspect.getdoc(UploadDocument)
    send = inspect.signature(tasks.planck.send_message.fn)
    assert list(send.parameters) == ["planck", "workspace_id", "conversation_id", "text", "settings"]
    assert send.parameters["planck"].annotation == PlanckCredentials | str | None


def test_a_guarded_operation_is_never_called_without_the_ledger() -> None:
    """`call` is for what may be repeated; an effect declared by it would bypass the ledger."""
    system = System(OfficePlaneServer, OfficePlaneServer.get_client, parameter="officeplane")
    guarded = [operation for operation in all_operations() if operation.effect.guarded]
    bodies = {
        operation.key: declared(operation.system)[operation.name].fn.__code__.co_names
        for operation in guarded
    }
    effect_body = system.effect(UploadDocument, name="x", run_name="x").fn.__code__.co_names
    assert bodies
    assert all(names == effect_body for names in bodies.values())

"""Entity and effect are one commit; the store narrows, lags and refuses as it says."""

import sqlite3
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from plait.http.errors import ConfigurationError
from plait.sandbox.request import RequestInfo, current_request
from plait.sandbox.store import Entity, Store
from plait.vendors.officeplane.operations import UPLOAD_DOCUMENT


class Note(Entity):
    """A thing to store."""

    kind: ClassVar[str] = "test.note"

    text: str


def _note(name, text="text", parent=""):
    return Note(id=name, parent=parent, created_at=datetime.now(UTC), text=text)


@pytest.fixture
async def store(tmp_path):
    """An open store."""
    store = Store(tmp_path / "state.db")
    await store.open()
    yield store
    await store.close()


async def test_a_failed_transaction_leaves_neither_entity_nor_effect(store):
    """What raises half-way is rolled back whole."""

    def work(transaction):
        transaction.put(_note("a"))
        transaction.record(UPLOAD_DOCUMENT, entity_id="a", marker="m")
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await store.transact(work)
    assert await store.get(Note, "a") is None
    assert await store.transact(lambda transaction: transaction.effects()) == []


async def test_a_replaced_entity_keeps_its_place(store):
    """Lists are in the order of the first put, narrowed by the parent."""
    for name, parent in (("a", "p"), ("b", "q"), ("c", "p")):
        await store.transact(
            lambda transaction, name=name, parent=parent: transaction.put(_note(name, parent=parent))
        )
    await store.transact(lambda transaction: transaction.put(_note("a", "new", "p")))
    assert [(found.id, found.text) for found in await store.list(Note, parent="p")] == [
        ("a", "new"),
        ("c", "text"),
    ]
    assert len(await store.list(Note)) == 3


async def test_a_lag_hides_only_what_this_request_created(store):
    """A new entity of a lagging request is readable and unlisted; an old one it rewrites stays listed."""
    await store.transact(lambda transaction: transaction.put(_note("old")))
    request = RequestInfo(number=5, service="officeplane", operation=None, listing_lag=60.0)
    token = current_request.set(request)
    try:
        await store.transact(lambda transaction: [transaction.put(_note(name)) for name in ("old", "new")])
        await store.transact(
            lambda transaction: transaction.record(UPLOAD_DOCUMENT, entity_id="new", marker="m")
        )
    finally:
        current_request.reset(token)
    assert [found.id for found in await store.list(Note)] == ["old"]
    assert await store.get(Note, "new") is not None
    (row,) = await store.transact(lambda transaction: transaction.effects(marker="m"))
    assert (row.request, row.entity_id, row.service) == (5, "new", "officeplane")


async def test_effects_are_narrowed_by_what_is_given(store):
    """Service, operation and marker together."""

    def work(transaction):
        for marker in ("m", "n"):
            transaction.record(UPLOAD_DOCUMENT, entity_id=marker, marker=marker, external_key="k")

    await store.transact(work)
    found = await store.transact(
        lambda transaction: transaction.effects(
            service="officeplane", operation="upload_document", marker="n"
        )
    )
    assert [(row.entity_id, row.external_key) for row in found] == [("n", "k")]
    assert await store.transact(lambda transaction: transaction.effects(service="planck")) == []


async def test_a_file_that_is_no_state_is_refused(tmp_path):
    """The error names the file and the remedy."""
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, and long enough to be read as one" * 20)
    store = Store(path)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*name a file"):
        await store.open()
    await store.close()


async def test_the_state_is_readable_beside_the_running_sandbox(store, tmp_path):
    """A judge may open the file read-only at the same time."""
    await store.transact(lambda transaction: transaction.record(UPLOAD_DOCUMENT, entity_id="a", marker="m"))
    beside = sqlite3.connect(f"file:{tmp_path / 'state.db'}?mode=ro", uri=True)
    try:
        assert beside.execute("SELECT count(*) FROM effect").fetchone() == (1,)
    finally:
        beside.close()

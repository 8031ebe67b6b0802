"""Answers read as the contract says, requests written as it says, and nothing secret in any of it."""

import pickle
import traceback

import pytest
from pydantic import BaseModel, ConfigDict

from plait.http import Transport
from plait.http.errors import ConfigurationError, InvalidInput, MalformedResponse, OutcomeUnknown, PlaitError


class Thing(BaseModel):
    """As a vendor's model: unknown fields are kept."""

    model_config = ConfigDict(extra="allow")
    id: str


async def test_reading(server, transport, make_operation):
    """One model, a list of models; unknown fields stay."""
    server.steps = [server.answer(200, b'{"id":"1","new":2}'), server.answer(200, b'[{"id":"1"},{"id":"2"}]')]
    one = await transport.call(make_operation())
    assert one.read(Thing).model_dump() == {"id": "1", "new": 2}
    assert [t.id for t in (await transport.call(make_operation())).read_list(Thing)] == ["1", "2"]
    assert one.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"key":"hunter2', b"\xff", b"[" * 100_000, b'{"id": {"key": "hunter2"}}', b"[]"],
)
async def test_unreadable(body, server, transport, make_operation):
    """A 2xx that cannot be read is malformed, for an effect unknown though answered; no value is shown."""
    server.steps = [server.answer(200, body, x_request_id="r-1")]
    for method, kind in (("GET", MalformedResponse), ("POST", OutcomeUnknown)):
        answer = await transport.call(make_operation(method))
        with pytest.raises(kind) as caught:
            answer.read(Thing)
        assert (caught.value.status, caught.value.request_id, caught.value.operation) == (200, "r-1", "act")
        assert getattr(caught.value, "answered", True)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_list_expected(server, transport, make_operation):
    """An object where a list should be is not an empty list."""
    server.steps = [server.answer(200, b'{"id":"1"}')]
    with pytest.raises(MalformedResponse, match="JSON array was expected, not dict"):
        (await transport.call(make_operation())).read_list(Thing)


async def test_a_header_of_one_call(server, transport, make_operation):
    """It goes with that call alone, never beside our credential, and is checked before anything leaves."""
    await transport.call(make_operation("POST"), headers={"Idempotency-Key": "k1", "x-api-key": "other"})
    await transport.call(make_operation("POST"))
    assert [s.header("idempotency-key") for s in server.seen] == ["k1", None]
    assert not any(b"other" in s.head for s in server.seen)
    with pytest.raises(ConfigurationError, match="Idempotency-Key"):
        await transport.call(make_operation("POST"), headers={"Idempotency-Key": "two\nlines"})
    assert len(server.seen) == 2


async def test_json_on_the_wire(server, transport, make_operation):
    """UTF-8 without spaces; null is a body, and no body is none."""
    await transport.call(make_operation("POST"), json={"a": ["ä", None, 1.5, True]})
    await transport.call(make_operation("POST"), json=None)
    await transport.call(make_operation("POST"))
    assert [s.body.decode() for s in server.seen] == ['{"a":["ä",null,1.5,true]}', "null", ""]
    assert [s.header("content-type") for s in server.seen] == ["application/json", "application/json", None]


@pytest.mark.parametrize("value", [float("nan"), {"password": object()}, {1, 2}, "\ud800", {"hunter2": b""}])
async def test_json_that_cannot_be_written(value, server, transport, make_operation):
    """Refused before anything is sent, without repeating the value."""
    with pytest.raises(InvalidInput, match=r"acme.act cannot be written as JSON") as caught:
        await transport.call(make_operation("POST"), json=value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert server.connections == 0


async def test_compressed_answer_and_damaged_one(server, transport, make_operation):
    """An answer whose compression is damaged is malformed, not a crash."""
    server.steps = [server.answer(200, b"not gzip", content_encoding="gzip")]
    with pytest.raises(MalformedResponse, match="compression"):
        await transport.call(make_operation())


@pytest.mark.parametrize("status", [200, 302, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_secret_in_any_error(status, method, server, make_operation, clock):
    """A vendor that repeats our key in words, details, location and headers does not make us show it."""
    headers = {"X-API-Key": server.key, "Authorization": f"Bearer {server.key}-2"}
    echo = f'{{"detail": "bad {server.key}-2", "more": ["{server.key}"], "loc": "'.encode()
    server.steps = [server.answer(status, echo + b'"}', location=f"http://h/{server.key}", retry_after="90")]
    async with Transport(system="acme", base_url=server.url, headers=headers, clock=clock) as transport:
        with pytest.raises(PlaitError) as caught:
            (await transport.call(make_operation(method))).read(Thing)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + repr(transport)
    assert server.key not in shown
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own bytes
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))

"""A vendor's refusal in every shape, made safe to show."""

import json

import pytest

from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestRejected,
    ValidationFailed,
)
from plait.http.words import Redactor, clean, read_words

MISSING = {"type": "missing", "loc": ["body", "email"], "msg": "Field required"}
FASTAPI = {"detail": [{**MISSING, "input": {"password": "hunter2"}, "ctx": {"x": 1}}]}
PLANASONIX = {"error": {"code": "bad_input", "message": "Bad", "details": [{"field": "a", "issue": "b"}]}}
NEST = {"statusCode": 400, "message": ["a must be b", "c"], "error": "Bad Request"}


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"detail": "Document not found"}, "Document not found", None),
        (FASTAPI, "body.email: Field required", None),
        ({"detail": {"code": "quota", "message": "no credits"}}, "no credits", "quota"),
        ({"detail": {"msg": "x", "why": 1}}, "x", None),
        (PLANASONIX, "Bad", "bad_input"),
        ({"error": "text", "existing_job_id": "job_1"}, "text", None),
        ({"code": "not_found", "message": "gone"}, "gone", "not_found"),
        (NEST, "a must be b; c", None),
        ({"errors": [{"field": "name", "message": "too long"}]}, "name: too long", None),
        ({"strange": 1}, '{"strange": 1}', None),
        (["first", "second"], "first; second", None),
        ("just text", "just text", None),
        (None, "Not Found, without further words", None),
        (7, "7", None),
        ({"detail": ""}, '{"detail": ""}', None),
    ],
)
def test_json_shapes(body, message, code):
    """Message and code are found wherever the vendor puts them."""
    words = read_words(404, json.dumps(body).encode(), Redactor({}))
    assert (words.message, words.code) == (message, code)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Not Found, without further words"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"<!DOCTYPE html><html><head><title>502 Bad&nbsp;Gateway</title>", "an HTML page: 502 Bad Gateway"),
        (b"<html><body><p>Busy <b>now</b></p></body></html>", "an HTML page: Busy now"),
        (b'{"detail": "cut o', '{"detail": "cut o'),
        (b"\xff\xfe\x00", "\ufffd\ufffd"),
        (b"a\x1b[31mred\x07\r\nb\xe2\x80\xae", "a [31mred b"),
        (b"[" * 100_000, "[" * 499 + "…"),
    ],
)
def test_other_shapes(body, message):
    """HTML, text, nothing, damaged JSON: one printable line, never an exception."""
    assert read_words(404, body, Redactor({})).message == message


def test_details_are_kept_without_inputs_and_secrets():
    """FastAPI repeats what we sent: dropped; fields named like secrets are hidden; size is bounded."""
    assert read_words(422, json.dumps(FASTAPI).encode(), Redactor({})).details == [MISSING]
    body = {"detail": "x", "api_key": "abc", "nested": {"password": "p", "long": "y" * 9000}}
    body["many"] = [1] * 900
    details = read_words(422, json.dumps(body).encode(), Redactor({})).details
    assert details["api_key"] == details["nested"]["password"] == "***"
    assert len(details["nested"]["long"]) == 500
    assert len(details["many"]) == 50


def test_own_credentials_are_taken_out():
    """A vendor that repeats our key does not make us print it, in whole or without its scheme."""
    redact = Redactor({"Authorization": "Bearer tok_123456", "X-API-Key": "pk_live_1", "Accept": "text"})
    assert redact("tok_123456 Bearer tok_123456 pk_live_1 text") == "*** *** *** text"


def test_clean_cuts():
    """A line is never longer than its limit."""
    assert clean("x" * 600) == "x" * 499 + "…"
    assert clean("a\tb\n c") == "a b c"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ValidationFailed),
        (401, AuthenticationFailed),
        (402, RequestRejected),
        (403, PermissionDenied),
        (404, NotFound),
        (409, Conflict),
        (413, ValidationFailed),
        (415, ValidationFailed),
        (422, ValidationFailed),
        (429, RateLimited),
        (418, RequestRejected),
    ],
)
async def test_status_to_error(status, kind, server, transport, make_operation):
    """Each 4xx has its type, on reads and on effects, with the vendor's words and where it happened."""
    body = b'{"detail": "why", "code": "c-1"}'
    server.steps = [server.answer(status, body, retry_after="31", x_request_id="r-1")]
    for method in ("GET", "POST"):
        with pytest.raises(kind) as caught:
            await transport.call(make_operation(method, limit_class=method))
        error = caught.value
        assert type(error) is kind
        assert (error.status, error.code, error.message, error.system) == (status, "c-1", "why", "acme")
        assert (error.request_id, error.retry_after) == ("r-1", 31)


async def test_torn_body_of_a_4xx_is_still_a_4xx(server, transport, make_operation):
    """The status line says no; the words that were lost do not make it unknown."""
    server.steps = [server.cut(b"HTTP/1.1 404 X\r\ncontent-length: 99\r\n\r\nhalf")]
    with pytest.raises(NotFound, match="half"):
        await transport.call(make_operation("POST"))

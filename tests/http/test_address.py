"""Addresses, redirects, and where credentials may go."""

import asyncio

import httpx
import pytest

from plait.http import Transport
from plait.http.address import base_address, fill, slash_redirect
from plait.http.errors import ConfigurationError, InvalidInput, MalformedResponse, RequestRejected
from plait.http.sockets import proxy_for

BASE = httpx.URL("http://h:1/api")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://h/", "http://h"),
        (" https://H.example:8443/api/v1// ", "https://h.example:8443/api/v1"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ],
)
def test_base_address(text, base):
    """Spaces and last slashes go; the rest stays."""
    assert str(base_address(text)).rstrip("/") == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h/api",
        "ftp://h",
        "https://",
        "https://u:hunter2@h",
        "https://h?key=hunter2",
        "http://h:x",
        "http://h/#a",
    ],
)
def test_bad_base_address(text):
    """Each is refused with a reason, and a password or key in it is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        base_address(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("a b", b"/api/d/a%20b"),
        ("a/b?c#d", b"/api/d/a%2Fb%3Fc%23d"),
        ("%2e%2e", b"/api/d/%252e%252e"),
        ("..a", b"/api/d/..a"),
        ("東", b"/api/d/%E6%9D%B1"),
        ("a\r\nb", b"/api/d/a%0D%0Ab"),
    ],
)
def test_path_parameters_stay_one_segment(value, raw):
    """Whatever the value, it is one segment of the path, and it is on the wire as it was written."""
    url = fill(BASE, "/d/{id}", {"id": value}, {})
    assert url.raw_path == raw
    assert httpx.Request("GET", url).url.raw_path == raw


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_path_parameters_that_name_something_else(value):
    """Empty and dot segments, and half characters, are refused."""
    with pytest.raises(InvalidInput, match="id"):
        fill(BASE, "/d/{id}", {"id": value}, {})


def test_missing_and_unknown_parameters():
    """The template's parameters are given, all of them and no others."""
    for path in ({}, {"id": "1", "x": "2"}):
        with pytest.raises(InvalidInput, match=r"takes the parameters \['id'\]"):
            fill(BASE, "/d/{id}", path, {})


def test_query():
    """None is left out, lists repeat, booleans are JSON's, the rest is encoded."""
    url = fill(BASE, "/d", {}, {"a": None, "b": True, "c": ["x", None, 2], "d": "ä&="})
    assert url.raw_path == b"/api/d?b=true&c=x&c=2&d=%C3%A4%26%3D"


ASKED = httpx.URL("http://h:1/api/d%2F?x=1")


@pytest.mark.parametrize(
    ("method", "status", "location", "target"),
    [
        ("POST", 307, "http://h:1/api/d%2F/?x=1", "/api/d%2F/?x=1"),
        ("POST", 308, "/api/d%2F/", "/api/d%2F/?x=1"),
        ("GET", 301, "/api/d%2F/?x=1", "/api/d%2F/?x=1"),
        ("GET", 302, "d%2F/", "/api/d%2F/?x=1"),
        ("POST", 301, "/api/d%2F/", None),
        ("POST", 302, "/api/d%2F/", None),
        ("GET", 303, "/api/d%2F/", None),
        ("GET", 307, "https://h:1/api/d%2F/", None),
        ("GET", 307, "http://h:2/api/d%2F/", None),
        ("GET", 307, "http://evil/api/d%2F/", None),
        ("GET", 307, "//evil/api/d%2F/", None),
        ("GET", 307, "http://u@h:1/api/d%2F/", None),
        ("GET", 307, "/api/d/", None),
        ("GET", 307, "/api/d%2F//", None),
        ("GET", 307, "/api/d%2F?x=1", None),
        ("GET", 307, "/api/d%2F/?x=2", None),
        ("GET", 307, "/other/", None),
        ("GET", 307, "http://[bad", None),
        ("GET", 307, None, None),
    ],
)
def test_slash_redirect(method, status, location, target):
    """Followed: same scheme, host and port, one last slash more or less, method kept. Nothing else."""
    got = slash_redirect(method, status, ASKED, location)
    assert (got and got.raw_path.decode()) == target
    assert got is None or got.host == "h"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["call", "stream"])
async def test_credentials_never_leave_their_origin(status, kind, server, transport, make_operation):
    """A redirect to another origin is an error that names the place; nobody there is ever asked."""
    asked = []

    async def thief(reader, writer):
        asked.append(await reader.read(1000))
        writer.close()

    other = await asyncio.start_server(thief, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    server.steps = [server.answer(status, b"", location=f"http://127.0.0.1:{port}/api/things/?sig=abc")]
    told = f"127.0.0.1:{port}/api/things/, which is not followed"
    async with other:
        with pytest.raises(MalformedResponse, match=told) as caught:
            await _ask(transport, kind, make_operation("GET"))
    assert "sig=abc" not in str(caught.value)
    assert server.key not in str(caught.value)
    assert asked == []
    assert server.seen[0].header("x-api-key") == server.key


async def _ask(transport, kind, op):
    if kind == "call":
        await transport.call(op)
        return
    async with transport.stream(op):
        pass


async def test_a_redirect_there_and_back_ends(server, transport, make_operation):
    """One slash redirect is followed, not a second."""
    server.steps = [
        server.answer(307, b"", location="/api/things/"),
        server.answer(307, b"", location="/api/things"),
    ]
    with pytest.raises(RequestRejected, match="ask for /api/things instead"):
        await transport.call(make_operation("GET"))
    assert len(server.seen) == 2


def test_proxies_of_the_environment(monkeypatch):
    """Vendors are reached through the environment's proxy, this machine and exempted hosts never."""
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for(httpx.URL("https://api.example/x")) == "http://proxy:3128"
    hosts = ("127.0.0.1", "[::1]", "localhost", "a.localhost", "inside.example")
    assert [proxy_for(httpx.URL(f"https://{host}/x")) for host in hosts] == [None] * len(hosts)


@pytest.mark.parametrize("value", ["", "hunter2\n", " hunter2", "hunter2\r\nX: y", "hunter2é"])
def test_header_values_are_checked_without_being_shown(value):
    """A key that cannot be sent is refused at once, by the header's name."""
    with pytest.raises(ConfigurationError, match="X-API-Key") as caught:
        Transport(system="a", base_url="http://h", headers={"X-API-Key": value})
    assert "hunter2" not in str(caught.value)

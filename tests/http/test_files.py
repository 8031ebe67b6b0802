"""Downloads: whole or not at all, bounded, named safely, and from where."""

import asyncio
import base64
import hashlib
import logging
import sys
import textwrap

import httpx
import pytest

from plait.http import fetch_public, safe_name, sha256_of
from plait.http.errors import (
    ConfigurationError,
    InvalidInput,
    LimitExceeded,
    MalformedResponse,
    NotFound,
    NotSent,
    PermissionDenied,
    ServerFailed,
)
from plait.http.files import offered_name

DATA = bytes(range(256)) * 9000
SHA = hashlib.sha256(DATA).hexdigest()


async def test_download(server, transport, make_operation, tmp_path):
    """The file arrives byte for byte, with size, digest, type and the vendor's name for it."""
    name = 'attachment; filename="r\u00e9sum\u00e9.pdf"'
    server.steps = [server.answer(200, DATA, content_type="application/pdf; x=y", content_disposition=name)]
    got = await transport.download(make_operation("GET"), tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes() == DATA
    assert (got.path, got.size, got.sha256) == (tmp_path / "f.pdf", len(DATA), SHA)
    assert (got.media_type, got.filename) == ("application/pdf", "r\u00e9sum\u00e9.pdf")
    assert await sha256_of(got.path) == SHA
    assert server.seen[0].header("accept-encoding") == "identity"


async def test_torn_download_is_tried_again(server, transport, make_operation, tmp_path):
    """A download cut off starts over; nothing of the first try is left beside the file."""
    half = b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n" % len(DATA) + DATA[:1000]
    server.steps = [server.cut(half), server.answer(200, DATA)]
    got = await transport.download(make_operation("GET"), tmp_path / "f")
    assert got.sha256 == SHA
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    "failure", ["limit announced", "limit streamed", "digest", "folder", "cancelled", "refused"]
)
async def test_failed_download_leaves_nothing(failure, server, transport, make_operation, tmp_path):
    """Whatever goes wrong, an older file stays as it was and no part is left."""
    target = tmp_path / "f"
    target.write_bytes(b"old")
    chunked = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(DATA), DATA)
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    cases = {
        "limit announced": (server.answer(200, DATA), LimitExceeded, 1000),
        "limit streamed": (chunked, LimitExceeded, 1000),
        "digest": (server.answer(200, DATA, repr_digest=f"sha-256=:{other}:"), MalformedResponse, None),
        "folder": (server.answer(200, DATA), ConfigurationError, None),
        "cancelled": (server.silence, TimeoutError, None),
        "refused": (server.answer(404), NotFound, None),
    }
    step, kind, limit = cases[failure]
    server.steps = [step]
    place = tmp_path / "missing" / "f" if failure == "folder" else target
    with pytest.raises(kind):
        await asyncio.wait_for(transport.download(make_operation("GET"), place, limit=limit), 0.3)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


async def test_matching_digest_is_accepted(server, transport, make_operation, tmp_path):
    """A Repr-Digest that fits is no obstacle."""
    digest = base64.b64encode(bytes.fromhex(SHA)).decode()
    server.steps = [server.answer(200, DATA, repr_digest=f"sha-256=:{digest}:")]
    assert (await transport.download(make_operation("GET"), tmp_path / "f")).sha256 == SHA


async def test_signed_redirect_has_no_credentials(server, transport, make_operation, tmp_path, caplog):
    """A download that leads to a signed address elsewhere: our key stays here, no log of theirs."""
    caplog.set_level(logging.INFO)
    place = server.url.replace("127.0.0.1", "localhost") + "/bucket/f?signature=hunter2"
    server.steps = [server.answer(302, b"", location=place), server.answer(200, DATA)]
    got = await transport.download(make_operation("GET"), tmp_path / "f")
    assert got.sha256 == SHA
    assert [s.header("x-api-key") for s in server.seen] == [server.key, None]
    assert server.seen[1].line == "GET /api/bucket/f?signature=hunter2 HTTP/1.1"
    assert "hunter2" not in caplog.text


RECEIVER = """
    import asyncio, resource, sys
    from pathlib import Path
    from plait.http import Transport
    from plait.http.operation import Effect, Operation, Source

    OP = Operation(system="s", name="n", method="GET", path="/", effect=Effect.READ, source=Source.ASSUMED,
                   reference="x")

    async def main():
        async with Transport(system="s", base_url=sys.argv[1], headers={"X-Api-Key": "k3y"}) as transport:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            got = await transport.download(OP, Path(sys.argv[2]))
            print(got.size, got.sha256, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
async def test_64_megabytes_from_storage_in_constant_memory(tmp_path):
    """Fetching 64 MB over a redirect costs less than 24 MB of memory, and the storage sees no key."""
    megabyte, heads = bytes(1024 * 1024), []

    async def answer(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if len(heads) == 1:
            port = storage.sockets[0].getsockname()[1]
            writer.write(f"HTTP/1.1 302 Found\r\nlocation: http://localhost:{port}/f\r\n".encode())
            writer.write(b"content-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
            for _ in range(64):
                writer.write(megabyte)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    vendor = await asyncio.start_server(answer, "127.0.0.1")
    storage = await asyncio.start_server(answer, "127.0.0.1")
    async with vendor, storage:
        url = f"http://127.0.0.1:{vendor.sockets[0].getsockname()[1]}"
        command = (sys.executable, "-c", textwrap.dedent(RECEIVER), url, str(tmp_path / "f"))
        receiver = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await asyncio.wait_for(receiver.communicate(), 60)
    size, digest, grown = said.decode().split()
    assert int(size) == (tmp_path / "f").stat().st_size == 64 * 1024 * 1024
    assert digest == hashlib.sha256(megabyte * 64).hexdigest()
    assert int(grown) < 24 * 1024
    assert [b"k3y" in head for head in heads] == [True, False]


async def test_public_fetch_follows_redirects(server, tmp_path):
    """Relative and absolute redirects are followed, five of them."""
    server.steps = [*[server.answer(302, b"", location="/next")] * 5, server.answer(200, b"x")]
    assert (await fetch_public(f"{server.url}/a", tmp_path / "f")).size == 1
    server.steps = [server.answer(302, b"", location="/next")]
    with pytest.raises(MalformedResponse, match="more than 5 redirects"):
        await fetch_public(f"{server.url}/a", tmp_path / "f")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, PermissionDenied),
        (404, NotFound),
        (410, NotFound),
        (500, ServerFailed),
        (304, MalformedResponse),
    ],
)
async def test_public_fetch_refused(status, kind, server, tmp_path):
    """The error names the host and the status, and never the signature."""
    server.steps = [server.answer(status, b"")]
    with pytest.raises(kind, match=f"127.0.0.1.*HTTP {status}") as caught:
        await fetch_public(f"{server.url}/a?signature=hunter2", tmp_path / "f")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/f",
        "h/f",
        "",
        "http://u:hunter2@h/f",
        "data:,x",
        "http://h:x/?s=hunter2",
    ],
)
async def test_public_fetch_takes_http_only(url, tmp_path):
    """Other schemes, credentials in the address and what is no address are refused at once."""
    with pytest.raises(InvalidInput) as caught:
        await fetch_public(url, tmp_path / "f")
    assert "hunter2" not in str(caught.value)


async def test_public_fetch_from_secure_to_plain(server, tmp_path):
    """What came from https is not fetched over http."""
    with pytest.raises(InvalidInput, match="only over https"):
        await fetch_public(f"{server.url}/a", tmp_path / "f", secure=True)
    assert server.seen == []


async def test_public_fetch_with_nobody_there(tmp_path, dead_url):
    """Nothing was sent where nobody listens."""
    with pytest.raises(NotSent):
        await fetch_public(f"{dead_url}/a", tmp_path / "f")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'attachment; filename="a.pdf"', "a.pdf"),
        (b"attachment; filename=a.pdf", "a.pdf"),
        (b"inline; filename=a b.pdf; size=3", "a b.pdf"),
        (b'attachment; filename="r\xe9sum\xe9.docx"', "r\u00e9sum\u00e9.docx"),
        ('attachment; filename="\u6771\u4eac.docx"'.encode(), "\u6771\u4eac.docx"),
        (b'attachment; filename="say "hi".docx"', "say _hi_.docx"),
        (b'attachment; filename="say "hi".docx"; size=3', "say _hi_.docx"),
        (b'attachment; filename="a\\"b.pdf"', "a_b.pdf"),
        (b"attachment; filename=\"x.pdf\"; filename*=UTF-8''na%C3%AFve.pdf", "na\u00efve.pdf"),
        (b"attachment; filename*=iso-8859-1'en'%A3.txt", "\u00a3.txt"),
        (b"attachment; filename*=nonsense''%A3.txt; filename=\"b.txt\"", "b.txt"),
        (b'attachment; filename="../../etc/passwd"', "passwd"),
        (b'attachment; filename="C:\\\\x\\\\y.doc"', "y.doc"),
        (b'attachment; filename=""', None),
        (b'attachment; filename="..."', None),
        (b'attachment; filename="unterminated.pdf', "unterminated.pdf"),
        (b"attachment", None),
        (b"", None),
    ],
)
def test_offered_name(header, name):
    """Read as vendors write it: Latin-1, quotes not escaped, RFC 5987; a bare name comes out."""
    assert offered_name(httpx.Response(200, headers=[(b"Content-Disposition", header)])) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b\\c.txt", "c.txt"),
        ("a\x00b\r\n\u202ec.txt", "abc.txt"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        (".hidden", "hidden"),
        ("a?*|.txt.", "a___.txt"),
        ("  ", None),
        ("\u00e9" * 300 + ".docx", "\u00e9" * 97 + ".docx"),
        ("x" * 300, "x" * 200),
        ("a." + "x" * 300, "a." + "x" * 198),
        ("e\u0301.txt", "\u00e9.txt"),
    ],
)
def test_safe_name(text, name):
    """No folder, control character, device or overlong name survives; the suffix does."""
    assert safe_name(text) == name

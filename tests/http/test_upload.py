"""Uploads: exact on the wire, as FastAPI reads them, in constant memory."""

import socket
import subprocess
import sys
import textwrap

import pytest
from python_multipart.multipart import parse_options_header

from plait.http import Upload
from plait.http.errors import InvalidInput, OutcomeUnknown
from plait.http.multipart import CHUNK
from plait.http.operation import Effect

NAMES = [
    "a b.pdf",
    "\u00dcbergr\u00f6\u00dfe \u6771\u4eac.pdf",
    "a\\b.pdf",
    "a;b=c.pdf",
    "100%.pdf",
    "ends in \\",
]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_bytes_and_length(size, server, transport, make_operation, tmp_path):
    """Content-Length is exact at every size around a chunk, and the file is inside byte for byte."""
    data = bytes(i % 251 for i in range(size))
    file = tmp_path / "f"
    file.write_bytes(data)
    await transport.call(make_operation("POST"), upload=Upload("file", file, "f.bin", "application/pdf"))
    request = server.seen[0]
    boundary = request.header("content-type").partition("boundary=")[2].encode()
    assert request.header("transfer-encoding") is None
    head = b'Content-Disposition: form-data; name="file"; filename="f.bin"\r\nContent-Type: application/pdf'
    assert request.body == b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (boundary, head, data, boundary)


@pytest.mark.parametrize("name", [*NAMES, 'say "hi".pdf'])
async def test_names_as_fastapi_reads_them(name, server, transport, make_operation, tmp_path):
    """The parser under FastAPI gets the name back; a quote arrives as browsers send it."""
    file = tmp_path / "f"
    file.write_bytes(b"x")
    await transport.call(make_operation("POST"), upload=Upload("file", file, name, "text/plain"))
    line = server.seen[0].body.split(b"\r\n")[1].partition(b": ")[2]
    assert parse_options_header(line)[1][b"filename"].decode() == name.replace('"', "%22")


@pytest.mark.parametrize(
    "bad",
    [
        {"filename": ""},
        {"filename": "a\r\nX: y"},
        {"filename": "a\x00"},
        {"field": 'a"; x="'},
        {"media_type": "text/plain\r\nX: y"},
        {"media_type": "pdf"},
    ],
)
def test_framing_cannot_be_broken(bad, tmp_path):
    """What would end a header early is refused."""
    with pytest.raises(InvalidInput):
        Upload(
            **{"field": "file", "path": tmp_path / "f", "filename": "f", "media_type": "text/plain", **bad}
        )


async def test_missing_file_and_folder(server, transport, make_operation, tmp_path):
    """No file, no request."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput, match=str(path)):
            await transport.call(make_operation("POST"), upload=Upload("file", path, "f", "text/plain"))
    with pytest.raises(InvalidInput, match="not both"):
        await transport.call(make_operation("POST"), upload=Upload("f", tmp_path, "f", "a/b"), json={})
    assert server.connections == 0


async def test_file_that_shrinks_while_it_is_sent(server, transport, make_operation, tmp_path, guard):
    """A file cut short under us never becomes a complete form."""
    file = tmp_path / "f"
    file.write_bytes(b"x" * 5 * CHUNK)

    async def cut():
        file.write_bytes(b"")

    guard.when["permit"] = cut
    op = make_operation("POST", effect=Effect.FINDABLE)
    with pytest.raises(OutcomeUnknown, match="became shorter"):
        await transport.call(op, upload=Upload("file", file, "f", "text/plain"))
    assert guard.log[-1] == "gave_up"
    await server.settled()
    assert not server.seen[0].whole


async def test_repeated_upload_opens_the_file_anew(server, transport, make_operation, tmp_path):
    """A retried upload (here an idempotent one) sends the whole file each time."""
    file = tmp_path / "f"
    file.write_bytes(b"x" * 1000)
    server.steps = [server.answer(503), server.answer()]
    op = make_operation("PUT", effect=Effect.IDEMPOTENT)
    await transport.call(op, upload=Upload("file", file, "f", "text/plain"))
    assert len(server.seen[0].body) == len(server.seen[1].body) > 1000


SENDER = """
    import asyncio, resource, sys
    from pathlib import Path
    from plait.http import Transport, Upload
    from plait.http.operation import Effect, Operation, Source

    OP = Operation(system="s", name="n", method="POST", path="/", effect=Effect.FINDABLE,
                   source=Source.ASSUMED, reference="x")

    async def main():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with Transport(system="s", base_url=sys.argv[1]) as transport:
            await transport.call(OP, upload=Upload("file", Path(sys.argv[2]), "f", "text/plain"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_200_megabytes_in_constant_memory(tmp_path):
    """Sending 200 MB costs the sender less than 30 MB of memory."""
    file = tmp_path / "f"
    with file.open("wb") as sparse:
        sparse.truncate(200 * 1024 * 1024)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-c", textwrap.dedent(SENDER), url, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                received = _swallow(connection)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                grown = int(sender.communicate(timeout=30)[0])
    assert received > 200 * 1024 * 1024
    assert grown < 30 * 1024


def _swallow(connection):
    received, end = 0, b""
    while not end.endswith(b"--\r\n"):
        chunk = connection.recv(1024 * 1024)
        received += len(chunk)
        end = (end + chunk)[-4:]
    return received


async def test_text_fields_stand_before_the_file(server, transport, make_operation, tmp_path):
    """Some servers read the file first come, first served (placet.md §3.9); the length stays exact."""
    file = tmp_path / "f"
    file.write_bytes(b"data")
    upload = Upload("file", file, "f.bin", "text/plain", fields=(("channelId", "c 1"), ("more", "ü")))
    await transport.call(make_operation("POST"), upload=upload)
    body = server.seen[0].body
    places = [body.index(part) for part in (b'name="channelId"\r\n\r\nc 1', b'name="more"', b'name="file"')]
    assert places == sorted(places)
    assert int(server.seen[0].header("content-length")) == len(body)


@pytest.mark.parametrize("bad", [("a b", "x"), ("a", "x\r\n--y")])
def test_a_text_field_that_would_break_the_form_is_refused(bad, tmp_path):
    """Nothing is sent under a name or value that could end the part."""
    with pytest.raises(InvalidInput, match="plain name"):
        Upload("file", tmp_path / "f", "f", "text/plain", fields=(bad,))

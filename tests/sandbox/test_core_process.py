"""The sandbox as a process: durable counters, bounded memory, clear words on a bad start."""

import asyncio
import hashlib
import re
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from plait.http.errors import ConfigurationError
from plait.sandbox.cli import app
from plait.sandbox.fault_rules import AfterAccept
from plait.sandbox.process import start_sandbox
from plait.sandbox.settings import OfficePlaneSettings

FAST = OfficePlaneSettings(ingest_seconds=0)
MEGABYTE = 1024 * 1024


async def _upload(http, content):
    return await http.post("/officeplane/api/documents/upload", files={"file": ("report.docx", content)})


async def test_effects_survive_a_kill_of_the_sandbox(tmp_path, make_docx):
    """What was answered before SIGKILL is counted and readable after a restart on the same state."""
    state, content = tmp_path / "state.db", make_docx()
    first = await asyncio.to_thread(start_sandbox, state=state, officeplane=FAST)
    async with httpx.AsyncClient(base_url=first.url) as http:
        made = (await _upload(http, content)).json()["id"]
    await asyncio.to_thread(first.kill)
    second = await asyncio.to_thread(start_sandbox, state=state, port=first.port, officeplane=FAST)
    try:
        assert second.url == first.url
        async with httpx.AsyncClient(base_url=second.url) as http:
            rows = (await http.get("/_sandbox/effects")).json()
            original = await http.get(f"/officeplane/api/documents/{made}/download")
    finally:
        await asyncio.to_thread(second.stop)
    assert rows["by_operation"] == {"officeplane.upload_document": 1}
    assert [(row["entity_id"], row["marker"]) for row in rows["effects"]] == [
        (made, hashlib.sha256(content).hexdigest())
    ]
    assert original.content == content


async def test_a_kill_amid_uploads_keeps_entities_and_effects_equal(tmp_path, make_docx):
    """After SIGKILL under load there are as many documents as effect rows."""
    state = tmp_path / "state.db"
    slow = OfficePlaneSettings(ingest_seconds=0.05)
    process = await asyncio.to_thread(start_sandbox, state=state, officeplane=slow)
    contents = [make_docx() for _ in range(60)]
    limits = httpx.Limits(max_connections=6)
    async with httpx.AsyncClient(base_url=process.url, limits=limits) as http:
        running = [asyncio.create_task(_upload(http, content)) for content in contents]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(process.kill)
        ended = await asyncio.gather(*running, return_exceptions=True)
    answered = [answer.json()["id"] for answer in ended if isinstance(answer, httpx.Response)]
    again = await asyncio.to_thread(start_sandbox, state=state, officeplane=FAST)
    try:
        async with httpx.AsyncClient(base_url=again.url) as http:
            effects = [row["entity_id"] for row in (await http.get("/_sandbox/effects")).json()["effects"]]
            listed = [row["id"] for row in (await http.get("/officeplane/api/documents")).json()]
    finally:
        await asyncio.to_thread(again.stop)
    assert sorted(effects) == sorted(listed)
    assert set(answered) <= set(listed)
    assert 0 < len(answered) <= len(listed) < len(contents)


def _peak_memory(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def _huge_pdf(path, megabytes):
    """A valid PDF of one page beside an embedded stream of the given size."""
    offsets = []
    with path.open("wb") as file:
        file.write(b"%PDF-1.4\n")
        for number, body in enumerate(
            [
                b"<< /Type /Catalog /Pages 2 0 R >>",
                b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
                None,
            ],
            start=1,
        ):
            offsets.append(file.tell())
            file.write(b"%d 0 obj\n" % number)
            if body is None:
                file.write(b"<< /Length %d >>\nstream\n" % (megabytes * MEGABYTE))
                for _ in range(megabytes):
                    file.write(bytes(MEGABYTE))
                file.write(b"\nendstream")
            else:
                file.write(body)
            file.write(b"\nendobj\n")
        start = file.tell()
        file.write(b"xref\n0 5\n0000000000 65535 f \n")
        file.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
        file.write(b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
async def test_an_upload_of_200_megabytes_is_not_held_in_memory(tmp_path):
    """Upload, ingest and download of 200 MB grow the process by a small part of that."""
    source = tmp_path / "huge.pdf"
    _huge_pdf(source, 200)
    process = await asyncio.to_thread(start_sandbox, state=tmp_path / "state.db", officeplane=FAST)
    try:
        async with httpx.AsyncClient(base_url=process.url, timeout=120) as http:
            small = tmp_path / "small.pdf"
            _huge_pdf(small, 1)
            with small.open("rb") as file:
                await http.post("/officeplane/api/documents/upload", files={"file": ("small.pdf", file)})
            before = _peak_memory(process.pid)
            with source.open("rb") as file:
                answer = await http.post(
                    "/officeplane/api/documents/upload", files={"file": ("huge.pdf", file)}
                )
            assert answer.status_code == 200, answer.text
            size = 0
            async with http.stream(
                "GET", f"/officeplane/api/documents/{answer.json()['id']}/download"
            ) as download:
                async for chunk in download.aiter_raw():
                    size += len(chunk)
        grown = _peak_memory(process.pid) - before
    finally:
        await asyncio.to_thread(process.stop)
    assert size == source.stat().st_size
    assert grown < 40 * MEGABYTE


async def test_a_sandbox_can_start_with_faults_and_logs_them_beside_its_state(tmp_path):
    """Rules given at the start hold from the first request on; the log file has their line."""
    rule = AfterAccept(kind="after_accept", operation="health")
    state = tmp_path / "state.db"
    process = await asyncio.to_thread(start_sandbox, state=state, seed=3, faults=[rule])
    try:
        async with httpx.AsyncClient(base_url=process.url) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get("/officeplane/health")
    finally:
        await asyncio.to_thread(process.stop)
    (line,) = (tmp_path / "state.db.faults.jsonl").read_text().splitlines()
    assert '"seed":3' in line
    assert '"request":1' in line


def test_a_sandbox_that_cannot_start_says_why(tmp_path):
    """A missing folder is named in the error."""
    with pytest.raises(ConfigurationError, match="no-such-folder"):
        start_sandbox(state=tmp_path / "no-such-folder" / "state.db")


def test_the_command_refuses_bad_rules_in_clear_words(tmp_path):
    """`plait sandbox --faults` names the field; nothing is started."""
    rules = tmp_path / "rules.json"
    rules.write_text('[{"kind": "hang", "secnods": 3}]')
    result = CliRunner().invoke(app, ["--state", str(tmp_path / "state.db"), "--faults", str(rules)])
    assert result.exit_code == 2
    assert "'secnods'" in result.output
    missing = CliRunner().invoke(app, ["--state", str(tmp_path / "s.db"), "--faults", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "cannot be read" in missing.output


async def test_the_index_says_what_this_is(control):
    """Stand-ins, no language model, and a certainty for every route."""
    index = (await control.get("/")).json()
    assert "no language model" in index["notice"]
    assert index["services"]["officeplane"] == "/officeplane"
    assert index["services"]["planck"] == "/planck/api/v1"
    assert index["services"]["pletor"] == "/pletor/api/public/v1"
    assert all(route["certainty"] in index["certainty"] for route in index["routes"])
    assert {"officeplane.upload_document", "planck.send_message"} <= {
        route["operation"] for route in index["routes"]
    }
    assert (await control.get("/health")).json()["status"] == "ok"

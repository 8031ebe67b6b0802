"""The commands of `deployments/` and the `plait` command, as processes."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocks import PlanckCredentials
from deployments.browser import ADDITION, PRAISE, WISH
from deployments.local import free_port, process_group

ROOT = Path(__file__).parent.parent.parent


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A module as a command."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.usefixtures("prefect_server")
async def test_register_blocks_saves_what_the_environment_describes() -> None:
    """Types are registered, complete blocks saved, and incomplete ones named with the variable."""
    done = command(
        "deployments.register_blocks",
        "--save",
        "from-environment",
        "--overwrite",
        PLAIT_PLANCK_URL="http://planck.example/api/v1",
        PLAIT_PLANCK_API_KEY="pk_live_saved_secret",
    )
    assert done.returncode == 0, done.stderr
    assert "saved plait-planck-credentials/from-environment" in done.stdout
    assert "PLAIT_OFFICEPLANE_URL is not set" in done.stderr
    assert "pk_live_saved_secret" not in done.stdout + done.stderr
    saved = await PlanckCredentials.aload("from-environment")
    assert saved.api_key.get_secret_value() == "pk_live_saved_secret"


def test_plait_starts_without_prefect() -> None:
    """The `plait` command loads neither Prefect nor a database."""
    seen = "import sys, plait.cli; print({'prefect', 'sqlalchemy', 'httpx', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_plait_says_its_version_and_shows_its_coverage() -> None:
    """`version` prints a number, `coverage` one line an operation, all of them complete."""
    assert command("plait.cli", "version").stdout.strip()[0].isdigit()
    table = command("plait.cli", "coverage").stdout.splitlines()
    assert len(table) > 20
    assert all(line.split()[-2:] == ["yes", "yes"] for line in table[1:])


def test_plait_sandbox_takes_its_options(tmp_path: Path) -> None:
    """Options after `sandbox` are the sandbox's own."""
    done = command("plait.cli", "sandbox", "--port", "notaport", "--state", str(tmp_path / "s.db"))
    assert done.returncode == 2
    assert "--port" in done.stderr


def test_a_process_group_ends_with_everything_it_started(tmp_path: Path) -> None:
    """A child that ignores SIGTERM, and its own child, are killed when the block is left."""
    pids = tmp_path / "pids"
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    with process_group([sys.executable, "-c", script], env=os.environ):
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        found = [int(pid) for pid in pids.read_text().split()]
    until(lambda: not any(alive(pid) for pid in found))  # a killed process takes a moment to go


def test_the_demo_leaves_nothing_running_when_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while the servers run: exit code 130, no process, no open port, no folder."""
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "deployments.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    said = ""
    while "demo: running" not in said:
        line = demo.stdout.readline()
        assert line, said
        said += line
    port = int(said.split("http://127.0.0.1:")[1].split()[0])
    # Where these tests run in the background, children ignore SIGINT from birth.
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    os.kill(demo.pid, signal.SIGTERM if deaf else signal.SIGINT)
    rest, _ = demo.communicate(timeout=150)
    assert demo.returncode == 130, said + rest
    assert list(tmp_path.glob("plait-demo-*")) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not [found for found in map(command_line, running()) if str(tmp_path) in found]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files whose path is short: Chromium puts a socket there."""
    with tempfile.TemporaryDirectory(prefix="plait-") as folder:
        yield Path(folder)


@pytest.mark.timeout(300)
def test_the_demo_of_reviews_is_clicked_through_in_a_browser(tmp_path: Path, temporary: Path) -> None:
    """`AUTO=1`: a browser decides on the page, pictures and text arrive as approved, nothing stays behind."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.demo_review"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary), "AUTO": "1", "KEEP": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "reports" / "demo-review"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted((one["title"], one["decision"], one["why"] or "") for one in manifest["reviews"]) == [
        ("Approve this picture?", "approve", PRAISE),
        ("Approve this picture?", "regenerate", WISH),
        ("Is this text right?", "approve", ""),
        ("Which of these pictures?", "approve", ""),
    ]
    assert [text.endswith(ADDITION) for text in manifest["texts"]] == [True]
    assert len(manifest["files"]) == 2
    for file in manifest["files"]:
        assert hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest() == file["sha256"]
        assert file["sha256"] in done.stdout
    screens = {path.stem: path.read_bytes()[:8] for path in (folder / "screens").iterdir()}
    assert {"review-1", "review-4", "prefect-run", "run-with-review-decisions"} <= screens.keys()
    assert set(screens.values()) == {b"\x89PNG\r\n\x1a\n"}
    assert list(temporary.glob("plait-demo-*")) == []
    assert not [found for found in map(command_line, running()) if str(temporary) in found]


def until(holds: Callable[[], bool]) -> None:
    """Wait for what other processes bring about, on a machine that may be busy."""
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def running() -> list[int]:
    """Every process."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def command_line(pid: int) -> str:
    """A process's command and environment; empty when it has gone."""
    try:
        folder = Path(f"/proc/{pid}")
        return (folder / "cmdline").read_text(errors="replace") + (folder / "environ").read_text(
            errors="replace"
        )
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_free_ports_are_free() -> None:
    """The port can be listened on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))

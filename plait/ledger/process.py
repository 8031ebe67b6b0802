"""Who this process is, and proof that another is dead (effect-protocol.md §2).

Every ledger instance holds an OS file lock from before its first claim. The kernel frees it at
death and not on SIGSTOP, so a lock that can be taken proves its holder dead; a boot id other than
ours on the same host does too, and so does a pid whose start time is gone in our own pid namespace.
"""

import fcntl
import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from plait.http.errors import ConfigurationError

_LIVE: dict[str, IO[str]] = {}
"""The locks this process holds; a holder found here is alive, whatever a probe would say."""


@dataclass(frozen=True, slots=True)
class Process:
    """One instance of the ledger in one process."""

    holder: str
    host: str
    hostname: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str

    def describe(self) -> str:
        """For people: which process to look at."""
        return f"process {self.pid} on host {self.hostname}"


def run_folder(ledger_path: Path | None) -> Path:
    """Where the locks live: beside the SQLite file, else in a folder local to this host."""
    if ledger_path is not None:
        return ledger_path.with_name(ledger_path.name + ".processes")
    named = os.environ.get("PLAIT_RUN_DIR")
    base = Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 - survives a reboot; the folder is ours, mode 0700
    return Path(named) if named else base / f"plait-{os.getuid()}"


def enter(folder: Path) -> Process:
    """Take a new identity and its lock. Raises `ConfigurationError` where no lock can be held."""
    holder = secrets.token_hex(8)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        host = _host(folder)
        lock = _lock_path(folder, holder).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"cannot hold a process lock in {folder}: {error.strerror or error}; "
            "use a folder on a local disk that you may write (PLAIT_RUN_DIR, or the ledger's own)"
        ) from error
    _LIVE[holder] = lock
    return Process(
        holder=holder,
        host=host,
        hostname=os.uname().nodename,
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
    )


def leave(folder: Path, process: Process, *, recorded: bool) -> None:
    """Give the lock back. Its file goes too once the ledger knows of our end; else it is the proof."""
    lock = _LIVE.pop(process.holder, None)
    if lock is not None:
        if recorded:
            with suppress(OSError):
                _lock_path(folder, process.holder).unlink()
        lock.close()


def forget(folder: Path, holder: str) -> None:
    """Remove the lock file of an instance whose end the ledger knows."""
    _lock_path(folder, holder).unlink(missing_ok=True)


def proved_dead(folder: Path, other: Process, *, one_host: bool = False) -> bool:
    """Whether `other` can never write again. False means only that there is no proof.

    `one_host`: every process of this ledger runs here, as it is with SQLite.
    """
    if other.holder in _LIVE or not other.host or other.host != _host(folder):
        return False
    if other.boot_id != _boot_id():  # a copied machine has our host id and another boot, and lives
        return one_host or other.hostname == os.uname().nodename
    path = _lock_path(folder, other.holder)
    if path.exists():
        return _lock_is_free(path)
    return other.pid_namespace == _pid_namespace() and _started(other.pid) != other.started


def _lock_is_free(path: Path) -> bool:
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True  # the file stays: the next effect of the dead needs the same proof
    except OSError:
        return False


def _lock_path(folder: Path, holder: str) -> Path:
    return folder / f"{holder}.lock"


def _host(folder: Path) -> str:
    """This host's random name, kept in the folder of its locks; a copied machine copies it too."""
    path = folder / "host-id"
    if not path.exists():
        draft = folder / f"host-id.{secrets.token_hex(8)}"
        draft.write_text(secrets.token_hex(16))
        with suppress(FileExistsError):  # linked whole, so that nobody reads half an id
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


@cache
def _boot_id() -> str:
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - a fixed command
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot; None when there is no such process."""
    if sys.platform == "darwin":
        command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None  # noqa: S603 - a fixed command
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]


def _forget_in_child() -> None:
    """A forked child inherits the descriptors; closed there, they do not outlive the parent."""
    for lock in _LIVE.values():
        lock.close()
    _LIVE.clear()


os.register_at_fork(after_in_child=_forget_in_child)

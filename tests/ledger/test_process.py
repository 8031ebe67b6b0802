"""Proof of death: given for the dead, never for those who only stand still."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import toy_vendor as toy

from plait.http import Transport
from plait.http.errors import ConfigurationError, OutcomeUnknown
from plait.http.operation import Effect
from plait.ledger import Ledger
from plait.ledger.process import Process, enter, leave, proved_dead

HOLDER = """
import json, os, subprocess, sys, time
from dataclasses import asdict
from pathlib import Path
from plait.ledger.process import enter

who = asdict(enter(Path(sys.argv[1])))
forked = os.fork()
if forked == 0:
    time.sleep(60)
    os._exit(0)
spawned = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL).pid
print(json.dumps([who, [forked, spawned]]), flush=True)
sys.stdin.read()
"""

Start = Callable[[], tuple[Process, list[int]]]


@pytest.fixture
def start_holder(tmp_path: Path) -> Iterator[Start]:
    """Start a process that holds a lock in the folder, with two children: one forked, one spawned."""
    started: list[subprocess.Popen[str]] = []
    children: list[int] = []

    def start() -> tuple[Process, list[int]]:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(holder)
        assert holder.stdout is not None
        who, its_children = json.loads(holder.stdout.readline())
        children.extend(its_children)
        return Process(**who), its_children

    yield start
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for holder in started:
        holder.kill()
        holder.communicate()


def kill(who: Process, folder: Path) -> None:
    """SIGKILL, and wait until the kernel is done with it."""
    os.kill(who.pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while not proved_dead(folder, who) and time.monotonic() < until:
        time.sleep(0.005)


def test_a_stopped_process_is_not_dead_and_a_killed_one_is(tmp_path: Path, start_holder: Start):
    """SIGSTOP proves nothing; SIGKILL does, at every question, though children live on."""
    who, children = start_holder()
    assert not proved_dead(tmp_path, who)
    os.kill(who.pid, signal.SIGSTOP)
    assert not proved_dead(tmp_path, who)
    kill(who, tmp_path)
    assert proved_dead(tmp_path, who)
    elsewhere = replace(who, pid_namespace="of another container")
    assert proved_dead(tmp_path, elsewhere), "the first proof used up the second"
    for pid in children:
        os.kill(pid, 0)  # they live, and hold no copy of their parent's lock


def test_another_boot_of_the_same_host_is_a_proof(tmp_path: Path):
    """Nothing survives a reboot; of another host's boot we know nothing."""
    me = enter(tmp_path)
    rebooted = replace(me, holder="old", boot_id="before the reboot")
    assert proved_dead(tmp_path, rebooted)
    assert not proved_dead(tmp_path, replace(rebooted, host="another"))
    assert not proved_dead(tmp_path, replace(rebooted, host=""))
    copied = replace(rebooted, hostname="its-original")  # a copied machine has our host id, and lives
    assert not proved_dead(tmp_path, copied)
    assert proved_dead(tmp_path, copied, one_host=True)
    leave(tmp_path, me, recorded=True)


def test_a_pid_in_other_hands_is_a_proof(tmp_path: Path):
    """Without a lock file: our own pid with another start time is somebody else's."""
    me = enter(tmp_path)
    assert proved_dead(tmp_path, replace(me, holder="x", started="1"))
    assert not proved_dead(tmp_path, replace(me, holder="x"))
    assert not proved_dead(tmp_path, replace(me, holder="x", started="1", pid_namespace="another"))
    leave(tmp_path, me, recorded=True)


def test_this_process_never_proves_itself_dead(tmp_path: Path):
    """Two instances in one process: opening the other's lock file again must not count as free."""
    one, two = enter(tmp_path), enter(tmp_path)
    assert not proved_dead(tmp_path, one)
    assert not proved_dead(tmp_path, two)
    leave(tmp_path, one, recorded=True)
    leave(tmp_path, two, recorded=True)


def test_an_end_that_could_not_be_recorded_leaves_the_proof(tmp_path: Path):
    """The ledger was down when we closed it: the free lock says so although the process lives on."""
    me = enter(tmp_path)
    leave(tmp_path, me, recorded=False)
    assert proved_dead(tmp_path, me)


def test_a_folder_that_cannot_hold_locks_is_named(tmp_path: Path):
    """No lock, no ledger: the error says where and what to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="PLAIT_RUN_DIR"):
        enter(tmp_path / "file")


async def test_an_instance_closed_with_a_request_out_is_not_dead(
    ledger_url: str, ledger: Ledger, vendor: toy.Vendor, transport: Transport, eventually
):
    """Somebody closed the ledger under a running call: its end would be no proof that nothing is written."""
    vendor.script.append("hang_after")
    async with Ledger.open(ledger_url, timing=toy.QUICK) as other:
        holder = other.me
        call = asyncio.create_task(other.effects(run_key="r").perform(toy.MakeThing(transport, "a")))
        await eventually(lambda: vendor.posts == 1)
    assert frozenset() == await ledger.dead({holder})
    vendor.hold.set()
    with pytest.raises(OutcomeUnknown, match="could not be written down"):
        await call
    await ledger.effects(run_key="r").perform(toy.MakeThing(transport, "a"))
    assert (1, 1) == (vendor.posts, len(vendor.things))


async def test_an_instance_that_ended_in_order_counts_as_dead(
    ledger_url: str, ledger: Ledger, vendor: toy.Vendor, transport: Transport
):
    """Its row says so; the open attempt it left is quiet, and another run settles it."""
    vendor.script.append("drop_after")
    async with Ledger.open(ledger_url, timing=toy.QUICK) as other:
        holder = other.me
        with pytest.raises(OutcomeUnknown):
            await other.effects(run_key="r").perform(toy.MakeThing(transport, "a", Effect.BLIND))
        assert frozenset() == await ledger.dead({holder})
    assert {holder} == await ledger.dead({holder})
    assert f"process {os.getpid()} on host " in await ledger.describe(holder)

"""A real process, a real SIGKILL: after the re-run there is exactly one of each effect."""

from pathlib import Path

import pytest
from flow_world import QUESTION, World


@pytest.mark.parametrize("operation", ["officeplane.upload_document", "planck.send_message"])
def test_killed_between_accept_and_record(world: World, lease: Path, operation: str) -> None:
    """The sandbox accepted the effect and we died before we knew: the re-run finds it and goes on."""
    service, _, name = operation.partition(".")
    world.fault(kind="delay", service=service, operation=name, seconds=6, times=1)
    arguments = ["--question", QUESTION, "--run-key", "killed"]
    world.kill_after(operation, world.start([lease], *arguments))
    world.drop_faults()
    rerun = world.start([lease], *arguments)
    said, _ = rerun.communicate(timeout=120)
    assert rerun.returncode == 0, said
    assert "12,345" in said
    assert world.new_effects() == {
        "officeplane.upload_document": 1,
        "planck.create_conversation": 1,
        "planck.send_message": 1,
    }

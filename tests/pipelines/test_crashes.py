"""A night of 40 pipelines whose process is killed at every step: nothing started twice, nothing forgotten."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

from night_runners import Host, Job, played
from planasonix_world import ROOTS, World

from plait.failpoints import NIGHT

STEPS = (
    *[(point, 1) for point in NIGHT if point.startswith("sync.")],
    *[(point, 3) for point in NIGHT if point.startswith("sync.")],
    ("claim.after_commit", 1),  # the decision
    ("permit.before_commit", 1),
    ("record.before_commit", 1),
    ("claim.before_commit", 2),  # the first triggers
    ("claim.after_commit", 2),
    ("unit.after_lock", 2),
    ("baseline.after_store", 2),
    ("hook.before_permit", 2),
    ("permit.before_commit", 1),
    ("permit.after_commit", 1),
    ("check1.after", 2),
    ("headers.after_write", 2),
    ("check2.after", 2),
    ("body.after_write", 2),
    ("answer.headers", 2),
    ("answer.read", 2),
    ("record.before_commit", 2),
    ("record.after_commit", 2),
    ("takeover.after", 2),
    ("look.before", 1),
    ("look.after", 1),
    ("verdict.before_commit", 1),
    ("verdict.after_commit", 1),
    ("night.triggered", 6),
    ("night.polled", 2),
    ("night.ended", 9),
    ("night.collected", 12),
    ("night.collected", 39),
)
"""Where the process dies, one death after the other, and at which visit."""


async def test_a_night_survives_a_kill_at_every_step(world: World, tmp_path: Path) -> None:
    """Each pipeline has exactly one run for the night, and the last playing tells of all."""
    groups = [
        {"count": 36, "name": "ok_{n}", "seconds": 0.1},
        {"count": 4, "name": "bad_{n}", "seconds": 0.1, "behaviour": "fail"},
    ]
    await world.control("POST", "seed", {"replace": True, "pipelines": groups, "history": {"nights": 2}})
    job = {
        "url": world.url + ROOTS["docs"][0],
        "ledger": str(tmp_path / "ledger.db"),
        "folder": str(tmp_path),
    }
    deaths = Counter[str]()
    with Host() as host:
        for point, visit in STEPS:
            ended = await asyncio.to_thread(host.play, Job(point=point, visit=visit, **job))
            assert ended in {0, -signal.SIGKILL}, (point, ended)
            deaths[point] += ended != 0
        assert await asyncio.to_thread(host.play, Job(**job)) == 0
    missed = {point for point, _ in STEPS} - set(deaths + Counter())
    assert not missed, f"nobody died at {missed}"
    started = Counter(effect["marker"] for effect in await world.effects("trigger_run"))
    assert len(started) == 40
    assert set(started.values()) == {1}
    told = played(tmp_path)
    assert Counter(one["became"] for one in told) == {"succeeded": 36, "failed": 4}
    assert {one["id"] for one in told} == set(started)
    assert all(one["tries"] == 1 for one in told)

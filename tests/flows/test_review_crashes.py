"""SIGKILL at every step from putting a question to bringing the decision: each thing happens once.

A first run notes every point it passes; a case is one of them. `PLAIT_KILL_EVERYWHERE=1` plays all of them.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from review_victims import decide_and_resolve, parked, victim
from review_world import PATIENCE, World, serving

from plait.ledger.tables import ReviewState

AT_ONCE = 3
EVERYWHERE = os.environ.get("PLAIT_KILL_EVERYWHERE") == "1"


class Case(NamedTuple):
    """A visit of a point; `step` says what is under way there."""

    step: str
    point: str
    visit: int
    answer_between: bool = False

    @property
    def after_the_answer(self) -> bool:
        """Whether a first run comes there only when somebody answers it."""
        return self.step in STEPS[3:]


STEPS = (
    "ask in the ledger",
    "store the picture",
    "post the question",
    "record the decision",
    "resolve at Pletor",
)
OPENING = 2
"""Claims that are none: a new ledger is migrated, and its user registered."""


async def passed_points(folder: Path) -> list[str]:
    """What an undisturbed run passes, in order."""
    async with serving(folder) as world, victim(world.url, folder, None) as process, world.answering():
        async with asyncio.timeout(PATIENCE):
            while process.is_alive():
                await asyncio.sleep(0.05)
        assert process.exitcode == 0
    return (folder / "points").read_text(encoding="ascii").splitlines()


def cases_of(points: Sequence[str]) -> list[Case]:
    """Every visit of a point from asking to resolving; an effect begins with a claim after a permit."""
    visits, found, effects, permitted, records = Counter[str](), [], 0, True, 0
    for name in points:
        visits[name] += 1
        if name == "claim.before_commit" and permitted and visits[name] > OPENING:
            effects, permitted, records = effects + 1, False, 0
        permitted = permitted or name == "permit.after_commit"
        records += name == "record.before_commit"
        step = {
            1: STEPS[0] if records > 1 else None,
            2: STEPS[1],
            3: STEPS[3] if records > 2 else STEPS[2],
            4: STEPS[4],
        }.get(effects)
        if step is not None:
            found.append(Case(step, name, visits[name]))
    return found


CHOSEN = {
    ("ask in the ledger", "record.after_commit"),
    ("store the picture", "answer.read"),
    ("post the question", "permit.after_commit"),
    ("post the question", "body.after_write"),
    ("post the question", "record.after_commit"),
    ("record the decision", "record.before_commit"),
    ("record the decision", "record.after_commit"),
    ("resolve at Pletor", "body.after_write"),
    ("resolve at Pletor", "record.after_commit"),
}


def chosen(cases: list[Case]) -> list[Case]:
    """What is played: everything if asked to, else the moments that differ most; each with an answer too."""
    played = cases if EVERYWHERE else [one for one in cases if (one.step, one.point) in CHOSEN]
    between = [one._replace(answer_between=True) for one in played if one.step == "post the question"]
    return [*played, *between]


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


async def play(case: Case, folder: Path) -> str | None:
    """Kill there, answer in between or not, run again; what went wrong, if anything."""
    async with serving(folder) as world:
        people = world.answering() if case.after_the_answer else nullcontext()
        async with victim(world.url, folder, case.point, case.visit) as process, people:
            await parked(folder, process, case.point)
        if case.answer_between:
            for shown in await world.waiting():
                await world.respond(shown["id"], {"selectedOption": "approve", "comment": "in between"})
        run = await world.with_people(decide_and_resolve(world))
        return await judged(case, world, run.status)


async def judged(case: Case, world: World, status: str) -> str | None:
    """One run, one message for the question, one resolution, the right decision."""
    counts = await world.counts()
    once = ("pletor.create_run", "pletor.resolve_review", "placet.store_file", "placet.respond")
    once = (*once, "placet.post_message")
    wrong = [f"{name}: {counts.get(name)}" for name in once if counts.get(name) != 1]
    (review,) = await world.reviews()
    state = (status, review.state, review.decision["decision"], len(review.messages), len(review.answers))
    wrong += [] if state == ("completed", ReviewState.USED, "approve", 1, 1) else [f"ended as {state}"]
    return f"{case}: {', '.join(wrong)}" if wrong else None


async def test_killed_anywhere_between_question_and_resolution(tmp_path: Path):
    """With and without an answer in between: one run, one question, one resolution, the right decision."""
    cases = chosen(cases_of(await passed_points(made(tmp_path / "whole"))))
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, case: Case) -> str | None:
        async with turns:
            return await play(case, made(tmp_path / f"case-{number}"))

    results = await asyncio.gather(*(one(number, case) for number, case in enumerate(cases)))
    assert {case.step for case in cases} == set(STEPS)
    assert not [wrong for wrong in results if wrong]

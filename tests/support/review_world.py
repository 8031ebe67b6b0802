"""Pletor, Placet and people for `run_with_review`: a sandbox in this process, a ledger, and answers."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sandbox_server import serving_sandbox

from blocks import EffectLedger, PlacetCredentials, PletorCredentials
from plait.ledger import Ledger
from plait.ledger.review_views import ReviewView, find_reviews, list_reviews
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.settings import SandboxSettings

CHANNEL = "cmsandboxreviews000000000"
ESCALATION = "cmsandboxescalation000000"
POSTER, PICK, TEXT, CAMPAIGN, SLOGANS, SERIES, DOOMED = (
    "Reviewed poster",
    "Pick one",
    "Copywriter",
    "Campaign",
    "Slogans",
    "Poster series",
    "Doomed",
)
PATIENCE = 120.0
QUICK_PLACET = PlacetSettings(throttle=False, wait_step=0.05)
Answers = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Given a waiting message as the page has it: what the person answers; None for nothing."""


def approving(shown: dict[str, Any]) -> dict[str, Any]:
    """Take whatever is asked; of choices the second."""
    payload = shown["review"]["payload"]
    match shown["review"]["type"]:
        case "selection":
            return {"selectedIds": [payload["items"][1]["id"]]}
        case "form":
            return {"decision": "approve"}
    return {"selectedOption": "approve"}


class World:
    """One running sandbox and what talks to it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._http = httpx.AsyncClient(base_url=url, timeout=60, headers={"X-Reviewer": "page"})

    async def aclose(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    @property
    def placet(self) -> PlacetCredentials:
        """The stand-in of Placet."""
        return PlacetCredentials(base_url=f"{self.url}/placet", api_key="hp_sandbox")

    @property
    def pletor(self) -> PletorCredentials:
        """The stand-in of Pletor."""
        return PletorCredentials(base_url=f"{self.url}/pletor/api/public/v1", api_key="sk-sandbox")

    @property
    def ledger(self) -> EffectLedger:
        """A ledger of the test's own, with the times of a far end that is quick."""
        return EffectLedger(
            url=str(self.folder / "ledger.db"), landing_cap=0.2, visibility_cap=0.2, patience=20.0
        )

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """What the flow is called with, unless a test says otherwise."""
        given = {
            "channel": CHANNEL,
            "agent": POSTER,
            "texts": {"title": "Spring sale"},
            "run_key": "run",
            "placet": self.placet,
            "pletor": self.pletor,
            "ledger": self.ledger,
            "folder": self.folder / "out",
        }
        return given | changes

    def environment(self) -> dict[str, str]:
        """The environment in which a process finds all of this."""
        return {
            "PLAIT_PLACET_URL": f"{self.url}/placet",
            "PLAIT_PLACET_API_KEY": "hp_sandbox",
            "PLAIT_PLETOR_URL": f"{self.url}/pletor/api/public/v1",
            "PLAIT_PLETOR_API_KEY": "sk-sandbox",
            "PLAIT_LEDGER_URL": str(self.folder / "ledger.db"),
            "PLAIT_LEDGER_LANDING_CAP": "0.2",
            "PLAIT_LEDGER_VISIBILITY_CAP": "0.2",
        }

    async def counts(self) -> dict[str, int]:
        """Accepted effects by operation, as the far end counted them."""
        answer = (await self._http.get("/_sandbox/effects")).raise_for_status().json()
        return dict(Counter(answer["by_operation"]))

    async def resolutions(self) -> list[dict[str, Any]]:
        """Decisions that Pletor accepted."""
        answer = await self._http.get("/_sandbox/effects", params={"operation": "resolve_review"})
        return list(answer.json()["effects"])

    async def fault(self, service: str, operation: str, kind: str, **more: Any) -> None:
        """Strike one request."""
        rule = {"kind": kind, "service": service, "operation": operation, "times": 1, **more}
        (await self._http.post("/_sandbox/faults", json=rule)).raise_for_status()

    async def struck(self) -> int:
        """How many requests a fault has met."""
        return len((await self._http.get("/_sandbox/faults/log")).json()["fired"])

    async def waiting(self) -> list[dict[str, Any]]:
        """The messages that ask, each as the page has it."""
        inbox = (await self._http.get("/placet/reviewer/inbox")).json()
        return [
            (await self._http.get(f"/placet/reviewer/messages/{one['id']}")).json()
            for one in inbox["waiting"]
        ]

    async def respond(self, message_id: str, response: dict[str, Any]) -> int:
        """A person answers."""
        body = {"response": response}
        return (
            await self._http.post(f"/placet/reviewer/messages/{message_id}/respond", json=body)
        ).status_code

    async def until_asked(self, count: int = 1) -> list[dict[str, Any]]:
        """The messages that ask, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(found := await self.waiting()) < count:
                await asyncio.sleep(0.05)
        return found

    async def people(self, answers: Answers = approving) -> None:
        """Answer what is asked, until cancelled."""
        while True:
            for shown in await self.waiting():
                if (response := answers(shown)) is not None:
                    await self.respond(shown["id"], response)
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def answering(self, answers: Answers = approving) -> AsyncIterator[None]:
        """People answer what is asked, for as long as the block lasts."""
        people = asyncio.create_task(self.people(answers))
        try:
            yield
        finally:
            people.cancel()
            await asyncio.gather(people, return_exceptions=True)

    async def with_people(self, work: Awaitable[Any], answers: Answers = approving) -> Any:
        """Do something while people answer."""
        async with self.answering(answers):
            return await asyncio.wait_for(work, PATIENCE)

    async def at_pletor(self, method: str, path: str, **more: Any) -> Any:
        """A call of Pletor itself."""
        headers = {"X-Api-Key": "sk-sandbox"}
        answer = await self._http.request(method, f"/pletor/api/public/v1{path}", headers=headers, **more)
        return answer.raise_for_status().json()

    async def decide_at_pletor(self, word: str) -> None:
        """A person uses Pletor's own interface on whatever waits there."""
        for run in (await self.at_pletor("GET", "/runs"))["data"]:
            for review in run["pending_reviews"] or ():
                path = f"/runs/{run['id']}/reviews/{review['id']}"
                await self.at_pletor("POST", path, json={"decision": word})

    async def reviews(self) -> list[ReviewView]:
        """Every question in the ledger, oldest first, whole."""
        async with Ledger.open(self.folder / "ledger.db") as ledger:
            ids = [one.id for one in await ledger.ask(partial(list_reviews, which="all"))]
            return await ledger.ask(partial(find_reviews, review_ids=ids[::-1]))

    def change_at_pletor(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the newest run behind everybody's back."""
        with sqlite3.connect(self.folder / "state.db") as connection:
            row = connection.execute(
                "SELECT id, data FROM entity WHERE kind = 'pletor_run' ORDER BY seq DESC LIMIT 1"
            ).fetchone()
            data = json.loads(row[1])
            change(data)
            connection.execute("UPDATE entity SET data = ? WHERE id = ?", (json.dumps(data), row[0]))
        connection.close()


@asynccontextmanager
async def serving(folder: Path, **switches: Any) -> AsyncIterator[World]:
    """The whole sandbox in this process, with these switches of Pletor."""
    settings = SandboxSettings(
        state=folder / "state.db",
        placet=QUICK_PLACET,
        pletor=PletorSettings(**({"work_seconds": 0.05} | switches)),
    )
    async with serving_sandbox(settings) as url:
        world = World(url, folder)
        try:
            yield world
        finally:
            await world.aclose()

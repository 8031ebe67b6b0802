"""What the cases of one lane share: a sandbox of their own, so that faults strike nobody else."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.chaos.cases import Manner
from benchmarks.chaos.runner import KEYS, ROOT, SCRATCH
from benchmarks.chaos.work import Work, word_document
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.placet_store import REVIEWS
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_store import COPYWRITER
from plait.sandbox.process import SandboxProcess, start_sandbox
from plait.sandbox.settings import OfficePlaneSettings
from plait.sandbox.store import EffectRow

FRESH: Final = 100
"""Cases after which the lane takes a new sandbox: its lists would grow for ever."""
PLAIN: Final = PletorSettings(work_seconds=0.0)
MANNERS: Final[dict[Manner, PletorSettings]] = {
    "plain": PLAIN,
    "ignores_filters": PLAIN.model_copy(update={"lookup_filter": "ignored"}),
    "rolls_back": PLAIN.model_copy(update={"rollback_seconds": 0.5}),
}
"""The last: the first use of a key is a 500, and a 409 until it is rolled back."""


@dataclass(slots=True)
class Lane:
    """One sandbox and the way to its control routes. An async context manager."""

    folder: Path
    seed: int
    starting: asyncio.Semaphore
    """How many sandboxes may start at once: each import is seconds of one core."""
    manner: Manner = "plain"
    playing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the case that plays here."""
    _box: SandboxProcess | None = None
    _served: int = 0
    _http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=15.0, trust_env=False))

    @property
    def url(self) -> str:
        """The sandbox's address."""
        assert self._box is not None  # noqa: S101 - for mypy: `renew` came first
        return self._box.url

    async def renew(self) -> None:
        """A new sandbox, if this one has served enough."""
        if self._box is not None and self._served < FRESH:
            self._served += 1
            return
        await self._end()
        self.folder.mkdir(parents=True)
        async with self.starting:
            self._box = await asyncio.to_thread(
                start_sandbox,
                state=self.folder / "sandbox.db",
                seed=self.seed,
                officeplane=OfficePlaneSettings(ingest_seconds=0.0),
                placet=PlacetSettings(throttle=False),
                pletor=MANNERS[self.manner],
                timeout=120.0,
            )
        self._served = 1

    async def aclose(self) -> None:
        """End the sandbox."""
        await self._end()
        await self._http.aclose()

    async def _end(self) -> None:
        if self._box is not None:
            await asyncio.to_thread(self._box.stop)
            self._box = None
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def set_faults(self, rules: tuple[dict[str, Any], ...]) -> None:
        """These rules and no others, counted from now."""
        (await self._http.delete(f"{self.url}/_sandbox/faults")).raise_for_status()
        if rules:
            given = [{key: value for key, value in rule.items() if value is not None} for rule in rules]
            (await self._http.post(f"{self.url}/_sandbox/faults", json=given)).raise_for_status()

    async def prepare(self, work: Work) -> Work:
        """What the case acts on: a document, a conversation, a run that asks, a stored picture."""
        base = f"base of {work.token}"
        match work.kind:
            case "execute":
                made = await self._post("officeplane", "/api/documents/upload", files=_form(base))
                return replace(work, document_id=made["id"])
            case "messages":
                made = await self._post("planck", f"/workspaces/{SCRATCH}/conversations", json={"name": base})
                return replace(work, conversation_id=made["id"])
            case "review":
                body = {"agent_id": COPYWRITER.id, "inputs": [{"id": "title", "value": base}]}
                run = await self._post("pletor", "/runs", json=body)
                asked = await self._call("GET", "pletor", f"/runs/{run['id']}")
                return replace(work, run_id=run["id"], review_id=asked["pending_reviews"][0]["id"])
            case "post":
                channel = {"channelId": REVIEWS}
                made = await self._post("placet", "/api/v1/files/store", data=channel, files=_form(base))
                return replace(work, file_id=made["id"])
            case _:
                return work

    async def add_stranger(self, work: Work) -> None:
        """Somebody else's entry of the same kind at the same place; it may meet a fault that is left over."""
        with suppress(httpx.HTTPError):
            await self._add_stranger(work)

    async def _add_stranger(self, work: Work) -> None:
        text = f"stranger to {work.token}"
        conversations = f"/workspaces/{SCRATCH}/conversations"
        match work.kind:
            case "upload":
                await self._post("officeplane", "/api/documents/upload", files=_form(text))
            case "messages":
                path = f"{conversations}/{work.conversation_id}/messages"
                await self._post("planck", path, json={"message": text, "stream": False})
            case "run":
                body = {"agent_id": COPYWRITER.id, "inputs": [{"id": "title", "value": text}]}
                await self._post("pletor", "/runs", json=body)
            case "asset":
                await self._post("pletor", "/assets/upload", files=_form(text))
            case "post":
                await self._post("placet", "/api/v1/messages", json={"channelId": REVIEWS, "text": text})
            case "file":
                channel = {"channelId": REVIEWS}
                await self._post("placet", "/api/v1/files/store", data=channel, files=_form(text))
            case "channel":
                await self._post("placet", "/api/v1/agents", json={"name": "Chaos", "description": text})
            case _:
                await self._post("planck", conversations, json={"name": text})

    async def _post(self, service: str, path: str, **body: Any) -> Any:
        return await self._call("POST", service, path, **body)

    async def _call(self, method: str, service: str, path: str, **body: Any) -> Any:
        url = f"{self.url}/{ROOT[service]}{path}"
        answer = await self._http.request(method, url, headers=KEYS[service], **body)
        return answer.raise_for_status().json()

    async def accepted(self, operation: str) -> list[EffectRow]:
        """What the sandbox accepted of one operation, ever."""
        answer = await self._http.get(f"{self.url}/_sandbox/effects", params={"operation": operation})
        return [EffectRow.model_validate(row) for row in answer.raise_for_status().json()["effects"]]


def _form(text: str) -> dict[str, tuple[str, bytes]]:
    return {"file": ("base.docx", word_document(text))}

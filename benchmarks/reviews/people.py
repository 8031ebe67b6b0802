"""People who answer, each question with an answer of its own, and the sandbox's word on what it accepted."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

AT_ONCE = 16


async def answer_all(url: str, answers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, float]:
    """Answer each message id once; gives when each answer was accepted, in epoch seconds."""
    turns, at = asyncio.Semaphore(AT_ONCE), dict[str, float]()
    async with httpx.AsyncClient(
        base_url=f"{url}/placet/reviewer", headers={"X-Reviewer": "page"}, timeout=60
    ) as page:

        async def one(message_id: str, response: Mapping[str, Any]) -> None:
            async with turns:
                answered = await page.post(
                    f"/messages/{message_id}/respond", json={"response": dict(response)}
                )
                answered.raise_for_status()
                at[message_id] = time.time()

        await asyncio.gather(*(one(*answer) for answer in answers))
    return at


async def accepted(url: str) -> dict[str, int]:
    """Effects by operation, as the sandbox counted them."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        counted: dict[str, int] = (
            (await http.get("/_sandbox/effects")).raise_for_status().json()["by_operation"]
        )
    return counted


async def pletor_run(url: str, run_id: str) -> dict[str, Any]:
    """A run as Pletor has it."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        headers = {"X-Api-Key": "sk-sandbox"}
        answer = await http.get(f"/pletor/api/public/v1/runs/{run_id}", headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
    return found

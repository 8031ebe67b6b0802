"""A flow of one stateless question, whose lost answer only a person can settle: run as a process."""

import asyncio
import json
import sys

from prefect import flow

from plait.http.errors import PlaitError
from tasks import effects_of
from tasks.planck import chat, list_workspaces


@flow(name="ask-once")
async def ask_once(run_key: str) -> str:
    """Ask, and count the words of the answer: the step after the effect."""
    async with effects_of(run_key=run_key):
        places = await list_workspaces(None)
        scratch = next(place for place in places if place.name == "Scratch")
        answer = await chat(None, scratch.id, "What is two plus two?")
    return answer.text


def main() -> None:
    """Print the outcome as JSON."""
    try:
        said = {"text": asyncio.run(ask_once(sys.argv[1]))}
    except PlaitError as error:
        said = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()

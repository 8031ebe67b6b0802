"""A plain script that asks many questions and ends; run again, it goes on with what was decided.

python -m benchmarks.reviews.script ask COUNT      asks, and ends
python -m benchmarks.reviews.script go-on COUNT    uses each decision once; prints how many, and the wrong
"""

import asyncio
import os
import sys
from functools import partial

from plait.http import Transport
from plait.ledger import Ledger
from plait.ledger.review_views import find_reviews
from plait.ledger.store import reviews as store
from plait.reviews import Inbox, Question
from plait.vendors.placet.client import PlacetClient

CHANNEL = "cmsandboxreviews000000000"
AT_ONCE = 24


def review_id(number: int) -> str:
    """The question's id: the same in every run of the script."""
    return f"dev-review-script-{number:06}"


async def ask(count: int) -> None:
    """Put every question, and wait for none."""
    transport = Transport(
        system="placet",
        base_url=os.environ["PLAIT_PLACET_URL"],
        headers={"x-api-key": os.environ["PLAIT_PLACET_API_KEY"]},
    )
    turns = asyncio.Semaphore(AT_ONCE)
    async with PlacetClient(transport) as client, Ledger.open(os.environ["PLAIT_LEDGER_URL"]) as ledger:
        inbox = Inbox(ledger, client)

        async def one(number: int) -> None:
            async with turns:
                question = Question(
                    kind="approval",
                    title=f"Invoice {number}",
                    prompt=f"Pay invoice {number}?",
                    expires_in=36 * 3600,
                )
                view = await inbox.ask(
                    question,
                    review_id=review_id(number),
                    env="dev",
                    run_key=f"script-{number}",
                    subject={"system": "script", "invoice": number},
                    channel_id=CHANNEL,
                )
                await inbox.post(view, 0)

        await asyncio.gather(*map(one, range(count)))


async def go_on(count: int) -> None:
    """Take each decision from the ledger, once."""
    used, wrong = 0, []
    async with Ledger.open(os.environ["PLAIT_LEDGER_URL"]) as ledger:
        ids = [review_id(number) for number in range(count)]
        for view in await ledger.ask(partial(find_reviews, review_ids=ids)):
            if view.waits:
                continue
            number = int(view.id.rpartition("-")[2])
            word = "approve" if number % 2 else "reject"
            if (view.decision["decision"], view.decided_why) != (word, f"answer {number}"):
                wrong.append(view.id)
            used += await ledger.database.write(
                partial(store.use, ledger.database, review_id=view.id, outcome="paid"), commit="record"
            )
    print(used, len(wrong))


if __name__ == "__main__":
    asyncio.run({"ask": ask, "go-on": go_on}[sys.argv[1]](int(sys.argv[2])))

"""Have Pletor make something, and let people decide in Placet what becomes of it.

As a command:    python -m flows.run_with_review --channel Reviews --agent Poster --text title=Sale
As a function:   await run_with_review(channel="Reviews", agent="Poster", texts={"title": "Sale"})
As a deployment: see prefect.yaml; with wait=suspend no process waits, and resume_reviews resumes the run

The run, each question, each decision and each result happens once per run key, through retries, crashes
and re-runs.
"""

from pathlib import Path
from typing import Annotated, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from blocks import EffectLedger, PlacetCredentials, PletorCredentials
from flows._cancelling import cancel_what_was_started
from flows._review_models import RunWithReview, Wait
from flows._review_report import default_folder, write_artifacts, write_manifest
from flows._review_steps import Review, begin, channel_of, conclude, rounds, target_of
from flows._suspending import can_suspend, record_forms
from plait.reviews import OnExpiry, ReviewOptions
from tasks import effects_of
from tasks._progress import Progress, say


@flow(
    name="run-with-review",
    description=__doc__,
    flow_run_name="{title}",
    validate_parameters=True,
    on_cancellation=[cancel_what_was_started],
)
async def run_with_review(
    channel: Annotated[str, Field(examples=["Reviews"])],
    *,
    agent: Annotated[str | None, Field(examples=["Reviewed poster"])] = None,
    app: str | None = None,
    texts: Annotated[dict[str, str] | None, Field(examples=[{"title": "Spring sale"}])] = None,
    files: Annotated[dict[str, list[str]] | None, Field(examples=[{"image": ["~/logo.png"]}])] = None,
    title: str = "Run with review",
    options: ReviewOptions | None = None,
    wait: Wait = Wait.HOLD,
    expires_in: Annotated[float, Field(gt=0, le=129_600)] = 86_400.0,
    on_expiry: OnExpiry = OnExpiry.FAIL,
    escalation_channel: str | None = None,
    max_rounds: Annotated[int, Field(ge=1, le=50)] = 3,
    run_key: str | None = None,
    generation: Annotated[int, Field(ge=0)] = 0,
    pletor: str | PletorCredentials | None = None,
    placet: str | PlacetCredentials | None = None,
    ledger: str | EffectLedger | None = None,
    deadline: Annotated[float, Field(gt=0)] = 3600.0,
    folder: Path | None = None,
) -> RunWithReview:
    """Run an agent or app with people in the loop.

    Args:
        channel: Name or id of the reviewers' Placet channel.
        agent: Name or id of the Pletor agent; give this or an app.
        app: Name or id of the Pletor app.
        texts: Text inputs by their id.
        files: Paths by the id of their input; each content is uploaded once.
        title: Name of the run and heading of its questions.
        options: What reviewers may do, and how they are asked.
        wait: hold waits in this process; suspend gives process and worker back while people think.
        expires_in: Seconds until on_expiry decides; at most 36 hours, when Placet closes a review.
        on_expiry: What happens when nobody decides in time.
        escalation_channel: Name or id of the second channel, for on_expiry=escalate.
        max_rounds: Proposals a person sees at most; the last one cannot be made anew.
        run_key: Runs with the same key are one intent: nothing is started or asked twice. Empty: this
            run's own id.
        generation: 0 is the first run; 1 more is a genuine re-run, after the one before ended.
        pletor: Name of the Pletor Credentials block. Empty: the environment's PLAIT_PLETOR_* variables.
        placet: Name of the Placet Credentials block. Empty: PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY.
        ledger: Name of the Plait Effect Ledger block. Empty: PLAIT_LEDGER_URL, or ~/.plait/ledger.db.
        deadline: Seconds that Pletor may work between two questions.
        folder: Where the results go. Empty: a folder in reports, named after the Pletor run.
    """
    async with (
        effects_of(ledger, run_key=run_key) as run,
        Progress(4, description="started, decided, finished, saved").following() as progress,
    ):
        if wait is Wait.SUSPEND and can_suspend():
            await record_forms(run.ledger)  # first: whatever happens next, what people said is kept
        reviewers = await channel_of(placet, channel, escalation_channel, on_expiry)
        target = await target_of(pletor, agent, app)
        started = await begin(pletor, target, texts or {}, files or {}, generation)
        progress.done = 1
        review = Review(
            run=run,
            pletor=pletor,
            placet=placet,
            pletor_run=started.id,
            target=target,
            channels=reviewers,
            title=title,
            options=options or ReviewOptions(),
            expires_in=expires_in,
            on_expiry=on_expiry,
            max_rounds=max_rounds,
            deadline=deadline,
            wait=wait,
        )
        ended = await rounds(review)
        progress.done = 2 if ended is None else 3
        where = (folder or default_folder(started.id)).expanduser().absolute()
        result = await conclude(review, ended, generation, where)
        progress.done += 1
    if result.status != "waiting":
        result.manifest = await write_manifest(result, where)
        await write_artifacts(result)
    say(result.summary)
    return cast("RunWithReview", _completed(result))


def _completed(result: RunWithReview) -> State[RunWithReview]:
    """The run's final state; a rejection and a question that waits have names of their own."""
    names = {"completed": "Completed", "rejected": "Rejected", "waiting": "Waiting for review"}
    return Completed(name=names[result.status], message=result.summary, data=result)


if __name__ == "__main__":
    from flows._review_terminal import main

    main()

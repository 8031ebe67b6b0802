"""The optional last steps of a night: a question to a database about the fresh data, a message to people."""

from blocks import PlacetCredentials, PlanckCredentials
from flows._answers import find_workspace
from flows._models import Answer
from flows._nightly_models import NightlyPipelineSync, listed
from plait.content.remark import escape_markdown
from plait.http.errors import InvalidInput, NotFound, PlaitError
from plait.vendors.placet.models import MessageContent
from plait.vendors.planck.models import ChatSettings, Workspace
from tasks import step
from tasks._progress import say
from tasks.placet import post_message
from tasks.planck import create_conversation, list_database_integrations, send_message


async def ask(
    planck: PlanckCredentials | str | None,
    result: NightlyPipelineSync,
    question: str | None,
    *,
    workspace: str | None,
    database: str | None,
) -> None:
    """Ask one question about a database that Planck AI is connected to; a night asks it once."""
    if not question:
        return
    say(f"Asking Planck AI: {question}")
    try:
        place = await find_workspace(planck, workspace)
        settings = ChatSettings(database_id=await _database(planck, place, database))
        title = f"Pipelines of {result.tonight.night}"
        conversation = await create_conversation(planck, place.id, title)
        with step("question"):
            message = await send_message(planck, place.id, conversation.id, question, settings)
    except PlaitError as error:
        _note(result, "the question has no answer", error)
    else:
        result.answer = Answer(
            question=question, blocks=message.content, credits_consumed=message.credits_consumed
        )


async def _database(planck: PlanckCredentials | str | None, place: Workspace, wanted: str | None) -> str:
    """The id of the database of this id or name; without either, of the only one there is."""
    found = await list_database_integrations(planck, place.id)
    offer = ", ".join(repr(one.name or one.id) for one in found) or "none"
    matches = [one for one in found if wanted is None or wanted in {one.id, one.name}]
    if not matches:
        raise NotFound(
            f"the Planck workspace {place.name!r} has no database {wanted!r}; it has: {offer}",
            system="planck",
        )
    if len(matches) > 1:
        raise InvalidInput(f"say which database to ask; the workspace has: {offer}", system="planck")
    return matches[0].id


async def tell(
    placet: PlacetCredentials | str | None, result: NightlyPipelineSync, channel: str | None
) -> None:
    """Post the outcome into a channel; a night with the same outcome posts it once."""
    if not channel:
        return
    try:
        with step("message"):
            await post_message(placet, channel, MessageContent(text=message_of(result)))
    except PlaitError as error:
        _note(result, "the message was not posted", error)


def _note(result: NightlyPipelineSync, what: str, error: PlaitError) -> None:
    """The pipelines have run: what fails after them stands in the report, and fails nothing else."""
    result.problems.append(f"{what}: {error}")
    say(result.problems[-1])


def message_of(result: NightlyPipelineSync) -> str:
    """The outcome in a few lines. It holds nothing that differs when the same night is played again."""
    night = result.tonight
    failures = night.failures
    succeeded = len(night.played) - len(failures)
    lines = [f"**Pipelines of {night.night}**: {succeeded} of {len(night.played)} due succeeded."]
    lines += [f"Not succeeded: {escape_markdown(listed(failures))}."] if failures else []
    lines += (
        [f"Nothing fits: {escape_markdown(', '.join(night.fits_nothing))}."] if night.fits_nothing else []
    )
    lines += [f"Rows: {sum(one.rows or 0 for one in night.played):,}."] if night.played else []
    return "\n\n".join(lines)

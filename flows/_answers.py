"""The steps of `ingest_then_chat` between the files and the answers."""

from collections.abc import Sequence

from blocks import OfficePlaneServer, PlanckCredentials
from flows._documents import nothing_left
from flows._grounding import Grounds, Ingested, Ingestion
from flows._models import Answer, LeftOut, SourceDocument
from plait.http.errors import InvalidInput, NotFound, PlaitError
from plait.vendors.planck.models import Workspace
from tasks import step
from tasks._progress import say
from tasks.officeplane_batch import Uploaded, upload_documents
from tasks.planck import create_conversation, list_workspaces, send_message


def checked_questions(questions: Sequence[str]) -> list[str]:
    """The questions without surrounding space; raises `InvalidInput` for an empty one."""
    if not questions:
        raise InvalidInput("no question was given; ask at least one")
    for number, question in enumerate(questions, 1):
        if not question.strip():
            raise InvalidInput(f"question {number} is empty ({question!r}); say what to ask, or leave it out")
    return [question.strip() for question in questions]


async def find_workspace(planck: PlanckCredentials | str | None, wanted: str | None) -> Workspace:
    """The workspace of this id or name; without either, the only one there is.

    Raises:
        NotFound: There is no such workspace; names those there are.
        InvalidInput: The name is not enough to tell one from another.
    """
    found = await list_workspaces(planck)
    offer = ", ".join(repr(one.name) for one in found) or "none"
    matches = [one for one in found if one.id == wanted]
    matches = matches or [
        one for one in found if wanted is None or one.name.casefold() == wanted.strip().casefold()
    ]
    if not matches:
        raise NotFound(f"this key sees no Planck workspace {wanted!r}; it sees: {offer}", system="planck")
    if len(matches) > 1:
        what = "no workspace was named" if wanted is None else f"several workspaces are named {wanted!r}"
        raise InvalidInput(f"{what}; give the id or the name of one of: {offer}", system="planck")
    return matches[0]


async def ingest(
    officeplane: OfficePlaneServer | str | None,
    files: Sequence[SourceDocument],
    left_out: Sequence[LeftOut],
    *,
    generation: int,
    max_size: int,
) -> Ingestion:
    """Upload what is readable; raises where nothing is left."""
    say(f"Uploading {len(files)} documents to OfficePlane, each content once")
    uploads = await upload_documents(
        officeplane, [file.path for file in files], generation=generation, max_size=max_size
    )
    ingestion = Ingestion(digests=[file.sha256 for file in files], ingested=[], left_out=list(left_out))
    errors: list[PlaitError] = []
    for file, upload in zip(files, uploads, strict=True):
        if upload.status == "done" and upload.document is not None:
            ingestion.ingested.append(Ingested(file=file, document=upload.document))
            continue
        error = _why_not(file, upload, generation)
        errors.append(error)
        ingestion.left_out.append(LeftOut(name=file.name, reason=error.message))
        say(f"Left out: {file.name}: {error.message}")
    if not ingestion.ingested:
        raise nothing_left(errors)
    return ingestion


def _why_not(file: SourceDocument, upload: Uploaded, generation: int) -> PlaitError:
    if upload.status == "vanished":
        known_id = upload.document.id if upload.document else "unknown"
        return NotFound(
            f"{file.name} was uploaded before as {known_id} and OfficePlane no longer has it; "
            f"run again with generation={generation + 1} to upload it once more",
            system="officeplane",
        )
    return upload.error or PlaitError(f"{file.name} was not uploaded, and no reason is known")


async def ask_all(
    planck: PlanckCredentials | str | None,
    workspace: Workspace,
    title: str,
    questions: Sequence[str],
    grounds: Grounds,
) -> tuple[str, list[Answer]]:
    """Ask in one conversation, in order; gives the conversation's id and the answers."""
    conversation = await create_conversation(planck, workspace.id, title)
    answers: list[Answer] = []
    for number, question in enumerate(questions, 1):
        say(f"Question {number} of {len(questions)}: {question}")
        text = f"{grounds.preamble}\n{question}" if number == 1 and grounds.preamble else question
        with step(f"question-{number}"):
            message = await send_message(planck, workspace.id, conversation.id, text, grounds.settings)
        answers.append(
            Answer(question=question, blocks=message.content, credits_consumed=message.credits_consumed)
        )
    return conversation.id, answers

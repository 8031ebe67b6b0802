"""What the sandbox says of itself: which behaviour stands on which evidence."""

from typing import Final

from pydantic import BaseModel

from plait.http.operation import Source
from plait.sandbox.services import SERVICES

NOTICE: Final = (
    "This is Plait's sandbox: local stand-ins of the vendors' services, for development, tests and demos. "
    "It is not the vendors' software and holds no language model: structure and text are read from the "
    "files themselves, plans, verifications and answers follow rules. Images get a title and no text: "
    "there is no OCR, even though the OCR headers are sent as the vendor sends them."
)

CERTAINTY: Final = {
    Source.DOC: "the vendor's own overview page",
    Source.VENDOR: "another document or published source of the vendor",
    Source.RAN: "observed on a running server",
    Source.INFERRED: "our reading of the evidence; nobody has seen it happen",
    Source.ASSUMED: "our convention where nothing is known",
}


MOUNTS: Final = {service.name: service.mounts for service in SERVICES if service.mounts}


class Route(BaseModel):
    """One operation as the stand-in offers it."""

    operation: str
    method: str
    path: str
    effect: str
    certainty: Source
    reference: str


class Behaviour(BaseModel):
    """One behaviour beyond the shape of an answer."""

    service: str
    behaviour: str
    certainty: Source
    reference: str


def routes() -> list[Route]:
    """Every operation of every service."""
    return [
        Route(
            operation=operation.key,
            method=operation.method,
            path=service.base_path + operation.path,
            effect=operation.effect,
            certainty=operation.source,
            reference=operation.reference,
        )
        for service in SERVICES
        for operation in service.operations
    ]


def _placet(behaviour: str, certainty: Source, section: str) -> Behaviour:
    return Behaviour(
        service="placet", behaviour=behaviour, certainty=certainty, reference=f"placet.md §{section}"
    )


def _officeplane(behaviour: str, certainty: Source, section: str) -> Behaviour:
    return Behaviour(
        service="officeplane",
        behaviour=behaviour,
        certainty=certainty,
        reference=f"officeplane.md §{section}",
    )


def _pletor(behaviour: str, certainty: Source, section: str) -> Behaviour:
    return Behaviour(
        service="pletor", behaviour=behaviour, certainty=certainty, reference=f"pletor.md §{section}"
    )


def _planasonix(behaviour: str, certainty: Source, section: str) -> Behaviour:
    return Behaviour(
        service="planasonix", behaviour=behaviour, certainty=certainty, reference=f"planasonix.md §{section}"
    )


BEHAVIOURS: Final = (
    _planasonix("which dialect a path is answered in is decided by its mount alone", Source.RAN, "8"),
    _planasonix("envelope, `meta.page.cursor` and error object of the mount `/v1`", Source.DOC, "2.3"),
    _planasonix("orchestration under `/v1`, and its JSON:API form", Source.INFERRED, "7.1"),
    _planasonix("lists of the mount `/v1` hold whole entries", Source.ASSUMED, "2.3"),
    _planasonix("fields, paging and case of the mount `/docs/api`", Source.VENDOR, "2.3"),
    _planasonix("answers of POST run outside the Go mount; jobs in lists of `/docs`", Source.ASSUMED, "3.3"),
    _planasonix("sync, jobs and their errors on the mount `/air/api/v1`", Source.VENDOR, "3.4"),
    _planasonix("connections, pipelines, runs and schedules on that mount", Source.ASSUMED, "8"),
    _planasonix("bare arrays and objects in camel case on the mount `/go/api`", Source.VENDOR, "2.3"),
    _planasonix("jobs, webhooks, nodes and logs on that mount", Source.ASSUMED, "8"),
    _planasonix("the prefix of a key says nothing; its scopes do", Source.VENDOR, "2.2"),
    _planasonix(
        "the key alone decides the organization, `X-Organization-ID` does not", Source.ASSUMED, "2.2"
    ),
    _planasonix("another organization's entity is a 404, not a 403", Source.VENDOR, "2.2"),
    _planasonix("a plan without orchestration answers 403", Source.INFERRED, "2.2"),
    _planasonix("1200 requests a minute for each key, in fixed windows", Source.DOC, "2.5"),
    _planasonix("lists are ordered by last change or creation, newest first", Source.INFERRED, "3.3"),
    _planasonix("a page holds 100 entries at most; more are asked for in vain", Source.ASSUMED, "2.4"),
    _planasonix("a second sync of a connection whose job is active is a 409", Source.VENDOR, "6.1"),
    _planasonix("an idempotency key stands for its first job for ever, in a 2xx", Source.INFERRED, "6.1"),
    _planasonix("a second run of a pipeline starts beside the first", Source.INFERRED, "6.1"),
    _planasonix("a paused pipeline runs when asked, a draft does not", Source.ASSUMED, "9"),
    _planasonix("cancelling what has finished is a 409, or a 400", Source.VENDOR, "3.3"),
    _planasonix("rows, durations and errors follow from the seed; nothing is moved", Source.ASSUMED, "8"),
    _planasonix("a schedule fires once for the times it missed while nobody looked", Source.ASSUMED, "3.5"),
    _planasonix("paths of webhook subscriptions; headers and attempts of deliveries", Source.ASSUMED, "5"),
    _pletor("a used external_id is a 409, also of a run that failed; uploads apart", Source.DOC, "6.1"),
    _pletor("what fails validation claims no key", Source.DOC, "6.1"),
    _pletor("agent and app runs share a key space; validation comes before the key", Source.ASSUMED, "6.1"),
    _pletor("the three rate headers on every answer, with epoch seconds", Source.ASSUMED, "2.3"),
    _pletor("2000, 600 and 600 requests a minute", Source.DOC, "2.3"),
    _pletor("pictures and texts are made by rules from the inputs, without a model", Source.ASSUMED, "3.1"),
    _pletor("shape of reviews and decisions; a rejected picture fails the run", Source.ASSUMED, "3.1"),
    _pletor("a download is a 302 to a signed address that refuses credentials", Source.ASSUMED, "7"),
    _officeplane("a malformed id is a text 500 without x-request-id", Source.RAN, "2.3"),
    _officeplane("validation errors are 422 with a list in `detail`", Source.RAN, "2.3"),
    _officeplane("a trailing slash gives 307 to the bare path; HEAD gives 405", Source.RAN, "2.1"),
    _officeplane("no idempotency key, rate limit, ETag, Range or paging", Source.VENDOR, "2.4"),
    _officeplane("the format is decided by magic bytes; text files are a 400", Source.RAN, "3.1"),
    _officeplane("the exact list of formats inside that 400", Source.ASSUMED, "3.1"),
    _officeplane("legacy .doc and .ppt are a 500", Source.RAN, "3.1"),
    _officeplane("?title= or ?author= is a 500, and the document exists, renamed", Source.RAN, "3.1"),
    _officeplane("an unknown collection_id is a 404, and the document exists", Source.RAN, "3.1"),
    _officeplane("a running upload is listed with growing chapters", Source.RAN, "3.1"),
    _officeplane("the original is stored last, after all chapters", Source.INFERRED, "6.1"),
    _officeplane(
        "title and structure come from the file itself, where the vendor asks a model", Source.ASSUMED, "3.1"
    ),
    _officeplane("an original that was not stored is downloaded as a generated DOCX", Source.RAN, "3.5"),
    _officeplane(
        "Content-Disposition is raw Latin-1, quotes unescaped; other names are a text 500", Source.RAN, "3.5"
    ),
    _officeplane(
        "plan makes flat nodes with placeholders, by rules instead of a model", Source.ASSUMED, "3.6"
    ),
    _officeplane("names of node inputs beyond document_id and chapter_id", Source.ASSUMED, "3.6"),
    _officeplane(
        "execute ignores the id in its URL, is not atomic, answers 200 on failed nodes", Source.RAN, "3.7"
    ),
    _officeplane(
        "the progress of execute holds a `running` event before the end of each node", Source.INFERRED, "3.7"
    ),
    _officeplane(
        "verify looks for the expected words in the text, instead of asking a model", Source.ASSUMED, "3.8"
    ),
    _officeplane("with llm absent, plan is a 500 and verify answers with an outline", Source.RAN, "3.8"),
    _placet(
        "100 requests a minute for each client address and route, counted before the key", Source.RAN, "2"
    ),
    _placet(
        "400 `Validation failed` never says which field; unknown fields are stripped", Source.VENDOR, "2"
    ),
    _placet("a call by id without `channel` sees the key's own channels only", Source.ASSUMED, "8"),
    _placet("the same streamId or clientId gives the stored message, whatever is sent", Source.VENDOR, "3.1"),
    _placet("unusable attachment ids are ignored, so a message may come out empty", Source.VENDOR, "3.1"),
    _placet("expiry is at most 36 h, late, silent for a waiter, and still answerable", Source.VENDOR, "4.2"),
    _placet("drafts silent for 5 minutes are aborted by a sweep", Source.VENDOR, "4.3"),
    _placet("webhooks are unsigned, sent once, and refused for local hosts", Source.VENDOR, "5.2"),
    _placet("Socket.IO events carry raw answers and webhook credentials", Source.VENDOR, "5.3"),
    _placet("a `channelId` behind a large file is not seen", Source.RAN, "3.9"),
    _placet("the reviewer page, which asks for no password", Source.ASSUMED, "8"),
)
"""The stand-in's choices that a reader of an answer cannot see."""


class Index(BaseModel):
    """The answer to `GET /_sandbox/`."""

    notice: str = NOTICE
    seed: int
    services: dict[str, str]
    """Name and base path."""
    mounts: dict[str, tuple[str, ...]] = MOUNTS
    """Further bases of a service that answers in several dialects."""
    certainty: dict[Source, str] = CERTAINTY
    routes: list[Route]
    behaviours: tuple[Behaviour, ...] = BEHAVIOURS

"""How Pletor's effects are made once, and found again after a lost answer (pletor.md §6).

The keys are the ledger's external ids. They are permanent: a run that failed keeps its key, and a
genuine re-run is the ledger's next generation, never a new key made by code that retries.
"""

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from plait.http import sha256_of
from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    PlaitError,
    RateLimited,
    RequestRejected,
)
from plait.http.operation import Operation
from plait.ledger.errors import ExternalIdReused
from plait.ledger.recipe import (
    Absent,
    AnyRecipe,
    Found,
    Identity,
    Json,
    Look,
    NotYetKnown,
    Recorded,
    Several,
    Verdict,
)
from plait.vendors.pletor import operations
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import (
    Asset,
    RecordedReview,
    Resolution,
    ReviewAnswer,
    ReviewDecision,
    Run,
    RunInput,
    canonical_inputs,
    check_inputs,
)

_SETTLED_ELSEWHERE: Final = frozenset({400, 404, 410, 422})
"""Statuses of a refused decision that may only say that somebody decided before (pletor.md §6.4)."""

_ORIGINAL: Final = ("id", "run_id", "asset_id", "resource_id")
"""Names under which a 409 may give the original's id [assumed]."""

ThingT = TypeVar("ThingT", Run, Asset)


@dataclass(slots=True)
class CreateRun:
    """Start an agent once. The result is the run as it stood when it was created or found."""

    client: PletorClient
    agent_id: str
    inputs: Sequence[RunInput] = ()
    _named: str | None = field(default=None, init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.CREATE_RUN, init=False, repr=False)
    result_type: type[Run] = field(default=Run, init=False, repr=False)

    async def identity(self) -> Identity:
        """The agent and its inputs; assets count by their ids, never by signed addresses."""
        return _run_identity(self.client, {"agent_id": self.agent_id}, self.inputs)

    async def baseline(self) -> Json:
        """Nothing: the key tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Run:
        """Create it under the key."""
        try:
            return await self.client.create_run(self.agent_id, self.inputs, external_id=external_id)
        except Conflict as taken:
            self._named = _original(taken)
            raise

    async def look(self, context: Look) -> Verdict[Run]:
        """Find the run of exactly this key. Raises `ExternalIdReused` where it is not what we ask for."""

        def differs(run: Run) -> str | None:
            return _run_differs(run, self.inputs, run.agent_id, self.agent_id)

        return await _find(
            context.external_id,
            self.client.find_runs,
            differs,
            named=_Named(self.client.get_run, self._named),
            other=self.client.find_app_runs,
        )

    def vendor_id(self, result: Run) -> str:
        """The run's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class CreateAppRun:
    """Start an app once. The result is the run as it stood when it was created or found."""

    client: PletorClient
    app_id: str
    inputs: Sequence[RunInput] = ()
    _named: str | None = field(default=None, init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.CREATE_APP_RUN, init=False, repr=False)
    result_type: type[Run] = field(default=Run, init=False, repr=False)

    async def identity(self) -> Identity:
        """The app and its inputs."""
        return _run_identity(self.client, {"app_id": self.app_id}, self.inputs)

    async def baseline(self) -> Json:
        """Nothing: the key tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Run:
        """Create it under the key."""
        try:
            return await self.client.create_app_run(self.app_id, self.inputs, external_id=external_id)
        except Conflict as taken:
            self._named = _original(taken)
            raise

    async def look(self, context: Look) -> Verdict[Run]:
        """Find the run of exactly this key, agent runs being looked through too (pletor.md §6.1 gap 1)."""

        def differs(run: Run) -> str | None:
            return _run_differs(run, self.inputs, run.app_id, self.app_id)

        return await _find(
            context.external_id,
            self.client.find_app_runs,
            differs,
            named=_Named(self.client.get_app_run, self._named),
            other=self.client.find_runs,
        )

    def vendor_id(self, result: Run) -> str:
        """The run's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class UploadAsset:
    """Upload one file; the same content is one asset for ever, whatever run asks (pletor.md §6.6).

    Where the asset was deleted since, its key stays used: ask with the next generation.
    """

    client: PletorClient
    path: Path
    filename: str | None = None
    _sha256: str = field(default="", init=False, repr=False, compare=False)
    _size: int = field(default=0, init=False, repr=False, compare=False)
    _named: str | None = field(default=None, init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.UPLOAD_ASSET, init=False, repr=False)
    result_type: type[Asset] = field(default=Asset, init=False, repr=False)

    async def identity(self) -> Identity:
        """The file's digest. Raises `InvalidInput` for a file that cannot be read."""
        self._sha256, self._size = await _digest(self.path)
        kind = mimetypes.guess_type(self.filename or self.path.name)[0]
        return Identity(
            account=self.client.account,
            target=f"{self.client.account}/assets",
            inputs={"sha256": self._sha256, "size": self._size, "media_type": kind},
            by_content=True,
        )

    async def baseline(self) -> Json:
        """Nothing: the key tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Asset:
        """Upload under the key, from the file's beginning at each attempt."""
        if (await _digest(self.path))[0] != self._sha256:
            raise InvalidInput(f"{self.path} changed after it was read; run again with the file as it is now")
        try:
            return await self.client.upload_asset(self.path, filename=self.filename, external_id=external_id)
        except Conflict as taken:
            self._named = _original(taken)
            raise

    def recall(self, inputs: Json) -> Self:
        """Take digest and size from the ledger's row: able to look then, and not to send."""
        self._sha256, self._size = inputs["sha256"], inputs["size"]
        return self

    async def look(self, context: Look) -> Verdict[Asset]:
        """Find the upload of exactly this key; size and digest must agree where the server tells them."""

        def differs(asset: Asset) -> str | None:
            if asset.size not in {None, self._size}:
                return f"{asset.size} bytes, not {self._size}"
            return None if asset.sha256 in {None, self._sha256} else "other content"

        named = _Named(self.client.get_asset, self._named)
        return await _find(context.external_id, self.client.find_assets, differs, named=named)

    def vendor_id(self, result: Asset) -> str:
        """The asset's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class ResolveReview:
    """Resolve one pending review once; the same decision on the same review is one effect for ever.

    Somebody may decide in Pletor first: that is no error but the result's `outcome`.
    """

    client: PletorClient
    run_id: str
    review_id: str
    decision: ReviewDecision

    operation: Operation = field(default=operations.RESOLVE_REVIEW, init=False, repr=False)
    result_type: type[Resolution] = field(default=Resolution, init=False, repr=False)

    async def identity(self) -> Identity:
        """The review and the decision; two decisions on one review go one after the other."""
        place = f"{self.client.account}/runs/{self.run_id}/reviews/{self.review_id}"
        return Identity(
            account=self.client.account,
            target=place,
            inputs=self.decision.body(),
            unit=f"pletor:{place}",
            by_content=True,
        )

    async def baseline(self) -> Json:
        """Nothing: the review itself is what is looked for."""
        return None

    async def send(self, external_id: str) -> Resolution:
        """Post the decision. A refusal counts only while the review still waits: it may be settled."""
        try:
            answer = await self.client.resolve_review(
                self.run_id, self.review_id, self.decision, external_id=external_id
            )
        except RequestRejected as refused:
            if refused.status not in _SETTLED_ELSEWHERE or await self._still_waits():
                raise
            raise _already_settled(refused) from refused
        return await self._accepted(answer, external_id)

    async def look(self, context: Look) -> Verdict[Resolution]:
        """Read the run: a review still pending is absent, one that is gone is settled."""
        try:
            run = await self.client.get_run(self.run_id)
        except PlaitError as error:
            return _cannot_look(error)
        if self._pending_in(run):
            return Absent()
        return Found(self._settled(run, context.external_id))

    def vendor_id(self, result: Resolution) -> str:
        """The review's id."""
        return result.review_id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    async def _accepted(self, answer: ReviewAnswer, external_id: str) -> Resolution:
        """A 2xx is ours, unless the server says that somebody was first: then the run may tell who."""
        if not answer.already_resolved:
            return self._resolution("resolved", self.decision.decision)
        try:
            return self._settled(await self.client.get_run(self.run_id), external_id)
        except PlaitError:
            return self._resolution("resolved_unverified", None)

    async def _still_waits(self) -> bool:
        """Whether the run still asks; a run that cannot be read is left to the look."""
        try:
            return self._pending_in(await self.client.get_run(self.run_id))
        except NotFound:
            return True  # no such run: the refusal says all there is
        except PlaitError:
            return False

    def _pending_in(self, run: Run) -> bool:
        return not run.ended and any(review.id == self.review_id for review in run.pending_reviews)

    def _settled(self, run: Run, external_id: str) -> Resolution:
        recorded = next((review for review in run.reviews if review.id == self.review_id), None)
        if recorded is None or recorded.decision is None:
            return self._resolution("resolved_unverified", None)
        if recorded.external_id == external_id or self._agrees(recorded):
            return self._resolution("resolved", recorded.decision)
        return self._resolution("decided_otherwise", recorded.decision)

    def _agrees(self, recorded: RecordedReview) -> bool:
        ours = self.decision
        return (recorded.decision, recorded.selected_asset_ids, recorded.text) == (
            ours.decision,
            ours.selected_asset_ids or [],
            ours.text,
        )

    def _resolution(self, outcome: Any, decision: str | None) -> Resolution:
        return Resolution(run_id=self.run_id, review_id=self.review_id, outcome=outcome, decision=decision)


def restore(client: PletorClient, recorded: Recorded) -> AnyRecipe | None:
    """The recipe of a recorded effect, able to look and not to send; None for an unknown operation."""
    inputs = recorded.inputs
    match recorded.operation:
        case "create_run":
            return CreateRun(client, inputs["agent_id"], _run_inputs(inputs["inputs"]))
        case "create_app_run":
            return CreateAppRun(client, inputs["app_id"], _run_inputs(inputs["inputs"]))
        case "upload_asset":
            return UploadAsset(client, _NO_FILE).recall(inputs)
        case "resolve_review":
            place = recorded.target.removeprefix(f"{recorded.account}/runs/")
            run_id, _, review_id = place.partition("/reviews/")
            return ResolveReview(client, run_id, review_id, ReviewDecision.model_validate(inputs))
    return None


_NO_FILE: Final = Path("the-ledger-keeps-no-files")
"""A look compares digest and size, and these are in the row."""


def _run_inputs(canonical: dict[str, Any]) -> list[RunInput]:
    """What `canonical_inputs` made of them, as they were."""
    return [RunInput.model_validate({"id": name, "value": value}) for name, value in canonical.items()]


def _run_identity(client: PletorClient, what: dict[str, str], inputs: Sequence[RunInput]) -> Identity:
    check_inputs(inputs)
    return Identity(
        account=client.account,
        target=client.account,
        inputs={**what, "inputs": canonical_inputs(inputs)},
    )


def _run_differs(run: Run, inputs: Sequence[RunInput], made_by: str | None, wanted: str) -> str | None:
    """In what a run is not the one we ask for, as far as the server echoes it."""
    if made_by not in {None, wanted}:
        return f"made by {made_by}, not {wanted}"
    echoed = canonical_inputs(run.inputs)
    return "other inputs" if echoed and echoed != canonical_inputs(inputs) else None


@dataclass(frozen=True, slots=True)
class _Named(Generic[ThingT]):
    """The original that a 409 named, if it did: a hint, believed only once it was read."""

    get: Callable[[str], Awaitable[ThingT]]
    thing_id: str | None

    async def read(self, external_id: str) -> list[ThingT]:
        """The thing, where it carries exactly our key."""
        if self.thing_id is None:
            return []
        try:
            thing = await self.get(self.thing_id)
        except NotFound:
            return []
        return [thing] if thing.external_id == external_id else []


async def _find(
    external_id: str,
    find: Callable[[str], Awaitable[list[ThingT]]],
    differs: Callable[[ThingT], str | None],
    *,
    named: _Named[ThingT],
    other: Callable[[str], Awaitable[list[ThingT]]] | None = None,
) -> Verdict[ThingT]:
    """What stands under the key. An empty list is no proof after a 409: the ledger knows that."""
    try:
        rows = await find(external_id) or await named.read(external_id)
        elsewhere = await other(external_id) if other is not None and not rows else []
    except PlaitError as error:
        return _cannot_look(error)
    if len(rows) > 1:
        return Several(tuple(row.id for row in rows))
    if rows and (difference := differs(rows[0])):
        raise _reused(external_id, f"{rows[0].id}, {difference}")
    if elsewhere:
        raise _reused(external_id, f"{elsewhere[0].id}, a run of the other kind")
    return Found(rows[0]) if rows else Absent()


def _original(taken: Conflict) -> str | None:
    """The id that a 409 gives of what stands under the key, where it does (pletor.md §6.1 gap 2)."""
    said = taken.details if isinstance(taken.details, Mapping) else {}
    return next((said[name] for name in _ORIGINAL if isinstance(said.get(name), str)), None)


def _reused(external_id: str, what: str) -> ExternalIdReused:
    return ExternalIdReused(
        f"Pletor holds {external_id} for something else ({what}); another program of this organization uses "
        "our keys: give this environment its own label, or ask with the next generation",
        system=operations.SYSTEM,
    )


def _already_settled(refused: RequestRejected) -> Conflict:
    """The refusal as a conflict: the ledger then looks what became of the review."""
    return Conflict(
        f"the review no longer waits: {refused.message}",
        system=refused.system,
        operation=refused.operation,
        status=409,
        request_id=refused.request_id,
        code=refused.code,
        details=refused.details,
    )


def _cannot_look(error: PlaitError) -> NotYetKnown:
    """What a failed look says. Raises where only a person can make the look possible again."""
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        raise error
    wait = error.retry_after if isinstance(error, RateLimited) else None
    return NotYetKnown(f"Pletor could not be asked: {error}", wait)


async def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes."""
    try:
        return await sha256_of(path), (await asyncio.to_thread(path.stat)).st_size
    except OSError as error:
        raise InvalidInput(f"cannot read the file to upload, {path}: {error.strerror}") from error

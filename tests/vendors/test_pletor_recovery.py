"""Pletor's effects through the real ledger, with the stand-in failing on purpose (pletor.md §6, §7)."""

import asyncio
from uuid import uuid4

import pytest
from pletor_world import QUICK, TITLE, World, asking, ended, serving

from plait.http.errors import (
    AuthenticationFailed,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PlaitError,
    RequestRejected,
    ServerFailed,
    ValidationFailed,
)
from plait.ledger import Absent, Found, Ledger, Look, NotYetKnown, Recipe, Several, Timing
from plait.ledger.errors import ExternalIdReused, GenerationConflict
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_store import DOOMED, POSTER, POSTER_APP, REVIEWED_POSTER
from plait.sandbox.process import start_sandbox
from plait.vendors.pletor.models import (
    Asset,
    Phase,
    Resolution,
    Run,
    RunInput,
    approve,
    regenerate,
    reject,
)
from plait.vendors.pletor.recovery import CreateAppRun, CreateRun, ResolveReview, UploadAsset

TIMES = {"landing_cap": 0.4, "visibility_cap": 0.1, "step": 0.05}
QUICKLY = Timing(**TIMES, patience=15.0)
HASTY = Timing(**TIMES, patience=0.5)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for the tests that need no switch."""
    state = tmp_path_factory.mktemp("pletor") / "state.db"
    with start_sandbox(state=state, seed=7, pletor=PletorSettings(work_seconds=QUICK)) as process:
        yield process


@pytest.fixture
async def world(sandbox):
    """The shared stand-in, without faults at the start."""
    made = World(sandbox.url)
    await made.disarm()
    yield made
    await made.aclose()


@pytest.fixture
async def client(world):
    """Its client."""
    async with world.client() as made:
        yield made


@pytest.fixture
async def ledger(tmp_path):
    """A ledger of its own for each test."""
    async with Ledger.open(tmp_path / "ledger.db", timing=QUICKLY) as opened:
        yield opened


@pytest.fixture
async def hasty(tmp_path):
    """A ledger that gives up waiting soon."""
    async with Ledger.open(tmp_path / "hasty.db", timing=HASTY) as opened:
        yield opened


def _effects(ledger, generation=0, run_key=None):
    return ledger.effects(run_key=run_key or str(uuid4()), env="test", generation=generation)


@pytest.fixture
def effects(ledger):
    """The effects of one run key."""
    return _effects(ledger)


@pytest.fixture
def picture(tmp_path):
    """A file that no other test has."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n" + uuid4().bytes)
    return path


def test_recipes_fit_the_ledger(client, picture):
    """Each recipe is one of the ledger's, with the result it promises."""
    run: Recipe[Run] = CreateRun(client, "a")
    app_run: Recipe[Run] = CreateAppRun(client, "a")
    upload: Recipe[Asset] = UploadAsset(client, picture)
    review: Recipe[Resolution] = ResolveReview(client, "r", "v", approve())
    for recipe in (run, app_run, upload, review):
        assert recipe.operation.effect.guarded
        assert recipe.operation.recovery


LOST = [
    ("after_accept", {"how": "close"}),
    ("after_accept", {"how": "reset"}),
    ("before_accept", {"how": "close"}),
    ("status", {"status": 502}),
    ("status_after", {"status": 500}),
    ("status_after", {"status": 502}),
    ("mid_body", {"bytes": 3}),
    ("late_landing", {"seconds": 0.2}),
    ("late_landing", {"seconds": 0.2, "status": 504}),
    ("rate_limit", {"wait": 0.1}),
]


@pytest.fixture(params=["create_run", "create_app_run", "upload_asset"])
def creating(request, client, picture):
    """An operation that takes a key, and its recipe."""
    recipes = {
        "create_run": CreateRun(client, POSTER.id, [TITLE]),
        "create_app_run": CreateAppRun(client, POSTER_APP.id, [TITLE]),
        "upload_asset": UploadAsset(client, picture),
    }
    return request.param, recipes[request.param]


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_create_happens_once(world, effects, creating, loss):
    """Whatever became of the answer: one effect, and a second asking gives the recorded one."""
    (kind, recipe), (fault, more) = creating, loss
    before = await world.count(kind)
    await world.fault(fault, kind, **more)
    made = await effects.perform(recipe)
    assert made.external_id is not None
    await asyncio.sleep(0.3 if fault == "late_landing" else 0)
    assert await world.count(kind) == before + 1
    assert await world.count(kind, made.external_id) == 1
    assert (await effects.perform(recipe)).id == made.id
    assert await world.count(kind) == before + 1


async def test_both_answers_lost_and_the_list_lagging(world, client, effects):
    """409 while the row is not visible: asked again until it is, with one key (§7 no. 1)."""
    await world.fault("listing_lag", "create_run", seconds=1.0)
    await world.fault("after_accept", "create_run", times=2)
    before = await world.count("create_run")
    made = await effects.perform(CreateRun(client, POSTER.id, [TITLE]))
    assert await world.count("create_run") == before + 1
    assert await world.count("create_run", made.external_id) == 1


async def test_a_claim_that_is_rolled_back(tmp_path, ledger):
    """500, then 409 with an empty list, then the same key succeeds (§7 no. 2)."""
    async with serving(tmp_path, rollback_seconds=0.6) as world, world.client() as client:
        made = await _effects(ledger).perform(CreateRun(client, POSTER.id, [TITLE]))
        assert await world.count("create_run", made.external_id) == 1


async def test_409_with_an_empty_list_is_never_absence(tmp_path, hasty):
    """While nothing is shown the effect is unknown; it is found when it appears, by the same key."""
    run_key = str(uuid4())
    async with serving(tmp_path, lookup_lag=2.0) as world, world.client() as client:
        recipe = CreateRun(client, POSTER.id, [TITLE])
        await world.fault("after_accept", "create_run")
        with pytest.raises(OutcomeUnknown, match="409"):
            await _effects(hasty, run_key=run_key).perform(recipe)
        await asyncio.sleep(2.0)
        made = await _until_known(_effects(hasty, run_key=run_key), recipe)
        assert await world.count("create_run") == await world.count("create_run", made.external_id) == 1


async def _until_known(effects, recipe):
    """Ask until the ledger can say, as a task's retries do."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await effects.perform(recipe)
            except OutcomeUnknown as error:
                await asyncio.sleep(error.retry_after or 0.1)


async def test_a_server_that_fails_for_long_is_asked_with_pauses(world, client, hasty):
    """Each answer a 502 after the run was made: few requests, `unknown`, then found; never a second run."""
    effects, recipe = _effects(hasty), CreateRun(client, POSTER.id, [TITLE])
    before = await world.count("create_run")
    await world.fault("status_after", "create_run", times=50, status=502)
    await world.fault("status", "list_runs", times=50, status=503)
    with pytest.raises(OutcomeUnknown):
        await effects.perform(recipe)
    await world.disarm()
    made = await _until_known(effects, recipe)
    assert await world.count("create_run") == before + 1
    assert await world.count("create_run", made.external_id) == 1


# ---------------------------------------------------------------- refusals


async def test_a_422_leaves_the_key_free(world, client, effects):
    """A refused run has no effect, and its key works once the cause is gone (§7 no. 7)."""
    recipe = CreateRun(client, POSTER.id, [TITLE])
    await world.fault("status", "create_run", status=422, body={"detail": "bad inputs"})
    before = await world.count("create_run")
    with pytest.raises(ValidationFailed, match="bad inputs"):
        await effects.perform(recipe)
    assert await world.count("create_run") == before
    made = await effects.perform(recipe)
    assert await world.count("create_run", made.external_id) == 1


async def test_refused_inputs_are_refused(world, client, effects):
    """What the stand-in itself cannot use is an error with its words, and nothing is created."""
    before = await world.count("create_run")
    with pytest.raises(ValidationFailed, match="title is required"):
        await effects.perform(CreateRun(client, POSTER.id, [RunInput.text("style", "warm")]))
    with pytest.raises(NotFound, match="Agent"):
        await effects.perform(CreateRun(client, "nobody", [TITLE]))
    with pytest.raises(InvalidInput, match="twice"):
        await effects.perform(CreateRun(client, POSTER.id, [TITLE, TITLE]))
    assert await world.count("create_run") == before


RULE_C = [
    (402, {"detail": "Not enough credits"}),
    (404, {"detail": "Agent not found"}),
    (401, {"detail": "Invalid API key"}),
    (422, {"detail": "inputs have changed"}),
]


@pytest.mark.parametrize(("status", "body"), RULE_C)
async def test_a_refusal_after_a_lost_success_is_looked_at(world, client, effects, status, body):
    """Rule C: the first request made the run, the repeat is refused for a new reason; the run is found."""
    await world.fault("after_accept", "create_run", nth=[1])
    await world.fault("status", "create_run", nth=[1], status=status, body=body)
    made = await effects.perform(CreateRun(client, POSTER.id, [TITLE]))
    assert await world.count("create_run", made.external_id) == 1


async def test_credits_spent_by_the_lost_run_itself(tmp_path, ledger):
    """The stand-in's own 402: the balance covered one run, which exists."""
    async with serving(tmp_path, credits=1.0) as world, world.client() as client:
        await world.fault("after_accept", "create_run")
        made = await _effects(ledger).perform(CreateRun(client, POSTER.id, [TITLE]))
        assert await world.count("create_run", made.external_id) == 1
        with pytest.raises(RequestRejected, match="credits"):
            await _effects(ledger).perform(CreateRun(client, POSTER.id, [TITLE]))
        assert await world.count("create_run") == 1


async def test_a_refusal_after_a_lost_request_is_a_refusal(world, client, effects):
    """The first never arrived: refused, but only after a look that came late enough."""
    await world.fault("before_accept", "create_run", nth=[1])
    await world.fault("status", "create_run", nth=[1], status=402, body={"detail": "no credits"})
    before = await world.count("create_run")
    with pytest.raises(RequestRejected, match="no credits"):
        await effects.perform(CreateRun(client, POSTER.id, [TITLE]))
    assert await world.count("create_run") == before


async def test_a_key_that_was_rotated_is_said_at_once(world, effects):
    """401 on the look: only a person can help."""
    async with world.client("sk-revoked") as client:
        with pytest.raises(AuthenticationFailed):
            await effects.perform(CreateRun(client, POSTER.id, [TITLE]))


# ---------------------------------------------------------------- keys


async def test_a_failed_run_keeps_its_key_and_the_next_generation_runs(world, client, ledger):
    """Asking again gives the failed run; a genuine re-run is generation 1, and both are counted once."""
    run_key = str(uuid4())
    recipe = CreateRun(client, DOOMED.id, [TITLE])
    first = await _effects(ledger, run_key=run_key).perform(recipe)
    assert (await ended(client, first.id)).phase is Phase.DEAD
    assert (await _effects(ledger, run_key=run_key).perform(recipe)).id == first.id
    second = await _effects(ledger, 1, run_key).perform(recipe)
    assert second.id != first.id
    assert second.external_id != first.external_id
    with pytest.raises(GenerationConflict):
        await _effects(ledger, 3, run_key).perform(recipe)
    for run in (first, second):
        assert await world.count("create_run", run.external_id) == 1


async def test_another_ledger_finds_what_the_first_made(world, client, tmp_path, ledger):
    """The ledger was lost: the same intent has the same key, 409 leads to the same run."""
    run_key = str(uuid4())
    recipe = CreateRun(client, DOOMED.id, [TITLE])
    first = await _effects(ledger, run_key=run_key).perform(recipe)
    await ended(client, first.id)
    async with Ledger.open(tmp_path / "new.db", timing=QUICKLY) as anew:
        again = await _effects(anew, run_key=run_key).perform(recipe)
    assert (again.id, again.phase) == (first.id, Phase.DEAD)
    assert await world.count("create_run", first.external_id) == 1


async def test_two_ledgers_race_with_one_key(world, client, tmp_path):
    """Eight runners without a common ledger: one run."""
    run_key = str(uuid4())

    async def run(number):
        async with Ledger.open(tmp_path / f"{number}.db", timing=QUICKLY) as ledger:
            return await _effects(ledger, run_key=run_key).perform(CreateRun(client, POSTER.id, [TITLE]))

    runs = await asyncio.gather(*(run(number) for number in range(8)))
    assert len({made.id for made in runs}) == 1
    assert await world.count("create_run", runs[0].external_id) == 1


async def _none(_ids):
    return set()


def _look(recipe, key):
    return recipe.look(Look(external_id=key, baseline=None, taken=_none))


async def test_a_look_compares_what_it_finds(client):
    """Same key, other agent or inputs: an error that names the difference, never somebody else's run."""
    key = f"test-{uuid4()}"
    assert await _look(CreateRun(client, POSTER.id, [TITLE]), key) == Absent()
    made = await client.create_run(POSTER.id, [TITLE], external_id=key)
    found = await _look(CreateRun(client, POSTER.id, [TITLE]), key)
    assert isinstance(found, Found)
    assert found.result.id == made.id
    with pytest.raises(ExternalIdReused, match="other inputs"):
        await _look(CreateRun(client, POSTER.id, [RunInput.text("title", "Other")]), key)
    with pytest.raises(ExternalIdReused, match=DOOMED.id):
        await _look(CreateRun(client, DOOMED.id, [TITLE]), key)


async def test_a_key_of_the_other_kind_is_told(client, ledger, world):
    """One key space: an app run that used our key is said to be the reason (§6.1 gap 1)."""
    run_key = str(uuid4())
    recipe = CreateRun(client, POSTER.id, [TITLE])
    twin = await _effects(ledger, run_key=run_key).perform(recipe)
    key = f"{twin.external_id}x"
    await client.create_app_run(POSTER_APP.id, [TITLE], external_id=key)
    with pytest.raises(ExternalIdReused, match="a run of the other kind"):
        await _look(recipe, key)
    assert await world.count("create_run", key) == 0


async def test_a_run_and_an_upload_may_share_a_value(client, picture):
    """The key spaces of runs and uploads are apart [doc]."""
    key = f"test-{uuid4()}"
    run = await client.create_run(POSTER.id, [TITLE], external_id=key)
    asset = await client.upload_asset(picture, external_id=key)
    assert run.external_id == asset.external_id == key


async def test_a_reused_key_is_an_error_through_the_ledger(vendor, answer, ledger):
    """409, and the list shows the key on another agent's run: told to a person, not adopted, not repeated."""

    def handle(request):
        if request.method == "POST":
            return answer({"detail": "conflict"}, 409)
        return answer([{"id": "r", "agent_id": "other", "external_id": request.query.get("external_id")}])

    vendor.handler = handle
    async with World(vendor.url).client() as client:
        with pytest.raises(ExternalIdReused, match="made by other"):
            await _effects(ledger).perform(CreateRun(client, POSTER.id, [TITLE]))
    assert vendor.calls().count("POST /pletor/api/public/v1/runs") == 1


async def test_two_runs_with_one_key_are_an_incident(vendor, answer):
    """A server that broke its word is for a person."""
    rows = [{"id": "a", "external_id": "k"}, {"id": "b", "external_id": "k"}, {"id": "c", "external_id": "x"}]
    vendor.handler = lambda _: answer({"data": rows})
    async with World(vendor.url).client() as client:
        assert await _look(CreateRun(client, "agent"), "k") == Several(("a", "b"))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_look_that_fails_is_not_yet_known(vendor, answer, clock, status):
    """The vendor being down says nothing about the effect."""
    vendor.handler = lambda _: answer({"detail": "down"}, status)
    async with World(vendor.url).client(clock=clock) as client:
        for recipe in (CreateRun(client, "a"), ResolveReview(client, "r", "v", approve())):
            assert isinstance(await _look(recipe, "k"), NotYetKnown)


SWITCHES = [
    {"lookup_filter": "ignored"},
    {"lookup_filter": "ignored", "envelope": "bare", "paging": "ignored"},
    {"create_status": 200, "id_name": "run_id", "echo": False},
    {"conflict_shape": "html"},
    {"conflict_shape": "empty", "envelope": "items"},
    {"conflict_shape": "error", "conflict_names_original": True},
    {"conflict_shape": "code", "envelope": "results"},
    {"check_order": "key_first", "same_key_other_body": "422"},
    {"key_space": "separate", "slash": "both"},
    {"lookup_lag": 0.5},
    {"lookup_lag": 600.0, "conflict_names_original": True},
    {"reset_unit": "none"},
    {"upload_key": "query"},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
async def test_every_reading_of_the_documentation(tmp_path, ledger, picture, switches):
    """However the vendor fills the gaps of its page: a lost create and a lost upload happen once."""
    async with serving(tmp_path, **switches) as world, world.client() as client:
        stranger = await client.create_run(POSTER.id, [RunInput.text("title", "Another's")], external_id="x")
        for operation in ("create_run", "upload_asset"):
            await world.fault("after_accept", operation)
        run = await _effects(ledger).perform(CreateRun(client, POSTER.id, [TITLE]))
        asset = await _effects(ledger).perform(UploadAsset(client, picture))
        assert run.id != stranger.id
        assert await world.count("create_run") == 2
        assert [row["entity_id"] for row in await world.effects("upload_asset")] == [asset.id]


# ---------------------------------------------------------------- uploads


async def test_equal_content_is_uploaded_once(world, client, ledger, picture, tmp_path):
    """Whatever run asks and whatever the file is called; other content is another asset."""
    twin = tmp_path / "twin.png"
    twin.write_bytes(picture.read_bytes())
    first = await _effects(ledger).perform(UploadAsset(client, picture))
    assert (await _effects(ledger).perform(UploadAsset(client, twin))).id == first.id
    twin.write_bytes(b"other" + uuid4().bytes)
    assert (await _effects(ledger).perform(UploadAsset(client, twin))).id != first.id
    assert await world.count("upload_asset", first.external_id) == 1


async def test_organizations_with_one_ledger_are_told_apart(world, effects, picture):
    """By a label: the same file of another organization is an upload of its own."""
    async with (
        world.client(organization="acme") as acme,
        world.client("sk-other", organization="other") as other,
    ):
        first = await effects.perform(UploadAsset(acme, picture))
        second = await effects.perform(UploadAsset(other, picture))
        assert (await other.get_asset(second.id)).id != first.id
        with pytest.raises(NotFound):
            await other.get_asset(first.id)


async def test_a_deleted_asset_keeps_its_key(world, client, tmp_path, picture, hasty):
    """Another ledger: 409 and nothing to find is unknown; the next generation uploads it anew (§6.6)."""
    async with Ledger.open(tmp_path / "first.db", timing=QUICKLY) as ledger:
        first = await _effects(ledger).perform(UploadAsset(client, picture))
        await client.delete_asset(first.id)
        anew = await _effects(ledger, 1).perform(UploadAsset(client, picture))
    assert anew.id != first.id
    with pytest.raises(OutcomeUnknown, match="409"):
        await _effects(hasty).perform(UploadAsset(client, picture))
    assert await world.count("upload_asset", first.external_id) == 1


async def test_a_file_that_changes_after_its_digest_is_not_sent(world, client, picture):
    """The key is the content, so other content under it must not leave."""
    recipe = UploadAsset(client, picture)
    await recipe.identity()
    picture.write_bytes(b"changed")
    before = await world.count("upload_asset")
    with pytest.raises(InvalidInput, match="changed"):
        await recipe.send("k")
    with pytest.raises(InvalidInput, match="cannot read"):
        await UploadAsset(client, picture.with_name("missing")).identity()
    assert await world.count("upload_asset") == before


# ---------------------------------------------------------------- reviews


@pytest.fixture
async def review(client):
    """A run that asks for an approval, and the review's id."""
    made = await client.create_run(REVIEWED_POSTER.id, [TITLE])
    return made.id, (await asking(client, made.id)).due_reviews[0].id


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_decision_is_taken_once(world, client, effects, review, loss):
    """Read back from the run: posted again only while the review still waits."""
    kind, more = loss
    await world.fault(kind, "resolve_review", **more)
    result = await effects.perform(ResolveReview(client, *review, approve()))
    assert (result.outcome, result.decision) == ("resolved", "approve")
    assert (await ended(client, review[0])).phase is Phase.DONE
    marked = [row for row in await world.effects("resolve_review") if row["entity_id"] == review[1]]
    assert len(marked) == 1
    again = await effects.perform(ResolveReview(client, *review, approve()))
    assert again == result


@pytest.mark.parametrize("second", ["409", "400", "200"])
@pytest.mark.parametrize("theirs", [approve(), reject()], ids=["same", "other"])
@pytest.mark.parametrize("shown", [True, False])
async def test_a_person_was_faster(tmp_path, ledger, second, theirs, shown):
    """Somebody decided in Pletor between poll and POST: the result says what stands, as far as it is told."""
    outcome = "resolved" if theirs == approve() else "decided_otherwise"
    async with (
        serving(tmp_path, second_decision=second, decision_shown=shown) as world,
        world.client() as client,
        world.client("sk-member") as person,
    ):
        made = await client.create_run(REVIEWED_POSTER.id, [TITLE])
        [due] = (await asking(client, made.id)).due_reviews
        await person.resolve_review(made.id, due.id, theirs)
        result = await _effects(ledger).perform(ResolveReview(client, made.id, due.id, approve()))
        assert result.outcome == (outcome if shown else "resolved_unverified")
        assert result.decision == (theirs.decision if shown else None)
        assert await world.count("resolve_review") == 1


async def test_a_regeneration_asks_again_under_another_id(world, client, effects, review):
    """Each round is an effect of its own, and the last one ends the run."""
    run_id, review_id = review
    await effects.perform(ResolveReview(client, run_id, review_id, regenerate("bluer")))
    run = await asking(client, run_id)
    [due] = run.due_reviews
    assert due.id != review_id
    await effects.perform(ResolveReview(client, run_id, due.id, approve()))
    assert (await ended(client, run_id)).asset_ids == [due.options[0].asset_id]
    rows = await world.effects("resolve_review")
    assert [row["entity_id"] for row in rows][-2:] == [review_id, due.id]


async def test_a_resolved_review_that_is_still_listed(tmp_path, ledger):
    """Read-after-write lag: the recorded resolution is not posted again."""
    async with serving(tmp_path, resolved_lag=30.0) as world, world.client() as client:
        made = await client.create_run(REVIEWED_POSTER.id, [TITLE])
        [due] = (await asking(client, made.id)).due_reviews
        effects = _effects(ledger)
        for _ in range(3):
            await effects.perform(ResolveReview(client, made.id, due.id, approve()))
            assert [r.id for r in (await client.get_run(made.id)).pending_reviews] == [due.id]
        assert await world.count("resolve_review") == 1
        assert (await ended(client, made.id)).due_reviews == []


async def test_a_decision_that_does_not_fit_is_refused(world, client, effects, review):
    """422 while the review still waits is a refusal; it can then be decided properly."""
    before = await world.count("resolve_review")
    unfit = approve().model_copy(update={"decision": "perhaps"})
    with pytest.raises(ValidationFailed, match="decision must be"):
        await effects.perform(ResolveReview(client, *review, unfit))
    with pytest.raises(NotFound):
        await effects.perform(ResolveReview(client, "no-run", "no-review", approve()))
    await effects.perform(ResolveReview(client, *review, approve()))
    assert await world.count("resolve_review") == before + 1


async def test_a_review_of_a_canceled_run_is_settled(world, client, effects, review):
    """The run ended: nothing is decided any more, and nothing is counted."""
    before = await world.count("resolve_review")
    await client.cancel_run(review[0])
    result = await effects.perform(ResolveReview(client, *review, approve()))
    assert result.outcome == "resolved_unverified"
    assert await world.count("resolve_review") == before


async def test_a_vendor_that_is_down_in_the_look_is_waited_for(vendor, answer, hasty):
    """The answer is lost and the run cannot be read: unknown, never posted blindly again."""
    vendor.handler = lambda request: None if request.method == "POST" else answer({"detail": "down"}, 503)
    async with World(vendor.url).client() as client:
        with pytest.raises(PlaitError) as raised:
            await _effects(hasty).perform(ResolveReview(client, "r", "v", approve()))
    assert isinstance(raised.value, OutcomeUnknown)
    assert not isinstance(raised.value, ServerFailed)
    assert sum(call.startswith("POST") for call in vendor.calls()) == 1

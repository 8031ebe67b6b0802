"""A row of the ledger is enough to look for an effect of Placet or Pletor again: no file, no arguments."""

from dataclasses import replace
from functools import partial
from uuid import uuid4

import placet_world
import pletor_world
import pytest
from sandbox_server import serving_sandbox

from plait.http.errors import InvalidInput
from plait.ledger import CannotLook, Ledger, Recorded, store
from plait.ledger.recipe import Absent, Found, Look
from plait.ledger.sweep import recorded
from plait.ledger.views import list_effects
from plait.recovery import Recovery, openers_from, unopened
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_store import POSTER, POSTER_APP, REVIEWED_POSTER
from plait.sandbox.settings import SandboxSettings
from plait.vendors.placet import recovery as placet
from plait.vendors.placet.models import ChannelRequest, MessageContent
from plait.vendors.placet.reviews import Approval, Form, FormField, Freeform
from plait.vendors.pletor import recovery as pletor
from plait.vendors.pletor.models import RunInput, select


@pytest.fixture
async def url(tmp_path):
    """The sandbox's address; it has both services."""
    quick = PletorSettings(work_seconds=pletor_world.QUICK)
    settings = SandboxSettings(state=tmp_path / "state.db", seed=7, placet=placet_world.QUICK, pletor=quick)
    async with serving_sandbox(settings) as address:
        yield address


@pytest.fixture
def environment(url):
    """What a person's shell says."""
    return {
        "PLAIT_PLACET_URL": f"{url}/placet",
        "PLAIT_PLACET_API_KEY": "hp_sandbox",
        "PLAIT_PLETOR_URL": f"{url}{pletor_world.BASE}",
        "PLAIT_PLETOR_API_KEY": "sk-sandbox",
    }


@pytest.fixture
async def at_placet(url):
    """Placet's client."""
    world = placet_world.World(url)
    async with world.client() as made:
        yield made
    await world.aclose()


@pytest.fixture
async def at_pletor(url):
    """Pletor's client."""
    world = pletor_world.World(url)
    async with world.client() as made:
        yield made
    await world.aclose()


@pytest.fixture
def picture(tmp_path):
    """A file that no other test has."""
    path = tmp_path / "picture one.png"
    path.write_bytes(placet_world.PNG + uuid4().bytes)
    return path


@pytest.fixture
async def ledger(tmp_path):
    """A ledger of its own for each test."""
    async with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


async def _made(ledger, recipe) -> tuple[Recorded, str]:
    """The row that an effect left, and the vendor's id of what it made."""
    result = await ledger.effects(run_key=str(uuid4()), env="test", generation=0).perform(recipe)
    (seen,) = await ledger.ask(partial(list_effects, which="all"))
    row = await ledger.database.read(lambda connection: store.effect_of(connection, seen.external_id))
    return recorded(row), recipe.vendor_id(result)


async def _look(recipe, external_id):
    async def none(_ids):
        return set()

    return await recipe.look(Look(external_id=external_id, baseline=None, taken=none))


async def _is_found_from_its_row(ledger, environment, recipe, *, marked=True):
    """Found by the row and the environment alone; under a key that was never sent there is nothing."""
    row, vendor_id = await _made(ledger, recipe)
    async with Recovery(openers_from(environment)) as recovery:
        restored = await recovery.restore(row)
        verdict = await _look(restored, row.external_id)
        assert isinstance(verdict, Found)
        assert restored.vendor_id(verdict.result) == vendor_id
        assert restored.operation is recipe.operation
        if marked:
            assert await _look(restored, f"test-never-{uuid4().hex}") == Absent()


REVIEWS = {
    "none": None,
    "approval": Approval(),
    "form": Form(fields=(FormField(name="n", type="range", label="N", min=1, max=3, default_value=2),)),
    "freeform": Freeform(content={"rows": [1, 2.5], "plugin": 5}),
    "plugin": Freeform(content={"rows": []}, plugin="table"),
}


@pytest.mark.parametrize("kind", REVIEWS)
async def test_a_message(ledger, environment, at_placet, picture, kind):
    """With its files and its review, all of which a look compares."""
    channel = (await at_placet.create_channel(ChannelRequest(name=f"Test {uuid4()}"))).id
    file = await at_placet.store_file(channel, picture)
    content = MessageContent(
        text="Publish?", status="info", review=REVIEWS[kind], attachment_ids=(file.id,), metadata={"a": 1}
    )
    await _is_found_from_its_row(ledger, environment, placet.PostMessage(at_placet, channel, content))


async def test_a_channel(ledger, environment, at_placet):
    """By the marker in its description."""
    request = ChannelRequest(name=f"Test {uuid4()}", description="For tests", tag="t")
    await _is_found_from_its_row(ledger, environment, placet.CreateChannel(at_placet, request))


@pytest.mark.parametrize("kind", [placet.StoreFile, placet.UploadFile])
async def test_a_file(ledger, environment, at_placet, picture, kind):
    """By the name that was sent and the size in the row: the file itself is elsewhere."""
    channel = (await at_placet.create_channel(ChannelRequest(name=f"Test {uuid4()}"))).id
    await _is_found_from_its_row(ledger, environment, kind(at_placet, channel, picture))


async def test_a_run(ledger, environment, at_pletor, picture):
    """With its inputs, which the server echoes and a look compares."""
    asset = await at_pletor.upload_asset(picture)
    inputs = [pletor_world.TITLE, RunInput.assets("image", asset.id)]
    await _is_found_from_its_row(ledger, environment, pletor.CreateRun(at_pletor, POSTER.id, inputs))


async def test_an_app_run(ledger, environment, at_pletor):
    """It is looked for among both kinds of run."""
    recipe = pletor.CreateAppRun(at_pletor, POSTER_APP.id, [pletor_world.TITLE])
    await _is_found_from_its_row(ledger, environment, recipe)


async def test_an_asset(ledger, environment, at_pletor, picture):
    """Digest and size are in the row."""
    await _is_found_from_its_row(ledger, environment, pletor.UploadAsset(at_pletor, picture))


async def test_a_decision(ledger, environment, at_pletor):
    """The run and the review are in its target, and the decision tells ours from another."""
    run = await at_pletor.create_run(REVIEWED_POSTER.id, [pletor_world.TITLE])
    (due,) = (await pletor_world.asking(at_pletor, run.id)).due_reviews
    decision = select(due.options[0].asset_id, feedback="Good")
    recipe = pletor.ResolveReview(at_pletor, run.id, due.id, decision)
    row, _ = await _made(ledger, recipe)
    async with Recovery(openers_from(environment)) as recovery:
        verdict = await _look(await recovery.restore(row), row.external_id)
    assert isinstance(verdict, Found)
    assert (verdict.result.run_id, verdict.result.review_id) == (run.id, due.id)
    assert verdict.result.decision in {decision.decision, None}


async def test_a_row_of_another_organization_is_left_alone(ledger, environment, url, picture):
    """One address, two organizations: the label must be the one that the effect was recorded under."""
    world = pletor_world.World(url)
    async with world.client(organization="acme") as acme:
        row, vendor_id = await _made(ledger, pletor.UploadAsset(acme, picture))
    await world.aclose()
    async with Recovery(openers_from(environment)) as recovery:
        with pytest.raises(CannotLook, match="PLAIT_PLETOR_ORGANIZATION"):
            await recovery.restore(row)
    named = environment | {"PLAIT_PLETOR_ORGANIZATION": "acme"}
    async with Recovery(openers_from(named)) as recovery:
        verdict = await _look(await recovery.restore(row), row.external_id)
    assert isinstance(verdict, Found)
    assert verdict.result.id == vendor_id
    assert unopened(row).result_type is type(verdict.result)


@pytest.mark.parametrize(
    ("system", "operation"), [("placet", "post_message"), ("placet", "store_file"), ("pletor", "create_run")]
)
async def test_a_row_whose_inputs_are_gone_is_left_alone(environment, system, operation):
    """Retention dropped them: the reason says so."""
    address = environment[f"PLAIT_{system.upper()}_URL"]
    row = Recorded(
        external_id="x", system=system, operation=operation, account=address, target=address, inputs=None
    )
    async with Recovery(openers_from(environment)) as recovery:
        with pytest.raises(CannotLook, match="retention"):
            await recovery.restore(row)
        with pytest.raises(CannotLook, match=f"no operation {system}.dance"):
            await recovery.restore(replace(row, operation="dance"))


async def test_without_credentials_nobody_looks(environment):
    """No client is made of half a description, and two credentials of Pletor are refused."""
    assert not openers_from(
        {"PLAIT_PLACET_URL": "http://127.0.0.1:9", "PLAIT_PLETOR_URL": "http://127.0.0.1:9"}
    )
    address = environment["PLAIT_PLETOR_URL"]
    row = Recorded(
        external_id="x", system="pletor", operation="create_run", account=address, target=address, inputs={}
    )
    async with Recovery({}) as recovery:
        with pytest.raises(CannotLook, match="PLAIT_PLETOR_API_KEY or PLAIT_PLETOR_TOKEN"):
            await recovery.restore(row)
    async with Recovery(openers_from(environment | {"PLAIT_PLETOR_TOKEN": "jwt"})) as recovery:
        with pytest.raises(InvalidInput, match="exactly one"):
            await recovery.restore(row)

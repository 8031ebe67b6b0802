"""Blocks: Prefect's own standard, the environment, names, and secrets that stay secret."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pletor_world import BASE, TITLE, asking, serving
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from blocks import (
    EffectLedger,
    OfficePlaneServer,
    PlacetCredentials,
    PlanasonixCredentials,
    PlanckCredentials,
    PletorCredentials,
    resolve,
)
from plait.http.errors import ConfigurationError, ValidationFailed
from plait.ledger import Ledger
from plait.sandbox.pletor_store import COPYWRITER
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.placet.client import PlacetClient
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planck.client import PlanckClient
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import approve

KINDS = [
    OfficePlaneServer,
    PlanckCredentials,
    PlacetCredentials,
    PletorCredentials,
    PlanasonixCredentials,
    EffectLedger,
]
KEY = "pk_live_not_to_be_seen"


@pytest.mark.parametrize("block", KINDS)
class TestStandard(BlockStandardTestSuite):
    """Each block passes the suite that Prefect's own collections pass."""

    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> Any:
        """The block under test, given by the class's parameters."""
        return request.param

    def test_has_a_valid_image(self, block: Any) -> None:
        """Prefect's test would fetch a logo from another host; ours have none."""
        assert block._logo_url is None


def test_slugs_never_change() -> None:
    """A slug is the server's key for saved blocks: renaming one would orphan them."""
    assert [kind.get_block_type_slug() for kind in KINDS] == [
        "plait-officeplane-server",
        "plait-planck-credentials",
        "plait-placet-credentials",
        "plait-pletor-credentials",
        "plait-planasonix-credentials",
        "plait-effect-ledger",
    ]


def test_from_env_reads_the_documented_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block reads its own variables, and options become what they are."""
    monkeypatch.setenv("PLAIT_OFFICEPLANE_URL", "http://office.example:8001")
    monkeypatch.setenv("PLAIT_PLANCK_URL", "https://planck.example/api/v1")
    monkeypatch.setenv("PLAIT_PLANCK_API_KEY", KEY)
    monkeypatch.setenv("PLAIT_LEDGER_URL", "here.db")
    monkeypatch.setenv("PLAIT_ENV", "staging")
    monkeypatch.setenv("PLAIT_LEDGER_LANDING_CAP", "1.5")
    assert OfficePlaneServer.from_env().base_url == "http://office.example:8001"
    assert PlanckCredentials.from_env().api_key.get_secret_value() == KEY
    ledger = EffectLedger.from_env()
    assert (ledger.url.get_secret_value(), ledger.env, ledger.landing_cap) == ("here.db", "staging", 1.5)


def test_from_env_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing variable is named together with what to do, and the present secret is not shown."""
    monkeypatch.setenv("PLAIT_PLANCK_API_KEY", KEY)
    with pytest.raises(ConfigurationError) as caught:
        PlanckCredentials.from_env()
    assert "PLAIT_PLANCK_URL is not set" in str(caught.value)
    assert "block" in str(caught.value)
    assert KEY not in repr(caught.value)


def test_from_env_refuses_an_unusable_value_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment label that cannot start an id is an error that names its variable."""
    monkeypatch.setenv("PLAIT_ENV", "Prod Europe")
    with pytest.raises(ConfigurationError, match="PLAIT_ENV"):
        EffectLedger.from_env()


async def test_resolve_takes_a_block_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block stands for itself; None is what the environment says."""
    given = OfficePlaneServer(base_url="http://given")
    assert await resolve(OfficePlaneServer, given) is given
    monkeypatch.setenv("PLAIT_OFFICEPLANE_URL", "http://from-env")
    assert (await resolve(OfficePlaneServer, None)).base_url == "http://from-env"


@pytest.mark.usefixtures("prefect_server")
async def test_resolve_finds_a_saved_block_by_name() -> None:
    """A saved block comes back whole, its secret included."""
    await PlanckCredentials(base_url="http://saved/api/v1", api_key=KEY).asave("resolve-me", overwrite=True)
    found = await resolve(PlanckCredentials, "resolve-me")
    assert (found.base_url, found.api_key.get_secret_value()) == ("http://saved/api/v1", KEY)


@pytest.mark.usefixtures("prefect_server")
async def test_resolve_names_an_unknown_block() -> None:
    """An unknown name is repeated, with the two ways out."""
    with pytest.raises(ConfigurationError) as caught:
        await resolve(PlanckCredentials, "no-such-block")
    assert "PlanckCredentials block named 'no-such-block'" in str(caught.value)
    assert "register_blocks" in str(caught.value)


def test_secrets_are_masked_wherever_a_block_is_written() -> None:
    """Neither the text nor the JSON of a block shows its secret."""
    block = PlanckCredentials(base_url="http://planck/api/v1", api_key=KEY)
    ledger = EffectLedger(url="postgresql://plait:hunter2@db/plait")
    written = [repr(block), str(block), block.model_dump_json(), repr(ledger), ledger.model_dump_json()]
    assert not any(KEY in text or "hunter2" in text for text in written)


async def test_clients_are_unopened_until_entered(tmp_path) -> None:
    """`get_client` gives the system's client, and entering it is the caller's business."""
    server = OfficePlaneServer(base_url="http://127.0.0.1:1/base/")
    assert isinstance(server.get_client(), OfficePlaneClient)
    async with server.get_client() as client:
        assert client.base_url == "http://127.0.0.1:1/base"
    credentials = PlanckCredentials(base_url="http://127.0.0.1:1/api/v1", api_key=KEY)
    async with credentials.get_client() as planck:
        assert isinstance(planck, PlanckClient)
    async with EffectLedger(url=str(tmp_path / "ledger.db"), lease=9).get_client() as ledger:
        assert isinstance(ledger, Ledger)
        assert ledger.timing.lease == 9


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_a_server_keeps_marks_secrets(kind) -> None:
    """The server is told which fields to encrypt."""
    secrets = kind.model_json_schema().get("secret_fields", [])
    expected = {
        "PlanckCredentials": ["api_key"],
        "PletorCredentials": ["api_key", "token"],
        "PlanasonixCredentials": ["api_key"],
        "PlacetCredentials": ["api_key"],
        "EffectLedger": ["url"],
    }
    assert secrets == expected.get(kind.__name__, [])


@pytest.mark.parametrize("way", ["api_key", "token"])
async def test_pletor_takes_a_key_or_a_token(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Either way alone opens a client, from the environment too, and is shown nowhere."""
    monkeypatch.setenv("PLAIT_PLETOR_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv(f"PLAIT_PLETOR_{way.upper()}", KEY)
    credentials = PletorCredentials.from_env()
    async with credentials.get_client() as client:
        assert isinstance(client, PletorClient)
        assert client.base_url == "http://127.0.0.1:1/api"
    assert KEY not in repr(credentials) + credentials.model_dump_json() + repr(vars(client))


@pytest.mark.parametrize("switch", ["0", "1", ""])
async def test_pletor_may_leave_the_key_out_of_a_decision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str
) -> None:
    """A server with a strict body takes decisions only without it; the block has the switch."""
    async with serving(tmp_path, review_body="strict") as world:
        monkeypatch.setenv("PLAIT_PLETOR_URL", f"{world.url}{BASE}")
        monkeypatch.setenv("PLAIT_PLETOR_API_KEY", "sk-sandbox")
        monkeypatch.setenv("PLAIT_PLETOR_REVIEW_KEYS", switch)
        async with PletorCredentials.from_env().get_client() as client:
            run = await client.create_run(COPYWRITER.id, [TITLE])
            [review] = (await asking(client, run.id)).due_reviews
            expected = nullcontext() if switch == "0" else pytest.raises(ValidationFailed)
            with expected:
                await client.resolve_review(run.id, review.id, approve(), external_id="k")
        assert await world.count("resolve_review") == (switch == "0")


@pytest.mark.parametrize("given", [{}, {"PLAIT_PLETOR_API_KEY": KEY, "PLAIT_PLETOR_TOKEN": KEY}])
def test_pletor_takes_exactly_one_credential(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    """None or both is an error that names the two variables, and no secret."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="exactly one of") as caught:
        PletorCredentials.from_env()
    assert "PLAIT_PLETOR_API_KEY" in str(caught.value)
    assert "PLAIT_PLETOR_TOKEN" in str(caught.value)
    assert KEY not in repr(caught.value)


async def test_placet_opens_a_client_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and key come from the environment, and the key is in nothing that is written."""
    monkeypatch.setenv("PLAIT_PLACET_URL", "http://127.0.0.1:1/base/")
    monkeypatch.setenv("PLAIT_PLACET_API_KEY", "hp_not_to_be_seen")
    credentials = PlacetCredentials.from_env()
    async with credentials.get_client() as client:
        assert isinstance(client, PlacetClient)
        assert client.base_url == "http://127.0.0.1:1/base"
    assert "hp_not" not in f"{credentials!r} {credentials.model_dump_json()}"


async def test_planasonix_opens_a_client_for_its_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables make the client, no prefix comes twice, and the key is shown nowhere."""
    monkeypatch.setenv("PLAIT_PLANASONIX_URL", "http://127.0.0.1:1/base/api/")
    monkeypatch.setenv("PLAIT_PLANASONIX_API_KEY", "plnx_live_not_to_be_seen")
    monkeypatch.setenv("PLAIT_PLANASONIX_DIALECT", "hosted")
    monkeypatch.setenv("PLAIT_PLANASONIX_ORGANIZATION", "org_1")
    credentials = PlanasonixCredentials.from_env()
    async with credentials.get_client() as client:
        assert isinstance(client, PlanasonixClient)
        assert (await client.dialect()).name == "hosted"
        assert client.account == "http://127.0.0.1:1/base#org_1"
    assert "plnx_live" not in f"{credentials!r} {credentials.model_dump_json()}"


def test_planasonix_refuses_a_dialect_that_nobody_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown dialect is an error that names its variable."""
    monkeypatch.setenv("PLAIT_PLANASONIX_API_KEY", KEY)
    monkeypatch.setenv("PLAIT_PLANASONIX_DIALECT", "klingon")
    with pytest.raises(ConfigurationError, match="PLAIT_PLANASONIX_DIALECT"):
        PlanasonixCredentials.from_env()

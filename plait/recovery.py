"""From a row of the ledger back to its vendor: which client, which recipe.

Vendor packages restore their own recipes (`recovery.restore`); this module only knows which package
serves which system, and what its client is opened with.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from plait.http import Transport
from plait.ledger import CannotLook, Recorded
from plait.ledger.recipe import AnyRecipe
from plait.vendors.officeplane import recovery as officeplane
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.placet import recovery as placet
from plait.vendors.placet.client import PlacetClient
from plait.vendors.planasonix import client as planasonix_client
from plait.vendors.planasonix import recovery as planasonix
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planck import recovery as planck
from plait.vendors.planck.client import PlanckClient
from plait.vendors.pletor import client as pletor_client
from plait.vendors.pletor import recovery as pletor
from plait.vendors.pletor.client import PletorClient

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Makes an unopened client of one system."""

VARIABLES: Final[Mapping[str, str]] = {
    "officeplane": "PLAIT_OFFICEPLANE_URL",
    "planck": "PLAIT_PLANCK_URL and PLAIT_PLANCK_API_KEY",
    "placet": "PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY",
    "pletor": (
        "PLAIT_PLETOR_API_KEY or PLAIT_PLETOR_TOKEN, and PLAIT_PLETOR_URL and PLAIT_PLETOR_ORGANIZATION as "
        "they were"
    ),
    "planasonix": (
        "PLAIT_PLANASONIX_API_KEY, and PLAIT_PLANASONIX_URL, PLAIT_PLANASONIX_DIALECT and "
        "PLAIT_PLANASONIX_ORGANIZATION as they were"
    ),
}
"""What each client is opened with, as people are told."""

OWN: Final = "plait"
"""The system of effects that reach no vendor, such as a run's decisions."""

_RESTORE: Final[Mapping[str, Callable[[Any, Recorded], AnyRecipe | None]]] = {
    "officeplane": officeplane.restore,
    "planck": planck.restore,
    "placet": placet.restore,
    "pletor": pletor.restore,
    "planasonix": planasonix.restore,
}


class Recovery:
    """Clients by system, opened at first use and closed together: `async with Recovery(openers) as found`.

    Give `restore` to `plait.ledger.sweep`.
    """

    def __init__(self, openers: Mapping[str, Opener]) -> None:
        self._openers = openers
        self._clients: dict[str, Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def restore(self, recorded: Recorded) -> AnyRecipe:
        """The recipe of a recorded effect. Raises `CannotLook` where no client here reaches its account."""
        client = await self._client(recorded.system)
        if (reached := _account(client)) != recorded.account:
            raise CannotLook(
                f"it was sent to {recorded.account}, and the client here reaches {reached}; "
                f"look with that address ({_variables(recorded.system)})"
            )
        return _restored(client, recorded)

    async def _client(self, system: str) -> Any:
        if system not in self._clients:
            if system not in self._openers:
                raise CannotLook(_no_client(system))
            # Set before the await, so that two looks at once open one client.
            self._clients[system] = client = self._openers[system]()
            await self._stack.enter_async_context(client)
        return self._clients[system]


def openers_from(environment: Mapping[str, str]) -> dict[str, Opener]:
    """Openers of the systems whose variables are set.

    Raises `ConfigurationError` when one is opened whose address cannot be used, and `InvalidInput` when
    Pletor is and both its credentials are given.
    """
    made: Mapping[str, Opener | None] = {
        "officeplane": _officeplane(environment.get("PLAIT_OFFICEPLANE_URL")),
        "planck": _planck(environment.get("PLAIT_PLANCK_URL"), environment.get("PLAIT_PLANCK_API_KEY")),
        "placet": _placet(environment.get("PLAIT_PLACET_URL"), environment.get("PLAIT_PLACET_API_KEY")),
        "pletor": _pletor(environment),
        "planasonix": _planasonix(environment),
    }
    return {system: opener for system, opener in made.items() if opener is not None}


def unopened(recorded: Recorded) -> AnyRecipe:
    """The recipe of a recorded effect for what needs no vendor: its result's model and vendor id.

    Raises `CannotLook` for a system or an operation that this version does not know.
    """
    clients: Mapping[str, Callable[[Transport], Any]] = {
        "officeplane": OfficePlaneClient,
        "planck": PlanckClient,
        "placet": PlacetClient,
        "pletor": PletorClient,
        "planasonix": PlanasonixClient,
    }
    if recorded.system not in clients:
        raise CannotLook(_no_client(recorded.system))
    address, _, _ = recorded.account.partition("#")  # after it, an account may name the organization
    transport = Transport(system=recorded.system, base_url=address)
    return _restored(clients[recorded.system](transport), recorded)


def _officeplane(url: str | None) -> Opener | None:
    if not url:
        return None
    return lambda: OfficePlaneClient(Transport(system="officeplane", base_url=url))


def _planck(url: str | None, key: str | None) -> Opener | None:
    if not url or not key:
        return None
    return lambda: PlanckClient(Transport(system="planck", base_url=url, headers={"X-API-Key": key}))


def _placet(url: str | None, key: str | None) -> Opener | None:
    if not url or not key:
        return None
    return lambda: PlacetClient(Transport(system="placet", base_url=url, headers={"x-api-key": key}))


def _pletor(environment: Mapping[str, str]) -> Opener | None:
    key, token = environment.get("PLAIT_PLETOR_API_KEY"), environment.get("PLAIT_PLETOR_TOKEN")
    url = environment.get("PLAIT_PLETOR_URL") or pletor_client.BASE_URL
    if not key and not token:
        return None

    def opened() -> PletorClient:
        headers = pletor_client.authorization(api_key=key, token=token)
        transport = Transport(system="pletor", base_url=url, headers=headers, dialect=pletor_client.DIALECT)
        return PletorClient(transport, organization=environment.get("PLAIT_PLETOR_ORGANIZATION", ""))

    return opened


def _planasonix(environment: Mapping[str, str]) -> Opener | None:
    key = environment.get("PLAIT_PLANASONIX_API_KEY")
    if not key:
        return None
    return lambda: planasonix_client.connect(
        environment.get("PLAIT_PLANASONIX_URL") or planasonix_client.BASE_URL,
        api_key=key,
        dialect=environment.get("PLAIT_PLANASONIX_DIALECT") or planasonix_client.DEFAULT,
        organization_id=environment.get("PLAIT_PLANASONIX_ORGANIZATION", ""),
    )


def _account(client: Any) -> str:
    """What its effects are recorded under: the address, and with it the organization where there are some."""
    named = isinstance(client, PletorClient | PlanasonixClient)
    account: str = client.account if named else client.base_url
    return account


def _restored(client: Any, recorded: Recorded) -> AnyRecipe:
    try:
        recipe = _RESTORE[recorded.system](client, recorded)
    except (KeyError, TypeError, ValueError) as error:
        raise CannotLook(
            f"its recorded inputs cannot be read ({type(error).__name__}); another version wrote them, or "
            "retention dropped them"
        ) from error
    if recipe is None:
        raise CannotLook(f"this version of Plait knows no operation {recorded.system}.{recorded.operation}")
    return recipe


def _no_client(system: str) -> str:
    if system == OWN:
        return "nothing outside of the ledger happens, and its own run settles it"
    if system not in VARIABLES:
        return f"this version of Plait knows no system {system!r}"
    return f"there is no client of {system} here: {_variables(system)}"


def _variables(system: str) -> str:
    return f"set {VARIABLES[system]}, or give the flow its block"

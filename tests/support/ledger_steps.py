"""The ledger's store steps on a clock that the test moves, and intents to use them on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from toy_vendor import operation

from plait.http.operation import Effect, Operation
from plait.ledger import Identity, Timing, store
from plait.ledger.database import Database
from plait.ledger.identity import effect_key
from plait.ledger.migrate import upgrade
from plait.ledger.store.rows import AnyRow

R = TypeVar("R")

LEASE = 30.0


@dataclass
class Moment:
    """The ledger's clock, in the hands of a test."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Steps:
    """One migrated ledger; each call of a store function is a transaction of its own.

    `steps.claim(...)` is `store.claim(db, connection, ...)`, committed.
    """

    def __init__(self, url: str | Path) -> None:
        self.moment = Moment()
        self.db = Database(url, now=self.moment)
        upgrade(self.db)

    def close(self) -> None:
        """Close the connections."""
        self.db.stop()

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.moment.now += seconds

    def write(self, work: Callable[[Any], R]) -> R:
        """One transaction."""
        return self.db.write_now(work, commit="claim")

    def claim(self, intent: store.Intent, me: str, **options: Any) -> Any:
        """Step 1, by holder `me`."""
        given = {"nonce": f"claim of {me}", "lease": LEASE} | options
        return self.write(lambda connection: store.claim(self.db, connection, intent, me=me, **given))

    def permit(self, claimed: store.Claim, me: str, nonce: str = "n", **options: Any) -> store.Permit:
        """Step 3, by holder `me`."""
        given = {"seen": claimed.attempts, "window": 5.0, "keyed": False} | options
        return self.write(
            lambda connection: store.permit(self.db, connection, claimed, me=me, nonce=nonce, **given)
        )

    def run(self, step: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """Any other step that takes the database first."""
        return self.write(lambda connection: step(self.db, connection, *arguments, **options))

    def row(self, intent: store.Intent) -> AnyRow:
        """The effect as it stands."""
        return self.db.read_now(lambda connection: store.effect_of(connection, intent.key.external_id))

    def attempts(self, intent: store.Intent) -> list[AnyRow]:
        """Its attempts, oldest first."""
        return self.db.read_now(lambda connection: store.attempts_of(connection, intent.key.external_id))


def make_intent(
    name: str = "a",
    *,
    effect: Effect = Effect.FINDABLE,
    generation: int = 0,
    run_key: str = "r",
    of: Operation | None = None,
    **identity: Any,
) -> store.Intent:
    """An intent to make the thing `name`."""
    row = of or operation(effect)
    who = replace(Identity(account="me", target="things", inputs={"name": name}), **identity)
    return store.Intent(
        key=effect_key(row, who, env="dev", run_key=run_key, step="", generation=generation),
        operation=row,
        identity=who,
        env="dev",
        run_key=run_key,
        step="",
    )


PLAIN = Timing(lease=LEASE, step=0.0, landing_cap=2.0, visibility_cap=1.0)
"""D = 2, L = 1, no bound on pauses."""

"""External ids of the Pletor stand-in: claimed with what they name, and for ever (pletor.md §6.1)."""

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException

from plait.sandbox.context import SandboxContext
from plait.sandbox.pletor_store import Space, StoredKey
from plait.sandbox.pletor_wire import KeyTaken
from plait.sandbox.store import Entity, Transaction

KEY_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Claimed:
    """An external id as it was asked for; `key` None means that none was sent."""

    organization: str
    space: Space
    key: str | None
    body: str
    """Digest of the request, to see whether a repeat asks for something else."""


class Claims:
    """Claims, checked and made inside the transaction that makes the thing."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._settings = context.settings.pletor

    async def check(self, claimed: Claimed) -> None:
        """Raise `KeyTaken` or `HTTPException` where the key is used."""
        await self._context.store.transact(lambda transaction: self._check(transaction, claimed))

    async def roll_back_first(self, claimed: Claimed) -> None:
        """With `rollback_seconds`: the first use of a key claims it, fails, and is undone later."""
        if claimed.key is None or not self._settings.rollback_seconds:
            return

        def work(transaction: Transaction) -> bool:
            self._check(transaction, claimed)
            if transaction.get(StoredKey, self._id(claimed)) is not None:
                return False
            transaction.put(
                self._row(claimed, "", rolled_back_at=time.time() + self._settings.rollback_seconds)
            )
            return True

        if await self._context.store.transact(work):
            raise HTTPException(500, "Internal Server Error")

    def make(self, transaction: Transaction, claimed: Claimed, made: Entity) -> None:
        """Claim the key for `made`, which is stored with it."""
        self._check(transaction, claimed)
        if claimed.key is not None:
            transaction.put(self._row(claimed, made.id))
        transaction.put(made)

    def _check(self, transaction: Transaction, claimed: Claimed) -> None:
        if claimed.key is None:
            return
        known = transaction.get(StoredKey, self._id(claimed))
        if known is None or (known.rolled_back_at is not None and known.rolled_back_at <= time.time()):
            return
        if known.body != claimed.body and self._settings.same_key_other_body == "422":
            raise HTTPException(422, "external_id was used with another body")
        raise KeyTaken(claimed.key, known.entity_id)

    def _id(self, claimed: Claimed) -> str:
        shared = self._settings.key_space == "shared" and claimed.space == "app-runs"
        return f"{claimed.organization}/{'runs' if shared else claimed.space}/{claimed.key}"

    def _row(self, claimed: Claimed, entity_id: str, rolled_back_at: float | None = None) -> StoredKey:
        return StoredKey(
            id=self._id(claimed),
            parent=claimed.organization,
            created_at=self._context.now(),
            entity_id=entity_id,
            body=claimed.body,
            rolled_back_at=rolled_back_at,
        )

    def visible(self, created_at: datetime) -> bool:
        """Whether a list shows what was made then."""
        age = (self._context.now() - created_at).total_seconds()
        return age >= self._settings.lookup_lag or self._settings.lookup_lag == 0


def body_digest(body: Any) -> str:
    """What was asked for, without the key."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def checked_key(key: str | None) -> str | None:
    """422 for a key over 255 characters or an empty one [doc]; nothing is claimed."""
    if key is not None and not 0 < len(key) <= KEY_LENGTH:
        raise HTTPException(422, f"external_id must have 1 to {KEY_LENGTH} characters")
    return key

"""External ids and fingerprints: who an effect is, and what it asks for."""

import hashlib
import json
import re
from dataclasses import dataclass

from plait.http.errors import InvalidInput
from plait.http.operation import Operation
from plait.ledger.recipe import Identity, Json

_ENV = re.compile(r"[a-z0-9][a-z0-9_]{0,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectKey:
    """One effect's names. `intent` is the same for all its generations."""

    external_id: str
    intent: str
    generation: int
    fingerprint: str


def canonical(value: Json) -> str:
    """JSON with one spelling per value. Raises `InvalidInput` for what JSON in UTF-8 cannot carry."""
    try:
        spelled = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        spelled.encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"an effect's inputs must be plain JSON: {error}") from error
    return spelled


def effect_key(
    operation: Operation, identity: Identity, *, env: str, run_key: str, step: str, generation: int
) -> EffectKey:
    """The names of one effect (design.md §4). `by_content` leaves run key and step out."""
    if not _ENV.fullmatch(env):
        raise InvalidInput(
            f"environment {env!r} is not usable in an id: lower-case letters, digits, '_', at most 20"
        )
    if generation < 0:
        raise InvalidInput(f"generation {generation} is negative; 0 is the first, a re-run is +1")
    names = {"run key": run_key, "step": step, "target": identity.target, "account": identity.account}
    for what, name in (names | {"unit": identity.unit or ""}).items():
        if "\0" in name:
            raise InvalidInput(f"the {what} {name!r} holds a NUL character, which no database stores")
    who = None if identity.by_content else [run_key, step]
    intent = _digest([who, identity.unit, identity.target, identity.inputs], 40)
    name = f"{env}-{operation.system}-{operation.name}"
    last = _digest([who, identity.unit, identity.target, identity.inputs, generation], 40)
    return EffectKey(
        external_id=f"{name}-{last}",
        intent=f"{name}-{intent}",
        generation=generation,
        fingerprint=_digest(
            [operation.method, operation.path, identity.account, identity.target, identity.inputs], 64
        ),
    )


def _digest(value: Json, length: int) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]

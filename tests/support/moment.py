"""A ledger's clock that a test puts forward."""

import time
from dataclasses import dataclass


@dataclass
class Moment:
    """The ledger's clock: the machine's, plus what the test adds."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

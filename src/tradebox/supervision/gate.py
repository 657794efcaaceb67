"""An epoch gate: who may act now, decided by one number that only grows.

Rules of this file:
1. Only `acquire` mints an epoch, and by that act deposes the owner before; it never waits.
2. An epoch is boot (20 bits) | generation (12 bits) | counter (20 bits), below 2^53, because
   Redis' Lua numbers are doubles and merge larger neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tradebox.supervision.errors import EpochSpent

BOOT_BITS: Final = 20
GENERATION_BITS: Final = 12
COUNTER_BITS: Final = 20
EPOCH_LIMIT: Final = 1 << (BOOT_BITS + GENERATION_BITS + COUNTER_BITS)

Epoch = int


@dataclass(frozen=True, slots=True)
class Fenced:
    """The refusal of an epoch that is not the current one."""

    epoch: Epoch
    current: Epoch


def compose_epoch(boot: int, generation: int, counter: int) -> Epoch:
    """Return the epoch of these parts.

    Holds: ordered as the triple is; below 2^52. Raises: AssertionError for a part out of range.
    """
    assert 0 <= boot < 1 << BOOT_BITS, f"boot {boot} needs {BOOT_BITS} bits"
    assert 0 <= generation < 1 << GENERATION_BITS, f"generation {generation} out of range"
    assert 0 <= counter < 1 << COUNTER_BITS, f"counter {counter} out of range"
    return ((boot << GENERATION_BITS) | generation) << COUNTER_BITS | counter


class EpochGate:
    """Mints epochs for owners and tells whether one still holds.

    Holds: epochs strictly increase, over restarts too when (boot, generation) grows;
           at most one owner's epoch passes `check`; epoch 0 of a fresh gate passes never.
    """

    def __init__(self, boot: int = 0, generation: int = 0, name: str = "gate") -> None:
        self._boot = boot
        self._generation = generation
        self._counter = 0
        self._owner = ""
        self.name = name
        self.refused = 0
        compose_epoch(boot, generation, 0)

    @property
    def epoch(self) -> Epoch:
        """The current epoch; the one before the first while nobody has acquired."""
        return compose_epoch(self._boot, self._generation, self._counter)

    @property
    def owner(self) -> str:
        """Who holds the current epoch; empty at first."""
        return self._owner

    def acquire(self, owner: str) -> Epoch:
        """Mint the next epoch for `owner`; every earlier one is stale from here on.

        Raises: EpochSpent when the counter is used up.
        """
        assert owner, "an epoch has an owner"
        if self._counter + 1 >= 1 << COUNTER_BITS:
            raise EpochSpent(self.name, self._counter)
        self._counter += 1
        self._owner = owner
        return self.epoch

    def check(self, epoch: Epoch) -> Fenced | None:
        """Return None when `epoch` is the current one and owned, else the refusal."""
        current = self.epoch
        if epoch == current and self._owner:
            return None
        self.refused += 1
        return Fenced(epoch, current)

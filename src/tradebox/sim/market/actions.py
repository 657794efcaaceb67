"""Splits and dividends: what a company does to its shares at the open of a session.

Rules of this file:
- an action is known before it happens and never taken back;
- prices before a split are larger by its ratio; whole increments, rounded half up, never zero;
- a dividend moves cash, not prices: the replay knows nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tradebox.sim.exchange.market_port import Bar
from tradebox.sim.market.paths import SHARES_PER_MINUTE_MIN, Corners

Kind = Literal["split", "dividend"]
SPLIT: Final = "split"
DIVIDEND: Final = "dividend"
_MINUTES = 390


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a symbol at the open of a session.

    A split gives `numerator` new shares for `denominator` old ones; a dividend pays
    `amount_micros` a share.
    """

    kind: Kind
    symbol: str
    number: int
    at_ns: int
    numerator: int = 1
    denominator: int = 1
    amount_micros: int = 0


class Actions:
    """Every action that was announced, in the order of the announcements."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, list[Action]] = {}

    def add(self, action: Action) -> None:
        """Announce an action."""
        self._by_symbol.setdefault(action.symbol, []).append(action)

    def of(self, symbol: str, until_ns: int) -> Sequence[Action]:
        """Return what has happened to a symbol until then."""
        return [one for one in self._by_symbol.get(symbol, ()) if one.at_ns <= until_ns]

    def between(self, after_ns: int, until_ns: int) -> list[Action]:
        """Return what happens after one time and not after another, oldest first."""
        found = [one for every in self._by_symbol.values() for one in every]
        due = [one for one in found if after_ns < one.at_ns <= until_ns]
        return sorted(due, key=lambda one: (one.at_ns, one.symbol))

    def ratio(self, symbol: str, after: int, until: int) -> tuple[int, int]:
        """Return new shares for old ones by the splits of sessions in (after, until]."""
        new = old = 1
        for one in self._by_symbol.get(symbol, ()):
            if one.kind == SPLIT and after < one.number <= until:
                new, old = new * one.numerator, old * one.denominator
        return new, old

    def scale(self, symbol: str, number: int, bar: Corners, minutes: int = _MINUTES) -> Corners:
        """Return a bar of the replay in the shares that trade in a session."""
        new, old = self.ratio(symbol, -(10**9), number)
        if new == old:
            return bar
        return Corners(
            scaled(bar.open, new, old),
            scaled(bar.high, new, old),
            scaled(bar.low, new, old),
            scaled(bar.close, new, old),
            max(bar.volume * new // old, SHARES_PER_MINUTE_MIN * minutes),
        )

    def adjust(self, symbol: str, number: int, until: int, bar: Bar, increment: int) -> Bar:
        """Return a bar of an earlier session in the shares of a later one. Units: micros."""
        new, old = self.ratio(symbol, number, until)
        if new == old:
            return bar

        def moved(micros: int) -> int:
            return scaled(micros // increment, new, old) * increment

        return Bar(
            bar.end_ns,
            moved(bar.open_micros),
            moved(bar.high_micros),
            moved(bar.low_micros),
            moved(bar.close_micros),
            bar.volume * new // old,
        )


def scaled(price: int, new: int, old: int) -> int:
    """Return a price after a split, in whole increments, at least one."""
    return max(1, (2 * price * old + new) // (2 * new))

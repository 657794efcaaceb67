"""What commands did to a symbol's replay: price gaps that last, and halts in which nothing trades.

Rules of this file:
- an edit concerns what lies after its time and nothing before: what was delivered stays true;
- prices are whole increments and never below one; a gap keeps their order, so that the prints of
  a minute still fold to its bar;
- times are UTC epoch nanoseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tradebox.sim.market.actions import scaled
from tradebox.sim.market.paths import Corners, Print

PPM = 1_000_000
MILLISECOND_NS = 1_000_000
NEVER_NS = 2**62


@dataclass(slots=True)
class Edits:
    """The edits of one symbol, oldest first."""

    gaps: list[tuple[int, int]] = field(default_factory=list)
    """After which time, and what a price is multiplied with. Units: UTC ns, parts per million."""
    halts: list[tuple[int, int]] = field(default_factory=list)
    """From when until when nothing trades; NEVER_NS: until further notice."""

    @property
    def is_halted(self) -> bool:
        """Say whether the symbol is halted until further notice."""
        return bool(self.halts) and self.halts[-1][1] == NEVER_NS

    @property
    def begins_ns(self) -> int:
        """Return when the first edit begins."""
        return min(at_ns for at_ns, _ in (*self.gaps, *self.halts))

    def halt(self, at_ns: int) -> bool:
        """Halt after a time; say whether it was not halted already."""
        if self.is_halted:
            return False
        self.halts.append((at_ns, NEVER_NS))
        return True

    def resume(self, at_ns: int) -> bool:
        """End a halt at a time; say whether there was one."""
        if not self.is_halted:
            return False
        self.halts[-1] = (self.halts[-1][0], at_ns)
        return True

    def price(self, price: int, at_ns: int) -> int:
        """Return a price of the replay as it trades at a time. Units: increments."""
        for after_ns, factor_ppm in self.gaps:
            if at_ns > after_ns:
                price = scaled(price, PPM, factor_ppm)
        return price

    def trades_at(self, at_ns: int) -> bool:
        """Say whether a print of that time happens."""
        return not any(since_ns < at_ns <= until_ns for since_ns, until_ns in self.halts)

    def is_even(self, since_ns: int, until_ns: int) -> bool:
        """Say whether no edit begins, lasts or ends within (since, until]."""
        is_flat = not any(since_ns <= at_ns < until_ns for at_ns, _ in self.gaps)
        return is_flat and not any(
            begin_ns < until_ns and end_ns > since_ns for begin_ns, end_ns in self.halts
        )

    def prints(self, prints: Sequence[Print], start_ns: int) -> list[Print]:
        """Return the prints of a minute that happen, at the prices they happen at."""
        timed = [(start_ns + one.offset_ms * MILLISECOND_NS, one) for one in prints]
        return [
            one._replace(price=self.price(one.price, at_ns))
            for at_ns, one in timed
            if self.trades_at(at_ns)
        ]

    def bar(self, bar: Corners, at_ns: int) -> Corners:
        """Return a bar of an even stretch of time as it trades."""
        first, high, low, last = (self.price(price, at_ns) for price in bar[:4])
        return Corners(first, high, low, last, bar.volume)


def corners_of(prints: Sequence[Print]) -> Corners | None:
    """Return the bar of prints, oldest first; None of none."""
    if not prints:
        return None
    prices = [one.price for one in prints]
    volume = sum(one.size for one in prints)
    return Corners(prices[0], max(prices), min(prices), prices[-1], volume)

"""What a row of the kernel says at one bar, and the position plan of it.

Rules of this file:
- the scan and the replay through the plan machine make their plans here: what is proposed is what
  was simulated;
- a plan is of the signal alone: hours, accounts and grades are not known here.

Public names: Opinion, opinion_at.
"""

from dataclasses import dataclass
from typing import Literal

from tradebox.backtest.rows import Rows
from tradebox.domain.plan_document import PlanDocument
from tradebox.strategies.base import Exits
from tradebox.strategies.proposal import propose


@dataclass(frozen=True, slots=True, eq=False)
class Opinion:
    """What a setting says at the close of the last bar.

    side: +1 long, -1 short, 0 nothing. stop_share: of the entry price. size: whole shares.
    leaves_long, leaves_short: a position of that side ends at the next open.
    """

    symbol: str
    day: int
    side: int
    close: float
    stop_share: float
    size: int
    exits: Exits
    leaves_long: bool
    leaves_short: bool
    reasons: tuple[str, ...] = ()

    def document(self, exit_at: str | None = None, valid_until: str | None = None) -> PlanDocument:
        """Return the plan. exit_at: of a time exit; valid_until: ISO instants. Raises PlanInvalid.

        Holds:   the plan that the replay follows from the same bar, but for its times.
        """
        assert self.side, "there is nothing to propose"
        side: Literal[1, -1] = 1 if self.side > 0 else -1
        plan = propose(self.symbol, side, self.stop_share, self.exits, self.size, exit_at)
        if valid_until is None:
            return plan
        entry = plan.entry.model_copy(update={"valid_until": valid_until})
        return plan.model_copy(update={"entry": entry})


def opinion_at(rows: Rows, row: int, bar: int) -> Opinion:
    """Return what a row says at a bar."""
    bars, entry = rows.bars, int(rows.entry[row, bar])
    size = float(rows.sizes[row, bar])
    return Opinion(
        symbol=bars.symbol,
        day=int(bars.day[bar]),
        side=entry,
        close=float(bars.close[bar]),
        stop_share=float(rows.shares[row, bar]) if entry else 0.0,
        size=int(size) if size > 0.0 else 0,
        exits=_exits_of(rows, row),
        leaves_long=bool(rows.exit_long[row, bar]),
        leaves_short=bool(rows.exit_short[row, bar]),
    )


def _exits_of(rows: Rows, row: int) -> Exits:
    """Return the exits of a row, as the kernel reads them."""
    target_r, trail, breakeven_r, bars_max, scale_out_r, fraction = map(float, rows.exits[row])
    return Exits(target_r, trail > 0.0, breakeven_r, int(bars_max), scale_out_r, fraction)

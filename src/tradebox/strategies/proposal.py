"""The position plan a setting proposes: what was simulated, in the words the controller follows.

Rules of this file:
- entry at the market, stop at a share of its price, steps in R: the plan needs no price of today;
- a trail begins as soon as the position is ahead at all (TRAIL_FROM_R), at the stop's own share;
- an exit signal is not in the plan: whoever scans cancels the plan at the next open, and the plan
  leaves in full; a time exit is an instant, which the caller takes from the sessions.

Public names: propose, TRAIL_FROM_R.
"""

from decimal import Decimal
from typing import Any, Final, Literal

from tradebox.domain.plan_document import BREAK_EVEN, PlanDocument, document_from
from tradebox.strategies.base import STOP_SHARE_MAX, Exits

TRAIL_FROM_R: Final = Decimal("0.01")
"""Where a trailing stop begins: a step needs a level on the winning side."""
PERCENT_DIGITS: Final = 8


def propose(
    symbol: str,
    side: Literal[1, -1],
    stop_share: float,
    exits: Exits,
    size: int | Decimal,
    exit_at: str | None = None,
) -> PlanDocument:
    """Return the plan of one entry signal.

    Units:   stop_share of the entry price, 0 < share <= STOP_SHARE_MAX; size: whole shares, or a
             Decimal share of the net liquidation value that the stop may lose.
    exit_at: ISO instant of the time exit; None where the exits have none.
    Raises:  PlanInvalid where a plan document cannot say it.
    """
    assert 0.0 < stop_share <= STOP_SHARE_MAX, stop_share
    percent = _decimal(stop_share * 100.0)
    steps: list[tuple[Decimal, dict[str, Any]]] = []
    if exits.trail:
        steps.append((TRAIL_FROM_R, {"trail": {"percent": percent}}))
    if exits.breakeven_r > 0.0:
        steps.append((_decimal(exits.breakeven_r), {"move_stop": {"to": BREAK_EVEN}}))
    if exits.scale_out_r > 0.0:
        part = _decimal(exits.scale_out_fraction)
        steps.append((_decimal(exits.scale_out_r), {"take": {"fraction": part}}))
    if exits.target_r > 0.0:
        taken = _decimal(exits.scale_out_fraction) if exits.scale_out_r > 0.0 else Decimal(0)
        rest = {"take": {"fraction": 1 - taken}}
        steps.append((_decimal(exits.target_r), rest))
    steps.sort(key=lambda step: step[0])
    by_quantity = isinstance(size, int)
    values: dict[str, Any] = {
        "symbol": symbol,
        "side": "long" if side > 0 else "short",
        "size": {"quantity" if by_quantity else "risk_share_of_nlv": size},
        "entry": {"type": "market"},
        "stop": {"percent": percent},
        "steps": [{"at": {"r": level}, **action} for level, action in steps],
    }
    if exit_at is not None:
        values["time_exit"] = {"at": exit_at}
    return document_from(values)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(round(value, PERCENT_DIGITS)))

"""Tells the dashboard many events a second, to see that live does not feel it: profile sim alone.

Rules of this file:
- the dashboard alone is told: no book, no store and no journal ever hears of these orders;
- what is late is caught up with, never more than TURN_MAX at once.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from tradebox.domain.events import OrderChanged
from tradebox.domain.orders import AccountName, OrderRole, OrderState, Side
from tradebox.supervision.clock import Clock
from tradebox.supervision.ref import Target

TURN_S = 0.001
TURN_MAX = 100
REFS = 200
EVENT = OrderChanged(
    account=AccountName.PAPER,
    order_ref="flood",
    plan_id="flood",
    symbol="FLOOD",
    role=OrderRole.ENTRY,
    side=Side.BUY,
    quantity=1,
    filled=0,
    order_type="MKT",
    limit_price=None,
    stop_price=Decimal("1.00"),
    state=OrderState.CANCELLED,
    order_id=0,
    perm_id=0,
    at_ns=0,
)


@dataclass(slots=True)
class Told:
    """How many events were told. Units: seconds."""

    count: int = 0
    took_s: float = 0.0


async def flood(dashboard: Target[object], clock: Clock, per_s: float, seconds: float) -> Told:
    """Tell `per_s` events a second for so long, and return what was told."""
    events = [replace(EVENT, order_ref=f"flood-{number}") for number in range(REFS)]
    began_s, told = clock.now(), Told()
    while told.took_s < seconds:
        await clock.sleep(TURN_S)
        told.took_s = clock.now() - began_s
        due = min(int(told.took_s * per_s) - told.count, TURN_MAX)
        for _ in range(due):
            dashboard.tell(events[told.count % REFS])
            told.count += 1
    return told

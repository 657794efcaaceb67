"""Getting a requested plan ready: its checks against the market, and what is fixed from then on.

Rules of this file:
- a plan waits while something is only not known yet (sessions, the account's value);
- what can never be right is a refusal, told with field, value and fix;
- the average true range is read once, here, from closed bars.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final

from tradebox.domain.indicators import wilder_atr
from tradebox.domain.market import Instrument, Session
from tradebox.domain.money import shortest
from tradebox.domain.plan_check import PlanContext, check_plan, deadline_ns, instant_ns
from tradebox.domain.plan_document import SESSION, PlanDocument, refusal
from tradebox.domain.plan_levels import levels_at
from tradebox.domain.plan_state import Terms
from tradebox.domain.plan_turn import Armed, ArmingRefused
from tradebox.domain.session import next_close_ns, session_at
from tradebox.errors import PlanInvalid
from tradebox.ports.reference import ReferencePort

FindInstrument = Callable[[str], Awaitable[Instrument | None]]

ATR_BARS_FACTOR: Final = 10
"""Bars read per period: Wilder's smoothing has forgotten its start by then."""


async def known_instrument(
    reference: ReferencePort, symbol: str, find: FindInstrument | None
) -> Instrument | None:
    """Return an instrument from the books, else from the broker, who is then written down."""
    known = await reference.instrument(symbol)
    if known is not None or find is None:
        return known
    found = await find(symbol)
    if found is not None:
        await reference.put_instruments([found], "broker")
    return found


async def arm(
    document: PlanDocument,
    reference: ReferencePort,
    *,
    now_ns: int,
    sessions: Sequence[Session],
    net_liquidation_usd: Decimal | None,
    find: FindInstrument | None = None,
) -> Armed | ArmingRefused | None:
    """Return how a plan is armed, why it is refused, or None: ask again later.

    Raises:  StoreUnavailable.
    """
    close_ns = next_close_ns(sessions, now_ns)
    closes = document.time_exit is not None and document.time_exit.session_close
    if close_ns is None and (closes or document.entry.valid_until == SESSION):
        return None
    if document.size.risk_share_of_nlv is not None and net_liquidation_usd is None:
        return None
    try:
        instrument = await known_instrument(reference, document.symbol, find)
        check_plan(document, PlanContext(instrument, now_ns, sessions))
        assert instrument is not None
        atr = await _average_true_ranges(document, reference, now_ns)
        terms = _terms(document, instrument.increment, now_ns, sessions, net_liquidation_usd, atr)
        if document.entry.price is not None:
            levels_at(document, document.entry.price, terms)
    except PlanInvalid as invalid:
        return ArmingRefused(invalid.message, now_ns)
    return Armed(terms)


def _terms(
    document: PlanDocument,
    increment: Decimal,
    now_ns: int,
    sessions: Sequence[Session],
    net_liquidation_usd: Decimal | None,
    atr: tuple[tuple[int, int, Decimal], ...],
) -> Terms:
    close_ns = next_close_ns(sessions, now_ns)
    until_ns = deadline_ns(document.entry.valid_until, now_ns, close_ns)
    is_open = session_at(sessions, now_ns) is not None
    ends_today = is_open and None not in (until_ns, close_ns) and (until_ns or 0) <= (close_ns or 0)
    exit_at = None if document.time_exit is None else document.time_exit.at
    return Terms(
        increment=shortest(increment),
        armed_ns=now_ns,
        valid_until_ns=until_ns,
        is_day_entry=document.entry.type == "market" or ends_today,
        exit_at_ns=None if exit_at is None else instant_ns("time_exit.at", exit_at),
        net_liquidation_usd=net_liquidation_usd,
        atr=atr,
    )


async def _average_true_ranges(
    document: PlanDocument, reference: ReferencePort, now_ns: int
) -> tuple[tuple[int, int, Decimal], ...]:
    values = []
    for period, interval_s in sorted(document.atr_keys):
        count = period * ATR_BARS_FACTOR + 1
        bars = await reference.bars(document.symbol, interval_s, count, now_ns)
        value = wilder_atr(bars, period)
        if value is None:
            field = "atr_period"
            problem = f"there are {len(bars)} bars of {interval_s} s for {document.symbol}"
            raise refusal(field, period, problem, f"{period + 1} are needed: use percent")
        values.append((period, interval_s, value.quantize(Decimal("0.000001"))))
    return tuple(values)

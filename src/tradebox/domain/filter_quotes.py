"""Bid and ask: crossed and locked (check 10), wide (11), trades far outside them (12).

Rules of this file:
- a crossed, wide or one-sided quote is no measure for trades, and a quote is one for seconds only,
  by the times at which they reached us: a broker stamps quotes with the time of the last trade;
- the day's median of the spread is followed by small steps, not kept as a list.
"""

from typing import Final

from tradebox.domain.filter_values import BPS, Check, FilterLimits, Quoted, Rest
from tradebox.domain.market import Tick

MEDIAN_STEP: Final = 32
MARGIN_BPS_MIN: Final = 25
"""Quotes and trades of two wires are not of the same instant."""


def after_quote(rest: Rest, tick: Tick, limits: FilterLimits) -> tuple[Rest, Check]:
    """Return what is known after a quote, and what is odd about it: CROSSED, LOCKED, WIDE, NONE."""
    bid, ask = tick.bid_micros, tick.ask_micros
    if bid <= 0 or ask <= 0:
        return rest._replace(quote=None, shown=None, crossed_ns=0), Check.NONE
    if bid > ask:
        since_ns = rest.crossed_ns or tick.event_ns
        return rest._replace(quote=None, shown=None, crossed_ns=since_ns), Check.CROSSED
    spread, usual = ask - bid, rest.spread_micros
    most = max(
        usual * limits.spread_median_multiple, (bid + ask) // 2 * limits.spread_bps_max // BPS
    )
    is_wide = spread > most
    shown = Quoted(bid, ask, tick.recv_ns)
    rest = rest._replace(
        quote=None if is_wide else shown,
        shown=shown,
        crossed_ns=0,
        spread_micros=_followed(usual, spread),
    )
    if is_wide:
        return rest, Check.WIDE
    return rest, Check.NONE if spread else Check.LOCKED


def _followed(usual: int, spread: int) -> int:
    """Move the running median one step towards a spread."""
    if usual == 0:
        return spread
    step = max(1, usual // MEDIAN_STEP)
    return usual + step if spread > usual else max(1, usual - step)


def is_crossed_for_long(rest: Rest, tick: Tick, limits: FilterLimits) -> bool:
    """Say whether the quote has been crossed for longer than the limit."""
    return rest.crossed_ns > 0 and tick.event_ns - rest.crossed_ns > limits.crossed_ns_max


def is_outside_quote(rest: Rest, tick: Tick, limits: FilterLimits) -> bool:
    """Say whether a trade lies further outside a quote of its time than the spread is wide."""
    quote = rest.quote
    if quote is None or tick.is_quote:
        return False
    if tick.recv_ns - quote.recv_ns > limits.quote_ns_max:
        return False
    price = tick.price_micros
    margin = max(quote.ask_micros - quote.bid_micros, price * MARGIN_BPS_MIN // BPS)
    return not quote.bid_micros - margin <= price <= quote.ask_micros + margin


def holds_level(tick: Tick, last_micros: int) -> bool:
    """Say whether a quote's own sides still hold the last price: it is no word for another level.

    A maker's stub, or a bad last price that is told again with each move of the sides.
    """
    return tick.is_quote and 0 < tick.bid_micros <= last_micros <= tick.ask_micros

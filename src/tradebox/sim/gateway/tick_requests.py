"""Requests about past ticks: every print and quote of a stretch of time.

Rules of this file:
- a request names a start or an end, not both; from a start on come the oldest ticks, before an
  end the latest ones;
- a second is never cut: of its last second all ticks come, as at the real gateway;
- where the whole day is played, ticks of before and after the session come unless useRTH is 1.
"""

from collections.abc import Callable, Sequence
from functools import partial

from tradebox.sim.exchange.market_port import SECOND_NS, Tick
from tradebox.sim.gateway.followers import conditions_of
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.place_order import read_contract
from tradebox.sim.gateway.reference_requests import NO_SECURITY_TEXT
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.times import read_time
from tradebox.sim.gateway.wire import FieldReader, price_text

TICKS_MAX = 1_000
"""So many ticks may be asked for at once."""

SECOND_TICKS_MAX = 5_000
_KINDS = {"MIDPOINT": 96, "BID_ASK": 97, "TRADES": 98}


def historical_ticks(session: Session, reader: FieldReader) -> None:
    """Send past prints, quotes or middles between them."""
    request_id = reader.integer()
    contract = read_contract(reader)
    reader.skip()
    start_text, end_text = reader.text(), reader.text()
    count, what, is_regular = reader.integer(), reader.text(), reader.flag()
    gateway = session.gateway
    instrument = gateway.find_instrument(contract)
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
        return
    problem = ""
    if what not in _KINDS:
        problem = "Invalid type of ticks"
    elif not 0 < count <= TICKS_MAX:
        problem = f"Ask for 1 to {TICKS_MAX} ticks"
    elif bool(start_text) == bool(end_text):
        problem = "Give a start or an end"
    at_ns = 0
    try:
        at_ns = read_time(start_text or end_text, 0)
    except ValueError:
        problem = problem or "Invalid time"
    if problem:
        session.say_error(request_id, 321, f"Error validating request.-'bV' : cause - {problem}")
        return
    past = partial(gateway.exchange.market.ticks, instrument.symbol, is_whole=not is_regular)
    ticks = _ticks(past, gateway.now_ns(), at_ns, count, is_start=bool(start_text))
    rows: Fields = []
    for tick in ticks:
        rows += _row(tick, what)
    session.send([_KINDS[what], request_id, len(ticks), *rows, 1])


TICK_HANDLERS: dict[int, Handler] = {96: historical_ticks}


def _ticks(
    past: Callable[[int, int, int], Sequence[Tick]],
    now_ns: int,
    at_ns: int,
    count: int,
    *,
    is_start: bool,
) -> list[Tick]:
    """Return so many ticks and the rest of the second that the last of them lies in."""
    if is_start:
        found = list(past(at_ns - 1, now_ns, count))
        if len(found) == count:
            last_ns = found[-1].trade.event_ns
            end_ns = last_ns // SECOND_NS * SECOND_NS + SECOND_NS - 1
            found += past(last_ns, min(end_ns, now_ns), SECOND_TICKS_MAX)
        return found
    found = list(past(0, min(at_ns, now_ns), -count))
    if len(found) == count:
        first_ns = found[0].trade.event_ns
        begin_ns = first_ns // SECOND_NS * SECOND_NS - 1
        found = [*past(begin_ns, first_ns - 1, SECOND_TICKS_MAX), *found]
    return found


def _row(tick: Tick, what: str) -> Fields:
    second, quote = tick.trade.event_ns // SECOND_NS, tick.quote
    bid, ask = price_text(quote.bid_micros), price_text(quote.ask_micros)
    if what == "TRADES":
        price, size = price_text(tick.trade.price_micros), tick.trade.size
        return [second, 0, price, size, "NASDAQ", conditions_of(tick.trade)]
    if what == "BID_ASK":
        return [second, 0, bid, ask, quote.bid_size, quote.ask_size]
    return [second, "", price_text((quote.bid_micros + quote.ask_micros) // 2), 0]

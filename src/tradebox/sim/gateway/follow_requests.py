"""Requests that follow the market: real-time bars and tick by tick.

Rules of this file:
- real-time bars are five seconds long, whatever size is asked for, as at the real gateway.
"""

from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.gateway.followers import (
    REAL_TIME_BAR_S,
    TICK_KINDS,
    BarFollower,
    TickFollower,
)
from tradebox.sim.gateway.place_order import read_contract
from tradebox.sim.gateway.reference_requests import NO_SECURITY_TEXT
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.wire import FieldReader

TOO_MANY_TEXT = "Max number of tick-by-tick requests has been reached."


def real_time_bars(session: Session, reader: FieldReader) -> None:
    """Begin to send a bar each five seconds while the market trades."""
    reader.skip()
    request_id = reader.integer()
    instrument = _instrument(session, reader, request_id)
    reader.skip(2)
    is_regular = reader.flag()
    if instrument is None:
        return
    market = session.gateway.exchange.market
    quote = market.quote(instrument.symbol)
    follower = BarFollower(
        session,
        request_id,
        instrument.symbol,
        REAL_TIME_BAR_S,
        is_whole=not is_regular,
        is_due=market.clock.is_open if is_regular else market.clock.is_tradable,
        last_micros=quote.last_micros if quote else 0,
    )
    follower.pass_over(session.gateway.acted_ns())
    _begin(session, request_id, follower)


def cancel_real_time_bars(session: Session, reader: FieldReader) -> None:
    """Send these bars no more."""
    reader.skip()
    session.gateway.followers.remove(session, reader.integer())


def tick_by_tick(session: Session, reader: FieldReader) -> None:
    """Begin to send every print, or every quote."""
    request_id = reader.integer()
    instrument = _instrument(session, reader, request_id)
    kind = TICK_KINDS.get(reader.text())
    if instrument is None:
        return
    if kind is None:
        session.say_error(request_id, 321, "Error validating request: unknown tick type.")
        return
    _begin(session, request_id, TickFollower(session, request_id, instrument.symbol, kind))


def cancel_history(session: Session, reader: FieldReader) -> None:
    """Keep a history up to date no more, or do not begin it."""
    reader.skip()
    request_id = reader.integer()
    session.gateway.work.cancel(session, request_id)
    session.gateway.followers.remove(session, request_id)


def cancel_tick_by_tick(session: Session, reader: FieldReader) -> None:
    """Send these ticks no more."""
    session.gateway.followers.remove(session, reader.integer())


FOLLOW_HANDLERS: dict[int, Handler] = {
    25: cancel_history,
    50: real_time_bars,
    51: cancel_real_time_bars,
    97: tick_by_tick,
    98: cancel_tick_by_tick,
}


def _instrument(session: Session, reader: FieldReader, request_id: int) -> Instrument | None:
    instrument = session.gateway.find_instrument(read_contract(reader))
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
    return instrument


def _begin(session: Session, request_id: int, follower: BarFollower | TickFollower) -> None:
    if not session.gateway.followers.add(follower):
        session.say_error(request_id, 10190, TOO_MANY_TEXT)

"""Requests about instruments and time: contract details, symbols, price rules, the clock.

Rules of this file:
- only stocks exist here; whatever else is asked for is code 200, as for an unknown stock;
- a price rule is shared by all instruments of one increment.
"""

from datetime import UTC, datetime, timedelta

from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import SECOND_NS, Instrument
from tradebox.sim.gateway.order_messages import Fields
from tradebox.sim.gateway.place_order import read_contract
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.wire import FieldReader, escaped, price_text
from tradebox.sim.market import hours

FIRST_RULE = 26
SAMPLES_MAX = 16
HOURS_DAYS = 5
_ORDER_TYPES = "ACTIVETIM,DAY,GTC,GTD,IOC,LMT,LOC,MKT,MOC,OPG,STP,STPLMT,TRAIL,TRAILLMT,WHATIF"
NO_SECURITY_TEXT = "No security definition has been found for the request"


def contract_details(session: Session, reader: FieldReader) -> None:
    """Send the details of the stock that fits the contract."""
    reader.skip()
    request_id = reader.integer()
    contract = read_contract(reader)
    reader.skip(3)
    if reader.left:
        reader.skip()
    instrument = session.gateway.find_instrument(contract)
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
        return
    session.send(_details(session, request_id, instrument, contract["exchange"] or "SMART"))
    session.send_end([52, 1, request_id])


def matching_symbols(session: Session, reader: FieldReader) -> None:
    """Send the stocks whose symbol or name begins with the pattern."""
    request_id = reader.integer()
    pattern = reader.text().strip().upper()
    rows: Fields = []
    count = 0
    for instrument in session.gateway.exchange.market.symbols():
        words = [instrument.symbol, *instrument.name.upper().split()]
        if not pattern or not any(word.startswith(pattern) for word in words):
            continue
        count += 1
        rows += [instrument.con_id, instrument.symbol, "STK", instrument.primary_exchange]
        rows += [instrument.currency, 0, instrument.name, ""]
        if count == SAMPLES_MAX:
            break
    session.send([79, request_id, count, *rows])


def market_rule(session: Session, reader: FieldReader) -> None:
    """Send the price increments of one rule."""
    rule_id = reader.integer()
    increments = session.gateway.increments
    index = rule_id - FIRST_RULE
    if not 0 <= index < len(increments):
        session.say_error(-1, 321, "Error validating request: invalid market rule id.")
        return
    session.send([93, rule_id, 1, "0", price_text(increments[index])])


def current_time(session: Session, reader: FieldReader) -> None:
    """Send the market time in seconds."""
    reader.skip()
    seconds = session.gateway.now_ns() // SECOND_NS
    if skew := session.gateway.take_fault("clock_skew", client_id=session.client_id):
        seconds += int(skew["skew_s"])
    session.send([49, 1, seconds])


def ignore(_session: Session, _reader: FieldReader) -> None:
    """Read a message that wants no answer."""


REFERENCE_HANDLERS: dict[int, Handler] = {
    9: contract_details,
    14: ignore,
    49: current_time,
    71: ignore,
    81: matching_symbols,
    91: market_rule,
}


def _details(session: Session, request_id: int, instrument: Instrument, exchange: str) -> Fields:
    symbol = instrument.symbol
    rule_id = FIRST_RULE + session.gateway.increments.index(instrument.increment_micros)
    trading, liquid = _hours(session.gateway.now_ns())
    return [
        10,
        request_id,
        *[symbol, "STK", "", "0", "", exchange, instrument.currency, symbol, symbol, symbol],
        instrument.con_id,
        price_text(instrument.increment_micros),
        "",
        _ORDER_TYPES,
        f"SMART,{instrument.primary_exchange}",
        1,
        0,
        escaped(instrument.name),
        instrument.primary_exchange,
        *["", "", "", ""],
        "US/Eastern",
        trading,
        liquid,
        *["", ""],
        0,
        1,
        *["", ""],
        f"{rule_id},{rule_id}",
        "",
        "COMMON",
        *["1", "1", "100"],
    ]


def _hours(now_ns: int) -> tuple[str, str]:
    """Return trading and liquid hours of the next days, by the exchange's own calendar."""
    first = datetime.fromtimestamp(now_ns // SECOND_NS, tz=UTC).astimezone(NEW_YORK).date()
    trading: list[str] = []
    liquid: list[str] = []
    for offset in range(HOURS_DAYS):
        day = first + timedelta(days=offset)
        text = day.strftime("%Y%m%d")
        session = hours.session(hours.number_of(day))
        if session.day != day:
            trading.append(f"{text}:CLOSED")
            liquid.append(f"{text}:CLOSED")
        else:
            late, close = ("1700", "1300") if session.is_early_close else ("2000", "1600")
            trading.append(f"{text}:0400-{text}:{late}")
            liquid.append(f"{text}:0930-{text}:{close}")
    return ";".join(trading), ";".join(liquid)

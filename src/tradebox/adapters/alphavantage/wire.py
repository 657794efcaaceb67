"""Alpha Vantage's answers as values: judged by the data that is there, text is only a hint.

Rules of this file:
- every answer has status 200, errors too, and the wording of errors changes: what has no data is a
  refusal, and an unknown refusal counts as "too many calls", the one that costs least to believe;
- numbers are texts: "", "None", "-" and "--" are none, and without a price there is no quote;
- an answer for another symbol, or a page of HTML, is no answer.

Source: alphavantage.co documentation; error texts as users of free keys report them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tradebox.adapters.exact_json import load_json, micros_of_text

QUOTE_KEY: Final = "Global Quote"
DELAYED_WORD: Final = "DELAYED"
TEXT_KEYS: Final = ("Information", "Note", "Error Message", "message")
KEY_WORDS: Final = ("apikey", "api key")
PREMIUM_WORDS: Final = ("this is a premium endpoint", "premium endpoint. you may")
_NUMBER: Final = re.compile(r"^\d+\.\s*")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: Final = re.compile(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.\d+)?")


class Refusal(StrEnum):
    """Why an answer holds no price."""

    EMPTY = "empty"
    """Unknown symbol, bad arguments, or nothing known now."""
    FORBIDDEN = "forbidden"
    """The key's plan does not cover it."""
    KEY_REFUSED = "key_refused"
    """The key is none."""
    THROTTLED = "throttled"
    """Too many calls: of the second or of the day, the text does not tell which."""
    UNUSABLE = "unusable"
    """No answer at all: HTML, cut JSON, {}, or the quote of another symbol."""


@dataclass(frozen=True, slots=True)
class DayQuote:
    """A quote with a date and no time. Units: prices in micro-units, previous 0 = not given."""

    symbol: str
    price_micros: int
    previous_close_micros: int
    day: str
    is_delayed: bool


@dataclass(frozen=True, slots=True)
class TimedQuote:
    """A quote with a New York time, YYYY-MM-DD HH:MM:SS. Units: as DayQuote."""

    symbol: str
    price_micros: int
    previous_close_micros: int
    moment: str


def parse_quote(body: bytes, symbol: str) -> DayQuote | Refusal:
    """Return what GLOBAL_QUOTE says of a symbol.

    Holds: total: no input raises; a quote has a price above 0 and a date.
    """
    values = load_json(body)
    if not isinstance(values, dict):
        return Refusal.UNUSABLE
    name = next((key for key in values if key.startswith(QUOTE_KEY)), None)
    if name is None:
        return _refusal(values)
    raw = values[name]
    if not isinstance(raw, dict):
        return Refusal.UNUSABLE
    if not raw:
        return Refusal.EMPTY
    fields = {_NUMBER.sub("", key): value for key, value in raw.items()}
    if str(fields.get("symbol", "")).upper() != symbol.upper():
        return Refusal.UNUSABLE
    price = micros_of_text(fields.get("price"))
    day = fields.get("latest trading day")
    if price is None or price <= 0 or not isinstance(day, str) or not _DAY.fullmatch(day):
        return Refusal.EMPTY
    previous = micros_of_text(fields.get("previous close")) or 0
    return DayQuote(symbol, price, max(0, previous), day, DELAYED_WORD in name.upper())


def parse_bulk(body: bytes) -> dict[str, TimedQuote] | Refusal:
    """Return what REALTIME_BULK_QUOTES says, by symbol; rows without a price are left out.

    A message beside the rows marks made-up sample prices: they are refused as not covered.
    Holds: total: no input raises.
    """
    values = load_json(body)
    if not isinstance(values, dict):
        return Refusal.UNUSABLE
    rows = values.get("data")
    if not isinstance(rows, list):
        return _refusal(values)
    if values.get("message"):
        return Refusal.FORBIDDEN
    found: dict[str, TimedQuote] = {}
    for row in rows:
        quote = _row(row)
        if quote is not None:
            found[quote.symbol] = quote
    return found


def _row(row: object) -> TimedQuote | None:
    if not isinstance(row, dict):
        return None
    symbol, moment = row.get("symbol"), row.get("timestamp")
    price = micros_of_text(row.get("close"))
    if not isinstance(symbol, str) or not isinstance(moment, str) or price is None or price <= 0:
        return None
    matched = _MOMENT.fullmatch(moment)
    if matched is None:
        return None
    previous = micros_of_text(row.get("previous_close")) or 0
    return TimedQuote(symbol.upper(), price, max(0, previous), f"{matched[1]} {matched[2]}")


def _refusal(values: Mapping[str, object]) -> Refusal:
    """Return what an answer without data means."""
    said = next((str(values[key]) for key in TEXT_KEYS if values.get(key)), "")
    text = said.lower()
    if not text:
        return Refusal.UNUSABLE
    if "Error Message" in values:
        is_key = any(word in text for word in KEY_WORDS)
        return Refusal.KEY_REFUSED if is_key else Refusal.EMPTY
    if any(word in text for word in PREMIUM_WORDS):
        return Refusal.FORBIDDEN
    return Refusal.THROTTLED

"""Explains prices: who said the current one, how old it is, what was refused and why.

Rules of this file:
- a price of an engine that has gone quiet is stale, whatever it was worth when it was told;
- ages are market time: on a faster market clock a price ages faster;
- what is not known is None, and `waiting` says why; nothing here fails on a misshapen row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tradebox.domain.filter_values import NUMBER, Check
from tradebox.domain.money import shortest, to_decimal
from tradebox.readmodel.reader import Reader
from tradebox.readmodel.rows import Row, RowName

NS_PER_S: Final = 1_000_000_000
QUALITY_WORDS: Final = {
    "live": "decisions may use it",
    "suspect": "a jump waits to be confirmed; this is the last good price",
    "unconfirmed": "one source alone has shown this level",
    "disputed": "sources disagree",
    "delayed": "the source tells it late by contract",
    "stale": "older than its limit",
    "eod": "a close of the day, not a price of now",
    "closed": "outside the regular session",
}
"""What each quality says; entries need live."""
CHECK_WORDS: Final = {
    "subscribed": "nobody asked for this symbol",
    "price": "not positive, or beyond any price",
    "sentinel": "a mark for no price (0 or -1), not a price",
    "duplicate": "the same print came before",
    "future": "its event time lies ahead of our clock",
    "late": "older than the newest by more than the limit",
    "stale": "it reached us later than the limit",
    "delayed": "the source tells it late by contract",
    "eod": "a close of the day, not a price of now",
    "session": "outside the regular session",
    "size": "a negative size",
    "odd_lot": "fewer than 100 shares: a last price, but weak for confirming",
    "condition": "a sale that does not make the last price",
    "crossed": "a bid above its ask",
    "locked": "a bid that equals its ask",
    "wide": "a spread far beyond its usual one",
    "outside": "a trade far outside bid and ask",
    "spike": "too far from the last prices; held until others agree",
    "regime": "a new level that one source alone has shown",
    "contested": "back at the old level while others wait at a new one",
    "first": "a first price far from the last close; held until others agree",
    "luld": "outside the limit-up, limit-down band",
    "split": "the ratio of a split; blocked until `tradebox ctl confirm` or a calendar says so",
    "halt": "trading is halted",
    "frozen": "the same price for minutes while others move",
    "disputed": "another source says otherwise",
    "bar": "no true bar",
}
"""What each check of the filter says of a tick."""
NOT_TOLD: Final = "the engine has told no price: nothing runs, or it has just started"
NOT_ADMITTED: Final = "no price of it was admitted: nothing needs it, or nothing came through"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """The engine's last word on prices. waiting: empty while it is fresh, else why it is not.

    Units: at_ns market time of the word, age_s real seconds since, speed of the market clock.
    """

    prices: Mapping[str, Record] = field(default_factory=dict)
    at_ns: int = 0
    age_s: float = 0.0
    speed: float = 1.0
    waiting: str = ""

    @classmethod
    def of(cls, rows: Mapping[str, Row | None], mono_ns: int, waiting: str = "") -> "Told":
        """Return what the rows `feeds` and `header` say at that monotonic time."""
        feeds, header = rows.get(RowName.FEEDS), rows.get(RowName.HEADER)
        if feeds is None:
            return cls(waiting=waiting or NOT_TOLD)
        listed = feeds.data if isinstance(feeds.data, list) else []
        prices = {row["symbol"]: row for row in listed if _is_price(row)}
        figures = header.data if header is not None and isinstance(header.data, dict) else {}
        speed = figures.get("speed")
        age_s = feeds.age_s(mono_ns)
        quiet = f"the engine has been quiet for {age_s:.0f} s" if feeds.is_stale(mono_ns) else ""
        known = float(speed) if isinstance(speed, int | float) else 1.0
        return cls(prices, feeds.at_ns, age_s, known, quiet)


def _is_price(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("symbol"), str)


async def told(console_file: Path, mono_ns: int) -> Told:
    """Return the engine's last word on prices, read with the console's login; never fails."""
    reader = Reader(console_file)
    try:
        rows = await reader.rows([RowName.FEEDS, RowName.HEADER])
        return Told.of(rows, mono_ns, reader.waiting)
    finally:
        await reader.close()


def explain(
    word: Told,
    symbol: str,
    refusals: Sequence[Mapping[str, Any]],
    flags: Sequence[Mapping[str, Any]] = (),
) -> Record:
    """Return one symbol's price with its origin, its age, and what was refused or flagged of it.

    Shape:   price, bid, ask: Decimal or None; *_ns market time; age_s market seconds since the
             event, told_age_s real seconds since the engine said so; refusals newest first; flags
             counted by check, the most frequent first.
    """
    row = word.prices.get(symbol, {})
    waiting = word.waiting or ("" if row else NOT_ADMITTED)
    waits = str(row.get("waits", ""))
    if not row and not word.waiting and refusals and refusals[0]["check_name"] == Check.SPLIT:
        waiting = CHECK_WORDS[Check.SPLIT]
    quality = "stale" if row and word.waiting else row.get("quality")
    event_ns = row.get("event_ns")
    return {
        "symbol": symbol,
        "last": _price(row.get("price_micros")),
        "bid": _price(row.get("bid_micros")),
        "ask": _price(row.get("ask_micros")),
        "size": row.get("size"),
        "source": row.get("source"),
        "tier": row.get("tier"),
        "quality": quality,
        "quality_why": CHECK_WORDS.get(waits, QUALITY_WORDS.get(str(quality))) if row else None,
        "event_ns": event_ns,
        "recv_ns": row.get("recv_ns"),
        "age_s": _age_s(word, event_ns),
        "told_age_s": round(word.age_s, 3) if row else None,
        "epoch": row.get("epoch"),
        "pub_seq": row.get("pub_seq"),
        "ticks": row.get("ticks"),
        "gaps": row.get("gaps"),
        "refused": row.get("refused"),
        "refusals": [_refusal(each) for each in refusals],
        "flags": [_flag(each) for each in flags],
        "waiting": waiting,
    }


def _refusal(row: Mapping[str, Any]) -> Record:
    return {
        "event_ns": row["event_ns"],
        "recorded_at": row["recorded_at"],
        "source": row["source"],
        "verdict": row["verdict"],
        "check": row["check_name"],
        "number": _number(row["check_name"]),
        "ticks": row.get("ticks", 1),
        "price": _price(row["price_micros"]),
        "why": CHECK_WORDS.get(row["check_name"], ""),
    }


def _flag(row: Mapping[str, Any]) -> Record:
    return {
        "event_ns": row["event_ns"],
        "source": row["source"],
        "check": row["check_name"],
        "number": _number(row["check_name"]),
        "quality": row["quality"],
        "ticks": row["ticks"],
        "why": CHECK_WORDS.get(row["check_name"], ""),
    }


def _number(check: str) -> int | None:
    """Return the check's number among the twenty; None of one that is not known."""
    return NUMBER[Check(check)] if check in CHECK_WORDS else None


def _age_s(word: Told, event_ns: object) -> float | None:
    if not isinstance(event_ns, int):
        return None
    return round(max(0.0, (word.at_ns - event_ns) / NS_PER_S + word.age_s * word.speed), 3)


def _price(micros: object) -> object:
    return shortest(to_decimal(micros)) if isinstance(micros, int) else None

"""The vendor faults of the simulator as data: 77 rows, each with what consumers must see.

Rules of this file:
- a row is named by its fault; the simulator's own list says which there are, and a test compares;
- `world` names the run it needs: which vendors serve while the fault is put in;
- a row beside the 77 puts a fault into another world, and is named by both;
- a row without a test has a sentence that says why.
"""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Row:
    """One fault. arguments: of the fault; and_fault: set after it, to make it felt at once."""

    fault: str
    world: str
    expect: str
    arguments: dict[str, Any] = field(default_factory=dict)
    and_fault: str = ""
    and_arguments: dict[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    is_quick: bool = False
    why_not: str = ""
    is_beside: bool = False

    @property
    def name(self) -> str:
        """The row's own name."""
        return f"{self.fault}-{self.world}" if self.is_beside else self.fault


STREAM, POLLED, PREMIUM, BROKER = "stream", "polled", "premium", "broker"
DELAYED, BESIDE = "delayed", "beside"
WORLDS = {
    STREAM: "Finnhub serves; free keys",
    POLLED: "Finnhub is down and Yahoo serves; free keys",
    PREMIUM: "Finnhub is down and Alpha Vantage serves; premium key, realtime plan",
    DELAYED: "Finnhub and Yahoo are down; Alpha Vantage's delayed plan serves, quote by quote",
    BROKER: "every vendor is down and the broker's quotes serve what is held",
    BESIDE: "Finnhub is up, and the broker's quotes are before it for what is held",
}
EXPECTED = {
    "unnoticed": "prices go on, live and of the same source",
    "unnoticed_elsewhere": "that symbol goes on by whoever has it, the others notice nothing",
    "reconnected": "live again by itself",
    "handed_on": "the next source serves until the fault ends, then the first again",
    "given_up": "the next source serves, and a person is told; a refused key, and what a plan does "
    "not have, is tried again after an hour",
    "refused": "the price is refused by a check, and no consumer ever sees it",
    "late": "what is late is never told as live",
    "held": "the burst at its end: nothing old of it is live",
    "never_wrong": "no live price, no wrong one, no entry",
    "doubted": "held, then told as unconfirmed: never as live, nor as merely delayed; no entry",
    "over_budget": "what has no subscription is served all the same, and it is said",
    "not_live": "no source is left: not live by its deadline, no entry; then all comes back",
    "halted": "not live while no print comes; live again when it trades",
    "halt_told": "suspect at once by the broker's word of the halt; live again when it trades",
    "moved": "a genuine gap is taken in bounded time, unconfirmed until then",
    "split": "blocked at the open, until a person confirms",
    "dividend": "prices go on over the open",
}


def _finnhub() -> tuple[Row, ...]:
    stream = STREAM
    return (
        Row("finnhub.silent_symbol", stream, "unnoticed_elsewhere"),
        Row("finnhub.drop_connection", stream, "reconnected", is_quick=True),
        Row("finnhub.close_connection", stream, "reconnected"),
        Row("finnhub.half_open", stream, "handed_on"),
        Row("finnhub.refuse_stream", stream, "handed_on", and_fault="finnhub.drop_connection",
            is_quick=True),
        Row("finnhub.hold", stream, "held"),
        Row("finnhub.duplicate", stream, "unnoticed"),
        Row("finnhub.reorder", stream, "unnoticed"),
        Row("finnhub.spike", stream, "refused", {"percent": 20.0},
            checks=("spike", "luld", "first"), is_quick=True),
        Row("finnhub.zero_price", stream, "refused", checks=("sentinel",)),
        Row("finnhub.stale_time", stream, "late", {"age_s": 3600.0}),
        Row("finnhub.future_time", stream, "refused", {"ahead_s": 3600.0}, checks=("future",)),
        Row("finnhub.null_conditions", stream, "unnoticed"),
        Row("finnhub.no_conditions", stream, "unnoticed"),
        Row("finnhub.bad_frame", stream, "unnoticed"),
        Row("finnhub.no_ping", stream, "unnoticed"),
        Row("finnhub.symbol_limit", stream, "over_budget", {"symbols": 2},
            and_fault="finnhub.drop_connection"),
        Row("finnhub.zero_quote", stream, "unnoticed"),
        Row("finnhub.partial_quote", stream, "unnoticed"),
        Row("finnhub.rate_limit", stream, "unnoticed"),
        Row("finnhub.plain_429", stream, "unnoticed"),
        Row("finnhub.server_error", stream, "unnoticed"),
        Row("finnhub.bad_key", stream, "unnoticed"),
        Row("finnhub.no_access", stream, "unnoticed"),
        Row("finnhub.reset", stream, "unnoticed"),
        Row("finnhub.slow", stream, "unnoticed"),
        Row("finnhub.truncated", stream, "unnoticed"),
    )  # fmt: skip


_AV_DOWN = (
    "burst_limit", "day_spent", "old_note", "invalid_call", "empty_quote",
    "empty_object", "html_page", "server_error", "truncated", "slow", "reset",
)  # fmt: skip
_YAHOO_DOWN = (
    "rate_limit", "server_error", "html_page", "not_found", "empty_result", "truncated", "slow",
    "reset", "bad_crumb", "missing_zone",
)  # fmt: skip
_YAHOO_STREAM = (
    "stream_refuse", "stream_drop", "stream_close", "stream_half_open", "stream_silent_symbol",
    "stream_bad_frame", "stream_spike",
)  # fmt: skip
_YAHOO_HARMLESS = (
    "consent", "crumb_limit", "null_rows", "missing_bars", "split_event", "dividend_event",
)  # fmt: skip


def _alphavantage() -> tuple[Row, ...]:
    name = "alphavantage.{}".format
    slow: dict[str, Any] = {"delay_s": 30.0}
    return (
        *(Row(name(one), PREMIUM, "handed_on", slow if one == "slow" else {}) for one in _AV_DOWN),
        Row(name("bad_key"), PREMIUM, "given_up"),
        Row(name("premium_only"), PREMIUM, "given_up"),
        Row(name("spike"), DELAYED, "never_wrong", {"percent": 20.0, "count": 1}),
        *(
            Row(name(one), DELAYED, "never_wrong")
            for one in ("stale_day", "delayed_suffix", "blank_values", "wrong_symbol")
        ),
    )  # fmt: skip


def _yahoo() -> tuple[Row, ...]:
    name = "yahoo.{}".format
    slow: dict[str, Any] = {"delay_s": 60.0}
    anew: dict[str, Any] = {"count": 6}
    return (
        *(
            Row(name(one), POLLED, "not_live", {}, "yahoo.reset", anew)
            for one in ("tls_refuse", "tls_certificate")
        ),
        *(Row(name(one), POLLED, "not_live", slow if one == "slow" else {}) for one in _YAHOO_DOWN),
        *(Row(name(one), POLLED, "unnoticed") for one in (*_YAHOO_HARMLESS, *_YAHOO_STREAM)),
        Row(name("stale_time"), POLLED, "late", {"age_s": 3600.0}),
        Row(name("spike"), POLLED, "unnoticed", {"percent": 20.0}),
    )  # fmt: skip


def _market() -> tuple[Row, ...]:
    return (
        Row("market.split", STREAM, "split", {"numerator": 2, "denominator": 1}),
        Row("market.dividend", STREAM, "dividend", {"amount": 0.5}),
        Row("market.halt", STREAM, "halted"),
        Row("market.resume", STREAM, "halted"),
        Row("market.gap", STREAM, "moved", {"percent": -5.0}, is_quick=True),
    )


def _broker() -> tuple[Row, ...]:
    """Return the faults of the broker's quotes: beside the 77 of the vendors."""
    mine: dict[str, Any] = {"client_id": 21}
    again = "gateway.disconnect"
    return (
        Row("gateway.delayed_data", BROKER, "not_live", mine, again, mine),
        Row("gateway.refuse_market_data", BROKER, "not_live", mine, again, mine),
        Row("gateway.freeze_market_data", BROKER, "not_live", mine),
        Row("gateway.competing_session", BROKER, "not_live", {"account": "paper"}),
        Row("gateway.half_open", BROKER, "not_live", mine),
        Row("gateway.link_loss", BROKER, "not_live", {"account": "paper"}),
        Row("gateway.bad_tick", BROKER, "not_live", {**mine, "price": "NaN"}),
    )


def _beside() -> tuple[Row, ...]:
    """Return faults in another world than their first, or of all symbols where it was of one."""
    mine: dict[str, Any] = {"client_id": 21}
    spike: dict[str, Any] = {"percent": 20.0}
    jump = ("spike", "luld", "first")
    found = (
        Row("finnhub.stale_time", STREAM, "handed_on", {"age_s": 3600.0}),
        Row("finnhub.future_time", STREAM, "handed_on", {"ahead_s": 3600.0}),
        Row("finnhub.zero_price", STREAM, "handed_on", {"count": 0}),
        Row("alphavantage.spike", PREMIUM, "refused", {**spike, "count": 1}, checks=jump),
        *(
            Row(f"alphavantage.{one}", PREMIUM, "handed_on")
            for one in ("blank_values", "wrong_symbol")
        ),
        Row("alphavantage.stale_day", PREMIUM, "not_live"),
        Row("alphavantage.spike", DELAYED, "doubted", spike),
        Row("market.halt", BROKER, "halt_told"),
        Row("gateway.freeze_market_data", BESIDE, "handed_on", mine),
    )
    return tuple(replace(row, is_beside=True) for row in found)


ROWS: tuple[Row, ...] = (*_finnhub(), *_alphavantage(), *_yahoo(), *_market())
BROKER_ROWS: tuple[Row, ...] = _broker()
BESIDE_ROWS: tuple[Row, ...] = _beside()
BY_NAME = {row.fault: row for row in ROWS}

"""The faults that the Yahoo stand-in can be told to have.

Rules of this file:
- each one was seen at the real vendor or is a plain failure of a network;
- `symbol` narrows a fault to one symbol, empty means every symbol and every page.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec, Ranges

_SYMBOL: Arguments = {"symbol": "", "count": 0}
_RANGES: Ranges = {
    "delay_s": (0, 600),
    "age_s": (0, 10 * 366 * 86_400),
    "every": (1, 1_000_000),
    "bars": (1, 1_000_000),
    "percent": (-99, 1_000_000),
    "days_ago": (0, 700),
    "numerator": (1, 1000),
    "denominator": (1, 1000),
    "amount": (0.000001, 1000),
}

CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec("rate_limit", "answer with 429 Too Many Requests", dict(_SYMBOL)),
    FaultSpec("server_error", "answer with 503", dict(_SYMBOL)),
    FaultSpec("html_page", "answer with an HTML page under status 200", dict(_SYMBOL)),
    FaultSpec("not_found", "answer 404: symbol may be delisted", dict(_SYMBOL)),
    FaultSpec("empty_result", "answer a chart without a single bar", dict(_SYMBOL)),
    FaultSpec("truncated", "cut the JSON in half", dict(_SYMBOL)),
    FaultSpec("slow", "let an answer wait", {**_SYMBOL, "delay_s": 5.0}, ranges=_RANGES),
    FaultSpec("reset", "reset the connection instead of an answer", dict(_SYMBOL)),
    FaultSpec("consent", "give no cookie before the consent form was sent", {"count": 0}),
    FaultSpec("crumb_limit", "answer the request for a crumb with 429", {"count": 0}),
    FaultSpec("bad_crumb", "refuse the crumb with 401", {"count": 0}),
    FaultSpec("null_rows", "say every n-th bar as nulls", {**_SYMBOL, "every": 5}, ranges=_RANGES),
    FaultSpec("missing_bars", "leave the latest bars out", {**_SYMBOL, "bars": 1}, ranges=_RANGES),
    FaultSpec(
        "stale_time",
        "say a regularMarketTime of the past",
        {**_SYMBOL, "age_s": 900.0},
        ranges=_RANGES,
    ),
    FaultSpec("missing_zone", "leave exchangeTimezoneName out of meta", dict(_SYMBOL)),
    FaultSpec(
        "spike", "move the close of the latest bar", {**_SYMBOL, "percent": 20.0}, ranges=_RANGES
    ),
    FaultSpec(
        "split_event",
        "say a split that the prices do not show",
        {**_SYMBOL, "days_ago": 5, "numerator": 2, "denominator": 1},
        ranges=_RANGES,
    ),
    FaultSpec(
        "dividend_event",
        "say a dividend that nobody pays",
        {**_SYMBOL, "days_ago": 5, "amount": 0.5},
        ranges=_RANGES,
    ),
    FaultSpec("tls_refuse", "break off in the middle of the TLS handshake", {"count": 0}),
    FaultSpec("tls_certificate", "show a certificate of an unknown authority", {"count": 0}),
    FaultSpec("stream_refuse", "answer the stream's handshake with 503", {"count": 0}),
    FaultSpec("stream_drop", "reset every stream", {}, is_immediate=True),
    FaultSpec("stream_close", "close every stream in order", {"code": 1000}, is_immediate=True),
    FaultSpec("stream_half_open", "send no prices, keep the streams open", {"count": 0}),
    FaultSpec("stream_silent_symbol", "send no prices of a subscribed symbol", dict(_SYMBOL)),
    FaultSpec("stream_bad_frame", "send a message that is no price", {**_SYMBOL, "count": 1}),
    FaultSpec(
        "stream_spike",
        "move the streamed price",
        {**_SYMBOL, "count": 1, "percent": 20.0},
        ranges=_RANGES,
    ),
)


def yahoo_faults() -> FaultBoard:
    """Return a board of this catalogue with nothing set."""
    return FaultBoard(CATALOGUE)

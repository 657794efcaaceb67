"""The faults that the Finnhub stand-in can be told to have.

Rules of this file:
- each one was seen at the real vendor or is a plain failure of a network;
- `symbol` narrows a fault to one symbol, empty means every symbol.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec

_UNTIL_CLEARED: Arguments = {"count": 0}
_SYMBOL: Arguments = {"symbol": "", "count": 0}

CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec("silent_symbol", "send no prints of a subscribed symbol", dict(_SYMBOL)),
    FaultSpec("drop_connection", "reset every stream", {}, is_immediate=True),
    FaultSpec("close_connection", "close every stream in order", {"code": 1000}, is_immediate=True),
    FaultSpec("half_open", "send nothing more, keep the streams open", dict(_UNTIL_CLEARED)),
    FaultSpec("refuse_stream", "answer the stream's handshake with 503", dict(_UNTIL_CLEARED)),
    FaultSpec("duplicate", "send each print several times", {**_SYMBOL, "times": 3}),
    FaultSpec("reorder", "send prints in bursts of three or more, latest first", dict(_SYMBOL)),
    FaultSpec("spike", "move the price of prints", {**_SYMBOL, "count": 1, "percent": 20.0}),
    FaultSpec("zero_price", "send prints at price 0", {**_SYMBOL, "count": 1}),
    FaultSpec("stale_time", "send prints with times of the past", {**_SYMBOL, "age_s": 60.0}),
    FaultSpec("future_time", "send prints with times of the future", {**_SYMBOL, "ahead_s": 60.0}),
    FaultSpec("null_conditions", "send c as null instead of a list", dict(_SYMBOL)),
    FaultSpec("bad_frame", "send a frame that is no JSON before the prints", {"count": 1}),
    FaultSpec("no_ping", "leave out the ping of each minute", dict(_UNTIL_CLEARED)),
    FaultSpec("symbol_limit", "stand fewer subscriptions", {**_UNTIL_CLEARED, "symbols": 10}),
    FaultSpec("zero_quote", "answer /quote of a valid symbol with zeros", dict(_SYMBOL)),
    FaultSpec("partial_quote", "answer /quote with c alone, the rest zero", dict(_SYMBOL)),
    FaultSpec("rate_limit", "answer every request with 429", dict(_UNTIL_CLEARED)),
    FaultSpec("plain_429", "answer with 429 in plain text, without headers", dict(_UNTIL_CLEARED)),
    FaultSpec("server_error", "answer every request with an HTML page, 502", dict(_UNTIL_CLEARED)),
    FaultSpec("bad_key", "answer every request with 401", dict(_UNTIL_CLEARED)),
)


def finnhub_faults() -> FaultBoard:
    """Return a board of this catalogue with nothing set."""
    return FaultBoard(CATALOGUE)

"""The faults that the Finnhub stand-in can be told to have.

Rules of this file:
- each one was seen at the real vendor or is a plain failure of a network;
- `symbol` narrows a fault to one symbol, empty means every symbol.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec

COPIES_MAX = 5000
SHIFT_S_MAX = 10 * 366 * 86_400
_UNTIL_CLEARED: Arguments = {"count": 0}
_SYMBOL: Arguments = {"symbol": "", "count": 0}

CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec("silent_symbol", "send no prints of a subscribed symbol", dict(_SYMBOL)),
    FaultSpec("drop_connection", "reset every stream", {}, is_immediate=True),
    FaultSpec("close_connection", "close every stream in order", {"code": 1000}, is_immediate=True),
    FaultSpec("half_open", "send nothing more, keep the streams open", dict(_UNTIL_CLEARED)),
    FaultSpec("refuse_stream", "answer the stream's handshake with 503", dict(_UNTIL_CLEARED)),
    FaultSpec(
        "hold",
        "keep prints back (50,000 at most); when it ends, send them all in one burst",
        {**_SYMBOL},
    ),
    FaultSpec(
        "duplicate",
        "send each print several times",
        {**_SYMBOL, "times": 3},
        ranges={"times": (2, COPIES_MAX)},
    ),
    FaultSpec("reorder", "send prints in bursts of three or more, latest first", dict(_SYMBOL)),
    FaultSpec(
        "spike",
        "move the price of prints",
        {**_SYMBOL, "count": 1, "percent": 20.0},
        ranges={"percent": (-99, 1_000_000)},
    ),
    FaultSpec("zero_price", "send prints at price 0", {**_SYMBOL, "count": 1}),
    FaultSpec(
        "stale_time",
        "send prints with times of the past",
        {**_SYMBOL, "age_s": 60.0},
        ranges={"age_s": (0, SHIFT_S_MAX)},
    ),
    FaultSpec(
        "future_time",
        "send prints with times of the future",
        {**_SYMBOL, "ahead_s": 60.0},
        ranges={"ahead_s": (0, SHIFT_S_MAX)},
    ),
    FaultSpec("null_conditions", "send c as null instead of a list", dict(_SYMBOL)),
    FaultSpec("no_conditions", "leave c out", dict(_SYMBOL)),
    FaultSpec("bad_frame", "send a frame that is no JSON before the prints", {"count": 1}),
    FaultSpec("no_ping", "leave out the ping of each minute", dict(_UNTIL_CLEARED)),
    FaultSpec(
        "symbol_limit",
        "stand fewer subscriptions",
        {**_UNTIL_CLEARED, "symbols": 10},
        ranges={"symbols": (0, 51)},
    ),
    FaultSpec("zero_quote", "answer /quote of a valid symbol with zeros", dict(_SYMBOL)),
    FaultSpec("partial_quote", "answer /quote with c alone, the rest zero", dict(_SYMBOL)),
    FaultSpec("rate_limit", "answer every request with 429", dict(_UNTIL_CLEARED)),
    FaultSpec("plain_429", "answer with 429 in plain text, without headers", dict(_UNTIL_CLEARED)),
    FaultSpec("server_error", "answer every request with an HTML page, 502", dict(_UNTIL_CLEARED)),
    FaultSpec("bad_key", "answer every request with 401", dict(_UNTIL_CLEARED)),
    FaultSpec("no_access", "answer every request with 403", dict(_UNTIL_CLEARED)),
    FaultSpec("reset", "reset the connection instead of an answer", dict(_UNTIL_CLEARED)),
    FaultSpec(
        "slow",
        "let every answer wait",
        {**_UNTIL_CLEARED, "delay_s": 5.0},
        ranges={"delay_s": (0, 600)},
    ),
    FaultSpec("truncated", "cut the JSON of an answer in half", dict(_UNTIL_CLEARED)),
)


def finnhub_faults() -> FaultBoard:
    """Return a board of this catalogue with nothing set."""
    return FaultBoard(CATALOGUE)

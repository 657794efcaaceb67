"""The faults that the Alpha Vantage stand-in can be told to have.

Rules of this file:
- each one was seen at the real vendor or is a plain failure of a network;
- `symbol` narrows a fault to one symbol, empty means every symbol.
"""

from tradebox.sim.faults import Arguments, FaultBoard, FaultSpec

_SYMBOL: Arguments = {"symbol": "", "count": 0}

CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec("burst_limit", "answer as if asked more than once a second", dict(_SYMBOL)),
    FaultSpec("day_spent", "answer as if the day's requests were used up", dict(_SYMBOL)),
    FaultSpec("old_note", "answer with the Note of 5 calls per minute of older times", {**_SYMBOL}),
    FaultSpec("bad_key", "call the key invalid", dict(_SYMBOL)),
    FaultSpec("premium_only", "call the endpoint premium", dict(_SYMBOL)),
    FaultSpec("invalid_call", "answer with Error Message: Invalid API call", dict(_SYMBOL)),
    FaultSpec("empty_quote", 'answer {"Global Quote": {}} for a valid symbol', dict(_SYMBOL)),
    FaultSpec("empty_object", "answer {}", dict(_SYMBOL)),
    FaultSpec("html_page", "answer with an HTML error page under status 200", dict(_SYMBOL)),
    FaultSpec("server_error", "answer with status 503", dict(_SYMBOL)),
    FaultSpec("truncated", "cut the JSON in half", dict(_SYMBOL)),
    FaultSpec("blank_values", "say prices as empty text, None or a dash", dict(_SYMBOL)),
    FaultSpec("wrong_symbol", "say another symbol than was asked for", dict(_SYMBOL)),
    FaultSpec(
        "stale_day",
        "say the bar of an older day as the latest",
        {**_SYMBOL, "days": 3},
        ranges={"days": (1, 700)},
    ),
    FaultSpec("delayed_suffix", "name the quote DATA DELAYED BY 15 MINUTES", dict(_SYMBOL)),
    FaultSpec(
        "spike",
        "move the price of a quote",
        {**_SYMBOL, "percent": 20.0},
        ranges={"percent": (-99, 1_000_000)},
    ),
    FaultSpec(
        "slow", "let an answer wait", {**_SYMBOL, "delay_s": 5.0}, ranges={"delay_s": (0, 600)}
    ),
    FaultSpec("reset", "reset the connection instead of an answer", dict(_SYMBOL)),
)


def alphavantage_faults() -> FaultBoard:
    """Return a board of this catalogue with nothing set."""
    return FaultBoard(CATALOGUE)

"""Single quotes of Yahoo for the engine, asked of the worker process.

Rules of this file:
- nothing here blocks and nothing here knows pandas;
- what the worker says of lateness is passed on: a late exchange is never live.
"""

from typing import Any, Final

from tradebox.adapters.exact_json import micros_of_text
from tradebox.adapters.yahoo.worker import YahooWorker
from tradebox.domain.market import Source
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote

NS_PER_S: Final = 1_000_000_000
THROTTLED_WAIT_S: Final = 60.0


class YahooQuotes:
    """The port QuotePort on Yahoo. throttled_wait_s: how long a 429 keeps us away."""

    source = Source.YAHOO

    def __init__(self, worker: YahooWorker, *, throttled_wait_s: float = THROTTLED_WAIT_S) -> None:
        self._worker = worker
        self._throttled_wait_s = throttled_wait_s

    async def quote(self, symbol: str) -> Quote | NoQuote:
        """Ask for one symbol.

        Raises: VendorUnavailable where Yahoo, or the worker, gave no usable answer.
        """
        told = await self._worker.ask(do="quote", symbol=symbol)
        match told.get("no"):
            case None:
                return _quote(symbol, told)
            case "empty":
                return NoQuote(symbol, NoQuoteReason.EMPTY)
            case "throttled":
                return NoQuote(symbol, NoQuoteReason.THROTTLED, self._throttled_wait_s)
            case _:
                raise VendorUnavailable(f"yahoo gave no quote of {symbol}: {told.get('said')}")

    async def close(self) -> None:
        """End the worker."""
        await self._worker.close()


def _quote(symbol: str, told: dict[str, Any]) -> Quote | NoQuote:
    price = micros_of_text(told.get("price"))
    at_s, delay_s = told.get("at_s"), told.get("delay_s")
    if price is None or price <= 0 or not isinstance(at_s, int) or not isinstance(delay_s, int):
        raise VendorUnavailable(f"yahoo's quote of {symbol} is none", symbol=symbol)
    previous = micros_of_text(told.get("previous")) or 0
    return Quote(symbol, price, max(0, previous), at_s * NS_PER_S, delay_s=delay_s)

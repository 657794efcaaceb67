"""Finnhub's /quote by REST: one symbol a call, every kind of no told apart.

Rules of this file:
- the key travels in a header, so that no address in any log carries it;
- 429 waits until the vendor's reset time; 403 is for ever; 401 is a person's business;
- a price of zero, or no time, is no data and never a price;
- a call has a deadline of its own, and a body its limit.
"""

import time
from collections.abc import Callable
from typing import Final

import httpx

from tradebox.adapters.bounded_get import DEADLINE_S, Answer, bounded_get
from tradebox.adapters.exact_json import load_json, micros_of
from tradebox.adapters.loopback import is_loopback
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote

NS_PER_S: Final = 1_000_000_000
RESET_S_DEFAULT: Final = 60.0
BODY_BYTES_MAX: Final = 1 << 16


class FinnhubRest:
    """The port QuotePort on Finnhub.

    Units: wall_s: seconds of the wall clock, as the vendor's reset header counts.
    """

    def __init__(self, base_url: str, key: str, *, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/"),
            headers={"X-Finnhub-Token": key},
            timeout=DEADLINE_S,
            trust_env=not is_loopback(base_url),
        )

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.aclose()

    async def quote(self, symbol: str) -> Quote | NoQuote:
        """Ask for one symbol.

        Raises: VendorUnavailable for a dead line, a server's fault or an answer that is none.
        """
        try:
            answer = await bounded_get(self._client, "/quote", {"symbol": symbol}, BODY_BYTES_MAX)
        except (httpx.HTTPError, TimeoutError) as error:
            raise VendorUnavailable(
                f"finnhub gave no quote of {symbol}: {type(error).__name__}", symbol=symbol
            ) from None
        status = answer.status
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return NoQuote(symbol, NoQuoteReason.THROTTLED, self._wait_s(answer))
        if status == httpx.codes.FORBIDDEN:
            return NoQuote(symbol, NoQuoteReason.FORBIDDEN)
        if status == httpx.codes.UNAUTHORIZED:
            return NoQuote(symbol, NoQuoteReason.KEY_REFUSED, RESET_S_DEFAULT)
        if status != httpx.codes.OK or answer.is_cut:
            raise VendorUnavailable(
                f"finnhub answered {status} for {symbol}", symbol=symbol, status=status
            )
        return _quote(symbol, answer.body)

    def _wait_s(self, answer: Answer) -> float:
        """Return the time until the vendor's reset; 60 s where it names none."""
        reset = answer.headers.get("x-ratelimit-reset", "")
        if not reset.isascii() or not reset.isdigit() or len(reset) > 12:
            return RESET_S_DEFAULT
        return min(max(1.0, int(reset) - self._wall_s()), RESET_S_DEFAULT)


def _quote(symbol: str, body: bytes) -> Quote | NoQuote:
    values = load_json(body)
    if not isinstance(values, dict):
        raise VendorUnavailable(f"finnhub's quote of {symbol} is no JSON object", symbol=symbol)
    price, at_s = micros_of(values.get("c")), values.get("t")
    if price is None or price <= 0 or not isinstance(at_s, int) or at_s <= 0:
        return NoQuote(symbol, NoQuoteReason.EMPTY)
    previous = micros_of(values.get("pc"))
    return Quote(symbol, price, max(0, previous or 0), at_s * NS_PER_S)

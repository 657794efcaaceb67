"""Quotes for a drill: a short-lived ib_async connection of its own that cannot write an order.

Rules of this file:
- message ids 3, 4 and 58 (place, cancel, cancel all) are refused before they become bytes;
- nothing is kept: a quote is asked for and given back.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from math import isfinite
from typing import Any, Final, Self

from ib_async import IB, Contract

from tradebox.errors import BrokerUnavailable
from tradebox.execution.drill import Shown
from tradebox.supervision.clock import Clock

FORBIDDEN: Final = frozenset({"3", "4", "58"})
WAIT_S: Final = 3.0
POLL_S: Final = 0.02
DELAYED: Final = 3
_NAMES: Final = {1: "live", 2: "live", 3: "delayed", 4: "delayed"}


class QuoteProbe:
    """Quotes of one gateway under a client id of its own."""

    def __init__(self, host: str, port: int, client_id: int, clock: Clock) -> None:
        self._address = (host, port)
        self._client_id = client_id
        self._clock = clock
        self._ib: Any = IB()

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerUnavailable."""
        host, port = self._address
        try:
            await self._ib.connectAsync(
                host, port, clientId=self._client_id, timeout=WAIT_S, readonly=True
            )
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise BrokerUnavailable(f"no quotes from {host}:{port}: {error}") from error
        write = self._ib.client.sendMsg
        self._ib.client.sendMsg = lambda text: _checked(text, write)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Disconnect."""
        with suppress(OSError):
            self._ib.disconnect()

    async def shown(self, symbol: str) -> Shown | None:
        """Return the top of the book, None where there is none."""
        ticker = await self._ticker(symbol, 1)
        try:
            await self._until(
                lambda: all(_sound(one) for one in (ticker.bid, ticker.ask, ticker.last))
            )
            figures = (ticker.bid, ticker.ask, ticker.last)
            if not all(_sound(one) for one in figures):
                return None
            bid, ask, last = (Decimal(str(one)) for one in figures)
            size = int(ticker.askSize) if _sound(ticker.askSize) else 0
            return Shown(bid, ask, last, size)
        finally:
            self._ib.cancelMktData(ticker.contract)

    async def type_of_delayed(self, symbol: str) -> str:
        """Ask for delayed data; return "delayed", "live", or "" where nothing came."""
        ticker = await self._ticker(symbol, DELAYED)
        try:
            ticker.marketDataType = 0  # the library keeps one ticker a contract
            await self._until(lambda: ticker.marketDataType != 0)
            return _NAMES.get(int(ticker.marketDataType), "")
        finally:
            self._ib.cancelMktData(ticker.contract)
            self._ib.reqMarketDataType(1)

    async def _ticker(self, symbol: str, data_type: int) -> Any:
        question = Contract(secType="STK", symbol=symbol, exchange="SMART", currency="USD")
        found = await self._ib.qualifyContractsAsync(question)
        if not found or found[0] is None:
            raise BrokerUnavailable(f"the broker knows no {symbol}", symbol=symbol)
        self._ib.reqMarketDataType(data_type)
        return self._ib.reqMktData(found[0])

    async def _until(self, condition: Callable[[], bool]) -> None:
        end_s = self._clock.now() + WAIT_S
        while not condition() and self._clock.now() < end_s:
            await self._clock.sleep(POLL_S)


def _sound(value: Any) -> bool:
    return value is not None and isfinite(value) and value > 0


def _checked(text: str, write: Callable[[str], None]) -> None:
    assert not text or text.split("\0", 1)[0] not in FORBIDDEN, "a quote connection sends no order"
    write(text)

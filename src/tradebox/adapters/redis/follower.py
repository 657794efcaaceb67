"""A consumer of the outward prices: follows the batches, and catches up by MGET when it must.

Rules of this file:
- a batch may be lost: after each (re)subscription the blobs are read first, then batches apply;
- a symbol's price goes back in neither epoch nor number, whatever order messages come in;
- a price's age is judged by its event time against the reader's market clock; a blob that is gone
  is no price.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import orjson

from tradebox.adapters.redis.client import make_client, mapped
from tradebox.adapters.redis.prices import CHANNEL, QUOTE_PREFIX
from tradebox.errors import BusUnavailable
from tradebox.supervision.clock import Clock

RETRY_S: Final = 0.2
LISTEN_S: Final = 1.0


class PriceFollower:
    """The prices of some symbols as a process outside the engine sees them.

    on_price: called with each blob that is news. prices: the last blob of each symbol.
    Holds:   (epoch, number) of a symbol only rise while the server keeps its memory.
    """

    def __init__(
        self,
        url: str,
        symbols: Sequence[str],
        clock: Clock,
        on_price: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        self._url = url
        self._symbols = tuple(symbols)
        self._clock = clock
        self._on_price = on_price
        self.prices: dict[str, dict[str, Any]] = {}
        self.resyncs = 0
        self.batches = 0
        self.losses = 0

    async def run(self) -> None:
        """Follow until cancelled; a lost server is waited for."""
        while True:
            try:
                async for blobs in self._batches():
                    self._take(blobs)
            except BusUnavailable:
                self.losses += 1
            await self._clock.sleep(RETRY_S)

    async def _batches(self) -> AsyncIterator[list[dict[str, Any]]]:
        client = make_client(self._url, name="tradebox-follower", answer_s_max=None)
        listener = client.pubsub(ignore_subscribe_messages=True)
        try:
            with mapped(self._url):
                await listener.subscribe(CHANNEL)
                yield await self._resync(client)
                while True:
                    message = await listener.get_message(timeout=LISTEN_S)
                    if message is not None:
                        self.batches += 1
                        yield orjson.loads(message["data"])
        finally:
            with contextlib.suppress(BusUnavailable), mapped(self._url):
                await listener.aclose()  # type: ignore[no-untyped-call]
                await client.aclose()

    async def _resync(self, client: Any) -> list[dict[str, Any]]:
        self.resyncs += 1
        keys = [QUOTE_PREFIX + symbol for symbol in self._symbols]
        found = await client.mget(keys) if keys else []
        return [orjson.loads(blob) for blob in found if blob is not None]

    def _take(self, blobs: Sequence[dict[str, Any]]) -> None:
        for blob in blobs:
            known = self.prices.get(blob["s"])
            order = (blob["ep"], blob["n"])
            if known is not None:
                before = (known["ep"], known["n"])
                if order < before or (order == before and blob["q"] == known["q"]):
                    continue
            self.prices[blob["s"]] = blob
            self._on_price(blob)

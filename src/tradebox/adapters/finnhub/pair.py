"""Two keys, two sockets, one stream: twice the places, and one socket's end costs no symbol.

Rules of this file:
- while both are up each has every second symbol by need; while one is down the other has them all;
- the pair stamps the keys itself: the order of one source is one order, whatever socket it took;
- it is closed only when both are; one alone that goes or comes back is told as a note.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from tradebox.adapters.finnhub.stream import FinnhubStream
from tradebox.domain.market import Source
from tradebox.ports.ticks import KEY_BITS, TickBatch, TickSink


class _Side:
    """One socket's sink: passes everything on to the pair."""

    def __init__(self, pair: "FinnhubPair", stream: FinnhubStream) -> None:
        self.stream = stream
        self.is_up = False
        self._pair = pair

    def opened(self) -> int:
        self.is_up = True
        return self._pair.side_opened()

    def ticks(self, batch: TickBatch) -> None:
        self._pair.side_ticks(batch)

    def closed(self, reason: str, retry_s: float) -> None:
        self.is_up = False
        self._pair.side_closed(reason, retry_s)

    def noted(self, kind: str, text: str) -> None:
        self._pair.sink.noted(kind, text)


class FinnhubPair:
    """The port TickStream on two FinnhubStreams of two keys.

    Holds: each wanted symbol is asked of one socket, while that one is up; keys rise over both.
    """

    source = Source.FINNHUB
    sink: TickSink

    def __init__(self, first: FinnhubStream, second: FinnhubStream) -> None:
        self._sides = (_Side(self, first), _Side(self, second))
        self._wanted: tuple[str, ...] = ()
        self._key = 0
        self._group: asyncio.TaskGroup | None = None

    @property
    def budget(self) -> int:
        """How many symbols both connections take."""
        return sum(side.stream.budget for side in self._sides)

    def want(self, symbols: Sequence[str]) -> None:
        """Replace the wanted symbols, most important first."""
        self._wanted = tuple(dict.fromkeys(symbols))
        self._divide()

    def key(self) -> int:
        """Return the next key in this source's order."""
        self._key += 1
        return self._key

    async def apply(self) -> None:
        """Bring both sockets' subscriptions in line with what is wanted."""
        for side in self._sides:
            await side.stream.apply()

    async def run(self, sink: TickSink) -> NoReturn:
        """Run both for ever."""
        self.sink = sink
        async with asyncio.TaskGroup() as group:
            self._group = group
            for side in self._sides:
                group.create_task(side.stream.run(side))
        raise AssertionError("a stream ended by itself")

    # --- what the sides say ---------------------------------------------------------------------

    def side_opened(self) -> int:
        """One socket is up: a new connection's number, and half of the symbols."""
        number = self.sink.opened()
        self._key = number << KEY_BITS
        self._divide()
        self._apply_soon()
        return number

    def side_ticks(self, batch: TickBatch) -> None:
        """Stamp the ticks in the order of both sockets and pass them on."""
        ticks = tuple(replace(tick, key=self.key()) for tick in batch.ticks)
        self.sink.ticks(TickBatch(ticks, batch.mono_ns))

    def side_closed(self, reason: str, retry_s: float) -> None:
        """One socket is gone: the other takes its symbols; closed when it is gone, too."""
        if any(side.is_up for side in self._sides):
            self.sink.noted("vendor_socket_lost", f"one of two finnhub sockets: {reason}")
            self._divide()
            self._apply_soon()
        else:
            self.sink.closed(reason, retry_s)

    def _apply_soon(self) -> None:
        assert self._group is not None, "a side speaks while the pair runs"
        self._group.create_task(self.apply())

    def _divide(self) -> None:
        """Say to each socket which symbols are its own."""
        up = [side for side in self._sides if side.is_up]
        if len(up) == 1:
            up[0].stream.want(self._wanted)
            down = next(side for side in self._sides if side is not up[0])
            down.stream.want(())
        else:
            for place, side in enumerate(self._sides):
                side.stream.want(self._wanted[place::2])

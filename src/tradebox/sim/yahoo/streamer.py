"""Yahoo's streamer: a WebSocket on the port of the pages, for those who subscribe to prices.

Rules of this file:
- a client says {"subscribe": [...]} or {"unsubscribe": [...]} and gets no answer;
- of each symbol the latest print of a market turn is sent, after the turn: the exchange has
  always seen a print before any client of the vendor;
- no client can stop another: who does not read, or says what is no WebSocket, is dropped.

Source: the requests of yfinance 1.7.0 and what it can read.
"""

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tradebox.sim.closing import check_close_code
from tradebox.sim.exchange.market_port import MICROS, MarketEvent, Trade
from tradebox.sim.faults import FaultBoard, Value
from tradebox.sim.http import Upgrade
from tradebox.sim.market.market import Market
from tradebox.sim.yahoo.chart import EXCHANGES
from tradebox.sim.yahoo.pricing import pricing_data

SYMBOLS_MAX = 2_000
CLIENTS_MAX = 64
MESSAGE_BYTES_MAX = 64 * 1024
WAITING_BYTES_MAX = 1024 * 1024
CLOSE_S_MAX = 5.0
_READ_BYTES = 16 * 1024
_QUIET = logging.getLogger("tradebox.sim.yahoo.streams")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _Client:
    """A stream, its protocol and its socket."""

    def __init__(self, upgrade: Upgrade) -> None:
        self.protocol = ServerProtocol(max_size=MESSAGE_BYTES_MAX, logger=_QUIET)
        self.symbols: set[str] = set()
        self._upgrade = upgrade
        self._text = b""

    @property
    def is_open(self) -> bool:
        """Say whether frames can be sent."""
        return self.protocol.state is OPEN

    def take(self, data: bytes) -> None:
        """Take bytes from the socket, and what they say into the subscriptions."""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
            elif isinstance(event, Frame):
                self._on_frame(event)
        self.flush()

    def send(self, text: str) -> None:
        """Send a text frame; a reader that is too slow is dropped."""
        if self.is_open:
            self.protocol.send_text(text.encode())
            self.flush()

    async def refuse(self) -> None:
        """Answer the handshake with 503."""
        self.protocol.send_response(self.protocol.reject(503, "Service Unavailable\n"))
        self.flush()
        await self.leave()

    def close(self, code: int) -> None:
        """Close in order, with this code; who does not answer is dropped."""
        if self.is_open:
            self.protocol.send_close(code)
            self.flush()
            asyncio.get_running_loop().call_later(CLOSE_S_MAX, self.abort)

    def abort(self) -> None:
        """Reset the connection: no closing handshake."""
        self._upgrade.writer.transport.abort()

    def flush(self) -> None:
        """Hand what waits to the socket."""
        transport = self._upgrade.writer.transport
        if transport.is_closing():
            return
        for data in self.protocol.data_to_send():
            if data:
                transport.write(data)
        if transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            transport.abort()

    async def serve(self) -> None:
        """Shake hands, then read until the stream is over; what is written leaves first."""
        self.take(self._upgrade.head)
        while not self.protocol.close_expected():
            data = await self._upgrade.reader.read(_READ_BYTES)
            self.take(data)
            if not data:
                break
        await self.leave()

    async def leave(self) -> None:
        """Close the socket once what waits has left."""
        async with asyncio.timeout(CLOSE_S_MAX):
            await self._upgrade.writer.drain()
            self._upgrade.writer.close()
            await self._upgrade.writer.wait_closed()

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        before = self._text if frame.opcode is Opcode.CONT else b""
        self._text = before + bytes(frame.data)
        if not frame.fin:
            if len(self._text) > MESSAGE_BYTES_MAX:
                self.close(1009)
            return
        text, self._text = self._text, b""
        for verb, symbols in _wishes(text):
            if verb == "unsubscribe":
                self.symbols.difference_update(symbols)
            else:
                self.symbols.update(symbols)
        if len(self.symbols) > SYMBOLS_MAX:
            self.close(1008)


class Streamer:
    """Serves the streams of one Yahoo stand-in."""

    def __init__(self, market: Market, faults: FaultBoard) -> None:
        self._market = market
        self._faults = faults
        self._clients: dict[_Client, None] = {}
        self._latest: dict[str, Trade] = {}
        self._ends: list[Callable[[], None]] = []
        faults.check_by(_check)

    def start(self) -> None:
        """Subscribe to the market and to the fault board."""
        self._ends = [self._market.subscribe(self._on_market), self._faults.listen(self._on_fault)]

    def stop(self) -> None:
        """End every stream."""
        for end in self._ends:
            end()
        self._ends = []
        self._drop_all()

    async def serve(self, upgrade: Upgrade) -> None:
        """Serve one stream until it is over."""
        client = _Client(upgrade)
        if self._faults.take("stream_refuse"):
            await client.refuse()
            return
        if len(self._clients) >= CLIENTS_MAX:
            silent = (one for one in self._clients if not one.symbols)
            oldest = next(silent, None) or next(iter(self._clients))
            del self._clients[oldest]
            oldest.abort()
        self._clients[client] = None
        try:
            await client.serve()
        finally:
            self._clients.pop(client, None)

    def flush(self) -> None:
        """Send the latest prints of the market's turn."""
        if not self._latest:
            return
        latest, self._latest = self._latest, {}
        frames = {symbol: frame for symbol, trade in latest.items() if (frame := self._of(trade))}
        for client in tuple(self._clients):
            wanted = [symbol for symbol in frames if symbol in client.symbols]
            if not (client.is_open and wanted) or self._faults.take("stream_half_open"):
                continue
            for symbol in wanted:
                client.send(frames[symbol])

    def _of(self, trade: Trade) -> str:
        """Return the frame of a print; empty where nobody wants it or a fault says so."""
        symbol = trade.symbol
        if not any(symbol in client.symbols for client in self._clients):
            return ""
        if self._faults.take("stream_silent_symbol", symbol=symbol):
            return ""
        if self._faults.take("stream_bad_frame", symbol=symbol):
            return json.dumps({"type": "pricing", "message": "!!! no base64 !!!"})
        if fault := self._faults.take("stream_spike", symbol=symbol):
            moved = trade.price_micros * round(float(fault["percent"]) * MICROS) // (100 * MICROS)
            trade = replace(trade, price_micros=trade.price_micros + moved)
        instrument, day = self._market.instrument(symbol), self._market.day(symbol)
        quote = self._market.quote(symbol)
        assert instrument is not None, symbol
        assert day is not None, symbol
        assert quote is not None, symbol
        exchange = EXCHANGES[instrument.primary_exchange]
        data = pricing_data(trade, instrument, exchange, day, quote)
        return json.dumps({"type": "pricing", "message": b64encode(data).decode()})

    def _on_market(self, event: MarketEvent) -> None:
        if self._clients and isinstance(event, Trade):
            self._latest[event.symbol] = event

    def _on_fault(self, name: str, arguments: Mapping[str, Value]) -> None:
        if name == "stream_drop":
            self._drop_all()
        elif name == "stream_close":
            for client in tuple(self._clients):
                client.close(int(arguments["code"]))

    def _drop_all(self) -> None:
        for client in tuple(self._clients):
            client.abort()


def _check(name: str, arguments: Mapping[str, Value]) -> None:
    if name == "stream_close":
        check_close_code(name, arguments["code"])


def _wishes(text: bytes) -> Iterable[tuple[str, set[str]]]:
    """Return what a message asks for; nothing where it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(data, dict):
        return
    for verb in ("subscribe", "unsubscribe"):
        symbols = data.get(verb)
        if isinstance(symbols, list):
            yield verb, {one.upper() for one in symbols[: SYMBOLS_MAX + 1] if isinstance(one, str)}

"""A scripted WebSocket server in Finnhub's place, and a sink that writes everything down."""

import asyncio
import contextlib
import http
import json

from websockets.asyncio.server import serve

from tradebox.ports.ticks import TickBatch


async def eventually(condition, deadline_s=10.0):
    """Wait until the condition holds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while not condition():
        assert loop.time() < until, "it never came true"
        await asyncio.sleep(0.002)


def trade_frame(*trades):
    """Return a trade frame's text; trades as (symbol, price text, time in ms, size)."""
    entries = ",".join(
        f'{{"c":null,"p":{price},"s":"{symbol}","t":{time_ms},"v":{size}}}'
        for symbol, price, time_ms, size in trades
    )
    return f'{{"type":"trade","data":[{entries}]}}'


class ScriptedFinnhub:
    """Sends what it is told to; remembers what it was asked."""

    def __init__(self):
        self.sockets = []
        self.asked = []
        self.paths = []
        self.status = None
        self.on_message = None

    async def _serve(self, socket):
        self.sockets.append(socket)
        self.asked.append([])
        mine = self.asked[-1]
        with contextlib.suppress(Exception):
            async for text in socket:
                message = json.loads(text)
                mine.append((message["type"], message["symbol"]))
                if self.on_message is not None:
                    await self.on_message(socket, mine)

    def _on_request(self, socket, request):
        self.paths.append(request.path)
        if self.status is None:
            return None
        return socket.respond(http.HTTPStatus(self.status), "no\n")

    @contextlib.asynccontextmanager
    async def running(self):
        server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._on_request, ping_interval=None
        )
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def send(self, *texts):
        for text in texts:
            await self.sockets[-1].send(text)

    def subscribed(self):
        """What the newest connection stands for now."""
        symbols = []
        for kind, symbol in self.asked[-1] if self.asked else []:
            symbols.remove(symbol) if kind == "unsubscribe" else symbols.append(symbol)
        return symbols


class SinkLog:
    """A TickSink that writes down."""

    def __init__(self):
        self.connections = 0
        self.batches: list[TickBatch] = []
        self.closes = []
        self.notes = []

    def opened(self):
        self.connections += 1
        return self.connections

    def ticks(self, batch):
        self.batches.append(batch)

    def closed(self, reason, retry_s):
        self.closes.append((reason, retry_s))

    def noted(self, kind, text):
        self.notes.append((kind, text))

    @property
    def all(self):
        return [one for batch in self.batches for one in batch.ticks]


@contextlib.asynccontextmanager
async def running(coroutine):
    """Run a coroutine for the length of the block."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

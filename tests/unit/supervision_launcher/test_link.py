"""The engine's line to its launcher, over a real socket pair and a real loop."""

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest

from tradebox.supervision.lines import LINE_BYTES_MAX
from tradebox.supervision.link import Ask, EngineLink


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


def said(theirs: socket.socket) -> dict:
    text = b""
    while not text.endswith(b"\n"):
        text += theirs.recv(1)
    return json.loads(text)


def test_reports_travel_without_a_loop(ends):
    link = EngineLink(ends[0])
    assert link.report("ready", {"a": 1})
    assert said(ends[1]) == {"kind": "ready", "data": {"a": 1}}


def test_chatter_leaves_room_for_what_matters(ends):
    link = EngineLink(ends[0])
    text = {"text": "x" * 10_000}
    while link.report("line", text):
        pass
    assert link.refused == 1
    assert not link.report("status", text)
    assert link.report("summary", text)


def test_a_report_too_long_to_be_read_is_refused(ends):
    link = EngineLink(ends[0])
    assert not link.report("summary", {"text": "x" * LINE_BYTES_MAX})
    assert link.refused == 1


@pytest.mark.asyncio
async def test_asks_are_answered_once_now_or_later(ends):
    link = EngineLink(ends[0])
    asks: list[Ask] = []
    arrived = asyncio.Event()

    def on_ask(ask: Ask) -> None:
        if ask.name == "break":
            raise ValueError("no")
        asks.append(ask)
        arrived.set()

    link.attach(asyncio.get_running_loop(), on_ask)
    ends[1].sendall(b'junk\n{"id":1,"ask":"later","data":{"x":2}}\n')
    await asyncio.wait_for(arrived.wait(), 10)
    (ask,) = asks
    assert (ask.name, ask.data) == ("later", {"x": 2})
    ask.reply({"y": 3})
    ask.refuse("twice")
    assert said(ends[1]) == {"id": 1, "answer": {"y": 3}}
    ends[1].sendall(b'{"id":2,"ask":"break"}\n')
    answer = await asyncio.to_thread(said, ends[1])
    assert answer == {"id": 2, "error": "ValueError: no"}
    link.detach()


@pytest.mark.asyncio
async def test_notices_arrive_and_a_slow_launcher_gets_everything(ends):
    link = EngineLink(ends[0])
    heard: list[tuple[str, dict]] = []
    arrived = asyncio.Event()

    def on_notice(name: str, data: dict) -> None:
        heard.append((name, data))
        arrived.set()

    link.attach(asyncio.get_running_loop(), lambda _ask: None, on_notice)
    ends[1].sendall(b'{"notice":"server","data":{"name":"a"}}\n')
    await asyncio.wait_for(arrived.wait(), 10)
    assert heard == [("server", {"name": "a"})]
    for number in range(40):
        assert link.report("summary", {"n": number, "text": "x" * 20_000})
    numbers = [(await asyncio.to_thread(said_fast, ends[1]))["data"]["n"] for _ in range(40)]
    assert numbers == list(range(40))
    link.detach()


_buffers: dict[int, bytes] = {}


def said_fast(theirs: socket.socket) -> dict:
    text = _buffers.pop(theirs.fileno(), b"")
    while b"\n" not in text:
        text += theirs.recv(65536)
    line, _, rest = text.partition(b"\n")
    _buffers[theirs.fileno()] = rest
    return json.loads(line)


@pytest.mark.asyncio
async def test_a_launcher_that_is_gone_does_not_spin_the_loop(ends):
    link = EngineLink(ends[0])
    loop = asyncio.get_running_loop()
    link.attach(loop, lambda _ask: None)
    ends[1].close()
    for _ in range(5):
        await asyncio.sleep(0)
    turned = asyncio.Event()
    loop.call_later(0.02, turned.set)
    await turned.wait()
    assert not loop.remove_reader(ends[0].fileno())
    assert not link.report("line", {"text": "x"}) or link.refused == 0


def test_close_gives_the_launcher_time_but_not_for_ever(ends):
    link = EngineLink(ends[0])
    for _ in range(60):
        link.report("summary", {"text": "x" * 50_000})
    link.close(0.05)
    assert ends[0].fileno() == -1

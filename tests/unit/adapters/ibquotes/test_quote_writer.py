"""The writer of a quote link lets requests for quotes through, and no other byte."""

import asyncio
import struct

import pytest
from ib_async import Contract, MarketOrder

from support.manual_tree import until
from tradebox.adapters.ibkr.quotes.client import ALLOWED, QuoteClient, QuoteConnection

STOCK = Contract(secType="STK", symbol="SPY", exchange="SMART", currency="USD")


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)


class Decoder:
    """Keeps what is read."""

    serverVersion = 0  # noqa: N815 - the library's name

    def __init__(self):
        self.read = []
        self.pauses = 0

    def interpret(self, fields):
        self.read.append(fields)

    def pause(self):
        self.pauses += 1


def frame(text):
    payload = text.encode()
    return struct.pack(">I", len(payload)) + payload


def connection():
    made = QuoteConnection(lambda _: None)
    made.transport = Transport()
    return made


def client():
    made = QuoteClient(object(), Decoder())
    made.conn.transport = Transport()
    made._serverVersion, made._apiReady, made.connState = 178, True, made.CONNECTED
    return made


def test_the_socket_takes_frames_of_the_allow_list_alone():
    for number in map(str, range(-2, 300)):
        link = connection()
        message = frame(f"{number}\x001\x00")
        if number in ALLOWED:
            link.sendMsg(message)
            assert link.transport.written == [message]
            continue
        with pytest.raises(AssertionError, match="writes no message"):
            link.sendMsg(message)
        assert link.transport.written == []


@pytest.mark.parametrize("text", ["", "03\0", " 3\0", "+3\0", "3", "٣\0", "\x003\0", "1.0\0"])
def test_another_spelling_of_a_forbidden_id_is_no_way_around(text):
    link = connection()
    with pytest.raises(AssertionError):
        link.sendMsg(frame(text))
    assert link.transport.written == []


def test_no_second_frame_hides_behind_an_allowed_one():
    link = connection()
    with pytest.raises(AssertionError, match="whole frames"):
        link.sendMsg(frame("1\x00") + frame("58\x001\x00"))
    with pytest.raises(AssertionError, match="whole frames"):
        link.sendMsg(frame("58\x001\x00")[:-1])
    assert link.transport.written == []


def test_the_greeting_passes_once():
    link = connection()
    greeting = b"API\0" + frame("v157..178")
    link.sendMsg(greeting)
    with pytest.raises(AssertionError):
        link.sendMsg(greeting)
    assert link.transport.written == [greeting]


FORBIDDEN = {
    "placeOrder": lambda one: one.placeOrder(1, STOCK, MarketOrder("BUY", 1)),
    "cancelOrder": lambda one: one.cancelOrder(1),
    "reqGlobalCancel": lambda one: one.reqGlobalCancel(),
    "exerciseOptions": lambda one: one.exerciseOptions(1, STOCK, 1, 1, "", 0),
    "reqOpenOrders": lambda one: one.reqOpenOrders(),
    "reqAutoOpenOrders": lambda one: one.reqAutoOpenOrders(True),
    "reqIds": lambda one: one.reqIds(1),
    "replaceFA": lambda one: one.replaceFA(1, 1, "<xml/>"),
    "raw": lambda one: one.sendMsg("3\x001\x00"),
    "send": lambda one: one.send(3, 1, STOCK),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", FORBIDDEN)
async def test_every_request_of_the_library_that_is_none_for_quotes_is_refused(name):
    link = client()
    with pytest.raises(AssertionError, match="writes no message"):
        FORBIDDEN[name](link)
    await asyncio.sleep(0)
    assert link.conn.transport.written == []
    assert not link._msgQ


@pytest.mark.asyncio
async def test_what_asks_for_quotes_is_written_as_the_library_writes_it():
    link = client()
    link.reqMarketDataType(1)
    link.reqMktData(7, STOCK, "", False, False, [])
    link.cancelMktData(7)
    link.reqCurrentTime()
    assert link.conn.transport.written == [
        frame("59\x001\x001\x00"),
        frame(
            "1\x0011\x007\x000\x00SPY\x00STK\x00\x000.0\x00\x00\x00SMART\x00\x00USD\x00\x00"
            "\x000\x00\x000\x000\x00\x00"
        ),
        frame("2\x002\x007\x00"),
        frame("49\x001\x00"),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 3, 7, 100_000])
async def test_frames_come_whole_and_in_order_however_the_bytes_are_cut(size):
    link = client()
    data = b"".join(frame(f"1\x00{number}\x00") for number in range(600))
    for at in range(0, len(data), size):
        link.conn.data_received(data[at : at + size])
    await until(lambda: link._next is None)
    assert [int(fields[1]) for fields in link.decoder.read] == list(range(600))
    assert link.decoder.pauses > 0


@pytest.mark.asyncio
async def test_a_flood_lets_others_have_their_turn():
    link = client()
    link.conn.data_received(b"".join(frame("1\x00") for _ in range(2000)))
    assert 0 < len(link.decoder.read) < 2000
    turns = 0
    while link._next is not None:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 3
    assert len(link.decoder.read) == 2000


@pytest.mark.asyncio
async def test_nothing_is_read_after_the_end():
    link = client()
    link.decoder.interpret = lambda _: link.reset()
    link.conn.data_received(b"".join(frame("1\x00") for _ in range(10)))
    assert link.decoder.pauses == 0
    assert link._waiting == b""

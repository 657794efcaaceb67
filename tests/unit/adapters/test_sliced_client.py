"""A long answer of the gateway is read in slices: in order, whole, and letting others on."""

import asyncio
import struct
import time

import pytest

from support.manual_tree import until
from tradebox.adapters.ibkr.orders import sliced_client
from tradebox.adapters.ibkr.orders.sliced_client import SlicedClient


class Wrapper:
    def __init__(self):
        self.ended = []

    def setEventsDone(self):  # noqa: N802 - the library's name
        self.ended.append("done")

    def connectionClosed(self):  # noqa: N802 - the library's name
        self.ended.append("closed")


class Reader:
    """Stands behind the client where its decoder is; each message costs some time."""

    def __init__(self, cost_s=0.0):
        self.cost_s = cost_s
        self.read = []
        self.on_message = lambda _: None

    def interpret(self, fields):
        until_s = time.perf_counter() + self.cost_s
        while time.perf_counter() < until_s:
            pass
        self.read.append(fields)
        self.on_message(fields)


def ready_client(cost_s=0.0):
    client = SlicedClient(Wrapper())
    client.decoder = Reader(cost_s)
    client._serverVersion, client._apiReady, client.connState = 176, True, client.CONNECTED
    return client


def frames(count, start=0):
    texts = [f"1\0{number}\0".encode() for number in range(start, start + count)]
    return b"".join(struct.pack(">I", len(text)) + text for text in texts)


def numbers(client):
    return [int(fields[1]) for fields in client.decoder.read]


async def drained(client):
    await until(lambda: client._next is None)


@pytest.mark.asyncio
async def test_others_get_their_turn_in_the_middle_of_a_long_answer(monkeypatch):
    monkeypatch.setattr(sliced_client, "SLICE_S", 0.001)
    client, turns = ready_client(cost_s=0.0005), []
    client._onSocketHasData(frames(50))
    while client._next is not None:
        turns.append(len(client.decoder.read))
        await asyncio.sleep(0)
    assert len(turns) > 5
    assert numbers(client) == list(range(50))


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_messages_come_whole_and_in_order_however_the_bytes_are_cut(monkeypatch, size):
    monkeypatch.setattr(sliced_client, "SLICE_S", 0.0)
    client, data = ready_client(), frames(40)
    for at in range(0, len(data), size):
        client._onSocketHasData(data[at : at + size])
    await drained(client)
    assert numbers(client) == list(range(40))


@pytest.mark.asyncio
async def test_the_end_of_a_connection_comes_after_what_it_said(monkeypatch):
    monkeypatch.setattr(sliced_client, "SLICE_S", 0.0)
    client = ready_client()
    client._onSocketHasData(frames(10))
    client._onSocketDisconnected("")
    assert client.wrapper.ended == []
    client._onSocketHasData(frames(5, start=10))
    await drained(client)
    assert numbers(client) == list(range(15))
    assert client.wrapper.ended == ["done", "closed"]


@pytest.mark.asyncio
async def test_nothing_is_read_after_we_have_left(monkeypatch):
    monkeypatch.setattr(sliced_client, "SLICE_S", 0.0)
    client = ready_client()
    client._onSocketHasData(frames(10))
    seen = len(client.decoder.read)
    client.reset()
    await asyncio.sleep(0.01)
    assert len(client.decoder.read) == seen
    assert client.wrapper.ended == []


@pytest.mark.asyncio
async def test_a_message_that_ends_the_connection_is_the_last():
    client = ready_client()
    client.decoder.on_message = lambda fields: client.reset() if fields[1] == "3" else None
    client._onSocketHasData(frames(10))
    assert numbers(client) == [0, 1, 2, 3]

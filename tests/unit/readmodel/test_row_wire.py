"""The wire to Redis: what is sent, answers in any pieces, no trust after a missed one."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.errors import BusUnavailable
from tradebox.readmodel.row_wire import RowWire

OK = b"+OK\r\n"
VALUES = st.lists(st.none() | st.binary(max_size=300), max_size=6)


def reply(values):
    parts = [b"$-1\r\n" if v is None else b"$%d\r\n%s\r\n" % (len(v), v) for v in values]
    return b"*%d\r\n" % len(values) + b"".join(parts)


class Answers:
    """A peer in the same process: it keeps what was said and has its answers ready."""

    def __init__(self) -> None:
        self.said, self.is_closed = b"", False

    def write(self, data):
        self.said += bytes(data)

    def close(self):
        self.is_closed = True


def wire_with(answers, step=None):
    reader, writer = asyncio.StreamReader(), Answers()
    data = b"".join(answers)
    for at in range(0, len(data), step or len(data) or 1):
        reader.feed_data(data[at : at + (step or len(data))])
    reader.feed_eof()
    return RowWire(reader, writer), writer


@given(VALUES, st.integers(1, 50))
def test_values_come_back_in_whatever_pieces(values, step):
    async def ask():
        wire, writer = wire_with([reply(values)], step)
        assert await wire.mget([f"k{at}" for at in range(len(values))]) == values
        assert wire.is_open
        assert writer.said.startswith(b"*%d\r\n$4\r\nMGET\r\n" % (len(values) + 1))

    asyncio.run(ask())


@pytest.mark.parametrize(
    "answer", [b"", b"*1\r\n$5\r\nab", b"*2\r\n$-1\r\n$-1\r\n", b"*1\r\n$9999999999\r\n", b"?\r\n",
               b"$x\r\n", OK],
)  # fmt: skip
def test_an_answer_that_is_none_ends_the_connection(answer):
    async def ask():
        wire, writer = wire_with([answer])
        with pytest.raises(BusUnavailable):
            await wire.mget(["rm:v1:plans"])
        assert not wire.is_open
        assert writer.is_closed

    asyncio.run(ask())


def test_a_refusal_is_told_in_its_own_words():
    async def ask():
        wire, _ = wire_with([b"-NOPERM no\r\n", reply([b"1"])])
        with pytest.raises(BusUnavailable, match="NOPERM no"):
            await wire.mget(["a"])
        assert wire.is_open
        assert await wire.mget(["a"]) == [b"1"]

    asyncio.run(ask())


def test_a_question_that_was_given_up_answers_no_other():
    async def ask():
        reader, writer = asyncio.StreamReader(), Answers()
        wire = RowWire(reader, writer)
        asked = asyncio.create_task(wire.mget(["a"]))
        await asyncio.wait([asked], timeout=0.01)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        assert not wire.is_open

    asyncio.run(ask())

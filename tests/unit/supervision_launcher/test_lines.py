"""Bounded lines over pipes."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.supervision.lines import LineReader, LineSplitter, LineWriter, decode, encode


@given(st.lists(st.binary(max_size=20)), st.integers(1, 12))
def test_holds_the_cut_of_the_stream_does_not_matter(parts, bytes_max):
    whole = b"".join(parts)
    by_chunk, at_once, by_byte = (LineSplitter(bytes_max) for _ in range(3))
    expected = at_once.feed(whole)
    assert [line for part in parts for line in by_chunk.feed(part)] == expected
    assert [line for n in whole for line in by_byte.feed(bytes([n]))] == expected
    assert by_chunk.dropped == at_once.dropped == by_byte.dropped
    assert all(len(line) <= bytes_max for line in expected)
    kept = [line for line in whole.split(b"\n")[:-1] if len(line) <= bytes_max]
    assert expected == kept


@pytest.mark.parametrize("line", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000, "nul"])
def test_what_is_no_object_is_nothing(line):
    assert decode(line) is None


def test_an_object_travels():
    assert decode(encode({"a": [1, "é"]})) == {"a": [1, "é"]}


def test_a_reader_hands_on_the_unfinished_last_line():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    lines: list[bytes] = []
    reader = LineReader(reading, lines.append)
    os.write(writing, b"one\ntw")
    assert reader.read()
    assert lines == [b"one"]
    os.write(writing, b"o")
    os.close(writing)
    assert not reader.read()
    assert lines == [b"one", b"two"]
    os.close(reading)


@given(st.lists(st.binary(min_size=1, max_size=5000).map(lambda b: b.replace(b"\n", b" ") + b"\n")))
def test_holds_what_was_accepted_arrives_whole_and_in_order(lines):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer = LineWriter(ours.fileno(), 20_000)
        got: list[bytes] = []
        reader = LineReader(theirs.fileno(), got.append)
        accepted = []
        for line in lines:
            if writer.offer(line):
                accepted.append(line[:-1])
            assert 0 <= writer.held <= 20_000
        while not writer.flush():
            reader.read()
        reader.read(1000)
        assert got == accepted
        assert writer.refused == len(lines) - len(accepted)


def test_a_reserve_is_kept_for_what_matters():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        writer = LineWriter(ours.fileno(), 1_000_000)
        while writer.offer(b"x" * 1000, reserve=500_000):
            pass
        assert writer.offer(b"y" * 1000)


def test_a_broken_stream_refuses_and_holds_nothing():
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        writer = LineWriter(ours.fileno(), 1000)
        theirs.close()
        writer.offer(b"a\n")
        assert writer.is_broken
        assert not writer.offer(b"b\n")
        assert writer.held == 0

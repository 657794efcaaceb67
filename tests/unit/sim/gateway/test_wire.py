"""Frames, fields and numbers of the TWS socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.errors import WireInvalid
from tradebox.sim.gateway import wire

FIELDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


@given(st.lists(FIELDS.filter(bool), max_size=6), st.data())
def test_any_split_of_a_stream_gives_the_same_frames(messages, data):
    stream = b"".join(wire.encode(fields) for fields in messages)
    decoder = wire.FrameDecoder()
    frames = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        frames += decoder.feed(stream[:size])
        stream = stream[size:]
    assert [wire.decode(frame) for frame in frames] == messages


@given(st.binary(max_size=300))
def test_garbage_is_a_frame_or_wire_invalid(data):
    try:
        for frame in wire.FrameDecoder(limit=64).feed(data):
            wire.decode(frame)
    except WireInvalid:
        pass


def test_a_frame_beyond_the_limit_is_refused_before_it_is_buffered():
    with pytest.raises(WireInvalid):
        wire.FrameDecoder().feed(b"\x7f\xff\xff\xff")


@given(st.integers(-(10**15), 10**15))
def test_a_price_leaves_exactly_and_reads_back(micros):
    text = wire.price_text(micros)
    assert "." in text
    assert wire.read_micros(text) == micros


@pytest.mark.parametrize(
    "text",
    ["", "2147483647", "1.7976931348623157E308", "1.7976931348623157e+308", "9223372036854775807"],
)
def test_every_spelling_of_unset_is_no_number(text):
    assert wire.read_decimal(text) is None
    assert wire.read_micros(text) == 0


@pytest.mark.parametrize("text", ["nan", "inf", "Infinity", "-inf", "1e999", "abc", "1,5"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(WireInvalid):
        wire.read_decimal(text)


def test_a_price_beside_the_grid_by_float_noise_stays_beside_it():
    assert wire.read_micros("0.30000000000000004") == 300_001
    assert wire.read_micros("0.3") == 300_000


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("0", False), ("", False), ("True", True), ("False", False)],
)
def test_truth_values_of_both_spellings(text, value):
    assert wire.read_flag(text) is value


def test_money_and_averages():
    assert wire.money_text(-1_234_567) == "-1.23"
    assert wire.money_text(-1) == "0.00"
    assert wire.average_text(100_000_000, 3) == "33.33333333"
    assert wire.average_text(0, 0) == "0.0"


def test_a_message_is_read_to_its_end():
    reader = wire.FieldReader(["1", "x", "y"])
    assert (reader.integer(), reader.text()) == (1, "x")
    with pytest.raises(WireInvalid):
        reader.end()
    reader.skip()
    reader.end()
    with pytest.raises(WireInvalid):
        reader.text()

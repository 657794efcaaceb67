"""A tape read is the tape written, and what is no tape says where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.domain.tape import (
    AT_NS_MAX,
    HEADER,
    PRICE_USD_MAX,
    SIZE_MAX,
    TapeTrade,
    read_tape,
    tape_line,
)

TRADES = st.builds(
    TapeTrade,
    st.from_regex(r"[A-Z0-9][A-Z0-9.\-]{0,15}", fullmatch=True),
    st.integers(1, AT_NS_MAX - 1),
    st.one_of(
        st.integers(1, PRICE_USD_MAX * 1_000_000),
        st.integers(1, PRICE_USD_MAX // 10).map(lambda tens: tens * 10_000_000),
        st.sampled_from([10_000, 100_000, 1_000_000, 100_000_000, 100_500_000]),
    ),
    st.integers(1, SIZE_MAX),
)


@given(st.lists(TRADES, max_size=20))
def test_reading_the_line_gives_the_trade_again(trades: list[TapeTrade]) -> None:
    assert list(read_tape([HEADER, *map(tape_line, trades)])) == trades


@given(st.lists(TRADES, min_size=1, max_size=5), st.data())
def test_a_cut_last_line_is_no_trade(trades: list[TapeTrade], data: st.DataObject) -> None:
    lines = [HEADER, *map(tape_line, trades)]
    length = data.draw(st.integers(0, len(lines[-1]) - 1))
    lines[-1] = lines[-1][:length]
    assert list(read_tape(line for line in lines if line)) == trades[:-1]


@given(st.text(max_size=60))
def test_any_other_line_is_refused_or_a_trade(text: str) -> None:
    last = TapeTrade("A", 1, 1, 1)
    lines = [HEADER, text.replace("\n", " ").replace("\r", " ") + "\n", tape_line(last)]
    try:
        found = list(read_tape(lines))
    except ValueError:
        with pytest.raises(ValueError, match="line 2"):
            list(read_tape(lines))
    else:
        assert found[-1] == last


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([], "it is empty: begin with symbol,at_ns,price,size"),
        (["a,b\n"], "line 1 is 'a,b': begin with"),
        ([HEADER, "AAPL,1,1\n"], "line 2 has 3 columns"),
        ([HEADER, "aapl,1,1,1\n"], "line 2: symbol='aapl'"),
        ([HEADER, "AAPL,x,1,1\n"], "line 2: at_ns='x': give UTC nanoseconds"),
        ([HEADER, "AAPL,1,1e3,1\n"], "line 2: price='1e3'"),
        ([HEADER, "AAPL,1,NaN,1\n"], "line 2: price='NaN'"),
        ([HEADER, "AAPL,1,0,1\n"], "line 2: price='0'"),
        ([HEADER, "AAPL,1,-1,1\n"], "line 2: price='-1'"),
        ([HEADER, "AAPL,1,1.1234567,1\n"], "line 2: price='1.1234567'"),
        ([HEADER, "AAPL,1,1,0\n"], "line 2: size='0': give whole shares"),
        ([HEADER, "AAPL,1,1,1", "AAPL,2,1,1\n"], "line 2 is no whole line"),
    ],
)
def test_what_is_no_tape_says_where_and_how(lines: list[str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        list(read_tape(lines))

from decimal import Decimal

import pytest

from tradebox.readmodel import SCHEMA_VERSION, Row, decode_row, encode_row, key_of

S = 1_000_000_000


def test_a_row_comes_back_as_it_was():
    row = Row(14, 5, 6, 1.0, {"price": "1.50", "list": [1, None, True]})
    assert decode_row(encode_row(row)) == row


def test_decimals_travel_as_text():
    row = decode_row(encode_row(Row(1, 1, 1, 1.0, {"price": Decimal("1.50")})))
    assert row is not None
    assert row.data == {"price": "1.50"}


@pytest.mark.parametrize("blob", [None, b"", b"{", b"[]", b"3", b"{}", b'{"v":1}', b"\xff"])
def test_garbage_is_nothing(blob):
    assert decode_row(blob) is None


def test_another_version_is_nothing_rather_than_nonsense():
    blob = encode_row(Row(1, 1, 1, 1.0, {}))
    other = blob.replace(b'"v":%d' % SCHEMA_VERSION, b'"v":%d' % (SCHEMA_VERSION + 1))
    assert other != blob
    assert decode_row(other) is None


def test_age_and_staleness_are_monotonic_time():
    row = Row(1, 0, 10 * S, 2.0, None)
    assert row.age_s(12 * S) == 2.0
    assert row.age_s(9 * S) == 0.0
    assert not row.is_stale(16 * S)
    assert row.is_stale(16 * S + 1)


def test_keys_carry_the_version():
    assert key_of("plan:P-1") == f"rm:v{SCHEMA_VERSION}:plan:P-1"

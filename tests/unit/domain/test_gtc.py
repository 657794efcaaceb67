"""The dates of good-till-cancelled orders."""

from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tradebox.domain.gtc import ends_on, needs_renewal

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("placed", "last"),
    [
        (date(2026, 1, 1), date(2026, 6, 30)),
        (date(2026, 3, 31), date(2026, 6, 30)),
        (date(2026, 4, 1), date(2026, 9, 30)),
        (date(2026, 8, 24), date(2026, 12, 31)),
        (date(2026, 12, 31), date(2027, 3, 31)),
    ],
)
def test_an_order_lasts_to_the_end_of_the_next_quarter(placed, last):
    assert ends_on(placed) == last


@given(placed=st.datetimes(datetime(2016, 1, 4), datetime(2036, 1, 1)))
def test_who_renews_when_told_never_loses_an_order(placed):
    placed_ns = int(placed.replace(tzinfo=UTC).timestamp()) * 10**9
    now_ns = placed_ns
    while not needs_renewal(placed_ns, now_ns):
        now_ns += DAY_NS
    now = datetime.fromtimestamp(now_ns // 10**9, tz=UTC).date()
    assert now + timedelta(days=19) <= ends_on(placed.date()) + timedelta(days=92)
    assert now < ends_on(placed.date())

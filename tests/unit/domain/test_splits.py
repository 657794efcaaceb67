"""Which changes of a position could be a split's."""

import pytest

from tradebox.domain.splits import is_split_ratio


@pytest.mark.parametrize(
    ("before", "after"), [(40, 80), (-40, -80), (100, 10), (105, 10), (40, 60), (60, 40), (40, 50)]
)
def test_shares_that_changed_at_a_split_s_ratio(before, after):
    assert is_split_ratio(before, after)


@pytest.mark.parametrize(
    ("before", "after"), [(40, 40), (40, 0), (0, 40), (40, -80), (40, 50 + 1), (40, 41), (3, 0)]
)
def test_shares_that_changed_otherwise(before, after):
    assert not is_split_ratio(before, after)

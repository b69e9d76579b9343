"""Rows by the steps before them: parity with the rules written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.experience import suffix_keys
from trajstore.suffixes import SUFFIX_SIMILARITY, RowsBySuffix, agreement

histories = st.lists(st.lists(st.integers(0, 2), max_size=5).map(tuple), max_size=30)
asked_for = st.lists(st.integers(0, 2), max_size=5).map(tuple)


def shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many of the last three steps are the same, the start being one."""
    pairs = zip(reversed((-1, -1, -1, *one)), reversed((-1, -1, -1, *other)), strict=False)
    same = [first == second for first, second in pairs][:3]
    return same.index(False) if False in same else 3


@given(histories, asked_for)
def test_order_agrees_by_the_longest_suffix_that_is_the_same(stored, asked):
    keys = np.array([suffix_keys(one) for one in stored], np.int64).reshape(-1, 3)
    expected = [float(SUFFIX_SIMILARITY[shared(one, asked)]) for one in stored]
    assert agreement(keys, suffix_keys(asked)).tolist() == expected


@given(histories, asked_for, st.integers(1, 8), st.integers(0, 30))
def test_the_newest_rows_of_the_longest_suffix_come_first_and_shorter_ones_fill_up(stored, asked, most, cut):
    keys = [suffix_keys(one) for one in stored]
    rows = RowsBySuffix(keys[:cut])
    rows.extend(keys[cut:])
    expected: list[int] = []
    for length in (3, 2, 1):
        if len(expected) < most:
            expected += [row for row, one in enumerate(stored) if shared(one, asked) >= length][-most:]
    assert rows.newest(suffix_keys(asked), most).tolist() == expected


@pytest.mark.parametrize("most", [1, 5])
def test_nothing_comes_after_a_suffix_that_was_never_seen(most):
    assert RowsBySuffix([suffix_keys((1, 2, 3))]).newest(suffix_keys((7, 7, 7)), most).tolist() == []

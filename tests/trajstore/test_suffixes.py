"""The order of steps: parity with the rule written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trajstore.experience import suffix_keys
from trajstore.suffixes import SUFFIX_SIMILARITY, agreement

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

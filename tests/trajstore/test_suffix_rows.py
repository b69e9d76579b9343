"""Rows by suffix, against lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trajstore.suffix_rows import SuffixRows

KEYS = st.integers(-2, 2)
SUFFIXES = st.lists(st.tuples(KEYS, KEYS), max_size=12)


def as_array(suffixes: list[tuple[int, int]]) -> np.ndarray:
    return np.array(suffixes, np.int64).reshape(len(suffixes), 2)


@given(SUFFIXES, SUFFIXES, st.integers(0, 1), KEYS, st.integers(0, 30))
def test_the_newest_rows_of_a_suffix_are_found_oldest_first(known, later, length, key, most):
    rows = SuffixRows(as_array(known))
    rows.extend(as_array(later))
    expected = [row for row, keys in enumerate([*known, *later]) if keys[length] == key]
    assert rows.newest(length, key, most) == expected[max(0, len(expected) - most) :]

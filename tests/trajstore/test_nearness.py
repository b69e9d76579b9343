"""Pure functions on similarities: parity with plain NumPy and the standard library."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trajstore.index import inner_products
from trajstore.nearness import distinct, medians, numbered, sums_by_number

numbers = st.lists(st.integers(0, 6), max_size=30)
halves = st.integers(-8, 8).map(lambda value: value / 2.0)


@given(numbers)
def test_numbering_is_the_inverse_that_unique_gives(values):
    found = numbered(np.array(values, np.int32))
    assert found.tolist() == np.unique(values, return_inverse=True)[1].tolist()


@given(numbers)
def test_distinct_rows_stand_where_unique_finds_them_first(values):
    rows = np.array(values, np.int64)
    assert distinct(rows).tolist() == np.unique(rows, return_index=True)[1].tolist()


@given(st.lists(st.tuples(st.integers(0, 6), halves, halves), max_size=30))
def test_sums_by_number_are_those_of_a_counter(rows):
    weights = np.array([row[1:] for row in rows], np.float64).reshape(-1, 2).T
    found = sums_by_number(np.array([row[0] for row in rows], np.int64), weights, 7)
    for column in (0, 1):
        expected = Counter[int]()
        for row in rows:
            expected[row[0]] += row[1 + column]
        assert found[column].tolist() == [float(expected[number]) for number in range(7)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_medians_are_those_of_numpy(seed, count):
    values = np.random.default_rng(seed).normal(size=(3, count)).astype(np.float32)
    assert medians(values).tolist() == np.median(values, axis=1).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9))
def test_inner_products_are_those_of_the_gathered_rows_and_of_the_others(seed, count, others):
    rng = np.random.default_rng(seed)
    matrix, known = (rng.normal(size=(rows, 16)).astype(np.float32) for rows in (12, others))
    query, rows = rng.normal(size=16).astype(np.float32), rng.integers(0, 12, count)
    expected = np.concatenate([matrix[rows], known]) @ query
    assert np.allclose(inner_products(query, matrix, rows, known), expected, atol=1e-5)

"""Layers of indexes over a matrix that grows: whatever is in which, they find what comparing all rows finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajstore import layers
from trajstore.index import VectorIndex
from trajstore.layers import LATER_SHARE, TAIL_ROWS, Layers


def unit_rows(count: int) -> np.ndarray:
    vectors = np.random.default_rng(count).standard_normal((count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 20), st.integers(0, 100))
def test_the_nearest_rows_are_found_in_whichever_layer_they_lie(growth: list[int], k: int, seed: int):
    ends = np.cumsum(growth).tolist()
    rows = unit_rows(ends[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "TAIL_ROWS", 5)
        known = Layers(VectorIndex.build(rows[: ends[0]]))
        for end in ends[1:]:
            known = known.grown(rows[:end])
    query = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
    exact = rows @ query
    found = known.search(query, k, rows)
    assert len(set(found.rows.tolist())) == len(found.rows)
    best = np.sort(exact)[::-1][: min(k, len(rows))]
    assert np.sort(exact[found.rows])[::-1][: len(best)] == pytest.approx(best, abs=5e-3)
    assert found.similarities == pytest.approx(exact[found.rows], abs=5e-3)


def test_what_came_later_gets_an_index_of_its_own_once_it_is_much():
    rows = unit_rows(3 * TAIL_ROWS)
    known = Layers(VectorIndex.build(rows[:10]))
    assert known.grown(rows[: 10 + TAIL_ROWS]) is known
    grown = known.grown(rows[: 11 + TAIL_ROWS])
    assert (grown.main, grown.indexed) == (known.main, 11 + TAIL_ROWS)


@pytest.mark.parametrize(("later", "suits"), [(0, True), (TAIL_ROWS, True), (TAIL_ROWS + 1, False), (-1, False)])
def test_layers_suit_until_too_much_came_later(later: int, suits: bool):  # noqa: FBT001 - a case
    assert Layers(VectorIndex.build(unit_rows(LATER_SHARE))).suit(LATER_SHARE + later) is suits

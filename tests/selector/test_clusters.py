"""State clusters: found the same every time, and what is alike lies together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from selector.clusters import MOST_CLUSTERS, StateClusters, find_clusters, from_bytes, to_bytes
from trajstore.errors import DamagedStore


def around(centres: int, each: int, *, dimension: int = 16, noise: float = 0.1) -> NDArray[np.float32]:
    """Unit vectors around orthogonal centres, one centre after the other."""
    rng = np.random.default_rng(0)
    noises = noise * rng.normal(size=(centres * each, dimension))
    vectors = np.repeat(np.eye(dimension)[:centres], each, axis=0) + noises
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_states_that_are_alike_share_a_cluster_and_others_do_not():
    numbers = find_clusters(around(4, 50)).assign(around(4, 50)).reshape(4, 50)
    members = [set(row.tolist()) for row in numbers]
    for one in range(4):
        for other in range(one):
            assert not members[one] & members[other]


@given(st.integers(0, 200), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_same_states_and_seed_give_the_same_unit_centres(rows, seed):
    states = around(5, 40)[:rows]
    first, second = find_clusters(states, seed=seed), find_clusters(states, seed=seed)
    np.testing.assert_array_equal(first.centres_CD, second.centres_CD)
    np.testing.assert_allclose(np.linalg.norm(first.centres_CD, axis=1), 1.0, rtol=1e-5)
    assert len(first) <= MOST_CLUSTERS
    assert first.rows == rows


def test_the_nearest_cluster_is_the_one_that_assigning_gives():
    states = around(3, 30)
    clusters = find_clusters(states)
    assert [clusters.nearest(state) for state in states] == clusters.assign(states).tolist()


def test_without_states_there_is_no_cluster():
    clusters = find_clusters(np.zeros((0, 8), np.float32))
    assert clusters.nearest(np.ones(8, np.float32)) == -1
    assert clusters.assign(np.ones((2, 8), np.float32)).tolist() == [-1, -1]


def test_equal_states_make_one_cluster():
    states = np.tile(np.eye(8, dtype=np.float32)[0], (500, 1))
    assert len(find_clusters(states)) == 1


def test_clusters_come_back_from_their_bytes():
    clusters = find_clusters(around(4, 40))
    back = from_bytes(to_bytes(clusters))
    np.testing.assert_allclose(back.centres_CD, clusters.centres_CD, atol=1e-3)
    assert back.rows == clusters.rows


@pytest.mark.parametrize("content", [b"", b"no archive", to_bytes(StateClusters(np.zeros(3, np.float32), 1))])
def test_bytes_that_are_no_clusters_are_refused(content):
    with pytest.raises(DamagedStore, match="found anew"):
        from_bytes(content)

"""Priors by hierarchy: each level lies between its data and its parent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import betaincinv

from selector.hierarchy import (
    STRENGTHS,
    build_hierarchy,
    moment_strength,
    shrink,
    sibling_strength,
    tool_families,
)

counts = arrays(np.float64, (3, 4), elements=st.floats(0.0, 50.0))
shares = arrays(np.float64, (3, 4), elements=st.floats(0.0, 1.0))
FAMILIES = np.array([0, 0, 1, 2])


@given(counts, shares)
def test_every_mean_is_a_probability(counts_CT, rates_CT):
    built = build_hierarchy(counts_CT * rates_CT, counts_CT, FAMILIES)
    for means in (built.overall, built.tools_T, built.clusters_CT):
        assert np.all((np.asarray(means) >= 0.0) & (np.asarray(means) <= 1.0))
    assert np.all((built.weights_T > 0.0) & (built.weights_T <= STRENGTHS[1]))


@given(counts, shares, st.floats(0.01, 0.99))
def test_a_mean_lies_between_its_data_and_its_parent(counts_CT, rates_CT, parent):
    parents = np.full(counts_CT.shape, parent)
    means = shrink(counts_CT * rates_CT, counts_CT, parents)
    low, high = np.minimum(rates_CT, parents), np.maximum(rates_CT, parents)
    assert np.all((means >= low - 1e-9) & (means <= high + 1e-9))


def test_a_tool_never_seen_gets_the_mean_of_all_and_one_never_seen_here_that_of_its_tool():
    counts_CT = np.array([[20.0, 0.0], [20.0, 20.0]])
    built = build_hierarchy(counts_CT * [[0.9, 0.0], [0.9, 0.1]], counts_CT, np.array([0, 1]))
    prior = built.prior(0, np.array([0, 1, -1]))
    assert prior[1] == pytest.approx(built.tools_T[1])
    assert prior[2] == built.overall
    assert prior[0] > prior[2] > prior[1]


def test_a_new_tool_of_a_good_family_is_believed_more_than_one_of_a_bad_family():
    counts_CT = np.array([[40.0, 0.0, 40.0, 0.0]])
    built = build_hierarchy(counts_CT * [[0.9, 0.0, 0.1, 0.0]], counts_CT, np.array([0, 0, 1, 1]))
    assert built.tools_T[1] > built.overall > built.tools_T[3]


def test_children_that_differ_only_by_chance_are_drawn_fully_to_their_parent():
    rng = np.random.default_rng(0)
    tries = np.full(200, 20.0)
    assert moment_strength(rng.binomial(20, 0.5, 200).astype(float), tries, np.full(200, 0.5)) > 30.0


@pytest.mark.parametrize("true", [2.0, 8.0, 20.0])
def test_the_strength_of_siblings_is_found_without_knowing_their_parents(true):
    rng = np.random.default_rng(2)
    means_T, tries_CT = rng.uniform(0.2, 0.8, 300), rng.integers(0, 30, (25, 300)).astype(float)
    rates_CT = rng.beta(true * means_T, true * (1.0 - means_T), (25, 300))
    wins_CT = rng.binomial(tries_CT.astype(int), rates_CT).astype(float)
    assert sibling_strength(wins_CT, tries_CT) == pytest.approx(true, rel=0.1)


def test_credible_bounds_of_unseen_cells_hold_as_often_as_they_say():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(40):
        means_T, tries_CT = rng.beta(4.0, 4.0, 20), rng.integers(0, 12, (15, 20)).astype(float)
        rates_CT = rng.beta(6.0 * means_T, 6.0 * (1.0 - means_T), (15, 20))
        wins_CT = rng.binomial(tries_CT.astype(int), rates_CT).astype(float)
        built = build_hierarchy(wins_CT, tries_CT, np.arange(20))
        unseen = tries_CT == 0
        alpha = np.broadcast_to(built.weights_T * built.tools_T, unseen.shape)[unseen]
        beta = np.broadcast_to(built.weights_T * (1.0 - built.tools_T), unseen.shape)[unseen]
        low, high = betaincinv(alpha, beta, 0.05), betaincinv(alpha, beta, 0.95)
        covered += ((rates_CT[unseen] >= low) & (rates_CT[unseen] <= high)).tolist()
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("true", [2.0, 8.0])
def test_the_strength_of_beta_distributed_children_is_found(true):
    rng = np.random.default_rng(1)
    rates = rng.beta(true * 0.4, true * 0.6, 4000)
    found = moment_strength(rng.binomial(40, rates).astype(float), np.full(4000, 40.0), np.full(4000, 0.4))
    assert found == pytest.approx(true, rel=0.1)


def test_tools_whose_names_begin_alike_are_one_family():
    names = ["get_user", "getOrder", "GET", "search.flights", "bookFlight", "42"]
    numbers = tool_families(names).tolist()
    assert numbers[:3] == [0, 0, 0]
    assert len(set(numbers)) == 4

"""Kernel evidence, priors, change and newcomers against closed forms, brute force and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from selector.errors import SelectorUsageError
from selector.kernel_values import (
    Bandwidth,
    assign_states,
    bandwidth_of,
    chosen_probability,
    failure_alarm,
    kernel_weights,
    newcomer_mean,
    principal_halves,
    settle_prototypes,
    sibling_strength,
    tool_means,
    units,
)
from selector.propensity import choice_probabilities

shares = st.floats(0.0, 1.0)
similarities = st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=20).map(np.array)
arms = st.lists(st.tuples(shares, st.floats(0.02, 0.3)), min_size=1, max_size=50)


def states_around(centres_CD: np.ndarray, kinds_N: np.ndarray, seed: int = 0) -> np.ndarray:
    """Unit vectors at cosine about 0.8 from their centres."""
    noise_ND = np.random.default_rng(seed).normal(size=(len(kinds_N), centres_CD.shape[1]))
    return units((centres_CD[kinds_N] + 0.75 * units(noise_ND)).astype(np.float32))


def orthonormal(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, count)))[0].T


@given(similarities, st.floats(0.5, 8.0))
def test_weights_lie_between_zero_and_one_and_rise_with_similarity(similarities_P, power):
    weights_P = kernel_weights(similarities_P, Bandwidth(0.3, 0.8), power)
    assert ((weights_P >= 0.0) & (weights_P <= 1.0)).all()
    assert (np.diff(weights_P[np.argsort(similarities_P)]) >= 0.0).all()


@given(similarities)
def test_what_is_no_nearer_than_the_background_weighs_nothing(similarities_P):
    weights_P = kernel_weights(similarities_P, Bandwidth(0.3, 0.8), 3.0)
    assert (weights_P[similarities_P <= 0.3] == 0.0).all()


def test_a_distant_best_match_does_not_count_as_certain():
    assert kernel_weights(np.array([0.55]), Bandwidth(0.3, 0.8), 1.0).tolist() == pytest.approx([0.5])


def test_the_bandwidth_adapts_to_the_similarity_of_unlike_states():
    centres_CD = orthonormal(9, 64)
    shifted_CD = units(centres_CD[:8] + 1.5 * centres_CD[8])
    kinds_N = np.arange(400) % 8
    plain = bandwidth_of(states_around(centres_CD[:8], kinds_N), units(centres_CD[:8].astype(np.float32)))
    shifted = bandwidth_of(states_around(shifted_CD, kinds_N), shifted_CD.astype(np.float32))
    assert abs(plain.background) < 0.1
    assert 0.4 < shifted.background < shifted.match
    assert plain.match == pytest.approx(shifted.match, abs=0.05)


@given(st.lists(st.tuples(st.floats(0.0, 50.0), shares), min_size=1, max_size=9), st.floats(0.1, 40.0))
def test_tool_means_lie_between_their_own_rate_and_the_rate_of_all(pairs, strength):
    counts_K, rates_K = np.array(pairs).T
    overall = (counts_K @ rates_K + 1.0) / (counts_K.sum() + 2.0)
    means_K = tool_means(counts_K * rates_K, counts_K, strength)
    assert (means_K >= np.minimum(rates_K, overall) - 1e-12).all()
    assert (means_K <= np.maximum(rates_K, overall) + 1e-12).all()


@pytest.mark.parametrize("strength", [2.0, 5.0, 20.0])
def test_the_strength_of_a_beta_prior_is_found_again(strength):
    rng = np.random.default_rng(7)
    counts_PK = rng.integers(5, 60, (400, 10)).astype(float)
    truths_PK = rng.beta(0.4 * strength, 0.6 * strength, (400, 10))
    found = sibling_strength(rng.binomial(counts_PK.astype(int), truths_PK).astype(float), counts_PK, np.full(10, 0.4))
    # For a Beta(0.4 s, 0.6 s), m(1 − m)/Var − 1 is s.
    assert found == pytest.approx(strength, rel=0.15)


def test_without_evidence_a_parent_is_trusted_most():
    assert sibling_strength(np.zeros((3, 2)), np.zeros((3, 2)), np.full(2, 0.5)) == 50.0


@given(shares, st.floats(0.01, 0.3), st.floats(0.01, 0.3), st.floats(0.001, 0.6))
def test_a_newcomer_beats_the_incumbent_with_the_chance_asked_for(best, best_deviation, deviation, chance):
    mean = newcomer_mean(best, best_deviation, deviation, chance)
    wins = choice_probabilities(np.array([mean, best]), np.array([deviation, best_deviation]))[0]
    assert wins == pytest.approx(chance, abs=1e-6)


@pytest.mark.parametrize("chance", [0.0, 1.0, -0.1])
def test_a_chance_outside_its_range_is_refused(chance):
    with pytest.raises(SelectorUsageError, match=r"must lie in \(0, 1\)"):
        newcomer_mean(0.5, 0.1, 0.1, chance)


@given(st.floats(0.0, 5.0), shares, shares, st.floats(0.05, 0.95))
def test_failures_raise_the_alarm_and_successes_lower_it(level, reward, expected, drop):
    following = failure_alarm(level, reward, expected, drop)
    assert following >= 0.0
    assert failure_alarm(level, 1.0, expected, drop) <= following <= failure_alarm(level, 0.0, expected, drop)


@settings(deadline=None)
@given(arms, st.integers(0, 49), shares)
def test_the_chosen_arm_has_the_probability_that_the_full_integral_gives_it(pairs, arm, exploration):
    means_K, deviations_K = np.array(pairs).T
    arm %= len(pairs)
    expected = choice_probabilities(means_K, deviations_K, exploration=exploration)[arm]
    found = chosen_probability(means_K, deviations_K, arm, exploration)
    assert found == pytest.approx(expected, abs=2e-4)


def test_of_two_arms_the_chosen_one_wins_with_the_closed_form():
    expected = norm.cdf(0.1 / np.hypot(0.1, 0.05))
    assert chosen_probability(np.array([0.6, 0.5]), np.array([0.1, 0.05]), 0) == pytest.approx(expected, abs=1e-4)


def test_an_arm_that_cannot_win_has_the_floor_alone():
    assert chosen_probability(np.array([0.0, 9.0]), np.array([0.1, 0.1]), 0, 0.1) == pytest.approx(0.05)


def test_a_cloud_of_noise_is_not_parted():
    states_ND = states_around(orthonormal(1, 64), np.zeros(300, int))
    assert principal_halves(states_ND, 1.3).shape == (0, 64)


def test_two_clouds_are_parted_between_their_centres():
    centres_CD = orthonormal(2, 64)
    kinds_N = np.arange(200) % 2
    halves_PD = principal_halves(states_around(centres_CD, kinds_N), 1.3)
    assert np.sort(np.abs(halves_PD @ centres_CD.T).max(axis=1)).min() > 0.9


def test_few_states_are_never_parted():
    assert principal_halves(np.eye(15, dtype=np.float32), 0.0).shape == (0, 15)


def test_prototypes_find_the_kinds_of_states_from_one_start():
    centres_CD = orthonormal(4, 64)
    kinds_N = np.arange(400) % 4
    states_ND = states_around(centres_CD, kinds_N)
    settled = settle_prototypes(states_ND, states_ND[:1], most=16)
    assert len(settled.centres_PD) == 4
    assert len(set(zip(settled.kinds_N.tolist(), kinds_N.tolist(), strict=True))) == 4


@given(st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_there_are_never_more_prototypes_than_allowed_and_none_is_empty(most, seed):
    kinds_N = np.arange(160) % 8
    states_ND = states_around(orthonormal(8, 32), kinds_N, seed)
    settled = settle_prototypes(states_ND, states_ND[:1], most)
    assert len(settled.centres_PD) <= most
    assert np.bincount(settled.kinds_N, minlength=len(settled.centres_PD)).min() > 0


def test_sums_are_those_of_the_members():
    states_ND = states_around(orthonormal(3, 16), np.arange(60) % 3)
    assigned = assign_states(states_ND, states_ND[:3])
    for kind, sum_D in enumerate(assigned.sums_PD):
        assert sum_D == pytest.approx(states_ND[assigned.kinds_N == kind].sum(axis=0), abs=1e-4)

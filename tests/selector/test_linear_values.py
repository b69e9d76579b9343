"""Linear values against closed forms, and the share of belief that they earn beside the kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.bandit_memory import BanditConfig
from selector.kernel_values import Posterior, Report
from selector.linear_values import (
    DIRECTIONS,
    FIRST_ODDS,
    FORGOTTEN,
    MOST_PLAIN,
    RIDGE,
    LinearLayer,
    LinearPosterior,
    Rows,
    averaged,
    fitted,
    main_directions,
    next_odds,
    updated,
)
from selector.tool_bandit import ToolBandit

seeds = st.integers(0, 2**32 - 1)
weights = st.lists(st.floats(0.0, 1.0), max_size=30)
shares = st.floats(0.0, 1.0)


def units(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    drawn_ND = rng.standard_normal((count, dimension))
    return (drawn_ND / np.linalg.norm(drawn_ND, axis=1, keepdims=True)).astype(np.float32)


def kernel_of(count: int) -> Posterior:
    return Posterior(np.linspace(0.2, 0.8, count), np.linspace(2.0, 9.0, count), np.zeros(count))


def layer_of(tools: int, dimension: int) -> LinearLayer:
    layer = LinearLayer(dimension)
    layer.widen(tools)
    return layer


def odds_after(states_ND: np.ndarray, rewards_N: np.ndarray, foretold_N: np.ndarray) -> float:
    layer = layer_of(1, states_ND.shape[1])
    for state_D, reward, foretold in zip(states_ND, rewards_N, foretold_N, strict=True):
        layer.learn(Report(state_D, 0, float(reward), 1.0, 0.5), float(foretold))
    return float(layer.arrays()["odds_1"][0])


@given(seeds, weights, st.integers(1, 6))
def test_one_by_one_or_all_at_once_the_posterior_is_that_of_weighted_ridge_regression(seed, weights_of, entries):
    rng, weights_N = np.random.default_rng(seed), np.array(weights_of)
    features_NE, rewards_N = rng.standard_normal((len(weights_N), entries)), rng.random(len(weights_N))
    believed = LinearPosterior(np.zeros(entries), np.eye(entries) * RIDGE**-0.5)
    for features_E, reward, weight in zip(features_NE, rewards_N, weights_N, strict=True):
        believed = updated(believed, features_E, float(reward), float(weight))
    covariance_EE = np.linalg.inv(RIDGE * np.eye(entries) + features_NE.T @ np.diag(weights_N) @ features_NE)
    for one in (believed, fitted(features_NE, rewards_N, weights_N, RIDGE)):
        assert one.factor_EE.T @ one.factor_EE == pytest.approx(covariance_EE, rel=1e-6, abs=1e-8)
        assert one.mean_E == pytest.approx(covariance_EE @ features_NE.T @ (weights_N * rewards_N), rel=1e-6, abs=1e-7)


def test_after_five_thousand_updates_the_factor_is_still_exact():
    rng = np.random.default_rng(0)
    features_NE = rng.standard_normal((5000, 8)) / 3.0
    believed = LinearPosterior(np.zeros(8), np.eye(8))
    for features_E in features_NE:
        believed = updated(believed, features_E, 0.5, 1.0)
    expected_EE = np.linalg.inv(np.eye(8) + features_NE.T @ features_NE)
    assert believed.factor_EE.T @ believed.factor_EE == pytest.approx(expected_EE, rel=1e-9, abs=1e-14)


@given(shares)
def test_the_average_lies_between_the_models_and_is_either_of_them_at_the_ends(share):
    kernel, means_K, counts_K = kernel_of(5), np.linspace(0.9, 0.1, 5), np.linspace(1.0, 40.0, 5)
    mixed = averaged(kernel, means_K, counts_K, share)
    for got_K, ours_K, theirs_K in (
        (mixed.means_K, kernel.means_K, means_K),
        (mixed.counts_K, kernel.counts_K, counts_K),
    ):
        assert (got_K >= np.minimum(ours_K, theirs_K) - 1e-9).all()
        assert (got_K <= np.maximum(ours_K, theirs_K) + 1e-9).all()
    assert averaged(kernel, means_K, counts_K, 0.0).means_K.tolist() == kernel.means_K.tolist()
    assert averaged(kernel, means_K, counts_K, 1.0).counts_K == pytest.approx(counts_K)


@given(seeds, st.integers(1, 10))
def test_directions_are_orthonormal_and_span_the_prototypes(seed, count):
    centres_PD = units(np.random.default_rng(seed), count, 12)
    found_DE = main_directions(centres_PD, 12)
    products_EE = found_DE.T @ found_DE
    assert products_EE == pytest.approx(np.diag((np.arange(12) < count).astype(float)), abs=1e-5)
    assert centres_PD @ found_DE @ found_DE.T == pytest.approx(centres_PD, abs=1e-5)


@pytest.mark.parametrize("dimension", [MOST_PLAIN, MOST_PLAIN + 1])
def test_vectors_of_up_to_64_entries_are_taken_as_they_are(dimension):
    layer = layer_of(1, dimension)
    states_ND = units(np.random.default_rng(0), 4, dimension)
    layer.turn(states_ND)
    features_NE = layer.features(states_ND)
    assert features_NE.shape == (4, 1 + (dimension if dimension <= MOST_PLAIN else DIRECTIONS))
    assert (features_NE[:, 0] == 1.0).all()
    assert np.linalg.norm(features_NE[:, 1:], axis=1) == pytest.approx(np.ones(4), abs=1e-5)


@settings(max_examples=30)
@given(seeds)
def test_few_tools_of_many_are_valued_as_among_all(seed):
    rng = np.random.default_rng(seed)
    layer = layer_of(20, 5)
    layer.arrays()["odds_1"][0] = 0.0
    for state_D in units(rng, 60, 5):
        layer.learn(Report(state_D, int(rng.integers(20)), float(rng.random()), 1.0, 0.5), 0.5)
    asked_D, all_T = units(rng, 1, 5)[0], np.arange(20)
    few_K = rng.choice(20, 3, replace=False)
    whole, kernel = layer.blended(kernel_of(20), asked_D, all_T), kernel_of(20)
    part = Posterior(kernel.means_K[few_K], kernel.counts_K[few_K], kernel.suspicions_K[few_K])
    found = layer.blended(part, asked_D, few_K)
    assert found.means_K == pytest.approx(whole.means_K[few_K])
    assert found.counts_K == pytest.approx(whole.counts_K[few_K])


def test_where_rewards_are_linear_the_line_is_believed_and_where_the_kernel_knows_better_it_is_not():
    rng = np.random.default_rng(0)
    states_ND = units(rng, 400, 6)
    lines_N = 0.5 + 0.5 * states_ND[:, 0]
    bowls_N = np.minimum(4.0 * states_ND[:, 0] ** 2, 1.0)
    assert odds_after(states_ND, lines_N, np.full(400, 0.5)) > 5.0
    assert odds_after(states_ND, bowls_N, bowls_N) < FIRST_ODDS - 5.0


@given(st.lists(st.floats(-1.0, 1.0), max_size=60))
def test_the_odds_are_the_first_ones_and_twice_the_faded_gains(gains):
    odds = FIRST_ODDS
    for gain in gains:
        odds = next_odds(odds, gain, 1.0)
    ages_N = np.arange(len(gains))[::-1]
    assert odds == pytest.approx(FIRST_ODDS + 2.0 * float(np.sum(FORGOTTEN**ages_N * np.array(gains))), abs=1e-9)


def test_odds_that_nothing_confirms_return_to_the_first():
    odds = 8.0
    for _ in range(20_000):
        odds = next_odds(odds, 0.0, 1.0)
    assert odds == pytest.approx(FIRST_ODDS, abs=1e-6)
    assert next_odds(8.0, 0.3, 0.0) == 8.0


def test_relearning_believes_the_rows_and_nothing_else():
    rng = np.random.default_rng(0)
    layer, states_ND = layer_of(2, 4), units(rng, 10, 4)
    layer.learn(Report(states_ND[0], 0, 1.0, 1.0, 0.5), 0.5)
    rows = Rows(states_ND, np.arange(10) % 2, rng.random(10), rng.random(10))
    layer.relearn(rows)
    for column in range(2):
        features_NE = layer.features(states_ND[column::2])
        expected = fitted(features_NE, rows.rewards_N[column::2], rows.weights_N[column::2], RIDGE)
        assert layer.arrays()["linear_means_TE"][column] == pytest.approx(expected.mean_E)
        assert layer.arrays()["linear_factors_TEE"][column] == pytest.approx(expected.factor_EE)


def linear_world(learner: ToolBandit, truth_DK: np.ndarray, rounds: range, rng: np.random.Generator) -> float:
    """Mean value of the choices where each tool's mean is linear in the state."""
    values = []
    for decision in rounds:
        state_D = units(rng, 1, len(truth_DK))[0]
        means_K = np.clip(0.5 + state_D @ truth_DK, 0.0, 1.0)
        place = learner.choose(decision, state_D, list(range(len(means_K)))).place
        values.append(means_K[place])
        learner.report(decision, float(means_K[place]))
    return float(np.mean(values))


@pytest.mark.parametrize("seed", range(3))
def test_where_rewards_are_linear_nearly_all_that_can_be_had_is_had(seed):
    rng = np.random.default_rng(seed)
    truth_DK = units(rng, 4, 16).T
    learner = ToolBandit(16, BanditConfig(), np.random.default_rng(seed))
    linear_world(learner, truth_DK, range(600), rng)
    asked_ND = units(rng, 4000, 16)
    best = float(np.clip(0.5 + asked_ND @ truth_DK, 0.0, 1.0).max(axis=1).mean())
    assert linear_world(learner, truth_DK, range(600, 1000), rng) > 0.5 + 0.9 * (best - 0.5)


@pytest.mark.parametrize("dimension", [16, MOST_PLAIN + 6])
def test_a_loaded_bandit_goes_on_exactly_where_linear_values_count(dimension):
    rng = np.random.default_rng(1)
    truth_DK = units(rng, 4, dimension).T
    saved = ToolBandit(dimension, BanditConfig(), np.random.default_rng(0))
    linear_world(saved, truth_DK, range(150), rng)
    loaded = ToolBandit.load(saved.save())
    values = [linear_world(one, truth_DK, range(150, 300), np.random.default_rng(2)) for one in (saved, loaded)]
    assert values[0] == values[1]
    assert loaded.save() == saved.save()


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_tool_is_left_though_the_line_was_believed(seed):
    rng = np.random.default_rng(seed)
    truth_DK = units(rng, 4, 16).T
    truth_DK[:, 0] += truth_DK.sum(axis=1)
    learner = ToolBandit(16, BanditConfig(), np.random.default_rng(seed))
    linear_world(learner, truth_DK, range(600), rng)
    calls = 0
    for decision in range(600, 800):
        state_D = units(rng, 1, 16)[0]
        means_K = np.clip(0.5 + state_D @ truth_DK, 0.0, 1.0)
        means_K[0] = 0.0
        place = learner.choose(decision, state_D, list(range(4))).place
        calls += place == 0
        learner.report(decision, float(rng.random() < means_K[place]))
    assert calls < 60

"""Intervals by episode and what the weights say: parity with closed forms, laws, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from selector.errors import SelectorUsageError
from selector.intervals import (
    bootstrap_interval,
    doubt,
    effective_sample_size,
    largest_weight_share,
    normal_interval,
    standard_error_by_episode,
)

weights = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=30).map(np.array)
numbers = st.lists(st.floats(-100, 100), min_size=3, max_size=30).map(np.array)


@given(st.integers(1, 50), st.floats(1e-6, 1e6))
def test_equal_weights_count_in_full(count, weight):
    assert effective_sample_size(np.full(count, weight)) == pytest.approx(count)
    assert largest_weight_share(np.full(count, weight)) == pytest.approx(1 / count)


@given(weights, st.floats(1e-3, 1e3))
def test_the_unit_of_the_weights_does_not_matter(weights_N, scale):
    assert effective_sample_size(scale * weights_N) == pytest.approx(effective_sample_size(weights_N))
    assert largest_weight_share(scale * weights_N) == pytest.approx(largest_weight_share(weights_N))


@given(weights)
def test_the_effective_sample_size_lies_between_the_largest_weights_worth_and_the_count(weights_N):
    size, share = effective_sample_size(weights_N), largest_weight_share(weights_N)
    assert size <= len(weights_N) + 1e-9
    assert size == 0 or size >= 1 / share - 1e-6


def test_weights_of_nothing_are_no_sample():
    assert effective_sample_size(np.zeros(3)) == 0.0
    assert largest_weight_share(np.zeros(3)) == 1.0


@given(numbers)
def test_where_every_decision_is_its_own_episode_the_error_is_that_of_a_mean(values_N):
    expected = float(stats.sem(values_N))
    assert standard_error_by_episode(values_N, np.arange(len(values_N))) == pytest.approx(expected, abs=1e-9)


@given(numbers, st.integers(2, 5))
def test_a_decision_told_several_times_in_its_episode_is_no_further_evidence(values_N, times):
    once = standard_error_by_episode(values_N, np.arange(len(values_N)))
    repeated = standard_error_by_episode(np.repeat(values_N, times), np.repeat(np.arange(len(values_N)), times))
    assert repeated == pytest.approx(once, abs=1e-9)


@given(numbers, st.floats(0.5, 0.99))
def test_the_normal_interval_is_scipys(values_N, confidence):
    found = normal_interval(values_N, np.arange(len(values_N)), confidence=confidence)
    expected = stats.norm.interval(confidence, values_N.mean(), max(float(stats.sem(values_N)), 1e-300))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@given(numbers, st.integers(0, 2**32 - 1))
def test_the_bootstrap_interval_holds_its_value_and_repeats_with_its_generator(values_N, seed):
    episodes_N = np.arange(len(values_N)) // 2
    first, second = (
        bootstrap_interval(values_N, episodes_N, np.random.default_rng(seed), resamples=40) for _ in range(2)
    )
    assert first == second
    assert first.low <= first.value <= first.high
    assert first.value == pytest.approx(values_N.mean())


def test_on_many_normal_values_the_bootstrap_agrees_with_student():
    values_N = np.random.default_rng(0).normal(3.0, 2.0, 1000)
    found = bootstrap_interval(values_N, np.arange(1000), np.random.default_rng(1), resamples=2000)
    expected = stats.t.interval(0.95, 999, values_N.mean(), stats.sem(values_N))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.25 * found.standard_error)


def test_a_long_tail_above_reaches_further_up_than_down():
    values_N = np.random.default_rng(0).lognormal(0.0, 1.5, 300)
    found = bootstrap_interval(values_N, np.arange(300), np.random.default_rng(1))
    assert found.high - found.value > 1.2 * (found.value - found.low)


def test_decisions_that_move_together_widen_the_interval():
    rng = np.random.default_rng(2)
    values_N = np.repeat(rng.normal(size=100), 10)
    alone, together = (
        bootstrap_interval(values_N, episodes_N, np.random.default_rng(3))
        for episodes_N in (np.arange(1000), np.repeat(np.arange(100), 10))
    )
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_equal_contributions_leave_no_doubt_and_one_episode_leaves_every():
    certain = bootstrap_interval(np.ones(6), np.arange(6), np.random.default_rng(0))
    assert (certain.low, certain.high) == (1.0, 1.0)
    lone = bootstrap_interval(np.array([0.0, 1.0]), np.zeros(2, int), np.random.default_rng(0))
    assert (lone.value, lone.low, lone.high) == (0.5, -np.inf, np.inf)


@pytest.mark.parametrize(
    ("weights_N", "unsupported", "words"),
    [
        (np.ones(1000), 0.0, ""),
        (np.ones(1000), 0.02, "2.0% of what the target would choose was never offered"),
        (np.ones(150), 0.0, "effective sample size is 150, below 200"),
        (np.r_[np.full(999, 0.9), 101.0], 0.0, "one decision carries 10.1% of all weight"),
        (np.r_[np.full(700, 0.5), np.full(1000, 3.0)], 0.0, "the weights average 1.97 where 1 is right"),
        (np.r_[np.zeros(99_000), np.full(1000, 100.0)], 0.0, "effective sample size is 1000, below 2000"),
    ],
)
def test_doubt_is_told_in_words(weights_N, unsupported, words):
    said = doubt(weights_N, np.arange(len(weights_N)), unsupported)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("values_N", "episodes_N", "settings", "rule"),
    [
        ([], [], {}, "must have one shape"),
        ([1.0], [1, 2], {}, "must have one shape"),
        ([1.0, 2.0], [1, 2], {"resamples": 3}, "at least 20, got 3"),
        ([1.0, 2.0], [1, 2], {"confidence": 1.0}, r"lie in \(0, 1\), got 1.0"),
    ],
)
def test_what_breaks_a_rule_is_refused(values_N, episodes_N, settings, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        bootstrap_interval(np.array(values_N), np.array(episodes_N, int), np.random.default_rng(0), **settings)

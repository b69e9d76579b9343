"""Laws of the tests that may be looked at after every episode."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.anytime import (
    DifferenceStream,
    difference_stream,
    evidence_above,
    evidence_below,
    reversed_stream,
    stream_interval,
)
from selector.errors import SelectorUsageError

LIMIT = np.log(2.0 / 0.05)


def drawn(seed: int, episodes: int, guided: float, held_out: float, share: float) -> DifferenceStream:
    """Episodes with rewards of 0 and 1, whose propensity wanders with what was earned before."""
    rng = np.random.default_rng(seed)
    propensities = np.clip(share + 0.2 * np.sin(np.arange(episodes) / 50.0), 0.05, 0.95)
    is_guided = rng.random(episodes) < propensities
    rewards = (rng.random(episodes) < np.where(is_guided, guided, held_out)).astype(np.float64)
    return difference_stream(rewards, is_guided, propensities)


episodes = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans(), st.floats(0.02, 0.98)), min_size=1, max_size=40).map(
    lambda rows: [np.array(column) for column in zip(*rows, strict=True)]
)


@given(episodes)
def test_every_value_lies_in_the_range_that_was_known_before_it(columns):
    stream = difference_stream(*columns)
    assert (stream.values_N >= stream.lowest_N - 1e-9).all()
    assert (stream.values_N <= stream.highest_N + 1e-9).all()
    assert (stream.lowest_N <= -1.0 + 1e-9).all()
    assert (stream.highest_N >= 1.0 - 1e-9).all()


@given(episodes, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_mean_of_the_last_value_given_the_past_is_the_difference_of_the_arms(columns, guided, held_out):
    rewards, is_guided, propensities = columns
    values = []
    for arm, reward in ((True, guided), (False, held_out)):
        rewards[-1], is_guided[-1] = reward, arm
        values.append(difference_stream(rewards, is_guided, propensities).values_N[-1])
    mean = propensities[-1] * values[0] + (1.0 - propensities[-1]) * values[1]
    assert mean == pytest.approx(guided - held_out, abs=1e-9)


@given(episodes, st.floats(-1.0, 1.0))
def test_evidence_at_one_time_knows_nothing_of_later_episodes(columns, difference):
    whole = evidence_below(difference_stream(*columns), difference)
    half = len(columns[0]) // 2
    part = evidence_below(difference_stream(*(column[:half] for column in columns)), difference)
    np.testing.assert_allclose(part, whole[:half], rtol=1e-9, atol=1e-12)


@given(episodes)
def test_the_interval_ends_where_the_evidence_reaches_its_limit(columns):
    stream = difference_stream(*columns)
    low, high = stream_interval(stream, confidence=0.95)
    assert -1.0 <= low <= high <= 1.0
    if high < 1.0:
        assert evidence_below(stream, high)[-1] == pytest.approx(LIMIT, abs=0.05)
    if low > -1.0:
        assert evidence_above(stream, low)[-1] == pytest.approx(LIMIT, abs=0.05)


@given(episodes)
def test_exchanging_the_arms_mirrors_the_interval(columns):
    stream = difference_stream(*columns)
    low, high = stream_interval(stream, confidence=0.9)
    mirrored = stream_interval(reversed_stream(stream), confidence=0.9)
    np.testing.assert_allclose(mirrored, (-high, -low), atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_with_no_difference_evidence_ever_reaches_its_limit_at_most_as_often_as_promised(share):
    alarms = sum(bool((evidence_below(drawn(seed, 600, 0.4, 0.4, share), 0.0) >= LIMIT).any()) for seed in range(400))
    assert alarms <= 21  # 2.5 % of 400 are 10; more than 21 come by chance once in 1,000 times


def test_tasks_that_get_harder_for_both_arms_raise_no_alarm():
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        is_guided = rng.random(600) < np.linspace(0.2, 0.9, 600)
        rewards = (rng.random(600) < np.linspace(0.9, 0.1, 600)).astype(np.float64)
        stream = difference_stream(rewards, is_guided, np.linspace(0.2, 0.9, 600))
        alarms += bool((evidence_below(stream, 0.0) >= LIMIT).any())
    assert alarms <= 13  # 2.5 % of 200 are 5


def test_a_guide_that_is_worse_is_found_and_its_interval_holds_the_truth():
    for seed in range(20):
        stream = drawn(seed, 2_000, 0.3, 0.5, 0.5)
        low, high = stream_interval(stream, confidence=0.95)
        assert low < -0.2 < high < 0.0


@pytest.mark.parametrize(
    ("rewards", "propensities", "message"),
    [([2.0], [0.5], "in \\[0, 1\\], got 2.0"), ([1.0], [1.0], "got 1.0"), ([1.0, 0.0], [0.5], "got 2")],
)
def test_what_is_out_of_range_is_refused(rewards, propensities, message):
    with pytest.raises(SelectorUsageError, match=message):
        difference_stream(np.array(rewards), np.ones(len(rewards), np.bool_), np.array(propensities))

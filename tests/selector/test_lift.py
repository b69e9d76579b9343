"""Lift of guided over held-out episodes: parity with SciPy, coverage by simulation, and words for too little."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ttest_ind

from selector.errors import SelectorUsageError
from selector.guard import ArmRewards, difference_interval
from selector.lift import ArmGroups, lift, welch_interval

rewards = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(rewards, rewards, st.sampled_from([0.5, 0.9, 0.95]))
def test_welchs_interval_is_scipys(guided, held_out, confidence):
    guided_N, held_out_N = np.array(guided), np.array(held_out)
    found = welch_interval(guided_N, held_out_N, confidence)
    if max(guided_N.std(), held_out_N.std()) < 1e-6:
        return  # SciPy gives nan where nothing varies
    theirs = ttest_ind(guided_N, held_out_N, equal_var=False).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@settings(max_examples=30)
@given(rewards, rewards)
def test_every_interval_and_mean_is_of_the_rewards_given(guided, held_out):
    found = lift(guided, held_out, rng(), draws=100)
    assert found.guided == pytest.approx(np.mean(guided))
    assert found.held_out == pytest.approx(np.mean(held_out))
    assert found.difference == pytest.approx(np.mean(guided) - np.mean(held_out))
    assert (found.episodes_guided, found.episodes_held_out, found.groups) == (len(guided), len(held_out), 0)
    arms = (ArmRewards(len(values), math.fsum(values)) for values in (guided, held_out))
    assert (found.anytime.low, found.anytime.high) == difference_interval(*arms, confidence=0.95)
    assert (found.low, found.high) == (found.welch.low, found.welch.high)
    if found.held_out:
        assert found.relative == pytest.approx(found.difference / found.held_out)


def test_resampling_agrees_with_welch_on_many_independent_episodes():
    draw = rng(1)
    guided, held_out = draw.random(2000) ** 0.5, draw.random(800)
    found = lift(guided.tolist(), held_out.tolist(), rng(2), draws=2000)
    assert (found.bootstrap.low, found.bootstrap.high) == pytest.approx((found.welch.low, found.welch.high), abs=0.004)


def test_resampling_successes_is_resampling_a_binomial():
    found = lift([1.0] * 70 + [0.0] * 30, [1.0] * 50 + [0.0] * 50, rng(3), draws=20_000)
    draws = rng(4).binomial(100, 0.7, 20_000) / 100 - rng(5).binomial(100, 0.5, 20_000) / 100
    expected = np.quantile(draws, [0.025, 0.975])
    assert (found.bootstrap.low, found.bootstrap.high) == pytest.approx(expected, abs=0.011)


def grouped(draw: np.random.Generator, groups: int) -> tuple[list[float], list[float], ArmGroups]:
    """Twelve episodes of each task, of the same difficulty; each task in one arm alone, with no true difference."""
    difficulty = draw.random(groups)
    names = [f"task-{number}" for number in range(groups) for _ in range(12)]
    values = (draw.random(groups * 12) < np.repeat(difficulty, 12)).astype(float).tolist()
    half = groups // 2 * 12
    return values[:half], values[half:], ArmGroups(tuple(names[:half]), tuple(names[half:]))


def test_where_attempts_at_a_task_are_alike_groups_cover_and_episodes_do_not():
    draw, by_group, by_episode = rng(6), 0, 0
    for seed in range(60):
        guided, held_out, groups = grouped(draw, 40)
        found = lift(guided, held_out, rng(seed), groups=groups, draws=300)
        by_group += found.low <= 0.0 <= found.high
        by_episode += found.welch.low <= 0.0 <= found.welch.high
    assert binom.cdf(by_group, 60, 0.93) > 0.01
    assert by_episode < 48


def test_a_task_tried_in_both_arms_is_drawn_with_both_and_its_difficulty_cancels():
    draw = rng(7)
    difficulty = np.repeat((draw.random(30) < 0.5).astype(float), 4)
    names = tuple(f"task-{number}" for number in range(30) for _ in range(4))
    found = lift(difficulty.tolist(), difficulty.tolist(), rng(8), groups=ArmGroups(names, names))
    assert (found.low, found.high) == (0.0, 0.0)
    assert found.groups == 30
    assert found.welch.high > 0.1


def test_a_group_of_its_own_for_each_episode_gives_about_welchs_interval():
    draw = rng(9)
    guided, held_out = draw.random(400).tolist(), draw.random(400).tolist()
    names = [f"task-{number}" for number in range(800)]
    found = lift(guided, held_out, rng(10), groups=ArmGroups(tuple(names[:400]), tuple(names[400:])))
    assert (found.low, found.high) == pytest.approx((found.welch.low, found.welch.high), abs=0.008)


@given(st.integers(0, 5), st.integers(0, 5))
def test_too_few_episodes_are_called_too_few(guided, held_out):
    found = lift([1.0] * guided, [0.0] * held_out, rng(), draws=20)
    assert not found.is_enough
    expected = "too few to tell" if guided and held_out else "nothing to compare"
    assert found.summary.startswith(expected)
    assert (found.welch is None) == (min(guided, held_out) < 2)
    assert -1.0 <= found.low <= found.high <= 1.0


def test_an_empty_arm_has_no_mean_and_no_difference():
    found = lift([1.0, 0.0], [], rng())
    assert (found.held_out, found.difference, found.relative, found.bootstrap) == (None, None, None, None)
    assert (found.low, found.high) == (found.anytime.low, found.anytime.high)


def test_nothing_is_relative_to_a_mean_of_zero():
    found = lift([1.0] * 30, [0.0] * 30, rng())
    assert (found.difference, found.relative) == (1.0, None)


def test_few_task_groups_are_too_few_however_many_episodes():
    names = tuple(f"task-{number % 4}" for number in range(100))
    found = lift([1.0] * 100, [0.0] * 100, rng(), groups=ArmGroups(names, names))
    assert not found.is_enough
    assert "too few task groups to tell: 4" in found.summary


def test_enough_episodes_are_summed_up_in_words():
    found = lift([1.0] * 60 + [0.0] * 40, [1.0] * 20 + [0.0] * 30, rng())
    assert found.is_enough
    assert found.summary == "guided less held-out reward is +0.200 over 100 guided and 50 held-out episodes"


def test_the_same_generator_gives_the_same_interval():
    guided, held_out = rng(1).random(50).tolist(), rng(2).random(50).tolist()
    assert lift(guided, held_out, rng(3)) == lift(guided, held_out, rng(3))


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: lift([1.5], [0.5], rng()), r"numbers in \[0, 1\], got 1.5"),
        (lambda: lift([0.5], [math.nan], rng()), "got nan"),
        (lambda: lift([[0.5]], [0.5], rng()), r"got shape \(1, 1\)"),
        (lambda: lift([0.5], [0.5], rng(), confidence=1.0), r"confidence must lie in \(0, 1\), got 1.0"),
        (lambda: lift([0.5], [0.5], rng(), draws=0), "draws must be 1 or more, got 0"),
        (
            lambda: lift([0.5], [0.5], rng(), groups=ArmGroups(("a",), ())),
            r"groups must name each episode of both arms, got \(1, 0\) for \(1, 1\) rewards",
        ),
    ],
)
def test_what_breaks_a_rule_of_lift_is_refused(call, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        call()

"""Credit of steps against sums written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo.errors import TrainingUsageError
from grpo.step_credit import batch_advantages, compute_step_rewards, generalised_advantages
from trajstore.schema import Step

shares = st.floats(0, 1)


def summed(rewards, values, discount, trace):
    deltas = [rewards[t] + discount * values[t + 1] - values[t] for t in range(len(rewards))]
    return [sum((discount * trace) ** (k - t) * deltas[k] for k in range(t, len(rewards))) for t in range(len(rewards))]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), shares, shares, st.integers(0, 9))
def test_advantages_of_many_trajectories_are_the_sums_of_each(lengths, discount, trace, seed):
    rng = np.random.default_rng(seed)
    ends = np.cumsum(lengths)
    rewards, values, stops = rng.normal(size=ends[-1]), rng.normal(size=ends[-1]), rng.normal(size=len(ends))
    found = batch_advantages(rewards, values, ends, stops, discount=discount, trace=trace)
    expected = [
        summed(rewards[end - length : end], [*values[end - length : end], stop], discount, trace)
        for end, length, stop in zip(ends, lengths, stops, strict=True)
    ]
    assert found == pytest.approx(np.concatenate(expected), abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), shares)
def test_with_a_full_trace_values_only_shift_the_return(rewards, discount):
    values = np.append(np.linspace(0.2, 0.8, len(rewards)), 0.0)
    found = generalised_advantages(np.array(rewards), values, discount=discount, trace=1.0)
    returns = [sum(discount ** (k - t) * r for k, r in enumerate(rewards) if k >= t) for t in range(len(rewards))]
    assert found == pytest.approx(np.array(returns) - values[:-1], abs=1e-9)


def test_a_terminal_reward_is_discounted_by_the_steps_left():
    steps = [Step(place, "look") for place in range(4)]
    assert compute_step_rewards(2.0, steps) == pytest.approx(2.0 * 0.99 ** np.array([3, 2, 1, 0]))


def test_own_rewards_of_steps_reach_the_steps_before_them():
    steps = [Step(0, "look"), Step(1, "take", reward=4.0), Step(2, "stop")]
    assert compute_step_rewards(1.0, steps, discount=0.5).tolist() == [2.25, 4.5, 1.0]


def test_no_steps_earn_nothing():
    assert compute_step_rewards(1.0, []).shape == (0,)


def test_the_arguments_stay_as_they_were():
    rewards = np.array([0.0, 1.0])
    batch_advantages(rewards, np.zeros(2), np.array([2]), np.ones(1), discount=1.0, trace=1.0)
    assert rewards.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: generalised_advantages(np.ones(2), np.ones(2), discount=1.0, trace=1.0), "one more than the rewards"),
        (lambda: generalised_advantages(np.ones(2), np.ones(3), discount=1.5, trace=1.0), "discount must lie"),
        (lambda: generalised_advantages(np.ones(2), np.ones(3), discount=1.0, trace=-1.0), "trace must lie"),
        (lambda: compute_step_rewards(float("nan"), [Step(0, "look")]), "final reward must be finite"),
        (
            lambda: batch_advantages(np.ones(3), np.ones(3), np.array([2, 2]), np.ones(2), discount=1.0, trace=1.0),
            "ends must rise to the 3 rows",
        ),
    ],
)
def test_what_breaks_a_credit_rule_is_refused(call, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        call()

"""Step groups against brute force over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.errors import TrainingUsageError
from grpo.step_groups import NearConfig, StepReturns, equal_state_advantages, near_state_advantages
from trajstore.embedding import normalised

rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(0, 1), st.integers(0, 2)), max_size=25)


def batch(pairs) -> tuple[StepReturns, np.ndarray]:
    table = np.array(pairs, np.int64).reshape(-1, 4)
    # A trajectory belongs to one task group.
    return StepReturns(table[:, 0].astype(float), table[:, 1] * 2 + table[:, 2], table[:, 2]), table[:, 3]


@pytest.mark.parametrize("leave_one_out", [False, True])
@given(pairs=rows)
def test_equal_states_are_compared_as_pair_by_pair(leave_one_out, pairs):
    steps, states = batch(pairs)
    found = equal_state_advantages(steps, states, leave_one_out=leave_one_out)
    for row in range(len(states)):
        same = (steps.groups_N == steps.groups_N[row]) & (states == states[row])
        others = same & (steps.trajectories_N != steps.trajectories_N[row])
        members = others if leave_one_out else same
        is_single = not others.any() if leave_one_out else same.sum() == 1
        expected = 0.0 if is_single else steps.returns_N[row] - steps.returns_N[members].mean()
        assert found.advantages_N[row] == pytest.approx(expected, abs=1e-9)
        assert (found.compared_N[row] == 0) == is_single


def near_by_pairs(steps, vectors, config, row):
    is_own = steps.trajectories_N == steps.trajectories_N[row]
    same_group = steps.groups_N == steps.groups_N[row]
    within = {"group": same_group, "anywhere": np.ones(len(is_own), bool), "other_groups": ~same_group}[config.scope]
    similarities = vectors @ vectors[row]
    near = np.flatnonzero(within & ~is_own & (similarities >= config.least_similarity))
    near = near[np.argsort(-similarities[near])][: config.neighbours]
    return np.average(steps.returns_N[near], weights=similarities[near]) if len(near) else np.nan


@pytest.mark.parametrize("scope", ["group", "anywhere", "other_groups"])
@pytest.mark.parametrize(("least", "neighbours"), [(0.3, 5), (0.6, 100), (0.99, 3)])
def test_near_states_are_compared_as_brute_force_does(scope, least, neighbours):
    rng = np.random.default_rng(3)
    # Entries that the index's 16 bits hold exactly: the order of neighbours is then no matter of rounding.
    vectors = normalised(rng.normal(size=(120, 6)).astype(np.float32)).astype(np.float16).astype(np.float32)
    trajectories = rng.integers(0, 15, 120)
    steps = StepReturns(rng.normal(size=120), trajectories, trajectories % 3)
    config = NearConfig(least, neighbours, scope)
    found = near_state_advantages(steps, vectors, config)
    expected = np.array([near_by_pairs(steps, vectors, config, row) for row in range(120)])
    assert found.baselines_N == pytest.approx(expected, abs=5e-3, nan_ok=True)
    assert found.singleton_fraction == np.mean(np.isnan(expected))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(-5, 5))
def test_returns_of_ones_own_trajectory_never_enter_its_baseline(seed, change):
    rng = np.random.default_rng(seed)
    vectors = normalised(np.abs(rng.normal(size=(20, 4))).astype(np.float32))
    returns, trajectories = rng.normal(size=20), np.repeat(np.arange(5), 4)
    first = near_state_advantages(StepReturns(returns, trajectories, np.zeros(20)), vectors, NearConfig(0.5))
    changed = returns + np.where(trajectories == 0, change, 0.0)
    second = near_state_advantages(StepReturns(changed, trajectories, np.zeros(20)), vectors, NearConfig(0.5))
    assert first.baselines_N[:4] == pytest.approx(second.baselines_N[:4], nan_ok=True)


def test_equal_returns_have_no_advantage_and_no_division_makes_one():
    steps = StepReturns(np.ones(4), np.arange(4), np.zeros(4))
    vectors = normalised(np.ones((4, 3), np.float32))
    assert near_state_advantages(steps, vectors).advantages_N == pytest.approx(np.zeros(4))
    assert equal_state_advantages(steps, np.zeros(4)).singleton_fraction == 0.0


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: StepReturns(np.ones(2), np.ones(3), np.ones(2)), "must have one shape"),
        (lambda: StepReturns(np.array([np.nan]), np.ones(1), np.ones(1)), "returns must be finite"),
        (lambda: NearConfig(scope="nowhere"), "scope must be one of"),
        (lambda: NearConfig(2.0), "least similarity must lie"),
        (lambda: NearConfig(neighbours=0), "neighbours must be above 0"),
        (lambda: near_state_advantages(batch([])[0], np.ones((1, 2), np.float32)), "vectors must be 0 rows"),
        (lambda: equal_state_advantages(batch([])[0], np.ones(2)), "states must have shape"),
    ],
)
def test_what_breaks_a_step_group_rule_is_refused(call, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        call()

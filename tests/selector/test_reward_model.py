"""Cross-fitted rewards: parity with the formula written out, what they may see, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.ope import LoggedDecisions
from selector.reward_model import bandwidth, cross_fitted_rewards


def log_of(decisions: int, seed: int = 0, tools: int = 3) -> tuple[np.ndarray, np.ndarray, LoggedDecisions]:
    """Tool t pays where the context lies on its own axis; every row offers all tools, in an order of its own."""
    rng = np.random.default_rng(seed)
    corner_N = rng.integers(tools, size=decisions)
    contexts_ND = np.eye(tools)[corner_N] + rng.normal(0, 0.1, (decisions, tools))
    tools_NK = rng.permuted(np.tile(np.arange(tools), (decisions, 1)), axis=1)
    chosen_N = rng.integers(tools, size=decisions)
    picked_N = tools_NK[np.arange(decisions), chosen_N]
    rewards_N = (rng.random(decisions) < np.where(picked_N == corner_N, 0.9, 0.1)).astype(float)
    offered_NK = np.ones((decisions, tools), bool)
    logged = LoggedDecisions(rewards_N, np.full(decisions, 1 / tools), chosen_N, offered_NK, np.arange(decisions) // 2)
    return contexts_ND, tools_NK, logged


def by_hand(contexts_ND, tools_NK, logged, row: int, place: int, known: np.ndarray, strength: float) -> float:
    """One prediction from the decisions `known`, in plain loops."""
    tool = tools_NK[row, place]
    picked = [int(tools_NK[other, logged.chosen_N[other]]) for other in known]
    rewards = [float(logged.rewards_N[other]) for other in known]
    overall = sum(rewards) / len(rewards)
    own = [reward for reward, name in zip(rewards, picked, strict=True) if name == tool]
    mean = (strength * overall + sum(own)) / (strength + len(own))
    width, hits, tried = bandwidth(contexts_ND[known]), strength * mean, strength
    for other, name, reward in zip(known, picked, rewards, strict=True):
        if name == tool:
            kernel = np.exp(-0.5 * np.sum((contexts_ND[row] - contexts_ND[other]) ** 2) / width**2)
            hits, tried = hits + kernel * reward, tried + kernel
    return hits / tried


def test_predictions_are_the_formula_written_out():
    contexts_ND, tools_NK, logged = log_of(40)
    found_NK = cross_fitted_rewards(contexts_ND, tools_NK, logged, folds=20, strength=2.5)
    for row, place in [(0, 0), (7, 2), (39, 1)]:
        known = np.flatnonzero(logged.episodes_N != logged.episodes_N[row])
        expected = by_hand(contexts_ND, tools_NK, logged, row, place, known, 2.5)
        assert found_NK[row, place] == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 19), st.integers(0, 5))
def test_no_episode_is_predicted_from_its_own_rewards(episode, seed):
    contexts_ND, tools_NK, logged = log_of(40, seed)
    own_N = logged.episodes_N == episode
    changed = replace(logged, rewards_N=np.where(own_N, 1.0 - logged.rewards_N, logged.rewards_N))
    before, after = (cross_fitted_rewards(contexts_ND, tools_NK, one, seed=seed) for one in (logged, changed))
    assert after[own_N] == pytest.approx(before[own_N])
    assert not np.allclose(after[~own_N], before[~own_N])


@settings(max_examples=20, deadline=None)
@given(st.floats(-10, 10), st.floats(0.1, 10))
def test_predictions_move_and_scale_with_the_rewards(shift, scale):
    contexts_ND, tools_NK, logged = log_of(30)
    moved = replace(logged, rewards_N=shift + scale * logged.rewards_N)
    expected = shift + scale * cross_fitted_rewards(contexts_ND, tools_NK, logged)
    assert cross_fitted_rewards(contexts_ND, tools_NK, moved) == pytest.approx(expected)


def test_predictions_stay_within_the_rewards_seen():
    found_NK = cross_fitted_rewards(*log_of(100))
    assert (found_NK >= 0).all()
    assert (found_NK <= 1).all()


def test_contexts_tell_where_a_tool_pays():
    contexts_ND, tools_NK, logged = log_of(600)
    found_NK = cross_fitted_rewards(contexts_ND, tools_NK, logged)
    truth_NK = np.where(tools_NK == contexts_ND.argmax(axis=1)[:, None], 0.9, 0.1)
    assert np.abs(found_NK - truth_NK).mean() < 0.5 * np.abs(logged.rewards_N.mean() - truth_NK).mean()


def test_a_tool_never_chosen_is_predicted_by_the_mean_of_all():
    contexts_ND, tools_NK, logged = log_of(40)
    wide_NK = np.column_stack([tools_NK, np.full(40, 3)])
    wide = replace(logged, offered_NK=np.ones((40, 4), bool))
    found_N = cross_fitted_rewards(contexts_ND, wide_NK, wide, folds=20)[:, 3]
    for episode in range(20):
        others = logged.rewards_N[logged.episodes_N != episode].mean()
        assert found_N[logged.episodes_N == episode] == pytest.approx(others)


def test_padding_is_predicted_as_nothing():
    contexts_ND, tools_NK, logged = log_of(40)
    padded_NK = np.column_stack([tools_NK, np.full(40, -1)])
    wide = replace(logged, offered_NK=np.column_stack([logged.offered_NK, np.zeros(40, bool)]))
    found_NK = cross_fitted_rewards(contexts_ND, padded_NK, wide)
    assert (found_NK[:, 3] == 0).all()
    assert found_NK[:, :3] == pytest.approx(cross_fitted_rewards(contexts_ND, tools_NK, logged))


def test_equal_contexts_have_a_width_above_nothing():
    assert bandwidth(np.ones((5, 2))) > 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"contexts_ND": np.zeros((3, 2))}, "contexts_ND must be finite with 12 rows"),
        ({"contexts_ND": np.full((12, 2), np.nan)}, "contexts_ND must be finite"),
        ({"tools_NK": np.zeros((12, 2), int)}, "tools_NK must have shape"),
        ({"tools_NK": np.full((12, 3), -1)}, "needs the number of its tool"),
        ({"folds": 1}, "between 2 and the 6 episodes of the log, got 1"),
        ({"folds": 7}, "between 2 and the 6 episodes of the log, got 7"),
        ({"strength": 0.0}, "strength must be above 0"),
    ],
)
def test_what_breaks_a_rule_is_refused(change, rule):
    contexts_ND, tools_NK, logged = log_of(12)
    arguments = {"contexts_ND": contexts_ND, "tools_NK": tools_NK, "logged": logged} | change
    with pytest.raises(SelectorUsageError, match=rule):
        cross_fitted_rewards(**arguments)

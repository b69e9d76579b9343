"""Value models of numbered tools: laws, and parity with SciPy's optimizer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from grpo.errors import TrainingUsageError
from grpo.value_models import ValueSettings, fit_logistic, fit_values, log_loss, with_constant

SMALL = ValueSettings(folds=3, repeats=1, hidden=8, steps=40)


def logged(seed, decisions=600, tools=3, entries=4, group_size=4):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(decisions // group_size), group_size)
    states = rng.standard_normal((decisions // group_size, entries))[groups]
    chosen = rng.integers(tools, size=decisions)
    weights = 1.5 * rng.standard_normal((tools, entries))
    truth = expit(states @ weights.T)
    rewards = (rng.random(decisions) < truth[np.arange(decisions), chosen]).astype(float)
    return states, chosen, rewards, groups, weights


@given(seed=st.integers(0, 1000), strength=st.floats(0.3, 30.0))
@settings(max_examples=15, deadline=None)
def test_the_ridge_is_where_scipy_finds_the_least_penalised_loss(seed, strength):
    states, chosen, rewards, _, _ = logged(seed, decisions=120)
    fitted = fit_logistic(states, chosen, rewards, strength)
    middle = np.log((rewards.sum() + 0.5) / ((1.0 - rewards).sum() + 0.5))
    own = chosen == 1
    features = with_constant(states[own])

    def penalised(coefficients):
        logits = features @ coefficients + middle
        return own.sum() * log_loss(logits, rewards[own]) + 0.5 * strength * coefficients @ coefficients

    least = minimize(penalised, np.zeros(features.shape[1]), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fitted[1], least.x + np.append(np.zeros(4), middle), atol=1e-4)


def test_of_a_tool_never_chosen_the_mean_is_all_that_is_known():
    states, chosen, rewards, _, _ = logged(0)
    fitted = fit_logistic(states, chosen, rewards, 1.0, tools=4)
    assert fitted.shape == (4, 5)
    assert not fitted[3, :-1].any()
    assert expit(fitted[3, -1]) == pytest.approx(rewards.mean(), abs=1e-3)


@given(seed=st.integers(0, 1000))
@settings(max_examples=3, deadline=None)
def test_values_are_probabilities_and_better_than_the_mean_reward(seed):
    states, chosen, rewards, groups, _ = logged(seed)
    fitted = fit_values(states, chosen, rewards, groups, np.random.default_rng(seed), SMALL)
    values = fitted.values(states)
    assert values.shape == fitted.held_out_NK.shape == (600, 3)
    assert ((values > 0) & (values < 1)).all()
    assert 0.0 <= fitted.mix <= 1.0
    assert fitted.held_out_loss < log_loss(np.full(600, np.log(rewards.mean() / (1 - rewards.mean()))), rewards)


def test_the_highest_value_is_mostly_the_best_tool():
    states, chosen, rewards, groups, weights = logged(3, decisions=2000)
    fitted = fit_values(states, chosen, rewards, groups, np.random.default_rng(0), SMALL)
    new = np.random.default_rng(9).standard_normal((500, 4))
    assert (fitted.values(new).argmax(axis=1) == (new @ weights.T).argmax(axis=1)).mean() > 0.85


def test_the_held_out_loss_is_that_of_the_held_out_values():
    states, chosen, rewards, groups, _ = logged(4)
    fitted = fit_values(states, chosen, rewards, groups, np.random.default_rng(0), SMALL)
    taken = fitted.held_out_NK[np.arange(600), chosen]
    assert fitted.held_out_loss == pytest.approx(-np.log(np.where(rewards == 1.0, taken, 1.0 - taken)).mean())


def test_no_group_is_foretold_from_itself():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(200), 5)
    states, luck = np.eye(200)[groups], rng.integers(2, size=200)[groups].astype(float)
    fitted = fit_values(states, np.tile(np.arange(5) % 2, 200), luck, groups, rng, SMALL)
    assert fitted.held_out_loss > 0.68  # luck cannot be foretold: ln 2 is 0.693


def test_the_same_generator_gives_the_same_values():
    states, chosen, rewards, groups, _ = logged(6)
    first, second = (fit_values(states, chosen, rewards, groups, np.random.default_rng(1), SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.values(states), second.values(states))


@pytest.mark.parametrize(
    ("rewards", "chosen", "groups", "message"),
    [
        ([0.0, 1.5, 0.0, 1.0], [0, 1, 0, 1], [0, 1, 2, 3], "rewards must lie"),
        ([0.0, np.nan, 0.0, 1.0], [0, 1, 0, 1], [0, 1, 2, 3], "rewards must lie"),
        ([0.0, 1.0, 0.0, 1.0], [0, 2, 0, 2], [0, 1, 2, 3], "tool 1 was never chosen"),
        ([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1], [0, 0, 1, 1], "folds must lie between 2 and the 2 groups"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rewards, chosen, groups, message):
    states = np.zeros((4, 2))
    with pytest.raises(TrainingUsageError, match=message):
        fit_values(states, np.array(chosen), np.array(rewards), np.array(groups), np.random.default_rng(0), SMALL)

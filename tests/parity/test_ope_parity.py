"""Off-policy estimators against obp 0.5.7, an independent implementation of the same equations."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

from selector import ope_estimators as equations
from selector.ope import EstimatorSpec, LoggedDecisions, estimate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip(
        "obp.ope", reason="obp 0.5.7 is not installed, or lacks a package", exc_type=ImportError
    )
    helper = pytest.importorskip("obp.ope.helper", reason="obp 0.5.7 is not installed", exc_type=ImportError)

PAIRS = {
    "dm": lambda _: theirs.DirectMethod(),
    "ips": lambda limit: theirs.InverseProbabilityWeighting(lambda_=limit),
    "snips": lambda _: theirs.SelfNormalizedInverseProbabilityWeighting(),
    "dr": lambda limit: theirs.DoublyRobust(lambda_=limit),
    "sndr": lambda _: theirs.SelfNormalizedDoublyRobust(),
    "switch_dr": lambda limit: theirs.SwitchDoublyRobust(lambda_=limit),
    "dros": lambda limit: theirs.DoublyRobustWithShrinkage(lambda_=limit),
}
LIMITS = {"ips": (np.inf, 2.0), "dr": (np.inf, 2.0), "switch_dr": (0.5, 2.0, 50.0), "dros": (0.5, 2.0, 50.0)}
CASES = [(name, limit) for name in PAIRS for limit in LIMITS.get(name, (None,))]


def random_log(seed: int, decisions: int = 400, candidates: int = 6):
    rng = np.random.default_rng(seed)
    logging_NK, target_NK = (rng.dirichlet(np.full(candidates, share), decisions) for share in (1.0, 0.5))
    chosen_N = (logging_NK.cumsum(axis=1) < rng.random(decisions)[:, None]).sum(axis=1)
    propensities_N = logging_NK[np.arange(decisions), chosen_N]
    rewards_N = rng.normal(0.3, 1.0, decisions)
    offered_NK = np.ones((decisions, candidates), bool)
    logged = LoggedDecisions(rewards_N, propensities_N, chosen_N, offered_NK, np.arange(decisions))
    return logged, target_NK, rng.normal(0.3, 0.5, (decisions, candidates))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "limit"), CASES)
def test_every_estimator_agrees_with_obp_to_a_millionth(name, limit, seed):
    logged, target_NK, q_NK = random_log(seed)
    found = estimate(logged, target_NK, q_NK=q_NK, estimators=[EstimatorSpec(name, limit)], resamples=20)[0]
    expected = PAIRS[name](limit).estimate_policy_value(
        reward=logged.rewards_N,
        action=logged.chosen_N,
        pscore=logged.propensities_N,
        action_dist=target_NK[:, :, None],
        position=np.zeros(len(logged), int),
        estimated_rewards_by_reg_model=q_NK[:, :, None],
    )
    assert found.value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.5, 5.0])
def test_the_bound_of_the_bias_agrees_with_obp(seed, limit):
    logged, target_NK, q_NK = random_log(seed)
    weights_N = equations.importance_weights(logged.at_chosen(target_NK), logged.propensities_N)
    altered_N, residuals_N = equations.shrunk_weights(weights_N, limit), logged.rewards_N - logged.at_chosen(q_NK)
    expected = helper.estimate_high_probability_upper_bound_bias(
        reward=logged.rewards_N, iw=weights_N, iw_hat=altered_N, q_hat=logged.at_chosen(q_NK), delta=0.05
    )
    assert equations.bias_bound(weights_N, altered_N, residuals_N) == pytest.approx(expected)


@pytest.mark.slow
def test_the_open_bandit_figure_of_obps_readme_comes_out():
    """BernoulliTS from the random log, campaign "all": 1.198126 times the random policy's clicks."""
    policies = pytest.importorskip("obp.policy", exc_type=ImportError)
    path = Path(theirs.__file__).parents[1] / "dataset" / "obd" / "random" / "all" / "all.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen_N, positions_N = (np.array([int(row[name]) for row in rows]) for name in ("item_id", "position"))
    rewards_N, propensities_N = (np.array([float(row[name]) for row in rows]) for name in ("click", "propensity_score"))
    policy = policies.BernoulliTS(n_actions=80, len_list=3, is_zozotown_prior=True, campaign="all", random_state=12345)
    shares = policy.compute_batch_action_dist(n_rounds=1, n_sim=100_000)[0]
    offered_NK = np.ones((len(rows), 80), bool)
    logged = LoggedDecisions(rewards_N, propensities_N, chosen_N, offered_NK, np.arange(len(rows)))
    found = estimate(logged, shares.T[positions_N - 1], estimators=[EstimatorSpec("ips")])[0]
    assert found.value / rewards_N.mean() == pytest.approx(1.198126, abs=5e-7)

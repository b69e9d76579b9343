"""Off-policy estimates by example: what is reported, when they are trusted, and what is refused."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.ope import Estimate, EstimatorSpec, LoggedDecisions, estimate, estimate_episodes, rank
from selector.ope_estimators import per_decision_returns, shrunk_weights, switched_weights

IPS = (EstimatorSpec("ips"),)


def uniform_log(decisions: int = 600, candidates: int = 3, *, episode: int = 2, seed: int = 0) -> LoggedDecisions:
    """The candidate in place k earns 1 with probability (k + 1) / (candidates + 1)."""
    rng = np.random.default_rng(seed)
    chosen_N = rng.integers(candidates, size=decisions)
    rewards_N = (rng.random(decisions) < (chosen_N + 1) / (candidates + 1)).astype(float)
    offered_NK = np.ones((decisions, candidates), bool)
    return LoggedDecisions(
        rewards_N, np.full(decisions, 1 / candidates), chosen_N, offered_NK, np.arange(decisions) // episode
    )


def always(place: int, logged: LoggedDecisions) -> np.ndarray:
    return np.tile(np.eye(logged.offered_NK.shape[1])[place], (len(logged), 1))


def test_a_policy_that_always_takes_one_candidate_earns_what_that_one_earned():
    logged = uniform_log()
    found = estimate(logged, always(2, logged), estimators=[EstimatorSpec("snips")])[0]
    assert found.value == pytest.approx(logged.rewards_N[logged.chosen_N == 2].mean())
    assert found.effective_sample_size == pytest.approx((logged.chosen_N == 2).sum())


def test_without_predicted_rewards_only_estimators_that_need_none_answer():
    logged = uniform_log()
    assert [one.estimator for one in estimate(logged, always(0, logged))] == ["ips", "snips"]
    with pytest.raises(SelectorUsageError, match="q_NK are missing"):
        estimate(logged, always(0, logged), estimators=[EstimatorSpec("dr")])


def test_limits_stand_in_the_name_and_missing_ones_are_chosen_from_the_log():
    logged = uniform_log()
    found = estimate(logged, always(0, logged), q_NK=np.full((600, 3), 0.5))
    assert [one.estimator.split("(")[0] for one in found] == [
        "dm", "ips", "snips", "dr", "dr", "sndr", "switch_dr", "dros",
    ]  # fmt: skip
    assert found[4].estimator == "dr(10)"
    assert all("(" in one.estimator for one in found[6:])


def test_unsupported_mass_is_reported_and_the_rest_scaled_to_what_was_offered():
    logged = uniform_log()
    narrow = replace(logged, offered_NK=logged.offered_NK & (np.eye(3)[logged.chosen_N] > 0))
    narrow = replace(narrow, propensities_N=np.ones(600))
    found = estimate(narrow, np.full((600, 3), 1 / 3), estimators=IPS)[0]
    assert found.unsupported_mass == pytest.approx(2 / 3)
    assert found.value == pytest.approx(logged.rewards_N.mean())
    assert not found.is_trusted
    assert "66.7% of what the target would choose was never offered" in found.reason


def test_decisions_without_any_support_are_left_out_and_counted():
    logged = uniform_log()
    target_NK = always(0, logged)
    offered_NK = logged.offered_NK.copy()
    closed_N = (np.arange(600) < 60) & (logged.chosen_N != 0)
    offered_NK[closed_N, 0] = False
    found = estimate(replace(logged, offered_NK=offered_NK), target_NK, estimators=IPS)[0]
    assert found.decisions == 600 - closed_N.sum()
    assert found.unsupported_mass == pytest.approx(closed_N.mean())


def test_a_good_overlap_is_trusted_and_a_small_one_says_why_not():
    large, small = uniform_log(2000), uniform_log(300)
    assert estimate(large, always(1, large), estimators=IPS)[0].is_trusted
    found = estimate(small, always(1, small), estimators=IPS)[0]
    assert not found.is_trusted
    assert "effective sample size" in found.reason


def test_wrong_propensities_are_found_out_by_the_mean_of_the_weights():
    logged = uniform_log(2000)
    found = estimate(replace(logged, propensities_N=np.full(2000, 0.2)), always(1, logged), estimators=IPS)[0]
    assert "these are not the log's propensities" in found.reason


def test_the_direct_method_alone_is_never_trusted():
    logged = uniform_log(2000)
    found = estimate(logged, always(1, logged), q_NK=np.full((2000, 3), 0.5), estimators=[EstimatorSpec("dm")])[0]
    assert "error of the reward model" in found.reason


@pytest.mark.parametrize("name", ["ips", "dr", "sndr", "switch_dr", "dros"])
def test_what_alters_weights_is_not_trusted_and_what_leaves_them_is(name):
    logged, q_NK = uniform_log(2000), np.full((2000, 3), 0.5)
    specs = [EstimatorSpec(name, 2.5), EstimatorSpec(name, np.inf)]
    altered, left = estimate(logged, always(1, logged), q_NK=q_NK, estimators=specs)
    assert f"bias of {(logged.chosen_N == 1).sum()} altered weights" in altered.reason
    assert not altered.is_trusted
    assert left.is_trusted


def test_the_seed_repeats_every_number():
    logged = uniform_log()
    assert estimate(logged, always(1, logged), seed=4) == estimate(logged, always(1, logged), seed=4)


def believed(low: float, high: float, reason: str = "", name: str = "dr(10)") -> Estimate:
    return Estimate(name, (low + high) / 2, 0.01, low, high, 900.0, 0.0, 1000, 0.01, not reason, reason)


def test_policies_whose_intervals_are_apart_are_ranked():
    found = rank({"first": believed(0.1, 0.2), "second": believed(0.5, 0.6), "third": believed(0.3, 0.4)})
    assert found.order == ("second", "third", "first")
    assert found.is_decided
    assert found.reading == "second earns most"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (believed(0.15, 0.3), "intervals of other and one overlap"),
        (believed(0.5, 0.6, "too few"), "other is not trusted, too few"),
    ],
)
def test_no_difference_is_told_where_intervals_overlap_or_one_is_not_trusted(other, words):
    found = rank({"one": believed(0.1, 0.2), "other": other})
    assert (found.order, found.is_decided) == ((), False)
    assert found.reading == f"no difference can be told: {found.reading.split(': ')[1]}"
    assert words in found.reading


def test_a_ranking_needs_two_policies_and_one_estimator():
    with pytest.raises(SelectorUsageError, match="two policies or more, got 1"):
        rank({"one": believed(0, 1)})
    with pytest.raises(SelectorUsageError, match="one estimator for all policies, got dr, ips"):
        rank({"one": believed(0, 1), "other": believed(0, 1, name="ips")})


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=9).map(np.array), st.floats(1e-3, 1e6))
def test_altered_weights_lie_between_nothing_and_the_weights(weights_N, limit):
    for altered_N in (switched_weights(weights_N, limit), shrunk_weights(weights_N, limit)):
        assert (altered_N >= 0).all()
        assert (altered_N <= weights_N * (1 + 1e-12)).all()
    assert shrunk_weights(weights_N, limit).max() <= limit**0.5 / 2 + 1e-9


def test_the_value_of_episodes_is_the_sum_over_every_path_of_two_steps():
    """Every path of two steps with two candidates, once each: the log's mean is an exact expectation."""
    paths = list(product(range(2), repeat=2))
    chosen_N = np.array(paths).ravel()
    rewards_N = np.array([[first, first + 2 * second] for first, second in paths], float).ravel()
    logged = LoggedDecisions(rewards_N, np.full(8, 0.5), chosen_N, np.ones((8, 2), bool), np.repeat(np.arange(4), 2))
    target_NK = np.tile([0.2, 0.8], (8, 1))
    found = estimate_episodes(logged, target_NK, discount=0.5)
    assert found.value == pytest.approx(0.8 + 0.5 * (0.8 + 2 * 0.8))
    assert found.decisions == 4


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_reward_is_weighted_by_the_decisions_up_to_it_alone(seed, discount):
    rng = np.random.default_rng(seed)
    rewards_ET, weights_ET = rng.normal(size=(3, 4)), rng.uniform(0, 3, (3, 4))
    found_E = per_decision_returns(rewards_ET, weights_ET, discount=discount)
    for episode in range(3):
        expected, weight = 0.0, 1.0
        for step in range(4):
            weight *= weights_ET[episode, step]
            expected += discount**step * weight * rewards_ET[episode, step]
        assert found_E[episode] == pytest.approx(expected)


def test_episodes_of_one_step_are_judged_as_decisions_are():
    logged = uniform_log(400, episode=1)
    one, other = estimate_episodes(logged, always(1, logged)), estimate(logged, always(1, logged), estimators=IPS)[0]
    assert replace(one, estimator="ips") == other


def test_interleaved_episodes_are_told_apart():
    logged = uniform_log(90, episode=3)
    order_N = np.argsort(np.arange(90) % 3, kind="stable")
    target_NK = np.tile([0.2, 0.3, 0.5], (90, 1))
    forth = estimate_episodes(logged, target_NK)
    assert estimate_episodes(logged.rows(order_N), target_NK) == forth


def test_long_episodes_are_refused():
    logged = uniform_log(60, episode=6)
    with pytest.raises(SelectorUsageError, match="an episode has 6 decisions"):
        estimate_episodes(logged, always(1, logged))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"propensities_N": np.full(6, 0.0)}, r"propensities must lie in \(0, 1\], got 0.0"),
        ({"propensities_N": np.full(6, 1.5)}, "got 1.5"),
        ({"propensities_N": np.full(6, np.nan)}, "got nan"),
        ({"rewards_N": np.full(6, np.nan)}, "rewards must be finite"),
        ({"rewards_N": np.zeros(5)}, "rewards_N must have one entry for each of 6 decisions"),
        ({"chosen_N": np.full(6, 3)}, r"whole numbers in 0..2"),
        ({"chosen_N": np.full(6, -1)}, r"whole numbers in 0..2"),
        ({"chosen_N": np.full(6, 1.0)}, r"whole numbers in 0..2"),
        ({"offered_NK": np.zeros((6, 3), bool)}, "a logged choice was not offered"),
        ({"offered_NK": np.ones(6, bool)}, "mask of shape"),
        ({"offered_NK": np.ones((6, 3))}, "mask of shape"),
    ],
)
def test_a_log_that_breaks_a_rule_is_refused(change, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        replace(uniform_log(6), **change)


@pytest.mark.parametrize(
    ("target_NK", "rule"),
    [
        (np.full((6, 2), 0.5), "must have shape"),
        (np.full((6, 3), 0.5), "row 0 sums to 1.5"),
        (np.tile([1.5, -0.5, 0.0], (6, 1)), "0 or more"),
        (np.full((6, 3), np.nan), "not NaN"),
    ],
)
def test_a_target_that_breaks_a_rule_is_refused(target_NK, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        estimate(uniform_log(6), target_NK)


def test_a_target_that_chooses_nothing_on_offer_is_refused():
    logged = uniform_log(6)
    shut = replace(logged, chosen_N=np.zeros(6, int), offered_NK=np.tile([True, True, False], (6, 1)))
    with pytest.raises(SelectorUsageError, match="chooses nothing that was offered"):
        estimate(shut, always(2, shut))


@pytest.mark.parametrize("q_NK", [np.zeros((6, 2)), np.full((6, 3), np.nan)])
def test_predicted_rewards_must_fit_the_log(q_NK):
    with pytest.raises(SelectorUsageError, match="q_NK must be finite where offered"):
        estimate(uniform_log(6), np.full((6, 3), 1 / 3), q_NK=q_NK)


@pytest.mark.parametrize(("name", "limit"), [("best", None), ("dm", 3.0), ("snips", 3.0), ("dr", -1.0)])
def test_an_estimator_that_does_not_exist_is_refused(name, limit):
    with pytest.raises(SelectorUsageError, match=r"must be one of|takes no limit"):
        EstimatorSpec(name, limit)

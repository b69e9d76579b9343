"""Advantages against brute force, closed forms, and the gradient of a tiny bandit found by enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.advantages import (
    ART_GROUP_STD,
    TRL_GROUP_STD,
    VERL_GROUP_STD,
    PolicyAdjusted,
    Scale,
    additive_baselines,
    best_strengths,
    refine_rewards,
    retrieval_baseline,
    spread_to_rows,
)
from grpo.errors import TrainingUsageError

BASELINES = ("leave_one_out", "mean", "policy_adjusted", PolicyAdjusted(2.0, 4.0))
SCALES = ("none", "group_std", "batch_std", ART_GROUP_STD)

rollouts = st.lists(
    st.tuples(st.floats(-2.0, 2.0).map(lambda reward: round(reward, 3)), st.integers(0, 4), st.integers(0, 3)),
    min_size=1,
    max_size=24,
)


def columns(rows):
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def refitted_without(row, rewards_R, tasks_R, policies_R, strengths):
    """What a ridge fit by the normal equations, on every rollout but this one, expects of it."""
    tasks, policies = np.eye(tasks_R.max() + 1)[tasks_R], np.eye(policies_R.max() + 1)[policies_R]
    design = np.column_stack([np.ones(len(rewards_R)), tasks, policies])
    ridge = np.diag(
        np.r_[
            0.0, np.full(tasks.shape[1], strengths.task_strength), np.full(policies.shape[1], strengths.policy_strength)
        ]
    )
    kept = np.arange(len(rewards_R)) != row
    normal = design[kept].T @ design[kept] + ridge
    return float(design[row] @ np.linalg.solve(normal, design[kept].T @ rewards_R[kept]))


@settings(max_examples=40)
@given(rollouts.filter(lambda rows: len(rows) > 1), st.floats(0.1, 50.0), st.floats(0.1, 50.0))
def test_the_additive_baseline_is_that_of_a_fit_without_the_rollout(rows, task_strength, policy_strength):
    rewards_R, tasks_R, policies_R = columns(rows)
    strengths = PolicyAdjusted(task_strength, policy_strength)
    found = additive_baselines(rewards_R, tasks_R, policies_R, strengths)
    expected = [refitted_without(row, rewards_R, tasks_R, policies_R, strengths) for row in range(len(rows))]
    assert found == pytest.approx(expected, abs=1e-8)


@given(rollouts, st.floats(-5, 5))
def test_the_additive_baseline_does_not_contain_the_rollouts_own_reward(rows, other):
    rewards_R, tasks_R, policies_R = columns(rows)
    changed_R = rewards_R.copy()
    changed_R[0] = other
    before, after = (
        additive_baselines(each, tasks_R, policies_R, PolicyAdjusted(1.0, 1.0)) for each in (rewards_R, changed_R)
    )
    assert after[0] == pytest.approx(before[0], abs=1e-8, nan_ok=True)


def test_with_one_policy_and_no_shrinkage_the_additive_baseline_is_leave_one_out():
    rewards_R, groups_R = np.random.default_rng(0).normal(size=20), np.repeat(np.arange(5), 4)
    plain = refine_rewards(rewards_R, groups_R)
    adjusted = refine_rewards(rewards_R, groups_R, baseline=PolicyAdjusted(1e-9, 1e6), policies_R=np.zeros(20))
    assert adjusted.advantages_R == pytest.approx(plain.advantages_R, abs=1e-5)


def test_policy_adjustment_does_not_credit_an_action_with_its_policys_skill():
    rng = np.random.default_rng(0)
    policies_R, groups_R = np.tile(np.arange(4), 300), np.repeat(np.arange(300), 4)
    skill, ease = np.array([0.0, 0.5, 1.0, 2.0]), rng.normal(size=300)
    rewards_R = skill[policies_R] + ease[groups_R] + rng.normal(size=1200)
    means = {}
    for baseline in ("leave_one_out", "policy_adjusted"):
        refined = refine_rewards(rewards_R, groups_R, baseline=baseline, policies_R=policies_R)
        means[baseline] = np.array([refined.advantages_R[policies_R == policy].mean() for policy in range(4)])
    assert np.ptp(means["leave_one_out"]) > 2.0
    assert np.ptp(means["policy_adjusted"]) < 0.1


def test_the_best_strengths_follow_how_large_the_effects_are():
    rng = np.random.default_rng(1)
    tasks_R, policies_R = np.repeat(np.arange(200), 5), np.tile(np.arange(5), 200)
    noise_R = rng.normal(size=1000)
    strong = best_strengths(3.0 * rng.normal(size=200)[tasks_R] + noise_R, tasks_R, policies_R)
    absent = best_strengths(noise_R, tasks_R, policies_R)
    assert strong.task_strength < 1.0
    assert absent.task_strength > 30.0


@given(st.integers(2, 9), st.integers(0, 5))
def test_leave_one_out_is_the_groups_mean_stretched(members, seed):
    rewards_R = np.random.default_rng(seed).normal(size=members)
    groups_R = np.zeros(members)
    mean = refine_rewards(rewards_R, groups_R, baseline="mean").advantages_R
    left_out = refine_rewards(rewards_R, groups_R).advantages_R
    assert left_out == pytest.approx(mean * members / (members - 1))
    assert left_out == pytest.approx([r - np.delete(rewards_R, at).mean() for at, r in enumerate(rewards_R)])


@settings(max_examples=40)
@given(rollouts, st.sampled_from(BASELINES), st.sampled_from(SCALES), st.randoms())
def test_the_order_of_rollouts_does_not_matter(rows, baseline, scale, random):
    rewards_R, groups_R, policies_R = columns(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    forth = refine_rewards(rewards_R, groups_R, baseline=baseline, scale=scale, policies_R=policies_R)
    moved = refine_rewards(
        rewards_R[order], groups_R[order], baseline=baseline, scale=scale, policies_R=policies_R[order]
    )
    if baseline != "policy_adjusted":  # where two strengths foretell equally well, rounding decides
        assert moved.advantages_R == pytest.approx(forth.advantages_R[order], abs=1e-7)
    assert moved.has_signal_R.tolist() == forth.has_signal_R[order].tolist()


@settings(max_examples=40)
@given(rollouts, st.sampled_from(BASELINES), st.sampled_from(SCALES))
def test_adding_the_same_to_all_rewards_changes_no_advantage(rows, baseline, scale):
    rewards_R, groups_R, policies_R = columns(rows)
    refined, moved = (
        refine_rewards(each, groups_R, baseline=baseline, scale=scale, policies_R=policies_R)
        for each in (rewards_R, rewards_R + 1.0)
    )
    if baseline != "policy_adjusted":
        assert moved.advantages_R == pytest.approx(refined.advantages_R, abs=1e-6)


@settings(max_examples=40)
@given(rollouts, st.sampled_from(SCALES))
def test_in_a_group_the_better_rollout_never_has_the_smaller_advantage(rows, scale):
    rewards_R, groups_R, _ = columns(rows)
    advantages_R = refine_rewards(rewards_R, groups_R, scale=scale).advantages_R
    for group in np.unique(groups_R):
        inside = groups_R == group
        by_reward = advantages_R[inside][np.argsort(rewards_R[inside], kind="stable")]
        assert (np.diff(by_reward) >= -1e-9).all()


@settings(max_examples=40)
@given(rollouts, st.sampled_from(BASELINES), st.sampled_from(SCALES))
def test_advantages_are_finite_and_zero_without_signal(rows, baseline, scale):
    rewards_R, groups_R, policies_R = columns(rows)
    rewards_R[::5] = np.nan
    refined = refine_rewards(rewards_R, groups_R, baseline=baseline, scale=scale, policies_R=policies_R)
    assert np.isfinite(refined.advantages_R).all()
    assert (refined.advantages_R[~refined.has_signal_R] == 0.0).all()
    assert not refined.has_signal_R[::5].any()


@settings(max_examples=40)
@given(rollouts, st.sampled_from(BASELINES))
def test_a_rollout_that_failed_for_the_infrastructure_counts_as_little_as_one_that_is_not_there(rows, baseline):
    rewards_R, groups_R, policies_R = columns(rows)
    failed_R = np.arange(len(rows)) % 3 == 0
    marked = refine_rewards(
        rewards_R, groups_R, baseline=baseline, policies_R=policies_R, infrastructure_failed_R=failed_R
    )
    without = refine_rewards(
        rewards_R[~failed_R], groups_R[~failed_R], baseline=baseline, policies_R=policies_R[~failed_R]
    )
    assert marked.advantages_R[~failed_R] == pytest.approx(without.advantages_R, abs=1e-9)
    assert marked.unscored == failed_R.sum()


def test_groups_without_signal_are_counted():
    rewards_R = np.array([1.0, 1.0, 1.0 + 1e-7, 0.3, np.nan, 0.7, 1.0, 0.0])
    refined = refine_rewards(rewards_R, np.array(["same", "same", "same", "one", "one", "lone", "two", "two"]))
    assert (refined.groups, refined.groups_without_signal, refined.singletons, refined.unscored) == (4, 3, 2, 1)
    assert refined.frac_reward_zero_std == 0.75
    assert refined.has_signal_R.tolist() == [False] * 6 + [True] * 2


def test_a_group_that_nobody_scored_is_without_signal_and_no_singleton():
    refined = refine_rewards(np.array([np.nan, np.nan, 1.0, 0.0]), np.array([0, 0, 1, 1]))
    assert (refined.groups, refined.groups_without_signal, refined.singletons, refined.unscored) == (2, 1, 0, 2)


def test_the_whole_group_decides_whether_there_is_signal_and_not_the_others_alone():
    refined = refine_rewards(np.array([0.0, 1.0, 1.0, 1.0]), np.zeros(4))
    assert refined.has_signal_R.all()
    assert refined.advantages_R == pytest.approx([-1.0, 1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("scale", "freedom", "epsilon"), [(TRL_GROUP_STD, 1, 1e-4), (VERL_GROUP_STD, 1, 1e-6), (ART_GROUP_STD, 0, 1e-6)]
)
def test_group_deviations_follow_the_named_convention(scale, freedom, epsilon):
    rewards_R = np.array([0.0, 0.2, 1.0, 5.0, 6.0])
    refined = refine_rewards(rewards_R, np.array([0, 0, 0, 1, 1]), baseline="mean", scale=scale)
    first = rewards_R[:3]
    assert refined.advantages_R[:3] == pytest.approx((first - first.mean()) / (first.std(ddof=freedom) + epsilon))


def test_the_batchs_deviation_is_that_of_all_scored_rewards():
    rewards_R = np.array([0.0, 1.0, np.nan, 4.0, 4.0])
    refined = refine_rewards(rewards_R, np.array([0, 0, 0, 1, 1]), baseline="mean", scale="batch_std")
    assert refined.advantages_R[:2] == pytest.approx(np.array([-0.5, 0.5]) / (np.nanstd(rewards_R, ddof=1) + 1e-4))


def softmax_gradients(logits_K):
    """∇ log π(a) by the logits, a row for each action, and π."""
    probabilities_K = np.exp(logits_K) / np.exp(logits_K).sum()
    return np.eye(len(logits_K)) - probabilities_K, probabilities_K


@pytest.mark.parametrize("members", [2, 3, 4])
def test_the_expected_gradient_under_leave_one_out_is_the_true_gradient(members):
    scores_KK, policy_K = softmax_gradients(np.array([0.4, -0.3, 0.1]))
    rewards_K = np.array([1.0, 0.2, -0.7])
    expected = np.zeros(3)
    for actions in product(range(3), repeat=members):
        drawn = np.array(actions)
        advantages = refine_rewards(rewards_K[drawn], np.zeros(members)).advantages_R
        expected += policy_K[drawn].prod() * (advantages[:, None] * scores_KK[drawn]).mean(axis=0)
    assert expected == pytest.approx(policy_K * (rewards_K - policy_K @ rewards_K), abs=1e-12)


def test_the_expected_gradient_under_the_mean_is_shrunk_by_one_member():
    scores_KK, policy_K = softmax_gradients(np.array([0.4, -0.3, 0.1]))
    rewards_K, members = np.array([1.0, 0.2, -0.7]), 3
    expected = np.zeros(3)
    for actions in product(range(3), repeat=members):
        drawn = np.array(actions)
        advantages = refine_rewards(rewards_K[drawn], np.zeros(members), baseline="mean").advantages_R
        expected += policy_K[drawn].prod() * (advantages[:, None] * scores_KK[drawn]).mean(axis=0)
    assert expected == pytest.approx((1 - 1 / members) * policy_K * (rewards_K - policy_K @ rewards_K), abs=1e-12)


def test_where_rewards_are_skewed_group_deviation_and_positive_only_point_away_from_the_gradient():
    """The fifth tool earns 0.3 more than its mean of 0.58, save in 15 % of calls, when it loses 2."""
    rng, groups, members = np.random.default_rng(1), 40_000, 8
    scores_KK, policy_K = softmax_gradients(np.zeros(5))
    means_K = np.array([0.60, 0.62, 0.55, 0.50, 0.58])
    actions_BG = rng.integers(5, size=(groups, members))
    catastrophe_BG = (actions_BG == 4) & (rng.random(actions_BG.shape) < 0.15)
    rewards_BG = means_K[actions_BG] + 0.05 * rng.standard_normal(actions_BG.shape)
    rewards_R = (rewards_BG + 0.3 * ((actions_BG == 4) & ~catastrophe_BG) - 2.0 * catastrophe_BG).ravel()
    expected_K = means_K + np.array([0, 0, 0, 0, 0.85 * 0.3 - 0.15 * 2.0])
    true = policy_K * (expected_K - policy_K @ expected_K)
    groups_R, drawn = np.repeat(np.arange(groups), members), actions_BG.ravel()

    def cosine(advantages_R):
        gradient = (np.bincount(drawn, advantages_R, 5) @ scores_KK) / len(drawn)
        return gradient @ true / np.linalg.norm(gradient) / np.linalg.norm(true)

    left_out = refine_rewards(rewards_R, groups_R).advantages_R
    divided = refine_rewards(rewards_R, groups_R, baseline="mean", scale="group_std").advantages_R
    assert cosine(left_out) > 0.99
    assert cosine(divided) == pytest.approx(0.29, abs=0.08)
    assert cosine(divided.clip(min=0.0)) == pytest.approx(-0.09, abs=0.05)


def test_rows_of_a_rollout_share_its_advantage_and_add_nothing_to_the_statistics():
    refined = refine_rewards(np.array([1.0, 0.0]), np.zeros(2))
    assert spread_to_rows(refined.advantages_R, np.array([0, 0, 0, 1])).tolist() == [1.0, 1.0, 1.0, -1.0]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 9))
def test_the_retrieval_baseline_is_the_weighted_mean_of_the_others_found(count, neighbours, seed):
    rng = np.random.default_rng(seed)
    rewards_R = np.where(rng.random(count) < 0.2, np.nan, rng.normal(size=count))
    numbers_RK, weights_RK = rng.integers(-1, count, (count, neighbours)), rng.random((count, neighbours)) + 0.01
    found = retrieval_baseline(rewards_R, numbers_RK, weights_RK)
    for row in range(count):
        kept = [
            (weight, rewards_R[number])
            for number, weight in zip(numbers_RK[row], weights_RK[row], strict=True)
            if number not in (-1, row) and not np.isnan(rewards_R[number])
        ]
        assert found.weight_R[row] == pytest.approx(sum(weight for weight, _ in kept))
        if kept:
            assert found.value_R[row] == pytest.approx(sum(w * r for w, r in kept) / sum(w for w, _ in kept))


def test_without_neighbours_the_retrieval_baseline_is_the_mean_of_all_others():
    found = retrieval_baseline(np.array([1.0, 2.0, 6.0]), np.full((3, 2), -1), np.ones((3, 2)))
    unscored = retrieval_baseline(np.array([1.0, np.nan, 6.0]), np.full((3, 2), -1), np.ones((3, 2)))
    assert found.value_R.tolist() == [4.0, 3.5, 1.5]
    assert unscored.value_R.tolist() == [6.0, 3.5, 1.0]
    assert found.weight_R.tolist() == [0.0, 0.0, 0.0]


ONES = np.ones(2)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda: refine_rewards(np.array([np.inf, 0.0]), ONES), "rewards must be finite, .* got 1 infinite"),
        (lambda: refine_rewards(ONES, np.ones(3)), "groups_R must have one entry for each reward"),
        (lambda: refine_rewards(ONES, ONES, baseline="median"), "baseline must be one of .*, got 'median'"),
        (lambda: refine_rewards(ONES, ONES, scale="range"), "scale must be one of .*, got 'range'"),
        (lambda: refine_rewards(ONES, ONES, baseline="policy_adjusted"), "needs policies_R"),
        (lambda: Scale("group_std", epsilon=-1.0), "epsilon must be 0 or more, got -1.0"),
        (lambda: PolicyAdjusted(0.0, 1.0), "strengths must be above 0, got 0.0"),
        (lambda: spread_to_rows(ONES, np.array([0, 2])), r"rollouts_N must lie in \[0, 2\), got 0 to 2"),
        (lambda: retrieval_baseline(ONES, np.array([[2], [0]]), np.ones((2, 1))), r"neighbours must lie in \[0, 2\)"),
        (lambda: retrieval_baseline(ONES, np.array([[1], [0]]), -np.ones((2, 1))), "must be finite and 0 or more"),
        (lambda: retrieval_baseline(ONES, np.array([[1], [0]]), np.ones((2, 2))), r"one shape \(2, K\)"),
    ],
)
def test_what_breaks_a_rule_is_refused(broken, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        broken()


def test_no_rollouts_have_no_advantages():
    refined = refine_rewards(np.zeros(0), np.zeros(0))
    assert len(refined.advantages_R) == 0
    assert refined.frac_reward_zero_std == 0.0

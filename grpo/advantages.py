"""Advantages of rollouts: rewards less what was to be expected of the task, of its policy, or of similar tasks.

Arrays ending in R have one entry for each rollout, however many rows of a batch the rollout is cut into; statistics are
taken once a rollout and `spread_to_rows` copies them to the rows afterwards.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from grpo.errors import TrainingUsageError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Names = NDArray[Any]  # Any: tasks and policies are named by numbers or by texts

Baseline = Literal["leave_one_out", "mean", "policy_adjusted"]
ScaleBy = Literal["none", "group_std", "batch_std"]

LEAST_SPREAD = 1e-6
STRENGTHS = (0.125, 0.5, 2.0, 8.0, 32.0, 128.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """What advantages are divided by: the standard deviation of the group's or the batch's rewards, + `epsilon`.

    `deviation` "sample" divides by n − 1, "population" by n.  Conventions: TRL sample and 1e-4, verl sample and 1e-6,
    ART population and 1e-6.  Dividing by the group's deviation re-weighs tasks (Dr. GRPO, arXiv 2503.20783), and where
    rewards are skewed it can point away from the gradient: it is never the default.  `epsilon` >= 0.
    """

    by: ScaleBy = "none"
    deviation: Literal["sample", "population"] = "sample"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        if self.by not in get_args(ScaleBy):
            raise TrainingUsageError(f"scale must be one of {get_args(ScaleBy)}, got {self.by!r}")
        if self.deviation not in ("sample", "population"):
            raise TrainingUsageError(f'deviation must be "sample" or "population", got {self.deviation!r}')
        if not self.epsilon >= 0.0:
            raise TrainingUsageError(f"epsilon must be 0 or more, got {self.epsilon}")


TRL_GROUP_STD = Scale("group_std", "sample", 1e-4)
VERL_GROUP_STD = Scale("group_std", "sample", 1e-6)
ART_GROUP_STD = Scale("group_std", "population", 1e-6)


@dataclass(frozen=True, slots=True)
class PolicyAdjusted:
    """The baseline of `additive_baselines`, with how firmly task and policy effects are drawn to 0 (each above 0)."""

    task_strength: float
    policy_strength: float

    def __post_init__(self) -> None:
        if not (self.task_strength > 0 and self.policy_strength > 0):
            raise TrainingUsageError(
                f"strengths must be above 0, got {self.task_strength} for tasks and {self.policy_strength} for policies"
            )


@dataclass(frozen=True, slots=True, eq=False)
class RefinedRewards:
    """Advantages of rollouts, and how many say nothing.

    `advantages_R` is 0 where `has_signal_R` is False: rollouts whose group has one scored member, or no spread (largest
    less smallest reward within 1e-6), and rollouts without a reward.  `baselines_R` is what was compared with, NaN
    where nothing was.  `groups` counts all groups, `groups_without_signal` those without spread, of which `singletons`
    have exactly one scored member; `unscored` counts rollouts that are NaN or failed for the infrastructure's sake.
    """

    advantages_R: Floats
    baselines_R: Floats
    has_signal_R: Flags
    groups: int
    groups_without_signal: int
    singletons: int
    unscored: int

    @property
    def frac_reward_zero_std(self) -> float:
        """Share of groups without signal, in [0, 1]; the name that trainers log it under."""
        return self.groups_without_signal / self.groups if self.groups else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalBaseline:
    """What similar tasks earned, for each rollout, and the weight behind it (0: the mean of all other rollouts)."""

    value_R: Floats
    weight_R: Floats


@dataclass(frozen=True, slots=True)
class _Groups:
    """Scored rollouts by group: the group of each rollout, and scored members, sum and spread of each group."""

    of_R: Integers
    counts_B: Integers
    sums_B: Floats
    spreads_B: Floats

    @property
    def has_signal(self) -> Flags:
        """Whether each group's rewards differ, shape (B,); those of one member or none never do."""
        return self.spreads_B > LEAST_SPREAD


def refine_rewards(
    rewards_R: Floats,
    groups_R: Names,
    *,
    baseline: Baseline | PolicyAdjusted = "leave_one_out",
    scale: ScaleBy | Scale = "none",
    policies_R: Names | None = None,
    infrastructure_failed_R: Flags | None = None,
) -> RefinedRewards:
    """Advantage of each rollout over its baseline.

    `rewards_R` are finite, or NaN where nobody scored the rollout; `groups_R` names the task.  `baseline`:

    - "leave_one_out": mean of the other members (RLOO, arXiv 2402.14740); unbiased.
    - "mean": mean of all members (GRPO, arXiv 2402.03300); shrinks the gradient by (n − 1) / n.
    - "policy_adjusted": `additive_baselines` with strengths chosen by `best_strengths`, for logs that mix the policies
      `policies_R` in a group, where the mean of the others credits the policy's skill to the action; `PolicyAdjusted`
      fixes the strengths, and so keeps the rollout's own reward out of them as well.

    `scale` divides (a name stands for TRL's convention).  A rollout that failed for the infrastructure's sake is not a
    reward of 0: it counts nowhere.  Raises TrainingUsageError for other shapes, infinite rewards or unknown names.

    >>> refined = refine_rewards(np.array([1.0, 0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 0, 1, 1]))
    >>> refined.advantages_R.tolist(), refined.frac_reward_zero_std
    ([1.0, -0.5, -0.5, 0.0, 0.0], 0.5)
    """
    rewards_R = _checked(rewards_R, groups_R, policies_R, infrastructure_failed_R)
    is_scored_R = ~np.isnan(rewards_R)
    groups = _grouped(rewards_R, groups_R, is_scored_R)
    signal_R = is_scored_R & groups.has_signal[groups.of_R]
    baselines_R = np.where(is_scored_R, _baselines(rewards_R, groups, baseline, policies_R), np.nan)
    convention = scale if isinstance(scale, Scale) else Scale(scale)
    advantages_R = np.where(signal_R, (rewards_R - baselines_R) / _divisors(rewards_R, groups, convention), 0.0)
    return RefinedRewards(
        advantages_R,
        baselines_R,
        signal_R,
        groups=len(groups.counts_B),
        groups_without_signal=int((~groups.has_signal).sum()),
        singletons=int((groups.counts_B == 1).sum()),
        unscored=int((~is_scored_R).sum()),
    )


def spread_to_rows(advantages_R: Floats, rollouts_N: Integers) -> Floats:
    """The advantage of each row's rollout, shape (N,); `rollouts_N` lies in [0, R).

    >>> spread_to_rows(np.array([0.5, -0.5]), np.array([0, 0, 1])).tolist()
    [0.5, 0.5, -0.5]
    """
    if len(rollouts_N) and not (rollouts_N.min() >= 0 and rollouts_N.max() < len(advantages_R)):
        raise TrainingUsageError(
            f"rollouts_N must lie in [0, {len(advantages_R)}), got {rollouts_N.min()} to {rollouts_N.max()}"
        )
    return advantages_R[rollouts_N]


def leave_one_out_means(rewards_R: Floats, sums_R: Floats, counts_R: Integers) -> Floats:
    """(S − r) / (n − 1) with the sum S and size n >= 2 of each rollout's group, shape (R,); NaN where n < 2.

    >>> leave_one_out_means(np.array([1.0]), np.array([3.0]), np.array([3])).tolist()
    [1.0]
    """
    others_R = np.maximum(counts_R - 1, 1)
    return np.where(counts_R > 1, (sums_R - rewards_R) / others_R, np.nan)


def additive_baselines(rewards_R: Floats, groups_R: Names, policies_R: Names, strengths: PolicyAdjusted) -> Floats:
    """What a rollout was expected to earn from its task's and its policy's other rollouts, shape (R,).

    The model is r = μ + a_task + b_policy, least squares with the ridge λ_a Σ a² + λ_b Σ b² (an empirical Bayes
    shrinkage; λ is the noise's variance over the effects').  With the residual e and leverage h of a rollout in the fit
    of all, what the fit of all *others* expects of it is exactly r − e / (1 − h) (PRESS; Allen 1974): one fit, and the
    baseline does not contain the rollout's own reward.  Costs O(B P²) for B tasks and P policies.  `rewards_R` are
    finite; the result is NaN for a lone rollout, of which nothing is expected.
    """
    _, tasks_R = np.unique(groups_R, return_inverse=True)
    _, policies = np.unique(policies_R, return_inverse=True)
    counts_BP = _pair_counts(tasks_R, policies)
    return np.asarray(rewards_R - _deleted_residuals(rewards_R, counts_BP, tasks_R, policies, strengths), np.float64)


def best_strengths(rewards_R: Floats, groups_R: Names, policies_R: Names) -> PolicyAdjusted:
    """The strengths, of powers of 4 from 1/8 to 128, that foretell left-out rollouts best (least PRESS).

    They see each reward, but as one of R in two numbers: the bias that this brings falls as 1 / R.
    """
    _, tasks_R = np.unique(groups_R, return_inverse=True)
    _, policies = np.unique(policies_R, return_inverse=True)
    counts_BP = _pair_counts(tasks_R, policies)

    def press(strengths: PolicyAdjusted) -> float:
        return float(np.sum(_deleted_residuals(rewards_R, counts_BP, tasks_R, policies, strengths) ** 2))

    return min((PolicyAdjusted(*pair) for pair in product(STRENGTHS, repeat=2)), key=press)


def _pair_counts(tasks_R: Integers, policies_R: Integers) -> Floats:
    """Rollouts of each task and policy, shape (B, P)."""
    shape = (int(tasks_R.max(initial=-1)) + 1, int(policies_R.max(initial=-1)) + 1)
    flat = np.bincount(tasks_R * shape[1] + policies_R, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), np.float64)


def _deleted_residuals(
    rewards_R: Floats, counts_BP: Floats, tasks_R: Integers, policies_R: Integers, strengths: PolicyAdjusted
) -> Floats:
    """e / (1 − h) of every rollout; the task effects, whose block is diagonal, are eliminated first."""
    if len(rewards_R) < 2:
        return np.full(len(rewards_R), np.nan)
    sizes_B, of_policies_P = counts_BP.sum(axis=1), counts_BP.sum(axis=0)
    # Column 0 is the common mean, the others are the policies.
    shared_BQ = np.column_stack([sizes_B, counts_BP])
    inverse_B = 1.0 / (sizes_B + strengths.task_strength)
    normal_QQ = np.diag(np.append(of_policies_P.sum(), of_policies_P + strengths.policy_strength))
    normal_QQ[0, 1:] = normal_QQ[1:, 0] = of_policies_P
    shares_BQ = shared_BQ * inverse_B[:, None]
    inverse_QQ = np.linalg.inv(normal_QQ - shared_BQ.T @ shares_BQ)
    sums_B, totals_Q = np.bincount(tasks_R, rewards_R), np.append(rewards_R.sum(), np.bincount(policies_R, rewards_R))
    effects_Q = inverse_QQ @ (totals_Q - shares_BQ.T @ sums_B)
    effects_B = inverse_B * sums_B - shares_BQ @ effects_Q
    residuals_R = rewards_R - effects_B[tasks_R] - effects_Q[0] - effects_Q[1 + policies_R]
    leverages_R = _leverages(inverse_QQ, shares_BQ, inverse_B, tasks_R, policies_R)
    return np.asarray(residuals_R / (1.0 - leverages_R), np.float64)


def _leverages(
    inverse_QQ: Floats, shares_BQ: Floats, inverse_B: Floats, tasks_R: Integers, policies_R: Integers
) -> Floats:
    """h = 1 / (n + λ) + uᵀ S⁻¹ u with u = x − the task's share, where x picks the mean and the rollout's policy."""
    at_R = 1 + policies_R
    carried_BQ = shares_BQ @ inverse_QQ
    own_R = inverse_QQ[0, 0] + 2.0 * inverse_QQ[0, at_R] + inverse_QQ[at_R, at_R]
    cross_R = carried_BQ[tasks_R, 0] + carried_BQ[tasks_R, at_R]
    shared_B = inverse_B + (carried_BQ * shares_BQ).sum(axis=1)
    return np.asarray(shared_B[tasks_R] + own_R - 2.0 * cross_R, np.float64)


def retrieval_baseline(rewards_R: Floats, neighbours_RK: Integers, weights_RK: Floats) -> RetrievalBaseline:
    """Σ w r / Σ w over the rollouts retrieved for each rollout: a baseline for tasks that were tried once.

    `neighbours_RK` are numbers of rollouts in [0, R), or −1 where fewer than K were found; `weights_RK` >= 0, e.g.
    similarities.  A rollout is never its own neighbour, and unscored ones (NaN) do not count.  Subtract it and stop
    there: dividing by the neighbours' deviation ruins the gradient.  Raises TrainingUsageError for other numbers.

    >>> retrieval_baseline(np.array([1.0, 0.0, 0.5]), np.array([[0, 1], [0, 2], [-1, -1]]), np.ones((3, 2))).value_R
    array([0.  , 0.75, 0.5 ])
    """
    _check_neighbours(rewards_R, neighbours_RK, weights_RK)
    is_scored_R = ~np.isnan(rewards_R)
    counts_RK = (neighbours_RK >= 0) & is_scored_R[neighbours_RK]
    counts_RK &= neighbours_RK != np.arange(len(rewards_R))[:, None]
    used_RK = np.where(counts_RK, weights_RK, 0.0)
    filled_R = np.where(is_scored_R, rewards_R, 0.0)
    weight_R = used_RK.sum(axis=1)
    others_R = np.maximum(is_scored_R.sum() - is_scored_R, 1)
    fallback_R = (filled_R.sum() - filled_R) / others_R
    means_R = (used_RK * filled_R[neighbours_RK]).sum(axis=1) / np.where(weight_R > 0, weight_R, 1.0)
    return RetrievalBaseline(np.where(weight_R > 0, means_R, fallback_R), weight_R)


def _check_neighbours(rewards_R: Floats, neighbours_RK: Integers, weights_RK: Floats) -> None:
    rows = len(rewards_R)
    if neighbours_RK.shape != weights_RK.shape or neighbours_RK.ndim != 2 or len(neighbours_RK) != rows:
        raise TrainingUsageError(
            f"neighbours and weights must have one shape ({rows}, K), got {neighbours_RK.shape} and {weights_RK.shape}"
        )
    if not (np.isfinite(weights_RK).all() and (weights_RK >= 0).all()):
        raise TrainingUsageError("weights of neighbours must be finite and 0 or more")
    if not ((neighbours_RK >= -1) & (neighbours_RK < rows)).all():
        raise TrainingUsageError(f"neighbours must lie in [0, {rows}), or be -1 for none")


def _checked(rewards_R: Floats, groups_R: Names, policies_R: Names | None, failed_R: Flags | None) -> Floats:
    """Rewards as float64, NaN where the infrastructure failed."""
    rewards_R = np.asarray(rewards_R, np.float64)
    for name, array in (("groups_R", groups_R), ("policies_R", policies_R), ("infrastructure_failed_R", failed_R)):
        if array is not None and (array.shape != rewards_R.shape or rewards_R.ndim != 1):
            raise TrainingUsageError(
                f"{name} must have one entry for each reward, got {array.shape} for {rewards_R.shape}"
            )
    if np.isinf(rewards_R).any():
        raise TrainingUsageError(
            f"rewards must be finite, or NaN if unscored, got {np.isinf(rewards_R).sum()} infinite"
        )
    return rewards_R if failed_R is None else np.where(failed_R, np.nan, rewards_R)


def _grouped(rewards_R: Floats, groups_R: Names, is_scored_R: Flags) -> _Groups:
    names, of_R = np.unique(groups_R, return_inverse=True)
    of_scored, rewards = of_R[is_scored_R], rewards_R[is_scored_R]
    highest_B, lowest_B = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    np.maximum.at(highest_B, of_scored, rewards)
    np.minimum.at(lowest_B, of_scored, rewards)
    counts_B = np.bincount(of_scored, minlength=len(names))
    sums_B = np.asarray(np.bincount(of_scored, rewards, len(names)), np.float64)
    return _Groups(of_R, counts_B, sums_B, highest_B - lowest_B)


def _baselines(
    rewards_R: Floats, groups: _Groups, baseline: Baseline | PolicyAdjusted, policies_R: Names | None
) -> Floats:
    counts_R, sums_R = groups.counts_B[groups.of_R], groups.sums_B[groups.of_R]
    if baseline == "leave_one_out":
        return leave_one_out_means(rewards_R, sums_R, counts_R)
    if baseline == "mean":
        return np.asarray(sums_R / np.maximum(counts_R, 1), np.float64)
    if not isinstance(baseline, PolicyAdjusted) and baseline != "policy_adjusted":
        raise TrainingUsageError(f"baseline must be one of {get_args(Baseline)}, got {baseline!r}")
    if policies_R is None:
        raise TrainingUsageError("a policy-adjusted baseline needs policies_R, the policy that made each rollout")
    scored = np.flatnonzero(~np.isnan(rewards_R))
    rewards, tasks, policies = rewards_R[scored], groups.of_R[scored], policies_R[scored]
    strengths = baseline if isinstance(baseline, PolicyAdjusted) else best_strengths(rewards, tasks, policies)
    baselines_R = np.full(len(rewards_R), np.nan)
    baselines_R[scored] = additive_baselines(rewards, tasks, policies, strengths)
    return baselines_R


def _divisors(rewards_R: Floats, groups: _Groups, scale: Scale) -> Floats:
    """What each rollout's difference is divided by; shape (R,), above 0 wherever there is signal."""
    if scale.by == "none":
        return np.ones(len(rewards_R))
    is_scored_R = ~np.isnan(rewards_R)
    of_R = groups.of_R if scale.by == "group_std" else np.zeros(len(rewards_R), np.int64)
    scored, of_scored = rewards_R[is_scored_R], of_R[is_scored_R]
    counts = np.bincount(of_scored, minlength=int(of_R.max(initial=0)) + 1)
    means = np.bincount(of_scored, scored, len(counts)) / np.maximum(counts, 1)
    squares = np.bincount(of_scored, (scored - means[of_scored]) ** 2, len(counts))
    freedom = np.maximum(counts - (scale.deviation == "sample"), 1)
    return np.asarray(np.where(counts > 1, np.sqrt(squares / freedom), 1.0)[of_R] + scale.epsilon, np.float64)

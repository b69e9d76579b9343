"""Live rollouts as batches to train on."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.advantages import RefinedRewards, refine_rewards
from grpo.collector import Rollout
from grpo.config import GRPOConfig, Loss, settled
from grpo.crediting import Decided, credit_decisions
from grpo.decision_table import DecisionTable
from grpo.encoding import TextTable
from grpo.rollouts import group_of
from grpo.updating import TrainingBatch
from trajstore.schema import Trajectory

RewardOf = Callable[[Trajectory], float | None]
Floats = NDArray[np.float64]


def rewards_of(trajectories: Sequence[Trajectory], reward_of: RewardOf) -> Floats:
    """Reward of each trajectory, NaN where it has none; shape (R,)."""
    found = (reward_of(trajectory) for trajectory in trajectories)
    return np.array([np.nan if reward is None else reward for reward in found])


def outcome_reward(trajectory: Trajectory) -> float | None:
    """The reward that a trajectory was given, else 1 or 0 by its success; None where neither is known.

    >>> from trajstore.schema import Task
    >>> outcome_reward(Trajectory(Task("take it"), success=True))
    1.0
    """
    if trajectory.reward is not None:
        return trajectory.reward
    return None if trajectory.success is None else float(trajectory.success)


def refine_rollouts(rollouts: Sequence[Rollout], config: GRPOConfig, reward_of: RewardOf) -> RefinedRewards:
    """Advantages of live rollouts; those that failed for the infrastructure's sake count nowhere."""
    return refine_rewards(
        rewards_of([rollout.trajectory for rollout in rollouts], reward_of),
        np.array([group_of(rollout.trajectory) for rollout in rollouts]),
        baseline=settled(config.resolved(is_logged=False).baseline),
        scale=config.scale,
        policies_R=np.array([rollout.policy_version for rollout in rollouts]),
        infrastructure_failed_R=np.array([rollout.cause == "infrastructure" for rollout in rollouts]),
    )


def live_batch(
    rollouts: Sequence[Rollout],
    refined: RefinedRewards,
    texts: TextTable,
    config: GRPOConfig,
    *,
    reward_of: RewardOf = outcome_reward,
    loss: Loss = "clipped",
    device: torch.device | str = "cpu",
) -> TrainingBatch | None:
    """The decisions of rollouts that have a signal; None where none has, and nothing can be learned."""
    places = [at for at, one in enumerate(rollouts) if refined.has_signal_R[at] and one.encoded]
    if not places:
        return None
    kept = [rollouts[at] for at in places]
    lengths = np.array([len(rollout.encoded) for rollout in kept])
    decisions = [one for rollout in kept for one in rollout.encoded]
    names = np.array([group_of(rollout.trajectory) for rollout in kept])
    decided = Decided(
        np.repeat(np.arange(len(kept)), lengths),
        np.array([one.state for one in decisions], np.int64),
        texts.vectors,
        np.unique(names, return_inverse=True)[1],
        rewards_of([rollout.trajectory for rollout in kept], reward_of),
    )
    advantages = credit_decisions(
        refined.advantages_R[places],
        decided,
        how=config.credit,
        discount=config.discount,
        step_weight=config.step_weight,
        seed=config.seed,
    )
    table = DecisionTable(decisions, texts.vectors, device)
    logged = np.concatenate([rollout.log_probabilities for rollout in kept])

    def put(array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return TrainingBatch(
        table,
        put(np.arange(len(logged))),
        put(np.concatenate([rollout.places for rollout in kept])),
        put(logged.astype(np.float32)),
        put(advantages.astype(np.float32)),
        put(decided.rollouts_N),
        torch.zeros(len(logged), device=device),
        loss,
    )

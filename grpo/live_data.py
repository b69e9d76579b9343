"""Live rollouts as batches to train on."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.advantages import RefinedRewards, refine_rewards
from grpo.collector import Rollout
from grpo.config import GRPOConfig, Loss
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
        baseline=config.baseline or "leave_one_out",
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
    loss: Loss = "clipped",
    device: torch.device | str = "cpu",
) -> TrainingBatch | None:
    """The decisions of rollouts that have a signal; None where none has, and nothing can be learned."""
    kept = [
        (rollout, float(advantage))
        for rollout, advantage, tells in zip(rollouts, refined.advantages_R, refined.has_signal_R, strict=True)
        if tells and rollout.encoded
    ]
    if not kept:
        return None
    lengths = np.array([len(rollout.encoded) for rollout, _ in kept])
    left = np.concatenate([np.arange(length - 1, -1, -1) for length in lengths])
    advantages = np.repeat([advantage for _, advantage in kept], lengths) * config.discount**left
    table = DecisionTable([one for rollout, _ in kept for one in rollout.encoded], texts.vectors, device)
    logged = np.concatenate([rollout.log_probabilities for rollout, _ in kept])

    def put(array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return TrainingBatch(
        table,
        put(np.arange(len(logged))),
        put(np.concatenate([_places(rollout) for rollout, _ in kept])),
        put(logged.astype(np.float32)),
        put(advantages.astype(np.float32)),
        put(np.repeat(np.arange(len(kept)), lengths)),
        torch.zeros(len(logged), device=device),
        loss,
    )


def _places(rollout: Rollout) -> NDArray[np.int64]:
    """Where what was chosen stood among the candidates of each step."""
    return np.array(
        [
            next(at for at, one in enumerate(step.candidates) if one.tool == step.tool and one.args == step.args)
            for step in rollout.trajectory.steps
        ],
        np.int64,
    )

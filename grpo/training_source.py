"""Where an update's batch comes from: the store's logs, live rollouts, or both."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.collector import CollectionConfig, OnRollout, TrajectoryCollector
from grpo.config import GRPOConfig, settled
from grpo.live_data import RewardOf, live_batch, refine_rollouts, rewards_of
from grpo.logged_data import LoggedData
from grpo.protocols import Environment
from grpo.tool_policy import ToolPolicy
from grpo.updating import TrainingBatch
from trajstore.schema import Task


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What was drawn for one update: groups, trajectories, and what they earned.

    `reward` is the mean over trajectories that have one, `success_rate` in [0, 1] over those that were judged,
    `frac_reward_zero_std` the share of groups without signal, `failed` rollouts that the infrastructure spoilt.
    """

    groups: int
    trajectories: int
    reward: float
    success_rate: float
    frac_reward_zero_std: float
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """The parts of one batch (none: nothing can be learned from what was drawn), and what they are."""

    parts: tuple[TrainingBatch, ...]
    report: SourceReport


class Source(Protocol):
    """Gives the batch of each update; the same number gives the same draws."""

    def draw(self, policy: ToolPolicy, number: int) -> Drawn:
        """The batch of update `number`, counted from 0; `policy` is the present one."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


class LoggedSource:
    """Groups of logged trajectories, drawn without replacement within an update."""

    def __init__(
        self, data: LoggedData, may_use_R: NDArray[np.bool_], rewards_R: NDArray[np.float64], config: GRPOConfig
    ) -> None:
        self._data, self._may_use_R, self._rewards_R = data, may_use_R, rewards_R
        self._config = config.resolved(is_logged=True)
        self._groups_R = data.rollouts.groups_R
        signal = may_use_R & (data.advantages_R != 0.0)
        self._groups = np.unique(self._groups_R[signal])

    def draw(self, policy: ToolPolicy, number: int) -> Drawn:
        """See `Source.draw`; `policy` plays no part."""
        return self.draw_groups(self._config.groups, number)

    def draw_groups(self, groups: int, number: int) -> Drawn:
        """So many groups."""
        rng = np.random.default_rng([self._config.seed, number, 2])
        drawn = rng.choice(self._groups, min(groups, len(self._groups)), replace=False)
        rollouts = np.flatnonzero(self._may_use_R & np.isin(self._groups_R, drawn))
        rewards = self._rewards_R[rollouts]
        successes = self._data.rollouts.successes_R[rollouts]
        report = SourceReport(
            len(drawn),
            len(rollouts),
            _mean(rewards),
            _mean(successes),
            1.0 - float(self._data.refined.has_signal_R[rollouts].mean()) if len(rollouts) else 0.0,
        )
        if not len(rollouts):
            return Drawn((), report)
        return Drawn((self._data.batch(rollouts, settled(self._config.loss)),), report)

    def close(self) -> None:
        """Nothing is open."""


class LiveSource:
    """Rollouts of the present policy on tasks drawn anew for each update."""

    def __init__(
        self,
        environment: Environment | Callable[[], Environment],
        tasks: Sequence[Task],
        config: GRPOConfig,
        reward_of: RewardOf,
        *,
        limits: CollectionConfig | None = None,
        on_rollout: OnRollout | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._environment, self._tasks, self._reward_of = environment, tuple(tasks), reward_of
        self._config = config.resolved(is_logged=False)
        self._limits, self._on_rollout, self._device = limits or CollectionConfig(), on_rollout, device

    def draw(self, policy: ToolPolicy, number: int) -> Drawn:
        """See `Source.draw`."""
        return self.draw_groups(policy, self._config.groups, number)

    def draw_groups(self, policy: ToolPolicy, groups: int, number: int) -> Drawn:
        """Rollouts of so many tasks."""
        rng = np.random.default_rng([self._config.seed, number, 3])
        places = rng.choice(len(self._tasks), min(groups, len(self._tasks)), replace=False)
        policy.encoder.most_texts = None  # what was read is trained on, so none of it may be forgotten
        collector = TrajectoryCollector(self._environment, policy, self._limits, on_rollout=self._on_rollout)
        with closing(collector):
            rollouts = collector.collect([self._tasks[place] for place in places], number=number)
        refined = refine_rollouts(rollouts, self._config, self._reward_of)
        trajectories = [rollout.trajectory for rollout in rollouts]
        report = SourceReport(
            len(places),
            len(rollouts),
            _mean(rewards_of(trajectories, self._reward_of)),
            _mean(np.array([np.nan if one.success is None else float(one.success) for one in trajectories])),
            refined.frac_reward_zero_std,
            sum(rollout.cause == "infrastructure" for rollout in rollouts),
        )
        batch = live_batch(
            rollouts,
            refined,
            policy.encoder.table,
            self._config,
            reward_of=self._reward_of,
            loss=settled(self._config.loss),
            device=self._device,
        )
        return Drawn((batch,) if batch else (), report)

    def close(self) -> None:
        """The environment belongs to whoever made it."""


class MixedSource:
    """Live rollouts, and a share of logged groups replayed beside them with their own loss."""

    def __init__(self, live: LiveSource, logged: LoggedSource, config: GRPOConfig) -> None:
        self._live, self._logged = live, logged
        self._replayed = round(config.replay * config.groups)
        self._fresh = max(config.groups - self._replayed, 1)

    def draw(self, policy: ToolPolicy, number: int) -> Drawn:
        """See `Source.draw`; the report is of the live rollouts."""
        fresh = self._live.draw_groups(policy, self._fresh, number)
        replayed = self._logged.draw_groups(self._replayed, number) if self._replayed else Drawn((), fresh.report)
        return Drawn((*fresh.parts, *replayed.parts), fresh.report)

    def close(self) -> None:
        """Close both."""
        self._live.close()
        self._logged.close()


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

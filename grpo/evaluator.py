"""`AgentEvaluator`: how a policy does in an environment, on a panel of tasks that is always the same."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from grpo.collector import CollectionConfig, OnRollout, Rollout, TrajectoryCollector
from grpo.errors import TrainingUsageError
from grpo.protocols import Environment, Policy
from selector.intervals import Interval
from trajstore.schema import Task

Floats = NDArray[np.float64]
RESAMPLES = 2000
PANEL_DRAWS = 2**31 - 1  # so that no update of a trainer samples with the same numbers


@dataclass(frozen=True, slots=True)
class AgentScores:
    """How an agent did, each number with a 95 % interval over tasks, the seeds of a task averaged first.

    `success_rate` in [0, 1], `average_reward` as the environment gives it, `average_steps` of an episode and
    `tool_accuracy` in [0, 1], the share of calls that were understood and went well.  `panel` names the tasks: equal
    panels, equal tasks.  `failed` rollouts were spoilt by the infrastructure and count nowhere.
    """

    success_rate: Interval
    average_reward: Interval
    average_steps: Interval
    tool_accuracy: Interval
    tasks: int
    rollouts: int
    failed: int
    panel: str


@dataclass(frozen=True, slots=True)
class AgentComparison:
    """Two policies on the same panel, and the second less the first, task by task."""

    before: AgentScores
    after: AgentScores
    success_gain: Interval
    reward_gain: Interval


class AgentEvaluator:
    """Rolls policies out on `tasks`, each `seeds` times, and compares them task by task.

    `limits` are those of the collector; its temperature is the policy's own (0: the most probable action).
    """

    def __init__(
        self,
        environment: Environment | Callable[[], Environment],
        tasks: Sequence[Task],
        *,
        seeds: int = 3,
        limits: CollectionConfig | None = None,
        on_rollout: OnRollout | None = None,
    ) -> None:
        if not tasks:
            raise TrainingUsageError("a panel needs at least one task, got none")
        if seeds < 1:
            raise TrainingUsageError(f"seeds must be 1 or more, got {seeds}")
        self._environment, self._tasks, self._on_rollout = environment, tuple(tasks), on_rollout
        self._limits = replace(limits or CollectionConfig(), per_task=seeds)
        self.panel = panel_name(tasks)

    def evaluate(self, policy: Policy) -> AgentScores:
        """Scores of one policy."""
        return self._scores(self._rollouts(policy))

    def compare(self, before: Policy, after: Policy) -> AgentComparison:
        """Scores of two, and what the second gains on each task."""
        first, second = self._rollouts(before), self._rollouts(after)

        def gain(value: Callable[[Rollout], float]) -> Interval:
            return self._interval(self._by_task(second, value) - self._by_task(first, value))

        return AgentComparison(self._scores(first), self._scores(second), gain(_success), gain(_reward))

    def _rollouts(self, policy: Policy) -> tuple[Rollout, ...]:
        collector = TrajectoryCollector(self._environment, policy, self._limits, on_rollout=self._on_rollout)
        with closing(collector):
            return collector.collect(self._tasks, number=PANEL_DRAWS)

    def _scores(self, rollouts: Sequence[Rollout]) -> AgentScores:
        def mean(value: Callable[[Rollout], float]) -> Interval:
            return self._interval(self._by_task(rollouts, value))

        return AgentScores(
            mean(_success),
            mean(_reward),
            mean(_steps),
            mean(_accuracy),
            tasks=len(self._tasks),
            rollouts=len(rollouts),
            failed=sum(rollout.cause == "infrastructure" for rollout in rollouts),
            panel=self.panel,
        )

    def _by_task(self, rollouts: Sequence[Rollout], value: Callable[[Rollout], float]) -> Floats:
        """Mean of a number over the sound rollouts of each task, NaN where there is none; shape (B,)."""
        table = np.array([np.nan if rollout.cause == "infrastructure" else value(rollout) for rollout in rollouts])
        known = ~np.isnan(table).reshape(len(self._tasks), -1)
        sums = np.nan_to_num(table).reshape(len(self._tasks), -1).sum(axis=1)
        counts = known.sum(axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def _interval(self, values_B: Floats) -> Interval:
        known = values_B[~np.isnan(values_B)]
        if not len(known):
            return Interval(*[float("nan")] * 4)
        drawn = known[np.random.default_rng(0).integers(len(known), size=(RESAMPLES, len(known)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        return Interval(float(known.mean()), float(drawn.std()), low, high)


def panel_name(tasks: Sequence[Task]) -> str:
    """Eight hexadecimal digits that name a set of tasks, whatever their order.

    >>> panel_name([Task("a"), Task("b")]) == panel_name([Task("b"), Task("a")])
    True
    """
    names = sorted(f"{task.task_id}\n{task.text}" for task in tasks)
    return blake2b("\0".join(names).encode(), digest_size=4).hexdigest()


def _success(rollout: Rollout) -> float:
    return float(rollout.trajectory.success is True)


def _reward(rollout: Rollout) -> float:
    return float(rollout.trajectory.reward or 0.0)


def _steps(rollout: Rollout) -> float:
    return float(len(rollout.trajectory.steps))


def _accuracy(rollout: Rollout) -> float:
    steps = rollout.trajectory.steps
    return sum(not step.has_failed for step in steps) / len(steps) if steps else float("nan")

"""Validation of a policy that is trained against an environment: rollouts on tasks that it does not train on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from grpo.collector import CollectionConfig
from grpo.evaluator import AgentEvaluator
from grpo.live_tasks import LiveTasks
from grpo.protocols import Environment
from grpo.tool_policy import ToolPolicy
from grpo.validation import share_not_below


class LiveValidation:
    """Scores by mean reward on validation tasks; reports on test tasks (the validation tasks where there are none)."""

    def __init__(
        self, environment: Environment | Callable[[], Environment], tasks: LiveTasks, limits: CollectionConfig
    ) -> None:
        self._validation = AgentEvaluator(environment, tasks.validation, seeds=1, limits=limits)
        self._test = AgentEvaluator(environment, tasks.test or tasks.validation, seeds=3, limits=limits)
        self._reach = 0.0

    def score(self, policy: ToolPolicy) -> float:
        """Mean reward on the validation tasks."""
        reward = self._validation.evaluate(policy).average_reward
        self._reach = reward.high - reward.value
        return reward.value

    def monotonicity(self, scores: Sequence[float]) -> float:
        """See `Validation.monotonicity`."""
        return share_not_below(scores, self._reach)

    def final(self, first: ToolPolicy, best: ToolPolicy) -> Mapping[str, object]:
        """Scores "before" and "after" on the test tasks, and the gains, as plain data."""
        return asdict(self._test.compare(first, best))

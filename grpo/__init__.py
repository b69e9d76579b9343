"""grpo: trains the tool policy from stored and live trajectories by group refined policy optimisation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpo.collector import CollectionConfig, Rollout, TrajectoryCollector
    from grpo.config import GRPOConfig
    from grpo.evaluator import AgentEvaluator
    from grpo.live_tasks import LiveTasks
    from grpo.tool_policy import ToolPolicy
    from grpo.trainer import GRPOTrainer, TrainingReport

_HOMES = {
    "AgentEvaluator": "grpo.evaluator",
    "CollectionConfig": "grpo.collector",
    "GRPOConfig": "grpo.config",
    "GRPOTrainer": "grpo.trainer",
    "LiveTasks": "grpo.live_tasks",
    "Rollout": "grpo.collector",
    "ToolPolicy": "grpo.tool_policy",
    "TrainingReport": "grpo.trainer",
    "TrajectoryCollector": "grpo.collector",
}

__all__ = [
    "AgentEvaluator",
    "CollectionConfig",
    "GRPOConfig",
    "GRPOTrainer",
    "LiveTasks",
    "Rollout",
    "ToolPolicy",
    "TrainingReport",
    "TrajectoryCollector",
]


def __getattr__(name: str) -> Any:  # Any: whatever is exported
    """Load an export when it is first asked for: torch comes with the trainer, not with the package."""
    if name not in _HOMES:
        raise AttributeError(f"module 'grpo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

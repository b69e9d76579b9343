"""Tasks of an environment, by what they are for."""

from collections.abc import Sequence
from dataclasses import dataclass

from grpo.errors import TrainingUsageError
from trajstore.schema import Task


@dataclass(frozen=True, slots=True)
class LiveTasks:
    """Tasks to train on, to validate on between updates, and to report on (none: those to validate on)."""

    train: Sequence[Task]
    validation: Sequence[Task]
    test: Sequence[Task] = ()

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            if not getattr(self, name):
                raise TrainingUsageError(f"{name} needs at least one task, got none")
        seen = {(task.task_id, task.text) for task in self.train}
        shared = [task for task in (*self.validation, *self.test) if (task.task_id, task.text) in seen]
        if shared:
            raise TrainingUsageError(f"task {shared[0].task_id or shared[0].text!r} is trained on and measured on")

"""How large a record may be: bounds on what one trajectory may ask of memory, disk and time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajstore.errors import InvalidRecord, UsageError
from trajstore.rows import LARGEST_TEXT, TrajectoryRow
from trajstore.schema import Step, Trajectory


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one trajectory may hold; what exceeds it is refused whole, never cut.

    `steps`, `candidates` of one step, levels of `nesting` in arguments and metadata, and characters of one text and of
    all the texts that are stored of it.
    """

    steps: int = 100_000
    candidates: int = 10_000
    nesting: int = 64
    text_characters: int = LARGEST_TEXT
    trajectory_characters: int = 4 * LARGEST_TEXT

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} of the limits must be above 0, got {getattr(self, name)}")

    def check(self, trajectory: Trajectory) -> None:
        """Raise `InvalidRecord` for a trajectory with more steps, candidates or levels, before anything walks it."""
        if len(trajectory.steps) > self.steps:
            raise InvalidRecord(_sentence("a trajectory", "steps", len(trajectory.steps), self.steps))
        for step in trajectory.steps:
            self._check_step(step)
        require_shallow("metadata", trajectory.metadata, self.nesting)
        require_shallow("kpis", trajectory.kpis, self.nesting)

    def check_row(self, row: TrajectoryRow) -> None:
        """Raise `InvalidRecord` where what would be stored is longer than it may be."""
        lengths = [len(value) for values in (row.values, *row.steps) for value in values if isinstance(value, str)]
        if max(lengths) > self.text_characters:
            raise InvalidRecord(_sentence("a text", "characters", max(lengths), self.text_characters))
        if sum(lengths) > self.trajectory_characters:
            raise InvalidRecord(_sentence("a trajectory", "characters", sum(lengths), self.trajectory_characters))

    def _check_step(self, step: Step) -> None:
        if len(step.candidates) > self.candidates:
            raise InvalidRecord(_sentence(f"step {step.index}", "candidates", len(step.candidates), self.candidates))
        require_shallow(f"step {step.index} args", step.args, self.nesting)
        for candidate in step.candidates:
            if candidate.args:
                require_shallow(f"candidate args of step {step.index}", candidate.args, self.nesting)


def require_shallow(name: str, value: Any, most: int) -> None:  # Any: JSON
    """Raise `InvalidRecord` where lists and objects are nested more than `most` levels deep, the value's included."""
    level: list[Any] = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _inner(outer) if isinstance(inner, Mapping | list | tuple)]
        if not level:
            return
    raise InvalidRecord(f"{name} must be nested at most {most} levels deep; store deep data as one text")


def _inner(value: Any) -> list[Any]:  # Any: JSON
    return list(value.values() if isinstance(value, Mapping) else value)


def _sentence(what: str, of: str, found: int, most: int) -> str:
    return f"{what} may have at most {most:,} {of}, got {found:,}; split it, or open the store with larger Limits"

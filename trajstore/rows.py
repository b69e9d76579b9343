"""Records as rows of the tables, and rows as records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any

from trajstore.checksums import row_checksum
from trajstore.codec import REAL_FIELDS, candidates_from_json, candidates_to_json, content_hash, from_json, to_json
from trajstore.errors import InvalidRecord
from trajstore.schema import Step, Task, Trajectory

LARGEST_TEXT = 64 * 1024 * 1024  # characters; what is longer is refused whole, never cut
Row = tuple[Any, ...]  # Any: a row holds text, numbers and nulls

TRAJECTORY_COLUMNS = (
    "id, content_hash, namespace, task_text, task_id, task_group, family, success, reward, kpis, agent, source, judge, "
    "trust, stop_reason, created_at, metadata, checksum"
)
STEP_COLUMNS = (
    "step_index, tool, state, args, observation, outcome, error, reward, kind, latency_seconds, cost_usd, tokens, "
    "candidates, propensity, decision_id"
)
TRAJECTORY_NAMES = tuple(TRAJECTORY_COLUMNS.split(", "))
STEP_NAMES = tuple(STEP_COLUMNS.split(", "))
WHOLE = frozenset({"success", "step_index", "tokens"})
REAL = REAL_FIELDS | {"created_at"}
OPTIONAL = frozenset(
    {"success", "reward", "error", "latency_seconds", "cost_usd", "tokens", "propensity", "decision_id"}
)


def _types(names: Sequence[str]) -> tuple[type | UnionType, ...]:
    plain = {name: int if name in WHOLE else float if name in REAL else str for name in names}
    return tuple(kind | None if name in OPTIONAL else kind for name, kind in plain.items())


TRAJECTORY_TYPES, STEP_TYPES = _types(TRAJECTORY_NAMES), _types(STEP_NAMES)


@dataclass(frozen=True, slots=True)
class TrajectoryRow:
    """A trajectory and its steps as they are written."""

    content_hash: str
    values: Row
    steps: tuple[Row, ...]

    @property
    def id(self) -> str:
        """The id to store it under."""
        return str(self.values[0])

    @property
    def namespace(self) -> str:
        """Whose it is."""
        return str(self.values[2])


def to_row(trajectory: Trajectory, trajectory_id: str, now: float) -> TrajectoryRow:
    """Rows for one trajectory; `InvalidRecord` for too large a text, and for what would not come back unchanged."""
    task, key = trajectory.task, content_hash(trajectory)
    created_at = now if trajectory.created_at is None else trajectory.created_at
    values = (
        trajectory_id,
        key,
        task.namespace,
        task.text,
        task.task_id,
        task.group,
        task.family,
        None if trajectory.success is None else int(trajectory.success),
        trajectory.reward,
        to_json(dict(trajectory.kpis)),
        trajectory.agent,
        trajectory.source,
        trajectory.judge,
        trajectory.trust,
        trajectory.stop_reason,
        created_at,
        to_json(dict(trajectory.metadata)),
        row_checksum(trajectory_id, key, created_at),
    )
    steps = (_checked(STEP_NAMES, _step_to_row(step)) for step in trajectory.steps)
    return TrajectoryRow(key, _checked(TRAJECTORY_NAMES, values), tuple(steps))


def from_rows(row: Sequence[Any], steps: Iterable[Sequence[Any]]) -> Trajectory:
    """The trajectory of one row (TRAJECTORY_COLUMNS) and those of its steps (STEP_COLUMNS), in order.

    `InvalidRecord` or ValueError where what was written is damaged.
    """
    _require_types(TRAJECTORY_NAMES, TRAJECTORY_TYPES, row)
    return Trajectory(
        task=Task(row[3], row[4], row[5], row[6], row[2]),
        steps=tuple(map(_step_from_row, steps)),
        success=None if row[7] is None else bool(row[7]),
        reward=row[8],
        kpis=_object(row[9]),
        agent=row[10],
        source=row[11],
        judge=row[12],
        trust=row[13],
        stop_reason=row[14],
        created_at=row[15],
        metadata=_object(row[16]),
        trajectory_id=row[0],
    )


def _step_to_row(step: Step) -> Row:
    return (
        step.index,
        step.tool,
        step.state,
        to_json(dict(step.args)),
        step.observation,
        step.outcome,
        step.error,
        step.reward,
        step.kind,
        step.latency_seconds,
        step.cost_usd,
        step.tokens,
        candidates_to_json(step.candidates),
        step.propensity,
        step.decision_id,
    )


def _step_from_row(row: Sequence[Any]) -> Step:
    _require_types(STEP_NAMES, STEP_TYPES, row)
    return Step(
        index=row[0],
        tool=row[1],
        state=row[2],
        args=_object(row[3]),
        observation=row[4],
        outcome=row[5],
        error=row[6],
        reward=row[7],
        kind=row[8],
        latency_seconds=row[9],
        cost_usd=row[10],
        tokens=row[11],
        candidates=candidates_from_json(row[12]),
        propensity=row[13],
        decision_id=row[14],
    )


def _object(text: str) -> dict[str, Any]:
    value = from_json(text)
    if not isinstance(value, dict):
        raise InvalidRecord(f"args, kpis and metadata must be JSON objects, got {_short(value)}")
    return value


def _require_types(names: Sequence[str], types: Sequence[type | UnionType], row: Sequence[Any]) -> None:
    if not all(map(isinstance, row, types)):
        cells = zip(names, row, types, strict=True)
        name, value = next((name, value) for name, value, kind in cells if not isinstance(value, kind))
        raise InvalidRecord(f"{name} cannot be {_short(value)}")


def _checked(names: Sequence[str], values: Row) -> Row:
    for name, value in zip(names, values, strict=True):
        if value is None:
            if name not in OPTIONAL:
                raise InvalidRecord(f"{name} must be given, got None")
        elif name in WHOLE:
            _require_whole(name, value)
        elif name in REAL:
            _require_real(name, value)
        else:
            _require_text(name, value)
    return values


def _require_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise InvalidRecord(f"{name} must be a whole number of at most 64 bits, got {_short(value)}")


def _require_real(name: str, value: object) -> None:
    if isinstance(value, float):
        return
    if not isinstance(value, int) or abs(value) > 2**53:
        raise InvalidRecord(f"{name} must be a number that 64-bit floats hold exactly, got {_short(value)}")


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRecord(f"{name} must be text, got {_short(value)}")
    if len(value) > LARGEST_TEXT:
        raise InvalidRecord(f"{name} must be at most {LARGEST_TEXT:,} characters, got {len(value):,}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            found = f"a lone surrogate at position {error.start}"
            raise InvalidRecord(f"{name} must be valid Unicode, got {found}") from error


def _short(value: object) -> str:
    return f"{type(value).__name__} {value}" if isinstance(value, int) and abs(value) < 10**40 else type(value).__name__

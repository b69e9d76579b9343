"""A trajectory as a line of the native format without loss, and such a line as the trajectory that it was.

The line has the keys of every native log, and `trajstore`: the version of what is exact in it.  Lines without that key
are logs, which the reader of the native format takes as they come.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from trajstore.errors import InvalidRecord
from trajstore.schema import Candidate, Step, Task, Trajectory

Json: TypeAlias = Any
"""Whatever JSON holds."""

MARK = "trajstore"
VERSION = 1
LARGEST_WHOLE = 10**300
_KINDS: dict[type, str] = {str: "a string", dict: "an object", list: "a list", int: "a whole number"}


def is_exact(line: Json) -> bool:
    """Whether a line is one that `to_line` wrote, and not a log's."""
    return isinstance(line, dict) and MARK in line


def to_line(trajectory: Trajectory) -> dict[str, Json]:
    """The line of a trajectory: plain JSON, from which `from_line` makes an equal one."""
    task = trajectory.task
    return {
        MARK: VERSION,
        "traj_id": trajectory.trajectory_id,
        "namespace": task.namespace,
        "task": task.text,
        "task_id": task.task_id,
        "group": task.group,
        "split_key": task.family,
        "policy": trajectory.agent,
        "source": trajectory.source,
        "success": trajectory.success,
        "reward": trajectory.reward,
        "judge": trajectory.judge,
        "trust": trajectory.trust,
        "kpis": dict(trajectory.kpis),
        "termination": trajectory.stop_reason,
        "created_at": trajectory.created_at,
        "metadata": dict(trajectory.metadata),
        "steps": [_step_line(step) for step in trajectory.steps],
    }


def from_line(line: Mapping[str, Json]) -> Trajectory:
    """The trajectory of a line that `to_line` wrote; `InvalidRecord` where it is damaged or of a newer version."""
    if line.get(MARK) != VERSION:
        raise InvalidRecord(
            f"{MARK} must be {VERSION} in a line of an export, got {line.get(MARK)!r}: upgrade trajstore"
        )
    success = line.get("success")
    if success is not None and not isinstance(success, bool):
        raise InvalidRecord(f"success must be true, false or null, got {success!r}")
    return Trajectory(
        task=Task(
            text=_text(line, "task"),
            task_id=_text(line, "task_id"),
            group=_text(line, "group"),
            family=_text(line, "split_key"),
            namespace=_text(line, "namespace", "default"),
        ),
        steps=tuple(_step(_of_type(step, dict, f"steps[{at}]")) for at, step in enumerate(_list(line, "steps"))),
        success=success,
        reward=_number(line, "reward"),
        kpis=_kpis(_object(line, "kpis")),
        agent=_text(line, "policy"),
        source=_text(line, "source"),
        judge=cast(Any, _text(line, "judge", "environment")),  # the record checks these names
        trust=1.0 if line.get("trust") is None else _required(line, "trust"),
        stop_reason=_text(line, "termination"),
        created_at=_number(line, "created_at"),
        metadata=_object(line, "metadata"),
        trajectory_id=_text(line, "traj_id"),
    )


def _kpis(values: Mapping[str, Json]) -> dict[str, float]:
    return {name: _required(values, name) for name in values}


def _step_line(step: Step) -> dict[str, Json]:
    optional = {
        "tool_s": step.latency_seconds,
        "cost": step.cost_usd,
        "tokens": step.tokens,
        "propensity": step.propensity,
        "decision_id": step.decision_id,
        "candidates": [_candidate_line(one) for one in step.candidates] or None,
    }
    return {
        "i": step.index,
        "actor": "user" if step.kind == "user" else "agent",
        "kind": step.kind,
        "tool": step.tool,
        "args": dict(step.args),
        "observation": step.observation,
        "outcome": step.outcome,
        "error": step.error,
        "reward": step.reward,
        "state": step.state,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _candidate_line(candidate: Candidate) -> dict[str, Json]:
    optional = {"args": dict(candidate.args), "text": candidate.text}
    return {"tool": candidate.tool, **{name: value for name, value in optional.items() if value}}


def _step(line: Mapping[str, Json]) -> Step:
    return Step(
        index=_of_type(line.get("i"), int, "i"),
        tool=_text(line, "tool"),
        state=_text(line, "state"),
        args=_object(line, "args"),
        observation=_text(line, "observation"),
        outcome=cast(Any, _text(line, "outcome", "unknown")),  # as above
        error=_optional(line, "error", str),
        reward=_number(line, "reward"),
        kind=cast(Any, _text(line, "kind", "tool")),  # as above
        latency_seconds=_number(line, "tool_s"),
        cost_usd=_number(line, "cost"),
        tokens=_optional(line, "tokens", int),
        candidates=tuple(_candidate(_of_type(one, dict, "candidates")) for one in _list(line, "candidates")),
        propensity=_number(line, "propensity"),
        decision_id=_optional(line, "decision_id", str),
    )


def _candidate(line: Mapping[str, Json]) -> Candidate:
    return Candidate(_text(line, "tool"), _object(line, "args"), _text(line, "text"))


def _of_type(value: Json, kind: type, name: str) -> Json:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRecord(f"{name} must be {_KINDS[kind]} in a line of an export, got {type(value).__name__}")
    return value


def _optional(line: Mapping[str, Json], name: str, kind: type) -> Json:
    return None if line.get(name) is None else _of_type(line[name], kind, name)


def _text(line: Mapping[str, Json], name: str, default: str = "") -> str:
    return cast(str, _of_type(line.get(name, default), str, name))


def _object(line: Mapping[str, Json], name: str) -> dict[str, Json]:
    return cast(dict[str, Json], _of_type(line.get(name, {}), dict, name))


def _list(line: Mapping[str, Json], name: str) -> list[Json]:
    return cast(list[Json], _of_type(line.get(name, []), list, name))


def _number(line: Mapping[str, Json], name: str) -> float | None:
    """The number itself: a whole one stays whole, as the content hash of KPIs tells 3 from 3.0."""
    value = line.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRecord(f"{name} must be a number or null, got {type(value).__name__}")
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        raise InvalidRecord(f"{name} must be a number that 64-bit floats can hold, got a larger one")
    return value


def _required(line: Mapping[str, Json], name: str) -> float:
    value = _number(line, name)
    if value is None:
        raise InvalidRecord(f"{name} must be a number, got null")
    return value

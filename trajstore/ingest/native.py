"""The native format: JSONL, one trajectory a line; a line of `trajstore export` is read back without loss."""

import re
from collections.abc import Mapping
from typing import cast

from trajstore.ingest.decoding import Json
from trajstore.ingest.fields import (
    as_label,
    as_list,
    as_name,
    as_number,
    as_object,
    as_outcome,
    as_text,
    count,
    mapping,
    non_negative,
)
from trajstore.ingest.records import Reader, first_of, has_keys, itself_or_elements, split_each
from trajstore.native_lines import from_line, is_exact
from trajstore.schema import STEP_KINDS, Outcome, Step, StepKind, Task, Trajectory

_READ = frozenset(
    {"task", "steps", "group", "split_key", "policy", "success", "reward", "duration_s", "cost_usd", "termination"}
)
_READ_OF_STEP = frozenset(
    {
        "i",
        "actor",
        "kind",
        "tool",
        "args",
        "observation",
        "error",
        "outcome",
        "reward",
        "state",
        "t",
        "llm_s",
        "tool_s",
        "cost",
        "msg",
    }
)
_SUBMISSION = re.compile(r"(?:^|/)submissions/([^/]+)/")


def _trajectory(value: Json) -> Trajectory:
    record = as_object(value, "the record")
    return from_line(record) if is_exact(record) else _logged(record)


def _logged(record: Mapping[str, Json]) -> Trajectory:
    steps = [as_object(step, f"steps[{place}]") for place, step in enumerate(as_list(record.get("steps"), "steps"))]
    kpis = {"duration_seconds": record.get("duration_s"), "cost_usd": record.get("cost_usd")}
    return Trajectory(
        task=Task(
            text=as_name(record.get("task"), "task") if record.get("task") else "",
            group=as_text(record.get("group")),
            family=as_text(record.get("split_key")),
        ),
        steps=tuple(_step(step, place) for place, step in enumerate(steps)),
        success=as_label(record.get("success"), "success"),
        reward=as_number(record.get("reward"), "reward"),
        kpis={name: number for name, kpi in kpis.items() if (number := as_number(kpi, name)) is not None},
        agent=as_text(record.get("policy")),
        source=source_name(record.get("source")),
        stop_reason=as_text(record.get("termination")),
        metadata=_metadata(record, steps),
    )


def source_name(source: Json) -> str:
    """Who supplied a record: the repository, with the submission or the branch where others than its owner wrote it.

    >>> source_name({"repo": "o/r", "ref": "HEAD"}), source_name({"repo": "o/r", "ref": "refs/pull/7/head"})
    ('o/r', 'o/r:refs/pull/7/head')
    >>> source_name({"repo": "o/r", "ref": "history", "path": "web/submissions/some-agent_2026/t.json"})
    'o/r:submissions/some-agent_2026'
    """
    if not isinstance(source, dict):
        return as_text(source)
    submission = _SUBMISSION.search(as_text(source.get("path")))
    ref = as_text(source.get("ref"))
    supplied = f"submissions/{submission[1]}" if submission else ref if ref != "HEAD" else ""
    return ":".join(part for part in (as_text(source.get("repo")), supplied) if part)


def _step(step: Mapping[str, Json], place: int) -> Step:
    kind = _kind(step)
    seconds = step.get("tool_s") if step.get("tool_s") is not None else step.get("llm_s")
    index = step.get("i")
    return Step(
        index=index if isinstance(index, int) else place,
        tool=as_name(step.get("tool"), f"steps[{place}].tool"),
        state=as_text(step.get("state")),
        args=mapping(step.get("args")),
        observation=as_text(step.get("observation")),
        outcome=_outcome(step, kind),
        error=step["error"] if isinstance(step.get("error"), str) else None,
        reward=as_number(step.get("reward"), f"steps[{place}].reward"),
        kind=kind,
        latency_seconds=non_negative(seconds),
        cost_usd=non_negative(step.get("cost")),
        tokens=count(step.get("tokens")),
    )


def _kind(step: Mapping[str, Json]) -> StepKind:
    kind = as_text(step.get("kind")) or "tool"
    if step.get("actor") == "user" and kind == "tool":
        return "user"
    return cast(StepKind, kind) if kind in STEP_KINDS else "tool"


def _outcome(step: Mapping[str, Json], kind: StepKind) -> Outcome:
    """As the step says; a message to the user that went out is neither right nor wrong, so it stays unknown."""
    named = as_outcome(step.get("outcome"))
    if named is not None:
        return named
    error = step.get("error")
    if error:
        return "tool_error"
    return "ok" if error is False and kind != "message" else "unknown"


def _metadata(record: Mapping[str, Json], steps: list[dict[str, Json]]) -> dict[str, Json]:
    kept = {key: value for key, value in record.items() if key not in _READ and value is not None}
    unknown = {str(place): rest for place, step in enumerate(steps) if (rest := _unread(step))}
    columns = {
        "step_times": [step.get("t") for step in steps],
        "step_messages": [step.get("msg") for step in steps],
    }
    kept.update({key: column for key, column in columns.items() if any(value is not None for value in column)})
    return {**kept, "steps": unknown} if unknown else kept


def _unread(step: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in step.items() if key not in _READ_OF_STEP and value is not None}


def _recognises(value: Json) -> bool:
    first = first_of(value)
    return has_keys(first, "task", "steps") or has_keys(first, "traj_id", "task")


READER = Reader("native", _recognises, _trajectory, split_each(itself_or_elements))

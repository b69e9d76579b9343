"""ATIF 1.8 (Agent Trajectory Interchange Format, Harbor's RFC 0001): one document a line.

What has no place of its own stands under `extra`: of the trajectory success, reward, judge, group and family; of a
result its outcome; of a step, under `trajstore`, its state where the conversation does not show it, and whose call it
was where it was the user's.  Rewards of steps, errors in words, candidates, propensities and metadata are left out: the
native format has them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

from trajstore.exporting.chat import call_id, spoken_text
from trajstore.schema import Step, Trajectory

Json: TypeAlias = Any
"""Whatever JSON holds."""

SCHEMA_VERSION = "ATIF-v1.8"
UNKNOWN = "unknown"
OWN = "trajstore"
_METRICS = {
    "total_prompt_tokens": "input_tokens",
    "total_completion_tokens": "output_tokens",
    "total_cost_usd": "cost_usd",
}


def atif_document(trajectory: Trajectory) -> dict[str, Json]:
    """The document of a trajectory; `trajstore ingest` reads it back."""
    steps = [{"step_id": number, **step} for number, step in enumerate(_steps(trajectory), 1)]
    begun = _iso(trajectory.created_at)
    if begun:
        steps[0]["timestamp"] = begun
    return {
        "schema_version": SCHEMA_VERSION,
        "session_id": trajectory.trajectory_id,
        "agent": _agent(trajectory),
        "steps": steps,
        "final_metrics": _metrics(trajectory) | {"total_steps": len(steps)},
        "extra": _extra(trajectory),
    }


def _agent(trajectory: Trajectory) -> dict[str, str]:
    name, _, model = trajectory.agent.partition("|")
    version = trajectory.metadata.get("agent_version")
    agent = {"name": name or UNKNOWN, "version": version if isinstance(version, str) and version else UNKNOWN}
    return agent | ({"model_name": model} if model else {})


def _extra(trajectory: Trajectory) -> dict[str, Json]:
    task = trajectory.task
    given = {"success": trajectory.success, "reward": trajectory.reward, "group": task.group, "family": task.family}
    return {"judge": trajectory.judge, **{name: value for name, value in given.items() if value not in (None, "")}}


def _metrics(trajectory: Trajectory) -> dict[str, float]:
    found = {key: trajectory.kpis.get(name) for key, name in _METRICS.items()}
    known = {key: value for key, value in found.items() if value is not None and value >= 0}
    return {key: int(value) if key.endswith("tokens") else value for key, value in known.items()}


def _steps(trajectory: Trajectory) -> Iterator[dict[str, Json]]:
    """The task as the user's words, then every step; a reader takes the newest words for the state."""
    heard = trajectory.task.text
    yield {"source": "user", "message": heard}
    for step in trajectory.steps:
        # Without a task, what is said before the user speaks would be read as a greeting, and left out.
        text = spoken_text(step) if trajectory.task.text and step.outcome == UNKNOWN else None
        own = _own(step, heard)
        if text is None:
            yield _called(step) | own
            continue
        yield {"source": "agent", "message": text} | _step_metrics(step) | own
        if step.observation:
            yield {"source": "user", "message": step.observation}
            heard = step.observation


def _own(step: Step, heard: str) -> dict[str, Json]:
    own = ({"state": step.state} if step.state not in ("", heard) else {}) | (
        {"kind": "user"} if step.kind == "user" else {}
    )
    return {"extra": {OWN: own}} if own else {}


def _called(step: Step) -> dict[str, Json]:
    call = {"tool_call_id": call_id(step), "function_name": step.tool, "arguments": dict(step.args)}
    result = {"source_call_id": call_id(step), "content": step.observation, "extra": {"outcome": step.outcome}}
    return {
        "source": "agent",
        "message": "",
        "tool_calls": [call],
        "observation": {"results": [result]},
        **_step_metrics(step),
    }


def _step_metrics(step: Step) -> dict[str, Json]:
    named = {"cost_usd": step.cost_usd, "completion_tokens": step.tokens}
    metrics = {name: value for name, value in named.items() if value is not None and value >= 0}
    return {"metrics": metrics} if metrics else {}


def _iso(seconds: float | None) -> str:
    """A time as ISO 8601 in UTC; empty where there is none, or none that a calendar has."""
    try:
        return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""

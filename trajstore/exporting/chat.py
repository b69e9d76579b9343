"""A trajectory as the messages of a chat with tool calls, as trainers of language models read them.

What the agent knew before a step (`state`) becomes a user message where nothing before says it.  The user's own calls
are left out: the agent neither made nor saw them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from trajstore.schema import Step, Trajectory

Json: TypeAlias = Any
"""Whatever JSON holds."""

RESPOND = "respond"
CONTENT = "content"
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def prompt(trajectory: Trajectory) -> list[dict[str, Json]]:
    """The task as the first message of the user."""
    return [_said("user", trajectory.task.text)]


def messages(trajectory: Trajectory) -> list[dict[str, Json]]:
    """Everything after the task: what the agent said and called, and what came back."""
    return list(_messages(trajectory))


def tools(trajectory: Trajectory) -> list[dict[str, Json]]:
    """JSON schemas of the tools that were offered or called: names and types of arguments, as far as a log shows."""
    types: dict[str, dict[str, str]] = {}
    for step in trajectory.steps:
        if spoken_text(step) is not None or step.kind == "user":
            continue
        for tool, args in [(step.tool, step.args), *((one.tool, one.args) for one in step.candidates)]:
            types.setdefault(tool, {}).update((name, _TYPES[type(value)]) for name, value in args.items())
    return [_schema(tool, named) for tool, named in types.items()]


def spoken_text(step: Step) -> str | None:
    """What the agent said to the user in this step; None where the step is a call.

    >>> spoken_text(Step(index=0, tool="respond", args={"content": "Hello"}, kind="message"))
    'Hello'
    """
    text = step.args.get(CONTENT)
    is_spoken = step.kind == "message" and step.tool == RESPOND and len(step.args) == 1
    return text if is_spoken and isinstance(text, str) and text else None


def call_id(step: Step) -> str:
    """The name that ties a result to its call.

    >>> call_id(Step(index=3, tool="search"))
    'call_3'
    """
    return f"call_{step.index}"


def _messages(trajectory: Trajectory) -> Iterator[dict[str, Json]]:
    known = ["", trajectory.task.text]
    for step in trajectory.steps:
        if step.kind == "user":
            continue
        if step.state not in known:
            yield _said("user", step.state)
        known = ["", step.state, step.observation] if step.state else [*known, step.observation]
        yield from _of_step(step)


def _of_step(step: Step) -> Iterator[dict[str, Json]]:
    text = spoken_text(step)
    if text is not None:
        yield _said("assistant", text)
        if step.observation:
            yield _said("user", step.observation)
        return
    function = {"name": step.tool, "arguments": dict(step.args)}
    call = {"id": call_id(step), "type": "function", "function": function}
    yield {"role": "assistant", "content": "", "tool_calls": [call]}
    yield {"role": "tool", "name": step.tool, "tool_call_id": call_id(step), "content": step.observation}


def _said(role: str, text: str) -> dict[str, Json]:
    return {"role": role, "content": text}


def _schema(tool: str, types: Mapping[str, str]) -> dict[str, Json]:
    properties = {name: {"type": kind} for name, kind in types.items()}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": tool, "description": "", "parameters": parameters}}

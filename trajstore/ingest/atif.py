"""ATIF 1.8 (Agent Trajectory Interchange Format): one trajectory a document; steps copied as context are dropped."""

from collections.abc import Iterator, Mapping

from trajstore.ingest.conversation import Call, Conversation, Message, read_conversation
from trajstore.ingest.decoding import Json
from trajstore.ingest.fields import (
    as_arguments,
    as_judge,
    as_label,
    as_list,
    as_name,
    as_number,
    as_object,
    as_text,
    count,
    mapping,
    marked_outcome,
    non_negative,
    objects,
    seconds_since_1970,
)
from trajstore.ingest.records import Entry, Reader, first_of, has_keys, split_each
from trajstore.schema import Task, Trajectory

SOURCE = "atif"
ACT = "act"
"""The tool of an agent's step that got an observation without a tool call."""

_READ = frozenset({"schema_version", "agent", "steps", "final_metrics", "subagent_trajectories", "session_id", "extra"})


def _trajectory(value: Json) -> Trajectory:
    record = as_object(value, "the trajectory")
    steps = [as_object(step, f"steps[{place}]") for place, step in enumerate(as_list(record.get("steps"), "steps"))]
    own = [step for step in steps if not _is_copied(step)]
    conversation = read_conversation([message for step in own for message in _messages(step)])
    agent, extra = mapping(record.get("agent")), mapping(record.get("extra"))
    return Trajectory(
        task=Task(text=conversation.first_text, group=as_text(extra.get("group")), family=as_text(extra.get("family"))),
        steps=conversation.steps,
        success=as_label(extra.get("success"), "extra.success"),
        reward=as_number(extra.get("reward"), "extra.reward"),
        kpis=_kpis(mapping(record.get("final_metrics"))),
        agent="|".join(filter(None, (as_text(agent.get("name")), as_text(agent.get("model_name"))))),
        source=SOURCE,
        judge=as_judge(extra.get("judge")),
        created_at=seconds_since_1970(own[0].get("timestamp")) if own else None,
        metadata=_metadata(record, conversation),
    )


def _is_copied(step: Mapping[str, Json]) -> bool:
    return bool(step.get("is_copied_context") or mapping(step.get("extra")).get("is_copied_context"))


def _messages(step: Mapping[str, Json]) -> Iterator[Message]:
    source = step.get("source")
    results = objects(mapping(step.get("observation")).get("results"))
    if source == "agent":
        yield _spoken(step, has_results=bool(results))
        yield from map(_result, results)
    elif source == "user":
        yield Message("user", _content(step.get("message")), at_seconds=seconds_since_1970(step.get("timestamp")))


def _spoken(step: Mapping[str, Json], *, has_results: bool) -> Message:
    text = _content(step.get("message"))
    calls = tuple(_call(call) for call in objects(step.get("tool_calls")))
    if has_results and not calls:
        calls, text = (Call(ACT, {"content": text}),), ""
    metrics = mapping(step.get("metrics"))
    exported = mapping(mapping(step.get("extra")).get("trajstore"))
    reasoning = as_text(step.get("reasoning_content"))
    return Message(
        "user" if exported.get("kind") == "user" else "assistant",
        text="" if calls else text,
        calls=calls,
        thought=as_text(exported.get("state")),
        aside="\n".join(filter(None, (reasoning, text if calls else ""))),
        at_seconds=seconds_since_1970(step.get("timestamp")),
        cost_usd=non_negative(metrics.get("cost_usd")),
        tokens=count(metrics.get("completion_tokens")),
    )


def _call(call: Mapping[str, Json]) -> Call:
    tool = as_name(call.get("function_name"), "tool_calls function_name")
    return Call(tool, as_arguments(call.get("arguments")), as_text(call.get("tool_call_id")))


def _result(result: Mapping[str, Json]) -> Message:
    return Message(
        "tool",
        text=_content(result.get("content")),
        call_id=as_text(result.get("source_call_id")),
        outcome=marked_outcome(mapping(result.get("extra")), result),
    )


def _content(content: Json) -> str:
    """Text, or the texts of content parts with the kinds of the others."""
    if not isinstance(content, list):
        return as_text(content)
    parts = objects(content)
    return "\n".join(
        as_text(part.get("text")) if "text" in part else f"[{as_text(part.get('type'))}]" for part in parts
    )


def _kpis(metrics: Mapping[str, Json]) -> dict[str, float]:
    named = {
        "cost_usd": "total_cost_usd",
        "input_tokens": "total_prompt_tokens",
        "output_tokens": "total_completion_tokens",
    }
    found = {name: non_negative(metrics.get(key)) for name, key in named.items()}
    return {name: number for name, number in found.items() if number is not None}


def _metadata(record: Mapping[str, Json], conversation: Conversation) -> dict[str, Json]:
    kept = {key: value for key, value in record.items() if key not in _READ and value is not None}
    extra = {
        key: value for key, value in mapping(record.get("extra")).items() if key not in ("success", "reward", "judge")
    }
    fields = {
        "traj_id": record.get("session_id"),
        "agent_version": mapping(record.get("agent")).get("version"),
        "extra": extra,
        "asides": dict(conversation.asides),
    }
    return {**kept, **{key: value for key, value in fields.items() if value}}


def _split(value: Json) -> Iterator[Entry]:
    """The trajectory, and each of those that its subagents made."""
    if isinstance(value, list):
        for place, element in enumerate(value):
            yield from (Entry(f"/{place}{inner.pointer}", inner.value) for inner in _split(element))
        return
    yield Entry("", value)
    for place, inner in enumerate(objects(mapping(value).get("subagent_trajectories"))):
        yield Entry(f"/subagent_trajectories/{place}", inner)


def _recognises(value: Json) -> bool:
    first = first_of(value)
    is_named = as_text(mapping(first).get("schema_version")).upper().startswith("ATIF")
    return is_named or has_keys(first_of(mapping(first).get("steps")), "step_id", "source")


READER = Reader("atif", _recognises, _trajectory, split_each(_split))

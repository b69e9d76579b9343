"""OpenTelemetry spans of agents: one trajectory a conversation, or one an agent's run where no conversation is named.

A tool span without `error.type` and without a status is "unknown": failures are often handed over as results.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trajstore.ingest.conversation import Call, Message, read_conversation
from trajstore.ingest.decoding import Json
from trajstore.ingest.fields import (
    as_arguments,
    as_name,
    as_outcome,
    as_text,
    count,
    finite,
    mapping,
    marked_outcome,
)
from trajstore.ingest.records import Documents, Reader, Record, Records, Rejection, first_of, has_keys
from trajstore.ingest.span_messages import messages_of
from trajstore.ingest.span_tree import SpanTree
from trajstore.ingest.spans import AGENT_OPERATIONS, ATTRIBUTES, CHAT_OPERATIONS, TOOL_OPERATIONS, Span, spans_of
from trajstore.schema import Outcome, Task, Trajectory

SOURCE = "otel"
_CANCELLED, _TIMED_OUT = "cancel", ("timeout", "timed out", "deadline")


def _records(documents: Documents) -> Records:
    """The spans of the whole file, gathered by episode: exporters spread a trace over many lines."""
    tree, name = SpanTree(), ""
    for document in documents:
        if isinstance(document, Rejection):
            yield document
            continue
        name = document.file
        for span in spans_of(document):
            if isinstance(span, Rejection):
                yield span
            else:
                tree.add(span)
    episodes = tree.episodes()
    if name and not episodes:
        yield Rejection(name, "no span in this file is a tool call, a chat or an agent of the GenAI conventions")
    yield from (Record(f"{name}#{key}", spans) for key, spans in episodes.items())


def _trajectory(spans: list[Span]) -> Trajectory:
    has_tools = any(span.operation in TOOL_OPERATIONS for span in spans)
    conversation = read_conversation(list(_told(spans)) if has_tools else _longest_chat(spans))
    evaluation = _evaluation(spans)
    reward = next((number for span in spans if (number := finite(span.get("reward"))) is not None), evaluation)
    names = (_first(spans, "agent"), _first(spans, "model"))
    return Trajectory(
        task=Task(text=conversation.first_text or _agent_input(spans)),
        steps=conversation.steps,
        success=next((said for one in spans if isinstance(said := one.get("success"), bool)), None),
        reward=reward,
        kpis=_kpis(spans),
        agent="|".join(filter(None, names)),
        source=next((span.service for span in spans if span.service), SOURCE),
        judge="environment" if evaluation is None else "llm",
        created_at=spans[0].start_seconds or None,
        metadata=_metadata(spans, conversation.asides),
    )


def _told(spans: Sequence[Span]) -> Iterator[Message]:
    """The conversation that the spans tell: tool spans are steps, chat spans say what user and agent said."""
    heard, told = "", [(span, messages_of(span, "input")) for span in spans]
    chats, with_spans = _said_in_chats(messages for _, messages in told), _call_ids(spans)
    for span, messages in told:
        if span.operation in TOOL_OPERATIONS:
            yield from _tool_messages(span, chats)
            continue
        uttered = [message.text for message in messages if message.role == "user" and message.text]
        for text in uttered[-1:] if heard else (uttered[:1] + uttered[1:][-1:]):
            if text != heard:
                yield Message("user", text)
                heard = text
        if span.operation in CHAT_OPERATIONS:
            yield from _answers(span, chats, with_spans)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What chats say of calls by their id: the arguments, and what came back."""

    calls: Mapping[str, Call]
    observations: Mapping[str, str]


def _said_in_chats(chats: Iterable[Sequence[Message]]) -> _Exchange:
    messages = [message for chat in chats for message in chat]
    return _Exchange(
        {call.call_id: call for message in messages for call in message.calls if call.call_id},
        {message.call_id: message.text for message in messages if message.role == "tool" and message.call_id},
    )


def _tool_messages(span: Span, chats: _Exchange) -> Iterator[Message]:
    tool, call_id = as_name(span.tool, ATTRIBUTES["tool"][0]), as_text(span.get("call_id"))
    arguments = span.get("arguments")
    known = chats.calls.get(call_id)
    args = known.args if arguments is None and known else as_arguments(arguments)
    observation = as_text(span.get("observation")) or chats.observations.get(call_id, "")
    yield Message("assistant", calls=(Call(tool, args, call_id),))
    yield Message(
        "tool",
        text=observation,
        call_id=call_id,
        outcome=_outcome(span, observation),
        error=_error(span) if span.has_failed else None,
        seconds=span.seconds,
    )


def _error(span: Span) -> str | None:
    """The kind of error and its message, each once; an outcome is no kind of error."""
    kind, message = "" if as_outcome(span.error) else span.error, span.message
    return message if message.startswith(kind) and message else ": ".join(filter(None, (kind, message))) or None


def _outcome(span: Span, observation: str) -> Outcome:
    """How a call ended: an error is never ok, whoever says so, and a call that merely ended is unknown."""
    said = as_outcome(span.get("outcome"))
    if span.has_failed:
        return said if said not in (None, "ok", "unknown") else _failure(span.error.lower())
    if _tells_an_error(observation):
        return "tool_error" if said in (None, "ok", "unknown") else said
    return said or ("ok" if span.is_ok else "unknown")


def _failure(error: str) -> Outcome:
    if any(word in error for word in _TIMED_OUT):
        return "timeout"
    return "cancelled" if _CANCELLED in error else "tool_error"


def _tells_an_error(observation: str) -> bool:
    """Whether what came back is an object that calls itself an error, as runtimes hand failures to their models."""
    if not observation.lstrip().startswith("{"):
        return False
    try:
        value = mapping(json.loads(observation))
    except (ValueError, RecursionError):
        return False
    return value.get("isError") is True or marked_outcome({**value, "outcome": None}) == "tool_error"


def _call_ids(spans: Sequence[Span]) -> frozenset[str] | None:
    """The ids of the calls that left spans; None where one of them names no id, so that none can be missed."""
    ids = [as_text(span.get("call_id")) for span in spans if span.operation in TOOL_OPERATIONS]
    return frozenset(ids) if all(ids) else None


def _answers(span: Span, chats: _Exchange, with_spans: frozenset[str] | None) -> Iterator[Message]:
    """What the agent said to the user in a chat span, and its calls that left no span, as those of unknown tools do.

    What it said beside a call is no step.
    """
    for message in messages_of(span, "output"):
        if message.text and not message.calls:
            yield Message("assistant", message.text, seconds=span.seconds, tokens=count(span.get("output_tokens")))
        if with_spans is not None:
            missed = [call for call in message.calls if call.call_id not in with_spans]
            yield from _missed_calls(missed, chats)


def _missed_calls(calls: Sequence[Call], chats: _Exchange) -> Iterator[Message]:
    for call in calls:
        observation = chats.observations.get(call.call_id)
        if observation is not None:
            outcome: Outcome = "tool_error" if _tells_an_error(observation) else "unknown"
            yield Message("assistant", calls=(call,))
            yield Message("tool", observation, call_id=call.call_id, outcome=outcome)


def _longest_chat(spans: Sequence[Span]) -> list[Message]:
    """Where tools left no spans: the messages of the chat that saw most of the conversation."""
    chats = [
        messages_of(span, "input") + messages_of(span, "output")
        for span in spans
        if span.operation in CHAT_OPERATIONS | AGENT_OPERATIONS
    ]
    return max(chats, key=len, default=[])


def _agent_input(spans: Sequence[Span]) -> str:
    """What an agent was given as plain text, for where no message was recorded."""
    given = (span.attributes.get("input.value") for span in spans if span.operation in AGENT_OPERATIONS)
    return next((text for text in given if isinstance(text, str) and text.strip()), "")


def _first(spans: Sequence[Span], meaning: str) -> str:
    return next((as_text(span.get(meaning)) for span in spans if span.get(meaning)), "")


def _evaluation(spans: Sequence[Span]) -> float | None:
    """The newest evaluation score, from a span or from an event on one."""
    name = ATTRIBUTES["evaluation"][0]
    found = [finite(attributes.get(name)) for span in spans for attributes in (span.attributes, *span.events)]
    return next((score for score in reversed(found) if score is not None), None)


def _kpis(spans: Sequence[Span]) -> dict[str, float]:
    ends = [span.end_seconds for span in spans if span.end_seconds is not None]
    kpis = {"duration_seconds": max(0.0, max(ends) - spans[0].start_seconds)} if ends else {}
    for name in ("input_tokens", "output_tokens"):
        counts = [count(span.get(name)) for span in spans if span.operation in CHAT_OPERATIONS]
        if any(number is not None for number in counts):
            kpis[name] = float(sum(number or 0 for number in counts))
    return kpis


def _metadata(spans: Sequence[Span], asides: Json) -> dict[str, Json]:
    fields = {
        "traces": sorted({span.trace for span in spans}),
        "conversation": _first(spans, "conversation"),
        "asides": dict(asides),
    }
    return {key: value for key, value in fields.items() if value}


def _recognises(value: Json) -> bool:
    first = mapping(first_of(value))
    is_otlp = "resourceSpans" in first or "resource_spans" in first
    has_trace = "traceId" in first or "trace_id" in first or "trace_id" in mapping(first.get("context"))
    return is_otlp or (has_trace and has_keys(first, "attributes"))


READER = Reader("otel", _recognises, _trajectory, _records)

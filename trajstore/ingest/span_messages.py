"""What user and agent said, from the attributes and events of spans: GenAI conventions, OpenInference, OpenLLMetry."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from trajstore.ingest.conversation import Call, Message, Role
from trajstore.ingest.decoding import Json
from trajstore.ingest.fields import as_arguments, as_text, mapping, objects
from trajstore.ingest.spans import EVENT_NAME, Span

Side = Literal["input", "output"]

LISTS: Mapping[Side, tuple[str, ...]] = {"input": ("gen_ai.input.messages",), "output": ("gen_ai.output.messages",)}
"""Attributes that hold a list of messages, or its JSON text."""
FLATTENED: Mapping[Side, tuple[str, ...]] = {
    "input": ("llm.input_messages", "gen_ai.prompt"),
    "output": ("llm.output_messages", "gen_ai.completion"),
}
"""Beginnings of attributes that hold one field of one message each, such as `llm.input_messages.0.message.role`."""
EVENTS: Mapping[Side, Mapping[str, Role]] = {
    "input": {
        "gen_ai.system.message": "system",
        "gen_ai.user.message": "user",
        "gen_ai.assistant.message": "assistant",
        "gen_ai.tool.message": "tool",
    },
    "output": {"gen_ai.choice": "assistant"},
}
"""Events that are one message each."""

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "tool": "tool",
}
MOST_LEVELS = 12
_PLACE = re.compile(r"\d{1,6}")


def messages_of(span: Span, side: Side) -> list[Message]:
    """The messages that went into a model or an agent, or came out; empty where the span does not record them."""
    for attributes in (span.attributes, *span.events):
        for name in LISTS[side]:
            if found := chat_messages(attributes.get(name)):
                return found
    for beginning in FLATTENED[side]:
        if found := [message for raw in unflattened(span.attributes, beginning) for message in _messages(raw)]:
            return found
    return [message for event in span.events for message in _event_messages(event, EVENTS[side])]


def chat_messages(value: Json) -> list[Message]:
    """Messages as the GenAI conventions write them, as a list or its JSON text; empty where they are not recorded."""
    return [message for raw in objects(_parsed(value)) for message in _messages(raw)]


def unflattened(attributes: Mapping[str, Json], beginning: str) -> list[dict[str, Json]]:
    """The objects of a list whose fields are attributes of their own, in the order of their numbers.

    >>> unflattened({"m.1.role": "user", "m.0.call.0.id": "a", "m.x": 2}, "m")
    [{'call': [{'id': 'a'}]}, {'role': 'user'}]
    """
    tree: dict[str, Json] = {}
    for name, value in attributes.items():
        if name.startswith(f"{beginning}."):
            _put(tree, name[len(beginning) + 1 :].split(".", MOST_LEVELS), value)
    return objects(_listed({key: inner for key, inner in tree.items() if _PLACE.fullmatch(key)}))


def _put(tree: dict[str, Json], path: list[str], value: Json) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            return
    tree.setdefault(path[-1], value)


def _listed(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    if value and all(_PLACE.fullmatch(key) for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(inner) for key, inner in value.items()}


def _parsed(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _event_messages(event: Mapping[str, Json], roles: Mapping[str, Role]) -> Iterator[Message]:
    role = roles.get(as_text(event.get(EVENT_NAME)))
    if role is not None:
        told = _parsed(event.get("message"))
        yield from _messages({"role": role, **event, **mapping(told)})


def _messages(raw: Mapping[str, Json]) -> Iterator[Message]:
    """The messages in one object: its tools' answers first, then what was said or called."""
    raw = mapping(raw.get("message")) or raw
    role = _ROLES.get(as_text(raw.get("role")), "system")
    parts = objects(raw.get("parts"))
    for part in parts:
        if part.get("type") == "tool_call_response":
            observation = part.get("response", part.get("result"))
            yield Message("tool", as_text(observation), call_id=as_text(part.get("id")))
    text = _text(raw, parts)
    if role != "tool":
        calls = tuple(_calls(raw, parts))
        yield Message(role, text="" if calls else text, calls=calls, aside=text if calls else "")
    elif not parts and (text or raw.get("tool_call_id")):
        yield Message("tool", text, call_id=as_text(raw.get("tool_call_id") or raw.get("id")))


def _text(raw: Mapping[str, Json], parts: list[dict[str, Json]]) -> str:
    contents = [mapping(one.get("message_content")) for one in objects(raw.get("contents"))]
    texts = [part.get("content") for part in parts if part.get("type") == "text"]
    texts += [content.get("text") for content in contents if content.get("text")]
    return "\n".join(map(as_text, texts)) if parts or contents else as_text(raw.get("content"))


def _calls(raw: Mapping[str, Json], parts: list[dict[str, Json]]) -> Iterator[Call]:
    for part in parts:
        if part.get("type") == "tool_call" and part.get("name"):
            yield Call(as_text(part["name"]), as_arguments(part.get("arguments")), as_text(part.get("id")))
    for one in objects(_parsed(raw.get("tool_calls"))):
        call = mapping(one.get("tool_call")) or one
        function = mapping(call.get("function")) or call
        name = function.get("name") or call.get("function.name")
        if name:
            yield Call(as_text(name), as_arguments(function.get("arguments")), as_text(call.get("id")))

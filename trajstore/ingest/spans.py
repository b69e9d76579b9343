"""OpenTelemetry spans as they are written: OTLP/JSON with its attribute lists, or flat span objects."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trajstore.errors import InvalidRecord
from trajstore.ingest.decoding import Json
from trajstore.ingest.fields import as_name, as_object, as_text, finite, mapping, objects, seconds_since_1970
from trajstore.ingest.records import Document, Rejection

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "operation": ("gen_ai.operation.name", "openinference.span.kind"),
    "tool": ("gen_ai.tool.name", "tool.name"),
    "call_id": ("gen_ai.tool.call.id", "tool.id"),
    "arguments": ("gen_ai.tool.call.arguments", "input.value", "tool.parameters"),
    "observation": ("gen_ai.tool.call.result", "output.value"),
    "conversation": ("gen_ai.conversation.id", "session.id"),
    "episode": ("trajstore.episode.id",),
    "outcome": ("trajstore.outcome",),
    "success": ("trajstore.success",),
    "reward": ("trajstore.reward",),
    "agent": ("gen_ai.agent.name",),
    "model": ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name"),
    "input_tokens": ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    "output_tokens": ("gen_ai.usage.output_tokens", "llm.token_count.completion"),
    "evaluation": ("gen_ai.evaluation.score.value",),
    "error": ("error.type",),
    "exception": ("exception.type", "exception.message"),
    "service": ("service.name",),
}
"""The one table of attribute names, by what they mean here: GenAI semantic conventions first, OpenInference after."""

EVENT_NAME = "event.name"
"""The attribute under which the name of a span's event is kept with its attributes."""

TOOL_OPERATIONS = frozenset({"execute_tool", "TOOL"})
CHAT_OPERATIONS = frozenset({"chat", "generate_content", "text_completion", "LLM"})
AGENT_OPERATIONS = frozenset({"invoke_agent", "AGENT"})
DECISION_OPERATIONS = frozenset({"DECISION"})
_ERROR_CODES = (2, "2", "ERROR", "STATUS_CODE_ERROR", "Error")
_OK_CODES = (1, "1", "OK", "STATUS_CODE_OK", "Ok")
_KINDS = {
    name: kind
    for kind in ("string", "bool", "int", "double", "array", "kvlist", "bytes")
    for name in (f"{kind}Value", f"{kind}_value")
}
_BASE64_ID = re.compile(r"[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{11}=")


@dataclass(frozen=True, slots=True)
class Span:
    """One span: what it is part of, when it ran, its attributes, and whether (and why) it failed.

    `span_id` and `parent` are "" where the file does not name them.  `is_ok` is that somebody said so: a span that
    merely ended is neither ok nor failed.
    """

    trace: str
    name: str
    start_seconds: float
    end_seconds: float | None
    attributes: Mapping[str, Json]
    events: tuple[Mapping[str, Json], ...] = ()
    has_failed: bool = False
    message: str = ""
    service: str = ""
    span_id: str = ""
    parent: str = ""
    is_ok: bool = False

    def get(self, meaning: str) -> Json:
        """The first attribute that has this meaning in `ATTRIBUTES`; None where there is none."""
        return _first(self.attributes, meaning)

    @property
    def error(self) -> str:
        """The kind of error that it ended with, "" where none is named."""
        return as_text(self.get("error") or _thrown(self.events).get("exception.type"))

    @property
    def operation(self) -> str:
        """What kind of span it is, as the conventions name it."""
        named = as_text(self.get("operation"))
        return named or ("execute_tool" if self.get("tool") else "")

    @property
    def tool(self) -> str:
        """The tool that it calls."""
        return as_text(self.get("tool")) or self.name.removeprefix("execute_tool ")

    @property
    def seconds(self) -> float | None:
        """How long it ran; None where a clock is missing, ran backwards or stood still."""
        if self.end_seconds is None or self.end_seconds <= self.start_seconds:
            return None
        return self.end_seconds - self.start_seconds


def _first(attributes: Mapping[str, Json], meaning: str) -> Json:
    return next((attributes[name] for name in ATTRIBUTES[meaning] if attributes.get(name) is not None), None)


def spans_of(document: Document) -> Iterator[Span | Rejection]:
    """The spans of a document; one that cannot be read is a rejection with its place."""
    for pointer, raw, service in _raw_spans(document.value):
        try:
            yield _span(raw, service)
        except (InvalidRecord, RecursionError) as error:
            yield Rejection.because(f"{document.where}#{pointer}" if pointer else document.where, error)


def _raw_spans(value: Json) -> Iterator[tuple[str, Json, str]]:
    """Each span as written, with the pointer to it and the name of the service that wrote it."""
    resources = mapping(value).get("resourceSpans", mapping(value).get("resource_spans"))
    if resources is None:
        elements = value if isinstance(value, list) else [value]
        yield from ((f"/{place}" if isinstance(value, list) else "", raw, "") for place, raw in enumerate(elements))
        return
    for place, resource in enumerate(objects(resources)):
        service = as_text(_first(attributes_of(mapping(resource.get("resource")).get("attributes")), "service"))
        scopes = objects(resource.get("scopeSpans", resource.get("scope_spans")))
        for inner, scope in enumerate(scopes):
            spans = scope.get("spans")
            for last, raw in enumerate(spans if isinstance(spans, list) else []):
                yield f"/resourceSpans/{place}/scopeSpans/{inner}/spans/{last}", raw, service


def _span(value: Json, service: str) -> Span:
    raw = as_object(value, "the span")
    context = mapping(raw.get("context"))
    status = mapping(raw.get("status"))
    code = status.get("code", status.get("status_code", raw.get("status_code")))
    attributes, events = attributes_of(raw.get("attributes")), _events(raw.get("events"))
    thrown, is_ok = _thrown(events), code in _OK_CODES
    start = _seconds(raw, "startTimeUnixNano", "start_time")
    resource = attributes_of(mapping(raw.get("resource")).get("attributes"))
    return Span(
        trace=hex_id(
            as_name(raw.get("traceId") or raw.get("trace_id") or context.get("trace_id"), "the span's trace id")
        ),
        name=as_text(raw.get("name")),
        start_seconds=0.0 if start is None else start,
        end_seconds=_seconds(raw, "endTimeUnixNano", "end_time"),
        attributes=attributes,
        events=events,
        has_failed=_first(attributes, "error") is not None or code in _ERROR_CODES or bool(thrown and not is_ok),
        message=as_text(
            status.get("message")
            or status.get("description")
            or raw.get("status_message")
            or thrown.get("exception.message")
        ),
        service=service or as_text(_first(resource, "service")),
        span_id=hex_id(as_text(raw.get("spanId") or raw.get("span_id") or context.get("span_id"))),
        parent=hex_id(as_text(raw.get("parentSpanId") or raw.get("parent_span_id") or raw.get("parent_id"))),
        is_ok=is_ok,
    )


def hex_id(text: str) -> str:
    """An id as hexadecimal digits, also where it is written in base64 or as a number; any other name stays as it is.

    >>> hex_id("0x00F067AA0BA902B7"), hex_id("APBnqgupArc="), hex_id("t1")
    ('00f067aa0ba902b7', '00f067aa0ba902b7', 't1')
    """
    if _BASE64_ID.fullmatch(text):
        try:
            return base64.b64decode(text, validate=True).hex()
        except binascii.Error:
            return text
    plain = text.removeprefix("0x")
    return plain.lower() if len(plain) in (16, 32) else text


def _events(value: Json) -> tuple[Mapping[str, Json], ...]:
    return tuple(
        {EVENT_NAME: as_text(event.get("name")), **attributes_of(event.get("attributes"))} for event in objects(value)
    )


def _thrown(events: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
    """The newest exception that the span recorded, empty where there is none."""
    return next((event for event in reversed(events) if _first(event, "exception") is not None), {})


def _seconds(raw: Mapping[str, Json], nanoseconds: str, plain: str) -> float | None:
    value = raw.get(nanoseconds, raw.get(f"{plain}_unix_nano"))
    if isinstance(value, str) and value.isdecimal() and len(value) < 25:
        value = int(value)
    number = finite(value)
    return number / 1e9 if number is not None else seconds_since_1970(raw.get(plain))


def attributes_of(value: Json) -> dict[str, Json]:
    """Attributes as a plain object, from one or from OTLP's list of {key, value}.

    >>> attributes_of([{"key": "n", "value": {"intValue": "3"}}, {"key": "s", "value": {"stringValue": "x"}}])
    {'n': 3, 's': 'x'}
    """
    if isinstance(value, dict):
        return value
    return {as_text(pair.get("key")): _any_value(pair.get("value")) for pair in objects(value)}


def _any_value(value: Json) -> Json:
    """What an AnyValue holds; names as OTLP/JSON writes them, or as protobuf's own JSON with its underscores does."""
    if not isinstance(value, dict):
        return value
    kind, inner = next(((_KINDS[name], value[name]) for name in value if name in _KINDS), ("", None))
    if kind == "int":
        return _whole(inner)
    if kind == "double":
        return _float(inner)
    if kind == "array":
        return [_any_value(element) for element in objects(mapping(inner).get("values"))]
    return attributes_of(mapping(inner).get("values", [])) if kind == "kvlist" else inner


def _whole(value: Json) -> Json:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _float(value: Json) -> Json:
    """A number; its text where it is none that JSON can hold, such as "NaN"."""
    number = finite(value)
    return as_text(value) if number is None else number

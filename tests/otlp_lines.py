"""Spans of the OpenTelemetry SDK as OTLP/JSON, the way that the file exporters of collectors write it."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

Ids = Literal["hex", "base64"]
Names = Literal["camel", "snake"]
_KINDS = {"stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"}


class Spans:
    """A tracer, and what it has written so far."""

    def __init__(self, service: str = "demo") -> None:
        self.provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    @property
    def finished(self) -> Sequence[ReadableSpan]:
        """In the order in which they ended."""
        return self._exporter.get_finished_spans()

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[Any]:
        """A span within the current one; `__` in the name of an attribute stands for a dot."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        with self.tracer.start_as_current_span(name, attributes=named) as span:
            yield span

    def lines(self, ids: Ids = "hex") -> str:
        """Each span in a line of its own, as a batch of one."""
        return "\n".join(json.dumps(resource_spans([span], ids)) for span in self.finished)


def resource_spans(spans: Sequence[ReadableSpan], ids: Ids = "hex") -> dict[str, Any]:
    """One batch of spans of one service."""
    resource = {"attributes": attribute_list(spans[0].resource.attributes)}
    scope = {"scope": {"name": "test"}, "spans": [_span(span, ids) for span in spans]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def attribute_list(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Attributes as pairs of key and AnyValue."""
    return [{"key": key, "value": any_value(value)} for key, value in (attributes or {}).items()]


def any_value(value: Any) -> dict[str, Any]:
    """A value with the name of its kind; whole numbers are texts, as in protobuf's JSON.

    >>> any_value([1, {"a": None}])
    {'arrayValue': {'values': [{'intValue': '1'}, {'kvlistValue': {'values': [{'key': 'a', 'value': {}}]}}]}}
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": attribute_list(value)}}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [any_value(inner) for inner in value]}}
    for kind, name in ((bool, "boolValue"), (int, "intValue"), (float, "doubleValue"), (str, "stringValue")):
        if isinstance(value, kind):
            return {name: str(value) if name == "intValue" else value}
    raise TypeError(type(value).__name__)


def snake(value: Any) -> Any:
    """AnyValues with the names that protobuf keeps: string_value for stringValue."""
    if isinstance(value, list):
        return [snake(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key.replace("Value", "_value") if key in _KINDS else key: snake(inner) for key, inner in value.items()}


def _span(span: ReadableSpan, ids: Ids) -> dict[str, Any]:
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "traceId": _id(context.trace_id, 16, ids),
        "spanId": _id(context.span_id, 8, ids),
        **({"parentSpanId": _id(parent.span_id, 8, ids)} if parent else {}),
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attribute_list(span.attributes),
        "events": [
            {"timeUnixNano": str(event.timestamp), "name": event.name, "attributes": attribute_list(event.attributes)}
            for event in span.events
        ],
        "status": {
            "code": span.status.status_code.value,
            **({"message": span.status.description} if span.status.description else {}),
        },
    }


def _id(number: int, length: int, ids: Ids) -> str:
    raw = number.to_bytes(length, "big")
    return raw.hex() if ids == "hex" else base64.b64encode(raw).decode()

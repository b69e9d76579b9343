"""Which episode a span belongs to: that of the agent above it, joined by conversation; a sub-agent has its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trajstore.ingest.fields import as_text
from trajstore.ingest.spans import (
    AGENT_OPERATIONS,
    CHAT_OPERATIONS,
    DECISION_OPERATIONS,
    TOOL_OPERATIONS,
    Span,
)

ACTS = TOOL_OPERATIONS | CHAT_OPERATIONS | DECISION_OPERATIONS
"""The operations that an agent does, as against being one."""

_Id = tuple[str, str]


@dataclass(slots=True)
class SpanTree:
    """The spans of a file as they come: those of agents are kept, of all others only whose child they are."""

    parents: dict[_Id, _Id] = field(default_factory=dict)
    kept: dict[_Id, Span] = field(default_factory=dict)
    nameless: list[Span] = field(default_factory=list)

    def add(self, span: Span) -> None:
        """Take in one span; one that an exporter wrote twice counts once."""
        own = (span.trace, span.span_id)
        if span.span_id and span.parent:
            self.parents[own] = (span.trace, span.parent)
        if span.operation not in ACTS | AGENT_OPERATIONS and span.get("episode") is None:
            return
        if not span.span_id or self.kept.setdefault(own, span).start_seconds != span.start_seconds:
            self.nameless.append(span)

    def above(self, span: Span) -> Iterator[Span]:
        """The kept spans above a span, the nearest first."""
        at, seen = self.parents.get((span.trace, span.span_id)), set[_Id]()
        if not span.span_id:
            at = (span.trace, span.parent)
        while at is not None and at not in seen:
            seen.add(at)
            if at in self.kept:
                yield self.kept[at]
            at = self.parents.get(at)

    def episodes(self) -> dict[str, list[Span]]:
        """The spans of each episode in the order of time, by a name for it."""
        spans = sorted([*self.kept.values(), *self.nameless], key=_moment)
        agents = [self._agents(span) for span in spans]
        busy = {above[0] for span, above in zip(spans, agents, strict=True) if above and span.operation in ACTS}
        placed = [
            Placed(span, _unit(span, [agent for agent in above if agent in busy]))
            for span, above in zip(spans, agents, strict=True)
        ]
        found: dict[str, list[Span]] = {}
        for one, name in zip(placed, _names(placed), strict=True):
            found.setdefault(name, []).append(one.span)
        acting = {name: each for name, each in found.items() if any(span.operation in ACTS for span in each)}
        return {name: self._merged(each) for name, each in (acting or found).items()}

    def _agents(self, span: Span) -> list[_Id]:
        """The agents that a span is in, the nearest first; an agent is in itself."""
        chain = [span, *self.above(span)]
        return [(one.trace, one.span_id) for one in chain if one.span_id and one.operation in AGENT_OPERATIONS]

    def _merged(self, spans: Sequence[Span]) -> list[Span]:
        """The spans with each call once: layers of a stack each write one for the same call, the one in the other."""
        merged = {id(span): span for span in spans}
        for span in reversed(spans):  # the innermost first, as they began last
            outer = self._same_call(span, merged) if span.operation in TOOL_OPERATIONS else None
            if outer is not None:
                merged[id(outer)] = _joined(merged[id(outer)], merged.pop(id(span)))
        return list(merged.values())

    def _same_call(self, span: Span, among: Mapping[int, Span]) -> Span | None:
        nearest = next((one for one in self.above(span) if one.operation in TOOL_OPERATIONS | AGENT_OPERATIONS), None)
        if nearest is None or nearest.operation not in TOOL_OPERATIONS or nearest.tool != span.tool:
            return None
        return nearest if id(nearest) in among else None


@dataclass(frozen=True, slots=True)
class Unit:
    """One agent at work, or (`agent` None) what no agent of a trace did; a nested one is an agent's own agent."""

    trace: str
    agent: _Id | None = None
    is_nested: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A span and whose work it is."""

    span: Span
    unit: Unit


def _moment(span: Span) -> tuple[float, float]:
    """When it began; of two that began at once, the longer one comes first, as it is the outer one."""
    return span.start_seconds, -(span.seconds or 0.0)


def _unit(span: Span, agents: Sequence[_Id]) -> Unit:
    return Unit(span.trace, agents[0], len(agents) > 1) if agents else Unit(span.trace)


def _names(placed: Sequence[Placed]) -> Iterator[str]:
    """The name of each span's episode: its conversation, else its marked episode, else its agent or its trace."""
    crowded = _crowded(placed)
    named = [_named(placed, meaning) for meaning in ("conversation", "episode")]
    for one in placed:
        unit = one.unit
        own = f"{unit.trace}/{unit.agent[1]}" if unit.agent else unit.trace
        if unit.is_nested:
            yield own
            continue
        said = (found.of(one) for found in named)
        yield next(filter(None, said), own if unit.trace in crowded else unit.trace)


def _crowded(placed: Iterable[Placed]) -> set[str]:
    """Traces in which several agents were at work side by side."""
    agents: dict[str, set[_Id]] = {}
    for one in placed:
        if one.unit.agent and not one.unit.is_nested:
            agents.setdefault(one.unit.trace, set()).add(one.unit.agent)
    return {trace for trace, found in agents.items() if len(found) > 1}


@dataclass(slots=True)
class _Named:
    """The first name that is given in each unit, and in each trace."""

    meaning: str
    units: dict[Unit, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)

    def take(self, one: Placed) -> None:
        """Take in a span."""
        name = as_text(one.span.get(self.meaning))
        if name and not one.unit.is_nested:
            self.units.setdefault(one.unit, name)
            self.traces.setdefault(one.unit.trace, name)

    def of(self, one: Placed) -> str:
        """What a span goes by: its own name, its unit's, that of what is around its agent, or its trace's."""
        own, unit = as_text(one.span.get(self.meaning)), one.unit
        around = self.units.get(Unit(unit.trace), "") if unit.agent else self.traces.get(unit.trace, "")
        return own or self.units.get(unit, "") or around


def _named(placed: Iterable[Placed], meaning: str) -> _Named:
    found = _Named(meaning)
    for one in placed:
        found.take(one)
    return found


def _joined(outer: Span, inner: Span) -> Span:
    """One call from two spans of it: what the outer one does not say, the inner one does."""
    return replace(
        outer,
        attributes={**inner.attributes, **outer.attributes},
        events=(*inner.events, *outer.events),
        has_failed=outer.has_failed or inner.has_failed,
        message=outer.message or inner.message,
        is_ok=outer.is_ok or inner.is_ok,
    )

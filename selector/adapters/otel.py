"""Decisions, calls and episodes of an advisor as OpenTelemetry spans.

    advisor = traced(Advisor.open("agent.db", "shadow"))

Only the API is used: without an SDK that exports spans nothing is written.  Names follow the GenAI semantic conventions
and OpenInference where they have one; `NAMES` holds the others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import TypeVar

from selector.adapters.advice import Advice
from selector.adapters.advisor import Advisor
from selector.adapters.episode_work import Ending, EpisodeWork, Question
from selector.adapters.needs import needs
from selector.records import Decision
from trajstore import __version__
from trajstore.codec import to_json
from trajstore.ingest.span_messages import LISTS
from trajstore.ingest.spans import ATTRIBUTES
from trajstore.schema import Step, Task

try:
    from opentelemetry import context as contexts
    from opentelemetry.context import Context
    from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, TracerProvider, get_current_span, get_tracer
    from opentelemetry.trace import set_span_in_context as around
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    raise needs("otel", "OpenTelemetry") from error

SCHEMA_VERSION = 1
NAMES: Mapping[str, str] = {
    "schema_version": "trajstore.schema_version",
    "episode": ATTRIBUTES["episode"][0],
    "trajectory": "trajstore.trajectory.id",
    "outcome": ATTRIBUTES["outcome"][0],
    "success": ATTRIBUTES["success"][0],
    "reward": ATTRIBUTES["reward"][0],
    "steps": "trajstore.steps",
    "is_censored": "trajstore.is_censored",
    "decision": "trajstore.decision.id",
    "tool": "trajstore.decision.tool",
    "source": "trajstore.decision.source",
    "mode": "trajstore.decision.mode",
    "arm": "trajstore.decision.arm",
    "propensity": "trajstore.decision.propensity",
    "policy": "trajstore.decision.policy",
    "candidates": "trajstore.decision.candidates",
    "pruned": "trajstore.decision.pruned",
    "refused": "trajstore.decision.refused",
    "is_shown": "trajstore.decision.is_shown",
    "is_late": "trajstore.decision.is_late",
    "reason": "trajstore.decision.reason",
    "seconds": "trajstore.decision.seconds",
}
"""The one table of our own attributes, of schema version `SCHEMA_VERSION`.

`trajstore.decision.tool` is what was decided, shown or not; `seconds` how long deciding took, while the span lasts from
the question to the answer.
"""

Attributes = dict[str, AttributeValue]
Result = TypeVar("Result")

_KIND = "openinference.span.kind"
_ASKED = contexts.create_key("trajstore-asked-nanoseconds")
_UNSPOKEN = ("ok", "unknown")


def traced(
    advisor: Advisor,
    *,
    content: bool = False,
    calls: bool = True,
    tracer_provider: TracerProvider | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> Advisor:
    """The advisor, whose decisions, observed calls and episodes are written as spans as well.

    `content` says whether tasks, states, arguments, observations and reasons are written, redacted by the store's rules
    (a secret that only a later call's argument gives away is not known yet); without it spans hold names, numbers and
    ids alone.  Without `calls` there are no spans of calls: for runtimes whose
    own instrumentation writes them.  `clock` gives nanoseconds since 1970.
    """
    return _Traced(advisor, _Writer(advisor, tracer_provider, content=content, calls=calls), clock)


class _Traced(Advisor):
    """Works on the thread of the advisor it was made from, in the context of whoever asked."""

    def __init__(self, advisor: Advisor, writer: "_Writer", clock: Callable[[], int]) -> None:
        super().__init__(advisor.selector, advisor.settings)
        self.complaints = advisor.complaints
        self._advisor, self._writer, self._clock = advisor, writer, clock

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """As the advisor does, with the caller's current span and the time of asking."""
        context = contexts.set_value(_ASKED, self._clock())

        def in_context() -> Result:
            token = contexts.attach(context)
            try:
                return work()
            finally:
                contexts.detach(token)

        return self._advisor.submit(in_context)

    def work_of(self, task: Task) -> EpisodeWork:
        """The same work, told in spans."""
        return _TracedWork(self, self._writer, task)


class _Writer:
    """What every span of an advisor has in common; nothing that goes wrong here reaches the work."""

    def __init__(self, advisor: Advisor, provider: TracerProvider | None, *, content: bool, calls: bool) -> None:
        self.has_content, self.has_calls = content, calls
        self._redactor, self._complaints = advisor.selector.store.redactor, advisor.complaints
        self._tracer = get_tracer("trajstore", __version__, provider)

    def start(self, name: str, home: Span) -> Span:
        """A span that began when it was asked for, within the caller's current span, else within `home`."""
        with self._complaints.instead_of_raising("a span could not be begun"):
            context = contexts.get_current()
            if not get_current_span(context).get_span_context().is_valid:
                context = around(home, context)
            return self._tracer.start_span(name, context, start_time=asked(context))
        return INVALID_SPAN

    def end(self, span: Span, attributes: Callable[[], Attributes], *, at: int | None = None) -> None:
        """End a span, now or at a time in nanoseconds since 1970; what it says is worked out only if it is recorded."""
        with self._complaints.instead_of_raising("a span could not be written"):
            if span.is_recording():
                span.set_attributes({NAMES["schema_version"]: SCHEMA_VERSION, **attributes()})
            span.end(at)

    def text(self, text: str) -> str:
        """A text as the store keeps it."""
        return self._redactor.text(text) if self._redactor else text

    def step(self, step: Step) -> Step:
        """A step as the store keeps it."""
        return self._redactor.step(step) if self._redactor else step


class _TracedWork(EpisodeWork):
    """An episode's work; its own span is home to what is asked outside any span."""

    def __init__(self, advisor: Advisor, writer: _Writer, task: Task) -> None:
        super().__init__(advisor.selector, advisor.settings, advisor.complaints, task)
        self._writer, self._text = writer, task.text
        self._home: Span = INVALID_SPAN
        self._steps, self._decision = 0, ""

    def begin(self) -> None:
        """Open the episode and its span."""
        self._home = self._writer.start("trajstore.episode", INVALID_SPAN)
        super().begin()

    def choose(self, question: Question) -> Advice:
        """The advice, and its span."""
        span, began = self._writer.start("trajstore.decide", self._home), time.perf_counter()
        advice = super().choose(question)
        seconds = time.perf_counter() - began
        self._decision = advice.decision.decision_id if advice.decision else ""
        self._writer.end(
            span,
            lambda: {
                **self._common("DECISION"),
                **decision_attributes(advice, [tool.name for tool in question.tools]),
                NAMES["is_late"]: question.is_given_up,
                NAMES["seconds"]: seconds,
                **(self._heard(question.state, advice.decision) if self._writer.has_content else {}),
            },
        )
        return advice

    def record(self, step: Step) -> None:
        """Record a step, and its span of no length: how long the call took is not observed."""
        super().record(step)
        self._steps += 1
        decision, self._decision = self._decision, ""
        if not self._writer.has_calls:
            return
        span = self._writer.start(f"execute_tool {step.tool}", self._home)
        self._writer.end(span, lambda: self._call(span, step, decision), at=asked(contexts.get_current()))

    def close(self, ending: Ending) -> str:
        """Store the trajectory, and end the episode's span."""
        trajectory_id = super().close(ending)
        fields = {**asdict(ending), "is_censored": ending.is_censored}
        told = {NAMES[name]: value for name, value in fields.items() if name in NAMES and value is not None}
        self._writer.end(
            self._home,
            lambda: {
                **self._common("CHAIN"),
                NAMES["trajectory"]: trajectory_id,
                NAMES["steps"]: self._steps,
                **told,
            },
        )
        return trajectory_id

    def _common(self, kind: str) -> Attributes:
        return {_KIND: kind, NAMES["episode"]: self.episode_id}

    def _call(self, span: Span, step: Step, decision: str) -> Attributes:
        attributes = {**self._common("TOOL"), **call_attributes(step)}
        if decision:
            attributes[NAMES["decision"]] = decision
        shown = self._writer.step(step) if self._writer.has_content else None
        if step.outcome not in _UNSPOKEN:
            span.set_status(Status(StatusCode.ERROR, shown.error if shown else None))
        if shown:
            attributes[ATTRIBUTES["arguments"][0]] = to_json(dict(shown.args))
            attributes[ATTRIBUTES["observation"][0]] = shown.observation
        return attributes

    def _heard(self, state: str, decision: Decision | None) -> Attributes:
        said = [self._text, state] if state not in ("", self._text) else [self._text]
        messages = [{"role": "user", "parts": [{"type": "text", "content": self._writer.text(text)}]} for text in said]
        reason = {NAMES["reason"]: self._writer.text(decision.reason)} if decision and decision.reason else {}
        return {LISTS["input"][0]: to_json(messages), **reason}


def asked(context: Context) -> int | None:
    """When the work was asked for, in nanoseconds since 1970."""
    found = contexts.get_value(_ASKED, context)
    return found if isinstance(found, int) else None


def decision_attributes(advice: Advice, offered: Sequence[str]) -> Attributes:
    """What the span of a decision says of it; of none, only what was offered.

    >>> decision_attributes(Advice(("look",)), ["look"])
    {'trajstore.decision.candidates': ['look']}
    """
    attributes: Attributes = {NAMES["candidates"]: list(offered)}
    decision = advice.decision
    if decision is None:
        return attributes
    decided = decision.candidate or decision.proposal
    return attributes | {
        NAMES["decision"]: decision.decision_id,
        NAMES["source"]: decision.source,
        NAMES["mode"]: decision.mode,
        NAMES["arm"]: decision.arm,
        NAMES["propensity"]: decision.propensity,
        NAMES["policy"]: decision.policy,
        NAMES["pruned"]: sorted({one.candidate.tool for one in decision.pruned}),
        NAMES["refused"]: sorted(advice.refused),
        NAMES["is_shown"]: bool(advice.hint or advice.forced or advice.refused),
        **({NAMES["tool"]: decided.tool} if decided else {}),
    }


def call_attributes(step: Step) -> Attributes:
    """What the span of a call says of it, without its texts.

    >>> call_attributes(Step(0, "pay", outcome="timeout"))["error.type"]
    'timeout'
    """
    names = {meaning: ATTRIBUTES[meaning][0] for meaning in ("operation", "tool", "error", "outcome")}
    failed: Attributes = {} if step.outcome in _UNSPOKEN else {names["error"]: step.outcome}
    return {
        names["operation"]: "execute_tool",
        names["tool"]: step.tool,
        "tool.name": step.tool,
        names["outcome"]: step.outcome,
        **failed,
    }

"""The records: what an agent was asked, what it did step by step, and how it ended.

All records are frozen and checked when they are built; a value that breaks a rule raises `InvalidRecord`, which names
the field, the value and the rule.  Mappings handed in (`args`, `kpis`, `metadata`) are plain JSON data.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from trajstore.errors import InvalidRecord

Outcome = Literal["ok", "tool_error", "invalid_args", "unknown_tool", "blocked", "timeout", "cancelled", "unknown"]
StepKind = Literal["tool", "message", "plan", "verification", "user"]
Judge = Literal["environment", "test", "human", "llm", "self"]
JsonObject = Mapping[str, Any]  # Any: arguments and metadata are whatever JSON the agent wrote

OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))
STEP_KINDS: frozenset[str] = frozenset(get_args(StepKind))
JUDGES: frozenset[str] = frozenset(get_args(Judge))
REFUSED_OUTCOMES: frozenset[str] = frozenset({"invalid_args", "unknown_tool"})
FAILED_OUTCOMES: frozenset[str] = REFUSED_OUTCOMES | {"tool_error", "timeout"}


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that may be offered: its name, and what it says about itself."""

    name: str
    description: str = ""

    def __post_init__(self) -> None:
        _require_text("tool name", self.name)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be chosen at a step: a tool, or (`args`, `text`) a tool with its arguments.

    `text` is how the runtime writes the action, e.g. "open the fridge 1"; empty for a bare tool.
    """

    tool: str
    args: JsonObject = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        _require_text("candidate tool", self.tool)


@dataclass(frozen=True, slots=True)
class Task:
    """What the agent was asked to do.

    `group` names the task itself: attempts at it share the name.  `family` names what tasks have in common (a customer,
    a database, a scenario): evaluation never learns from the family that it tests.  Either may be empty.
    """

    text: str
    task_id: str = ""
    group: str = ""
    family: str = ""
    namespace: str = "default"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidRecord(f"task text must be a string, got {type(self.text).__name__}")
        _require_text("task namespace", self.namespace)


@dataclass(frozen=True, slots=True)
class Step:
    """One (state, action, observation, reward).

    `state` is what the agent knew just before it acted, `observation` what came back.  `outcome` is how the call ended;
    "unknown" where the log cannot tell.  `reward` is None where the log gives none.  `candidates` are the actions that
    were offered, `propensity` in (0, 1] the probability with which the logging policy chose this one.
    """

    index: int
    tool: str
    state: str = ""
    args: JsonObject = field(default_factory=dict)
    observation: str = ""
    outcome: Outcome = "unknown"
    error: str | None = None
    reward: float | None = None
    kind: StepKind = "tool"
    latency_seconds: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    candidates: tuple[Candidate, ...] = ()
    propensity: float | None = None
    decision_id: str | None = None

    def __post_init__(self) -> None:
        _require_text("step tool", self.tool)
        if self.index < 0:
            raise InvalidRecord(f"step index must be 0 or more, got {self.index}")
        _require_member("step outcome", self.outcome, OUTCOMES)
        _require_member("step kind", self.kind, STEP_KINDS)
        _require_finite("step reward", self.reward)
        _require_non_negative("step latency_seconds", self.latency_seconds)
        _require_non_negative("step cost_usd", self.cost_usd)
        if self.propensity is not None and not 0.0 < self.propensity <= 1.0:
            raise InvalidRecord(f"step propensity must lie in (0, 1], got {self.propensity}")

    @property
    def has_failed(self) -> bool:
        """Whether the call itself is known to have gone wrong."""
        return self.outcome in FAILED_OUTCOMES

    @property
    def was_refused(self) -> bool:
        """Whether the call was never carried out, because of what it asked for."""
        return self.outcome in REFUSED_OUTCOMES


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One pass from a task to a stop.

    `success` is None where nobody judged it, else the word of `judge`.  `reward` is the final reward as logged, `trust`
    in [0, 1] how far the labels of this source are believed.  `created_at` is seconds since 1970 (None: when it is
    added).  `trajectory_id` is given by the store.
    """

    task: Task
    steps: tuple[Step, ...] = ()
    success: bool | None = None
    reward: float | None = None
    kpis: Mapping[str, float] = field(default_factory=dict)
    agent: str = ""
    source: str = ""
    judge: Judge = "environment"
    trust: float = 1.0
    stop_reason: str = ""
    created_at: float | None = None
    metadata: JsonObject = field(default_factory=dict)
    trajectory_id: str = ""

    def __post_init__(self) -> None:
        if not all(isinstance(step, Step) for step in self.steps):
            raise InvalidRecord("trajectory steps must be Step records")
        _require_rising([step.index for step in self.steps])
        _require_finite("trajectory reward", self.reward)
        _require_member("trajectory judge", self.judge, JUDGES)
        _require_finite("trajectory created_at", self.created_at)
        for name, value in self.kpis.items():
            _require_finite(f"trajectory kpi {name!r}", value)
        if not 0.0 <= self.trust <= 1.0:
            raise InvalidRecord(f"trajectory trust must lie in [0, 1], got {self.trust}")

    @property
    def tools(self) -> tuple[str, ...]:
        """Tools in the order in which they were called."""
        return tuple(step.tool for step in self.steps)


def _require_text(name: str, value: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidRecord(f"{name} must be a non-empty string, got {value!r}")


def _require_member(name: str, value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise InvalidRecord(f"{name} must be one of {', '.join(sorted(allowed))}, got {value!r}")


def _require_finite(name: str, value: float | None) -> None:
    if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
        raise InvalidRecord(f"{name} must be a finite number, got {value!r}")


def _require_non_negative(name: str, value: float | None) -> None:
    _require_finite(name, value)
    if value is not None and value < 0:
        raise InvalidRecord(f"{name} must be 0 or more, got {value}")


def _require_rising(indices: list[int]) -> None:
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise InvalidRecord(f"step indices must rise, got {indices}")

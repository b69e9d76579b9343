"""Health of tools: how often their newest calls failed, forgotten by calls and by the clock.

Health is about whether a tool works at all; whether it helps with a task is told by what became of trajectories.  What
is forgotten goes back to the prior and never below it (stabilised forgetting, Kulhavý & Zarrop 1993), so that a tool
that was left alone for long is tried again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selector.change import THRESHOLD, Cusum, better_rate, bounded, worse_rate
from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Direction = Literal["worse", "better"]

BEFORE_CHANGE = 0.1


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How fast health forgets, and what is believed of a tool that was never called.

    Evidence halves with every `half_life_calls` calls of its tool and every `half_life_seconds`; that of its usual
    failure rate, against which change is judged, with every `usual_half_life_calls`.  `prior_failure` in (0, 1) weighs
    `prior_weight` calls.  An alarm needs evidence of a change of `alarm_evidence` (natural log of odds).
    """

    half_life_calls: float = 30.0
    half_life_seconds: float = 600.0
    usual_half_life_calls: float = 1000.0
    prior_failure: float = 0.05
    prior_weight: float = 4.0
    alarm_evidence: float = THRESHOLD
    broken_below: float = 0.3

    def __post_init__(self) -> None:
        if not 0.0 < self.prior_failure < 1.0:
            raise SelectorUsageError(f"prior_failure must lie in (0, 1), got {self.prior_failure}")
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise SelectorUsageError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class ToolHealth:
    """What is remembered of one tool: weights of failed and of good calls at `updated_at` (seconds), and alarms.

    `usual_failures` of `usual_calls` make its usual failure rate, the prior included.
    """

    tool: str
    failures: float = 0.0
    successes: float = 0.0
    updated_at: float = 0.0
    usual_failures: float = 0.0
    usual_calls: float = 0.0
    worse: Cusum = field(default_factory=Cusum)
    better: Cusum = field(default_factory=Cusum)
    alarms: int = 0
    last_alarm_at: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A tool's failure rate has changed."""

    tool: str
    direction: Direction
    at: float


def observed(known: ToolHealth, config: HealthConfig, *, failed: bool, now: float) -> ToolHealth:
    """After one more call: old evidence is discounted by the clock and by the call, then the call is counted."""
    by_clock = 0.5 ** (max(0.0, now - known.updated_at) / config.half_life_seconds)
    kept = by_clock * 0.5 ** (1.0 / config.half_life_calls)
    usual_kept = 0.5 ** (1.0 / config.usual_half_life_calls)
    usual = _usual(known, config)
    return replace(
        known,
        failures=kept * known.failures + failed,
        successes=kept * known.successes + (not failed),
        updated_at=max(now, known.updated_at),
        usual_failures=usual_kept * known.usual_failures + failed,
        usual_calls=usual_kept * known.usual_calls + 1.0,
        worse=known.worse.observe(failed=failed, usual=usual, changed=worse_rate(usual)),
        better=known.better.observe(failed=failed, usual=usual, changed=better_rate(usual)),
    )


class HealthBook:
    """The health of every tool that was called; made anew from the same calls in the same order, it is the same."""

    def __init__(self, config: HealthConfig | None = None, records: Iterable[ToolHealth] = ()) -> None:
        self._config = config or HealthConfig()
        self._numbers: dict[str, int] = {}
        self._records: list[ToolHealth] = []
        self._evidence = np.zeros((3, 0))
        for record in records:
            self._put(record)

    def observe(self, tool: str, failed: bool | None, now: float) -> Alarm | None:  # noqa: FBT001 - None: nobody knows
        """Take in one call at `now` (seconds); an unknown outcome says nothing.  Returns a change where one shows."""
        if failed is None:
            return None
        known = self._records[self._numbers[tool]] if tool in self._numbers else ToolHealth(tool)
        after = observed(known, self._config, failed=failed, now=now)
        direction = _direction(after, self._config)
        self._put(_alarmed(after, self._config, now) if direction else after)
        return Alarm(tool, direction, now) if direction else None

    def health(self, tools: Sequence[str], now: float) -> Floats:
        """1 − the posterior mean of the failure rate of each tool, shape (M,); the prior's for tools never called."""
        failures, calls = self._discounted(tools, now)
        config = self._config
        return np.asarray(
            1.0 - (config.prior_weight * config.prior_failure + failures) / (config.prior_weight + calls), np.float64
        )

    def broken(self, tools: Sequence[str], now: float) -> dict[str, str]:
        """The reason by tool of each whose health is below `broken_below` now."""
        health = self.health(tools, now)
        return {
            tool: f"not working now: health {value:.2f} after its newest calls failed"
            for tool, value in zip(tools, health.tolist(), strict=True)
            if value < self._config.broken_below
        }

    def deviations(self, tools: Sequence[str], now: float) -> Floats:
        """Standard deviation of each `health`: √(m (1 − m) / (weight + 1)), shape (M,)."""
        means = self.health(tools, now)
        _, calls = self._discounted(tools, now)
        return np.sqrt(means * (1.0 - means) / (self._config.prior_weight + calls + 1.0))

    @property
    def has_failures(self) -> bool:
        """Whether any call failed that is not quite forgotten."""
        return bool(self._evidence[0].any())

    def records(self) -> tuple[ToolHealth, ...]:
        """What is remembered, by tool in the order of first calls."""
        return tuple(self._records)

    def _discounted(self, tools: Sequence[str], now: float) -> tuple[Floats, Floats]:
        """Weights of failed calls and of all calls now, shape (M,) each."""
        padded = np.concatenate([self._evidence, np.zeros((3, 1))], axis=1)
        failures, calls, at = padded[:, [self._numbers.get(tool, -1) for tool in tools]]
        kept = 0.5 ** (np.maximum(now - at, 0.0) / self._config.half_life_seconds)
        return kept * failures, kept * calls

    def _put(self, record: ToolHealth) -> None:
        number = self._numbers.setdefault(record.tool, len(self._records))
        column = np.array([[record.failures], [record.failures + record.successes], [record.updated_at]])
        if number == len(self._records):
            self._records.append(record)
            self._evidence = np.concatenate([self._evidence, column], axis=1)
        else:
            self._records[number] = record
            self._evidence[:, number] = column[:, 0]


def _usual(known: ToolHealth, config: HealthConfig) -> float:
    failures = config.prior_weight * config.prior_failure + known.usual_failures
    return bounded(failures / (config.prior_weight + known.usual_calls))


def _direction(known: ToolHealth, config: HealthConfig) -> Direction | None:
    if known.worse.has_alarm(config.alarm_evidence):
        return "worse"
    return "better" if known.better.has_alarm(config.alarm_evidence) else None


def _alarmed(known: ToolHealth, config: HealthConfig, now: float) -> ToolHealth:
    """After an alarm only the calls since the change count whole: what came before was, so to speak, another tool."""
    change = known.worse if known.worse.has_alarm(config.alarm_evidence) else known.better
    earlier_failures, earlier_successes = (
        max(0.0, known.failures - change.failures),
        max(0.0, known.successes - (change.calls - change.failures)),
    )
    return replace(
        known,
        failures=BEFORE_CHANGE * earlier_failures + change.failures,
        successes=BEFORE_CHANGE * earlier_successes + change.calls - change.failures,
        usual_failures=float(change.failures),
        usual_calls=float(change.calls),
        worse=Cusum(),
        better=Cusum(),
        alarms=known.alarms + 1,
        last_alarm_at=now,
    )

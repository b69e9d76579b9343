"""Health of tools: how often their newest calls failed, forgotten by calls and by the clock.

Health is about whether a tool works at all; whether it helps with a task is told by what became of trajectories.  What
is forgotten goes back to the prior and never below it (stabilised forgetting, Kulhavý & Zarrop 1993).  A tool that
stopped working is suspect: it is left alone but for single probes, which come at ever longer intervals (a circuit
breaker, Nygard 2007), and counts as well again from the first probe that succeeds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selector.change import THRESHOLD, Cusum, better_rate, bounded, worse_rate
from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Direction = Literal["worse", "better"]

UNSUSPECTED = math.inf


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How fast health forgets, what is believed of a tool that was never called, and when a broken one is probed.

    Evidence halves with every `half_life_calls` calls of its tool and every `half_life_seconds`; that of its usual
    failure rate, against which change is judged, with every `usual_half_life_calls`.  `prior_failure` in (0, 1) weighs
    `prior_weight` calls.  An alarm needs evidence of a change of `alarm_evidence` (natural log of odds).

    A tool is suspect after an alarm that it fails more, and once its health falls below `broken_below` in (0, 1).  It
    is probed after `probe_calls` calls of any tools and `probe_seconds`, whichever comes later; both double with every
    probe that fails, up to `longest_probe_calls` and `longest_probe_seconds`, and halve with every success.
    """

    half_life_calls: float = 30.0
    half_life_seconds: float = 1800.0
    usual_half_life_calls: float = 1000.0
    prior_failure: float = 0.05
    prior_weight: float = 2.0
    alarm_evidence: float = THRESHOLD
    broken_below: float = 0.3
    probe_calls: float = 4.0
    probe_seconds: float = 4.0
    longest_probe_calls: float = 32.0
    longest_probe_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("prior_failure", "broken_below"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise SelectorUsageError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise SelectorUsageError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("probe_calls", "probe_seconds"):
            if getattr(self, name) > getattr(self, f"longest_{name}"):
                raise SelectorUsageError(
                    f"{name} must be at most longest_{name}, got {getattr(self, name)}: raise the latter"
                )

    @property
    def most_doublings(self) -> int:
        """After how many doublings both intervals are at their longest."""
        seconds = self.longest_probe_seconds / self.probe_seconds
        return math.ceil(math.log2(max(seconds, self.longest_probe_calls / self.probe_calls)))


@dataclass(frozen=True, slots=True)
class Probe:
    """When a suspect tool is tried again: from `at` (seconds) and the book's call number `call` on.

    `doublings` counts the failed probes less the successes since, ≥ 0.  A tool not suspect has an infinite `at`.
    """

    doublings: int = 0
    at: float = UNSUSPECTED
    call: float = UNSUSPECTED

    @property
    def is_suspect(self) -> bool:
        """Whether the tool is suspect at all."""
        return self.at < UNSUSPECTED


@dataclass(frozen=True, slots=True)
class ToolHealth:
    """What is remembered of one tool: weights of failed and of good calls at `updated_at` (seconds), alarms, probes.

    `usual_failures` of `usual_calls` make its usual failure rate, the prior included.  `call` is the number of its
    newest call among all calls of the book.
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
    call: int = 0
    probe: Probe = field(default_factory=Probe)


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


def health_of(failures: Floats, calls: Floats, config: HealthConfig) -> Floats:
    """1 − (w m + F) / (w + N), the posterior mean of 1 − the failure rate; shape (M,) each, in (0, 1).

    >>> health_of(np.array([0.0, 3.0]), np.array([0.0, 3.0]), HealthConfig()).round(2).tolist()
    [0.95, 0.38]
    """
    weight = config.prior_weight
    return np.asarray(1.0 - (weight * config.prior_failure + failures) / (weight + calls), np.float64)


def next_probe(probe: Probe, config: HealthConfig, *, failed: bool, now: float, call: int) -> Probe:
    """The probe of a suspect tool after its call: at once where it succeeded, else after the interval, doubled.

    >>> next_probe(Probe(1, 0.0, 0), HealthConfig(), failed=True, now=100.0, call=50)
    Probe(doublings=2, at=116.0, call=66.0)
    """
    if not failed:
        return Probe(max(probe.doublings - 1, 0), now, call)
    doublings = min(probe.doublings + 1, config.most_doublings) if probe.is_suspect else 0
    seconds = min(math.ldexp(config.probe_seconds, doublings), config.longest_probe_seconds)
    calls = min(math.ldexp(config.probe_calls, doublings), config.longest_probe_calls)
    return Probe(doublings, now + seconds, call + calls)


class HealthBook:
    """The health of every tool that was called; made anew from the same calls in the same order, it is the same."""

    def __init__(self, config: HealthConfig | None = None, records: Iterable[ToolHealth] = ()) -> None:
        self._config = config or HealthConfig()
        self._numbers: dict[str, int] = {}
        self._records: list[ToolHealth] = []
        self._evidence = np.zeros((5, 0))
        self._calls = 0
        for record in records:
            self._put(record)
            self._calls = max(self._calls, record.call)

    def observe(self, tool: str, failed: bool | None, now: float) -> Alarm | None:  # noqa: FBT001 - None: nobody knows
        """Take in one call at `now` (seconds); an unknown outcome says nothing.  Returns a change where one shows."""
        if failed is None:
            return None
        self._calls += 1
        known = self._records[self._numbers[tool]] if tool in self._numbers else ToolHealth(tool)
        after = observed(known, self._config, failed=failed, now=now)
        direction = _direction(after, self._config)
        after = _alarmed(after, self._config, now) if direction else after
        self._put(replace(after, call=self._calls, probe=self._probe(after, direction, failed=failed, now=now)))
        return Alarm(tool, direction, now) if direction else None

    def estimates(self, tools: Sequence[str], now: float) -> Floats:
        """1 − the posterior mean of the failure rate of each tool, shape (M,); the prior's for tools never called.

        What was forgotten by the clock at `now` (seconds) does not count.
        """
        failures, calls, at = self._columns(tools)[:3]
        kept = 0.5 ** (np.maximum(now - at, 0.0) / self._config.half_life_seconds)
        return health_of(kept * failures, kept * calls, self._config)

    def health(self, tools: Sequence[str], now: float) -> Floats:
        """What to reckon with at a decision, shape (M,): the estimate, or the prior's where a probe is due."""
        estimates = self.estimates(tools, now)
        at, call = self._columns(tools)[3:]
        return np.where((now >= at) & (self._calls >= call), 1.0 - self._config.prior_failure, estimates)

    def broken(self, tools: Sequence[str], now: float) -> dict[str, str]:
        """The reason by tool of each whose health is below `broken_below` now, and whose next probe is not due."""
        if not np.isfinite(self._evidence[3]).any():
            return {}
        health = self.health(tools, now).tolist()
        return {
            tool: self._reason(tool, value)
            for tool, value in zip(tools, health, strict=True)
            if value < self._config.broken_below
        }

    @property
    def has_failures(self) -> bool:
        """Whether any call failed that is not quite forgotten."""
        return bool(self._evidence[0].any())

    def records(self) -> tuple[ToolHealth, ...]:
        """What is remembered, by tool in the order of first calls."""
        return tuple(self._records)

    def _probe(self, known: ToolHealth, direction: Direction | None, *, failed: bool, now: float) -> Probe:
        if direction == "better":
            return Probe()
        is_unwell = (
            direction == "worse" or known.probe.is_suspect or _health(known, self._config) < self._config.broken_below
        )
        return next_probe(known.probe, self._config, failed=failed, now=now, call=self._calls) if is_unwell else Probe()

    def _reason(self, tool: str, health: float) -> str:
        known = self._records[self._numbers[tool]]
        failures, calls = round(known.failures), round(known.failures + known.successes)
        return f"not working now: health {health:.2f} after {failures} failures in its newest {calls} calls"

    def _columns(self, tools: Sequence[str]) -> Floats:
        """Failures, calls, seconds of the newest call, seconds and call number of the next probe; shape (5, M)."""
        nothing = np.array([[0.0], [0.0], [0.0], [UNSUSPECTED], [UNSUSPECTED]])
        padded = np.concatenate([self._evidence, nothing], axis=1)
        return np.asarray(padded[:, [self._numbers.get(tool, -1) for tool in tools]], np.float64)

    def _put(self, record: ToolHealth) -> None:
        number = self._numbers.setdefault(record.tool, len(self._records))
        calls = record.failures + record.successes
        column = np.array([record.failures, calls, record.updated_at, record.probe.at, record.probe.call])
        if number == len(self._records):
            self._records.append(record)
            self._evidence = np.concatenate([self._evidence, column[:, None]], axis=1)
        else:
            self._records[number] = record
            self._evidence[:, number] = column


def _usual(known: ToolHealth, config: HealthConfig) -> float:
    failures = config.prior_weight * config.prior_failure + known.usual_failures
    return bounded(failures / (config.prior_weight + known.usual_calls))


def _direction(known: ToolHealth, config: HealthConfig) -> Direction | None:
    if known.worse.has_alarm(config.alarm_evidence):
        return "worse"
    return "better" if known.better.has_alarm(config.alarm_evidence) else None


def _health(known: ToolHealth, config: HealthConfig) -> float:
    return float(health_of(np.array([known.failures]), np.array([known.failures + known.successes]), config)[0])


def _alarmed(known: ToolHealth, config: HealthConfig, now: float) -> ToolHealth:
    """After an alarm only the calls since the change count: what came before was, so to speak, another tool."""
    change = known.worse if known.worse.has_alarm(config.alarm_evidence) else known.better
    return replace(
        known,
        failures=float(change.failures),
        successes=float(change.calls - change.failures),
        usual_failures=float(change.failures),
        usual_calls=float(change.calls),
        worse=Cusum(),
        better=Cusum(),
        alarms=known.alarms + 1,
        last_alarm_at=now,
    )

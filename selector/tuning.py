"""Tuning of settings by ask and tell: the records, the loop, random search, and the confirmation of what was found.

An objective is minimised; it says how far it is to be trusted.  The best trial is the one of the lowest upper bound
(value + standard error), because the lowest of many noisy values is mostly luck; for the same reason it is confirmed on
another slice of the data before it is used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from scipy.special import ndtri, stdtrit

from selector.errors import SelectorUsageError

Scale = Literal["linear", "log"]
JsonObject = dict[str, Any]  # Any: plain JSON data


@dataclass(frozen=True, slots=True)
class Setting:
    """A number to tune between `low` and `high`, both included, on a linear or (low > 0) logarithmic scale."""

    name: str
    low: float
    high: float
    scale: Scale = "linear"
    is_integer: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SelectorUsageError(
                f"setting {self.name!r} must have finite low < high, got {self.low} and {self.high}"
            )
        if self.scale not in ("linear", "log"):
            raise SelectorUsageError(f"scale of setting {self.name!r} must be linear or log, got {self.scale!r}")
        if self.scale == "log" and self.low <= 0:
            raise SelectorUsageError(f"setting {self.name!r} on a log scale must have low above 0, got {self.low}")
        if self.is_integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise SelectorUsageError(
                f"integer setting {self.name!r} must have whole limits, got {self.low} and {self.high}"
            )

    def to_unit(self, value: float) -> float:
        """Where `value` lies in [0, 1] on the setting's scale; raises where it lies outside low and high.

        >>> Setting("rate", 0.01, 1.0, "log").to_unit(0.1)
        0.5
        """
        if not self.low <= value <= self.high:
            raise SelectorUsageError(
                f"setting {self.name!r} must lie in [{self.low}, {self.high}], got {value}: widen its limits"
            )
        bottom, top = self._edges()
        return (self._on_scale(value) - bottom) / (top - bottom)

    def from_unit(self, place: float) -> float:
        """The value at `place` in [0, 1]; an int for an integer setting, each of which has an equal cell.

        >>> Setting("neighbours", 1, 9, is_integer=True).from_unit(0.5)
        5
        """
        bottom, top = self._edges()
        value = bottom + place * (top - bottom)
        value = math.exp(value) if self.scale == "log" else value
        value = min(max(round(value) if self.is_integer else value, self.low), self.high)
        return int(value) if self.is_integer else float(value)

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value

    def _edges(self) -> tuple[float, float]:
        """Whole numbers reach half a number beyond their limits, or the outermost would be drawn half as often."""
        margin = 0.5 if self.is_integer else 0.0
        return self._on_scale(self.low - margin), self._on_scale(self.high + margin)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an objective gave: its value (lower is better), the standard error of it, and, where known, N units.

    `units_N` are the values of the single units (tasks, folds, episodes) of which `value` is the mean, in an order that
    is the same for all settings: then two measurements are compared in pairs.
    """

    value: float
    standard_error: float = 0.0
    units_N: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.standard_error, *self.units_N))):
            raise SelectorUsageError(f"a measurement must be finite, got {self.value} ± {self.standard_error}")
        if self.standard_error < 0:
            raise SelectorUsageError(f"standard_error must be 0 or more, got {self.standard_error}")

    @property
    def upper(self) -> float:
        """Upper bound by which trials are compared: value + standard error."""
        return self.value + self.standard_error

    @classmethod
    def of_units(cls, units_N: Sequence[float]) -> "Measurement":
        """The mean of at least two units, and its standard error.

        >>> Measurement.of_units([1.0, 3.0]).standard_error
        1.0
        """
        units = tuple(float(unit) for unit in units_N)
        if len(units) < 2:
            raise SelectorUsageError(
                f"a standard error needs 2 units or more, got {len(units)}: give Measurement itself"
            )
        return cls(float(np.mean(units)), float(np.std(units, ddof=1)) / math.sqrt(len(units)), units)


Objective = Callable[[Mapping[str, float]], Measurement]


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement of an objective, `number` from 0 on."""

    number: int
    settings: dict[str, float]
    measurement: Measurement


OnTrial = Callable[[Trial], None]


@dataclass(frozen=True, slots=True)
class TuningReport:
    """All trials in their order, the best settings (lowest upper bound) and what they measured.

    `start` and `start_measurement` are those that tuning started from, None where it was given none.
    """

    trials: tuple[Trial, ...]
    best: dict[str, float]
    best_measurement: Measurement
    start: dict[str, float] | None = None
    start_measurement: Measurement | None = None

    def to_json(self) -> JsonObject:
        """As plain JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Start (`before`) against best settings (`after`) on another slice.

    `difference` is after less before, negative where tuning helped; `standard_error` that of the difference, in pairs
    where both gave the same units.  `is_confirmed` says whether the difference lies below 0 with the confidence asked.
    """

    before: Measurement
    after: Measurement
    difference: float
    standard_error: float
    is_confirmed: bool
    reason: str

    def to_json(self) -> JsonObject:
        """As plain JSON data."""
        return asdict(self)


class Tuner(Protocol):
    """Proposes settings, and learns from what they measured."""

    def ask(self) -> dict[str, float]:
        """Settings to try next, by name."""
        ...

    def tell(self, settings: Mapping[str, float], measurement: Measurement) -> None:
        """What `settings` measured, whether asked or not."""
        ...


class RandomTuner:
    """Random search: every ask is a new draw, even on each setting's scale."""

    def __init__(self, settings: Sequence[Setting], rng: np.random.Generator) -> None:
        """For at least one setting, drawn by `rng`."""
        require_settings(settings)
        self._settings = tuple(settings)
        self._rng = rng

    def ask(self) -> dict[str, float]:
        """A draw."""
        return settings_at(self._settings, self._rng.random(len(self._settings)).tolist())

    def tell(self, settings: Mapping[str, float], measurement: Measurement) -> None:
        """Check the settings; random search learns nothing from them."""
        places_of(self._settings, settings)


def tune(
    objective: Objective,
    settings: Sequence[Setting],
    tuner: Tuner,
    trials: int,
    *,
    start: Mapping[str, float] | None = None,
    on_trial: OnTrial | None = None,
) -> TuningReport:
    """Minimise `objective` in `trials` > 0 measurements, the first of them at `start`.

    `start` counts as one of the trials.  `on_trial` sees each as it ends.  What the objective raises is passed on.
    """
    _check_run(settings, trials, start)
    done: list[Trial] = []
    for number in range(trials):
        asked = dict(start) if start is not None and number == 0 else tuner.ask()
        trial = Trial(number, asked, objective(asked))
        tuner.tell(trial.settings, trial.measurement)
        done.append(trial)
        if on_trial:
            on_trial(trial)
    best = min(done, key=lambda trial: trial.measurement.upper)
    if start is None:
        return TuningReport(tuple(done), best.settings, best.measurement)
    return TuningReport(tuple(done), best.settings, best.measurement, done[0].settings, done[0].measurement)


def confirm(objective_on_other_slice: Objective, report: TuningReport, *, confidence: float = 0.95) -> Confirmation:
    """Measure start and best settings on data that tuning has not seen, and ask whether the best are still better.

    One-sided at `confidence` in (0, 1).  Raises SelectorUsageError where tuning was given no start.
    """
    if report.start is None:
        raise SelectorUsageError("a confirmation needs settings to compare with, got start None: tune with a start")
    if not 0.0 < confidence < 1.0:
        raise SelectorUsageError(f"confidence must lie in (0, 1), got {confidence}: 0.95 is usual")
    before = objective_on_other_slice(report.start)
    if report.best == report.start:
        return Confirmation(before, before, 0.0, 0.0, is_confirmed=False, reason="no trial beat the start settings")
    after = objective_on_other_slice(report.best)
    difference = _difference(before, after)
    reach = _reach(before, after, confidence) * difference.standard_error
    is_confirmed = difference.value + reach < 0.0
    verdict = "better" if is_confirmed else "not surely better"
    reason = f"{verdict} than the start: {difference.value:+.4g} ± {difference.standard_error:.2g}"
    return Confirmation(before, after, difference.value, difference.standard_error, is_confirmed, reason)


def require_settings(settings: Sequence[Setting]) -> None:
    """Raise SelectorUsageError unless there is a setting, and each name once."""
    names = [setting.name for setting in settings]
    if not names or len(set(names)) < len(names):
        raise SelectorUsageError(f"settings must be one or more of different names, got {names}")


def settings_at(settings: Sequence[Setting], places_D: Sequence[float]) -> dict[str, float]:
    """Settings at a point of the unit cube; `places_D` in [0, 1], shape (D,)."""
    return {setting.name: setting.from_unit(place) for setting, place in zip(settings, places_D, strict=True)}


def places_of(settings: Sequence[Setting], values: Mapping[str, float]) -> list[float]:
    """The point of the unit cube where `values` lie, length D; raises SelectorUsageError for other names or ranges."""
    names = {setting.name for setting in settings}
    if names != set(values):
        raise SelectorUsageError(f"settings must be {sorted(names)}, got {sorted(values)}: name each of them once")
    return [setting.to_unit(values[setting.name]) for setting in settings]


def _check_run(settings: Sequence[Setting], trials: int, start: Mapping[str, float] | None) -> None:
    require_settings(settings)
    if trials < 1:
        raise SelectorUsageError(f"trials must be 1 or more, got {trials}: 20 to 60 is usual")
    if start is not None:
        places_of(settings, start)


def _is_paired(before: Measurement, after: Measurement) -> bool:
    return len(before.units_N) == len(after.units_N) >= 2


def _difference(before: Measurement, after: Measurement) -> Measurement:
    """After less before; in pairs, √(Var(a − b) / N), else √(SE_a² + SE_b²)."""
    if _is_paired(before, after):
        return Measurement.of_units([a - b for a, b in zip(after.units_N, before.units_N, strict=True)])
    return Measurement(after.value - before.value, math.hypot(before.standard_error, after.standard_error))


def _reach(before: Measurement, after: Measurement, confidence: float) -> float:
    """Standard errors to the one-sided bound: Student's for pairs, else the normal's."""
    if _is_paired(before, after):
        return float(stdtrit(len(before.units_N) - 1, confidence))
    return float(ndtri(confidence))

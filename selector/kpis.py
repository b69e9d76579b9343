"""What a trajectory is worth: declared KPIs, each scaled to [0, 1], combined to one reward.

This is the only place where a reward is computed from KPIs, so that every consumer means the same by it.  A KPI that
was not measured is left out and the other weights are renormalised; it never counts as zero.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from selector.errors import SelectorUsageError
from trajstore.codec import from_json
from trajstore.errors import DamagedStore
from trajstore.scan import Measures
from trajstore.schema import Trajectory

Direction = Literal["higher", "lower"]
JsonObject = dict[str, Any]  # Any: plain JSON data

MEASURED = ("success", "reward", "steps", "latency_seconds", "cost_usd")
OF_STEPS = frozenset(MEASURED[2:])
DIRECTIONS: tuple[str, ...] = get_args(Direction)


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure by which a trajectory is judged.

    Its raw values are mapped from [`low`, `high`] to [0, 1], clipped, and turned where `direction` is "lower" (a cost),
    so that 1 is always best.  `weight` > 0 says how much it counts beside the others.
    """

    name: str
    weight: float = 1.0
    direction: Direction = "higher"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SelectorUsageError(f"a KPI needs a name, got {self.name!r}: give a non-empty string")
        if self.direction not in DIRECTIONS:
            raise SelectorUsageError(f"direction of KPI {self.name!r} must be higher or lower, got {self.direction!r}")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise SelectorUsageError(
                f"weight of KPI {self.name!r} must be finite and above 0, got {self.weight}: leave the KPI out instead"
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SelectorUsageError(
                f"KPI {self.name!r} must have finite low < high, got {self.low} and {self.high}: give its usual range"
            )


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """The KPIs that make up the reward; success alone unless others are declared.

    >>> RewardSpec().kpis[0].name
    'success'
    """

    kpis: tuple[Kpi, ...] = (Kpi("success"),)

    def __post_init__(self) -> None:
        names = [kpi.name for kpi in self.kpis]
        if not names:
            raise SelectorUsageError("a reward needs at least one KPI, got none: declare one, e.g. Kpi('success')")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SelectorUsageError(f"KPI {twice[0]!r} is declared twice: declare each name once")

    def to_json(self) -> JsonObject:
        """As plain JSON data."""
        return {"kpis": [asdict(kpi) for kpi in self.kpis]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RewardSpec":
        """From what `to_json` or a person wrote: {"kpis": [{"name": …, "weight": …, …}, …]}."""
        try:
            return cls(tuple(Kpi(**entry) for entry in data["kpis"]))
        except (KeyError, TypeError) as error:
            raise SelectorUsageError(
                f"a reward is declared as kpis with name, weight, direction, low and high, got {data!r}: {error}"
            ) from error


@dataclass(frozen=True, slots=True)
class RewardPart:
    """One KPI of a reward: its value as measured, scaled to [0, 1], and its renormalised weight in (0, 1]."""

    name: str
    raw: float
    scaled: float
    weight: float


@dataclass(frozen=True, slots=True)
class CombinedReward:
    """The reward in [0, 1] (None where no declared KPI was measured), its parts, and the names that were missing."""

    value: float | None
    parts: tuple[RewardPart, ...]
    missing: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """As plain JSON data, raw values beside the combined one, to be stored together."""
        return {"value": self.value, "parts": [asdict(part) for part in self.parts], "missing": list(self.missing)}


def scale(raw: float, kpi: Kpi) -> float:
    """`raw` on the scale of `kpi`: (raw − low) / (high − low), clipped to [0, 1], 1 less that where lower is better.

    >>> scale(2.0, Kpi("cost_usd", direction="lower", high=8.0))
    0.75
    """
    if not math.isfinite(raw):
        raise SelectorUsageError(
            f"KPI {kpi.name!r} must be a finite number, got {raw}: leave out what was not measured"
        )
    # Each term is divided by itself, so that no difference of huge limits can overflow.
    width = kpi.high / 2 - kpi.low / 2
    share = min(max((raw / 2 - kpi.low / 2) / width, 0.0), 1.0) if width > 0 else float(raw >= kpi.high)
    return share if kpi.direction == "higher" else 1.0 - share


def combine(values: Mapping[str, float], spec: RewardSpec | None = None) -> CombinedReward:
    """The reward of `values` (raw, by KPI name): Σ w_k s_k / Σ w_k over the KPIs of `spec` that were measured.

    Values that `spec` does not name are ignored.  Raises SelectorUsageError where a named value is not finite.

    >>> spec = RewardSpec((Kpi("success", weight=3), Kpi("steps", direction="lower", high=10)))
    >>> combine({"success": True, "steps": 5}, spec).value
    0.875
    >>> combine({"success": True}, spec).missing
    ('steps',)
    """
    spec = spec or RewardSpec()
    known = [kpi for kpi in spec.kpis if kpi.name in values]
    total = math.fsum(kpi.weight for kpi in known)
    parts = tuple(
        RewardPart(kpi.name, float(values[kpi.name]), scale(float(values[kpi.name]), kpi), kpi.weight / total)
        for kpi in known
    )
    value = min(math.fsum(part.weight * part.scaled for part in parts), 1.0) if parts else None
    return CombinedReward(value, parts, tuple(kpi.name for kpi in spec.kpis if kpi.name not in values))


def measured(trajectory: Trajectory) -> dict[str, float]:
    """Raw values that a trajectory shows, by KPI name; what it does not know is left out.

    success (1 or 0), reward, steps (how many), latency_seconds and cost_usd (summed over the steps that know theirs),
    then the trajectory's own kpis, which win over all of these.
    """
    steps = trajectory.steps
    latency, cost = ([getattr(step, name) for step in steps] for name in ("latency_seconds", "cost_usd"))
    sums = float(len(steps)), _sum_of_known(latency), _sum_of_known(cost)
    return _known(trajectory.success, trajectory.reward, *sums) | dict(trajectory.kpis)


def measured_by(measures: Measures) -> dict[str, float]:
    """The same of a trajectory that the store has measured; `DamagedStore` where its KPIs cannot be read."""
    try:
        kpis = dict(from_json(measures.kpis))
    except (ValueError, TypeError) as error:
        raise DamagedStore(
            f"kpis {measures.kpis!r:.80} cannot be read; run trajstore doctor, or restore a backup"
        ) from error
    sums = float(measures.steps), measures.latency_seconds, measures.cost_usd
    return _known(measures.success, measures.reward, *sums) | kpis


def needs_steps(spec: RewardSpec) -> bool:
    """Whether a reward asks for what is summed over steps."""
    return not OF_STEPS.isdisjoint(kpi.name for kpi in spec.kpis)


def _known(
    success: bool | None,  # noqa: FBT001 - None, nobody judged it, is a third value
    reward: float | None,
    steps: float,
    latency_seconds: float | None,
    cost_usd: float | None,
) -> dict[str, float]:
    won = None if success is None else float(success)
    values = dict(zip(MEASURED, (won, reward, steps, latency_seconds, cost_usd), strict=True))
    return {name: float(value) for name, value in values.items() if value is not None}


def _sum_of_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None

"""What a trajectory is worth to the trainer: named, weighted terms beside its raw outcome.

Shaping that is no difference of potentials can change which policy is best (Ng, Harada & Russell 1999), so the raw
outcome is kept and `grpo.term_report` says which terms order trajectories against it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from grpo.errors import TrainingUsageError
from selector.kpis import RewardSpec, combine, measured
from trajstore.schema import Trajectory

TermFunction = Callable[[Trajectory], float | None]
BUILT_IN = ("outcome", "tool_success", "verification", "length", "kpis")


@dataclass(frozen=True, slots=True)
class RewardTerm:
    """A named term: `of` a trajectory, times a finite `weight`; `of` gives None where it was not measured."""

    name: str
    weight: float
    of: TermFunction

    def __post_init__(self) -> None:
        if not self.name:
            raise TrainingUsageError("a reward term must have a name, got an empty one: name it")
        if not math.isfinite(self.weight):
            raise TrainingUsageError(
                f"weight of reward term {self.name!r} must be finite, got {self.weight}: give 0 to leave the term out"
            )


@dataclass(frozen=True, slots=True)
class ShapingConfig:
    """Weights of the terms, each finite; a term of weight 0 is left out.

    `outcome` times the final reward in [0, 1]; `tool_success` times the share of tool calls that went ok;
    `verification` once where a step verifies; `length` times the number of steps; `kpi_weight` times the combined
    `kpis` in [0, 1] (None: no such term).  `own` are the user's terms, whose names must be new.
    """

    outcome: float = 1.0
    tool_success: float = 0.1
    verification: float = 0.05
    length: float = -0.01
    kpis: RewardSpec | None = None
    kpi_weight: float = 1.0
    own: tuple[RewardTerm, ...] = ()

    def __post_init__(self) -> None:
        names = [*BUILT_IN, *(term.name for term in self.own)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TrainingUsageError(f"reward term {twice[0]!r} is declared twice: name each term differently")
        _ = self.terms

    @property
    def terms(self) -> tuple[RewardTerm, ...]:
        """All terms of a weight other than 0, in the order of the total."""
        built_in = [
            RewardTerm("outcome", self.outcome, raw_outcome),
            RewardTerm("tool_success", self.tool_success, tool_success_share),
            RewardTerm("verification", self.verification, has_verified),
            RewardTerm("length", self.length, step_count),
        ]
        if self.kpis is not None:
            built_in.append(RewardTerm("kpis", self.kpi_weight, partial(combined_kpis, spec=self.kpis)))
        return tuple(term for term in (*built_in, *self.own) if term.weight != 0.0)


@dataclass(frozen=True, slots=True)
class ShapedReward:
    """A reward with its parts: `raw` in [0, 1], and `total`, the sum of the weighted `parts` by name.

    `raw` and `total` are None where nobody judged the trajectory.  Terms that were not measured are in no part.
    """

    raw: float | None
    total: float | None
    parts: Mapping[str, float]


def compute_shaped_reward(trajectory: Trajectory, config: ShapingConfig | None = None) -> ShapedReward:
    """Σ w_k f_k(trajectory) over the terms of `config` that were measured.

    A trajectory without an outcome has no total: not judged is not failed.  Raises TrainingUsageError where a term is
    not finite, or a logged reward lies outside [0, 1].

    >>> from trajstore.schema import Step, Task
    >>> shaped = compute_shaped_reward(Trajectory(Task("t"), (Step(0, "look", outcome="ok"),), success=True))
    >>> shaped.raw, round(shaped.total, 9)
    (1.0, 1.09)
    """
    values = {term.name: (term, term.of(trajectory)) for term in (config or ShapingConfig()).terms}
    parts = {name: _part(term, value) for name, (term, value) in values.items() if value is not None}
    raw = raw_outcome(trajectory)
    return ShapedReward(raw, None if raw is None else math.fsum(parts.values()), parts)


def raw_outcome(trajectory: Trajectory) -> float | None:
    """The final reward as logged, in [0, 1]; without one, 1 for success and 0 for failure; None where not judged."""
    if trajectory.reward is None:
        return None if trajectory.success is None else float(trajectory.success)
    if not 0.0 <= trajectory.reward <= 1.0:
        raise TrainingUsageError(f"reward must lie in [0, 1], got {trajectory.reward}: scale it when it is logged")
    return float(trajectory.reward)


def tool_success_share(trajectory: Trajectory) -> float | None:
    """Share of tool calls that went ok, in [0, 1], of those whose outcome is known; None where there is none.

    A mean and not a sum: a sum would pay for calls that serve nothing.
    """
    known = [step.outcome == "ok" for step in trajectory.steps if step.kind == "tool" and step.outcome != "unknown"]
    return sum(known) / len(known) if known else None


def has_verified(trajectory: Trajectory) -> float:
    """1 where a step is of the kind "verification", else 0."""
    return float(any(step.kind == "verification" for step in trajectory.steps))


def step_count(trajectory: Trajectory) -> float:
    """How many steps there are."""
    return float(len(trajectory.steps))


def combined_kpis(trajectory: Trajectory, spec: RewardSpec) -> float | None:
    """The KPIs of `spec` combined, in [0, 1]; None where none was measured."""
    return combine(measured(trajectory), spec).value


def _part(term: RewardTerm, value: float) -> float:
    if not math.isfinite(value):
        raise TrainingUsageError(
            f"reward term {term.name!r} must be finite, got {value}: return None where it was not measured"
        )
    return term.weight * float(value)

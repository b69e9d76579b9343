"""What a trajectory is worth to the trainer: named, weighted terms beside its raw outcome.

Shaping that is no difference of potentials can change which policy is best (Ng, Harada & Russell 1999), so the raw
outcome is kept and `discriminativeness` says which terms order trajectories against it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grpo.errors import TrainingUsageError
from selector.kpis import RewardSpec, combine, measured
from trajstore.schema import Trajectory

TermFunction = Callable[[Trajectory], float | None]
Floats = NDArray[np.float64]
Verdict = Literal["helpful", "harmful", "undecided"]

BUILT_IN = ("outcome", "tool_success", "verification", "length", "kpis")
RESAMPLES = 500
BLOCK = 512


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


def shaped_total(trajectory: Trajectory, *, config: ShapingConfig) -> float | None:
    """The sum of all terms, None where nobody judged the trajectory: what a trainer learns from."""
    return compute_shaped_reward(trajectory, config).total


@dataclass(frozen=True, slots=True)
class TermRow:
    """How one weighted part stands to the raw outcome, over N judged trajectories (a missing part counts as 0).

    `auc` is the probability that the part is larger for a success than for a failure, ties half, with the ends of its
    95 % interval; `correlation` is Pearson's.  `variance_share` is cov(part, total) / var(total), which sums to 1 over
    the terms.  `rank_flips` is by how much the term raises the share of pairs that the total orders against the
    outcome; below 0 it lowers it.  NaN is what is not defined: no spread, or one outcome only.
    """

    name: str
    mean: float
    standard_deviation: float
    auc: float
    auc_low: float
    auc_high: float
    correlation: float
    variance_share: float
    rank_flips: float

    @property
    def verdict(self) -> Verdict:
        """Harmful where the AUC's interval lies below 0.5, helpful where it lies above, else undecided."""
        if self.auc_high < 0.5:
            return "harmful"
        return "helpful" if self.auc_low > 0.5 else "undecided"


@dataclass(frozen=True, slots=True)
class TermReport:
    """A row for each term, how many judged trajectories stand behind them, how many successes, how many unjudged.

    `rank_flips` is the share of pairs of different raw outcome that the total orders the other way round.
    """

    rows: tuple[TermRow, ...]
    judged: int
    successes: int
    unjudged: int
    rank_flips: float

    @property
    def harmful(self) -> tuple[str, ...]:
        """Names of the terms that are credibly larger for failures."""
        return tuple(row.name for row in self.rows if row.verdict == "harmful")


def discriminativeness(
    shaped: Sequence[ShapedReward], *, success_from: float = 0.5, rng: np.random.Generator | None = None
) -> TermReport:
    """How well each term tells success (raw reward of at least `success_from`) from failure.

    Intervals come from resampling trajectories (`rng`; seed 0 without).  Raises TrainingUsageError where
    none is judged.
    """
    judged = [one for one in shaped if one.raw is not None]
    if not judged:
        raise TrainingUsageError(f"terms are judged by outcomes, got none in {len(shaped)} rewards: label some")
    raw_N = np.array([one.raw for one in judged], np.float64)
    names = list(dict.fromkeys(name for one in judged for name in one.parts))
    parts = {name: np.array([one.parts.get(name, 0.0) for one in judged]) for name in names}
    draws_SN = (rng or np.random.default_rng(0)).multinomial(len(raw_N), np.full(len(raw_N), 1 / len(raw_N)), RESAMPLES)
    won_N = raw_N >= success_from
    total_N = np.sum([np.zeros(len(raw_N)), *parts.values()], axis=0)
    flips = rank_flips(total_N, raw_N)
    rows = tuple(_row(name, part_N, total_N, raw_N, (won_N, draws_SN)) for name, part_N in parts.items())
    return TermReport(rows, len(judged), int(won_N.sum()), len(shaped) - len(judged), flips)


def rank_flips(values_N: Floats, raw_N: Floats) -> float:
    """Share of the pairs of different raw outcome that `values_N` order the other way, in [0, 1]; NaN without any.

    >>> rank_flips(np.array([1.0, 2.0, 0.0]), np.array([0.0, 1.0, 1.0]))
    0.5
    """
    flipped = pairs = 0
    for start in range(0, len(raw_N), BLOCK):
        order_BN = np.sign(raw_N[start : start + BLOCK, None] - raw_N)
        flipped += int((order_BN * np.sign(values_N[start : start + BLOCK, None] - values_N) < 0).sum())
        pairs += int((order_BN != 0).sum())
    return flipped / pairs if pairs else math.nan


def weighted_aucs(values_N: Floats, won_N: NDArray[np.bool_], weights_SN: NDArray[np.int64]) -> Floats:
    """P(value of a success > of a failure) + ½ P(equal) under each of S weightings; shape (S,), NaN for one outcome.

    >>> weighted_aucs(np.array([1.0, 2.0, 2.0]), np.array([False, True, False]), np.ones((1, 3), int)).tolist()
    [0.75]
    """
    order = np.argsort(values_N, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(values_N[order]) > 0))
    wins_SN = np.add.reduceat(weights_SN[:, order] * won_N[order], starts, axis=1).astype(np.float64)
    losses_SN = np.add.reduceat(weights_SN[:, order] * ~won_N[order], starts, axis=1).astype(np.float64)
    below_SN = np.cumsum(losses_SN, axis=1) - losses_SN / 2.0
    pairs_S = wins_SN.sum(axis=1) * losses_SN.sum(axis=1)
    won_S = (wins_SN * below_SN).sum(axis=1)
    return np.asarray(np.where(pairs_S > 0, won_S / np.maximum(pairs_S, 1.0), np.nan), np.float64)


def _row(
    name: str,
    part_N: Floats,
    total_N: Floats,
    raw_N: Floats,
    drawn: tuple[NDArray[np.bool_], NDArray[np.int64]],
) -> TermRow:
    won_N, draws_SN = drawn
    auc = float(weighted_aucs(part_N, won_N, np.ones((1, len(part_N)), np.int64))[0])
    aucs_S = weighted_aucs(part_N, won_N, draws_SN)
    known_S = aucs_S[np.isfinite(aucs_S)]
    low, high = np.quantile(known_S, [0.025, 0.975]) if len(known_S) else (math.nan, math.nan)
    caused = rank_flips(total_N, raw_N) - rank_flips(total_N - part_N, raw_N)
    spreads = float(part_N.std()), float(raw_N.std()), float(total_N.var())
    covariances = [float(np.mean((part_N - part_N.mean()) * (one - one.mean()))) for one in (raw_N, total_N)]
    correlation = covariances[0] / (spreads[0] * spreads[1]) if spreads[0] * spreads[1] > 0 else math.nan
    share = covariances[1] / spreads[2] if spreads[2] > 0 else math.nan
    return TermRow(name, float(part_N.mean()), spreads[0], auc, float(low), float(high), correlation, share, caused)


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

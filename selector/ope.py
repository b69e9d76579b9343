"""What another policy would have earned, from a log of decisions with propensities (off-policy evaluation)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selector import ope_estimators as equations
from selector.errors import SelectorUsageError
from selector.intervals import Interval, bootstrap_interval, doubt, effective_sample_size, largest_weight_share

Floats = NDArray[np.float64]
EstimatorName = Literal["dm", "ips", "snips", "dr", "sndr", "switch_dr", "dros"]

LONGEST_EPISODE = 5
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedDecisions:
    """N logged decisions among at most K candidates each, padded.

    `rewards_N` are finite numbers; `propensities_N` in (0, 1] say how probably the logging policy chose what it chose;
    `chosen_N` are places in 0..K−1; `offered_NK` is True where a candidate was open to the logging policy; `episodes_N`
    are the numbers of the episodes, whose decisions are not independent.  What breaks a rule raises SelectorUsageError.
    """

    rewards_N: Floats
    propensities_N: Floats
    chosen_N: NDArray[np.int64]
    offered_NK: NDArray[np.bool_]
    episodes_N: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.offered_NK.ndim != 2 or self.offered_NK.size == 0 or self.offered_NK.dtype != np.bool_:
            raise SelectorUsageError(f"offered_NK must be a mask of shape (N, K), got {self.offered_NK.shape}")
        for name in ("rewards_N", "propensities_N", "chosen_N", "episodes_N"):
            if getattr(self, name).shape != (len(self.offered_NK),):
                raise SelectorUsageError(
                    f"{name} must have one entry for each of {len(self.offered_NK)} decisions, "
                    f"got shape {getattr(self, name).shape}"
                )
        self._check_values()

    def _check_values(self) -> None:
        if not np.isfinite(self.rewards_N).all():
            raise SelectorUsageError("rewards must be finite; leave decisions without a reward out of the log")
        wrong = ~((self.propensities_N > 0) & (self.propensities_N <= 1))
        if wrong.any():
            raise SelectorUsageError(f"propensities must lie in (0, 1], got {self.propensities_N[wrong][0]}")
        candidates = self.offered_NK.shape[1]
        if self.chosen_N.dtype.kind != "i" or self.chosen_N.min() < 0 or self.chosen_N.max() >= candidates:
            raise SelectorUsageError(f"chosen_N must hold whole numbers in 0..{candidates - 1}")
        if not self.at_chosen(self.offered_NK).all():
            raise SelectorUsageError("a logged choice was not offered; mark it in offered_NK or leave it out")

    def __len__(self) -> int:
        return len(self.rewards_N)

    def at_chosen(self, values_NK: Floats | NDArray[np.bool_]) -> Floats:
        """The entry of each row at the place that was chosen; shape (N,)."""
        return np.asarray(values_NK[np.arange(len(self)), self.chosen_N], np.float64)

    def rows(self, kept_N: NDArray[np.bool_] | NDArray[np.int64]) -> "LoggedDecisions":
        """The decisions that a mask or places name."""
        return LoggedDecisions(
            self.rewards_N[kept_N],
            self.propensities_N[kept_N],
            self.chosen_N[kept_N],
            self.offered_NK[kept_N],
            self.episodes_N[kept_N],
        )


@dataclass(frozen=True, slots=True)
class EstimatorSpec:
    """An estimator with its limit.

    The limit is the clip of the weights for ips, dr and sndr (None leaves them as they are), the threshold τ of
    switch_dr and the strength λ of dros (None lets the log choose it, Su et al. 2020); dm and snips have none.
    """

    name: EstimatorName
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.name not in _CONTRIBUTIONS:
            raise SelectorUsageError(f"estimator must be one of {', '.join(_CONTRIBUTIONS)}, got {self.name!r}")
        if self.limit is not None and (self.name in ("dm", "snips") or not self.limit >= 0):
            raise SelectorUsageError(f"{self.name} takes no limit of {self.limit}: dm and snips none, others 0 or more")

    @property
    def is_model_based(self) -> bool:
        """Whether it needs predicted rewards."""
        return self.name not in ("ips", "snips")

    @property
    def label(self) -> str:
        """Name and limit: dr(10)."""
        return self.name if self.limit is None else f"{self.name}({self.limit:g})"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a target policy, and how far to trust it.

    `value` with its `standard_error` and the 95 % interval `low`..`high` by bootstrap over episodes, of the target
    confined to what was offered; `effective_sample_size` and `largest_weight_share` of the unaltered weights;
    `unsupported_mass` in [0, 1] is the mean target probability of what was not offered; `decisions` is how many were
    used.  Where `is_trusted` is False, `reason` says why; altered weights are never trusted.
    """

    estimator: str
    value: float
    standard_error: float
    low: float
    high: float
    effective_sample_size: float
    unsupported_mass: float
    decisions: int
    largest_weight_share: float
    is_trusted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """Policies in falling order of value; `order` is empty where no difference can be told, and `reading` says why."""

    order: tuple[str, ...]
    reading: str

    @property
    def is_decided(self) -> bool:
        """Whether a difference can be told."""
        return bool(self.order)


@dataclass(frozen=True, slots=True, eq=False)
class _Overlap:
    """A log beside a target confined to what was offered, on the decisions where the target has any support."""

    logged: LoggedDecisions
    target_NK: Floats
    weights_N: Floats
    q_NK: Floats
    unsupported_mass: float

    @property
    def direct(self) -> Floats:
        return equations.direct_method(self.target_NK, self.q_NK)

    @property
    def residuals(self) -> Floats:
        return self.logged.rewards_N - self.logged.at_chosen(self.q_NK)


def _doubly_robust(overlap: _Overlap, weights_N: Floats) -> Floats:
    return equations.doubly_robust(overlap.direct, overlap.residuals, weights_N)


_CONTRIBUTIONS: Mapping[str, Callable[[_Overlap, Floats], Floats]] = {
    "dm": lambda overlap, _: overlap.direct,
    "ips": lambda overlap, weights_N: equations.inverse_propensity(overlap.logged.rewards_N, weights_N),
    "snips": lambda overlap, weights_N: equations.self_normalised(overlap.logged.rewards_N, weights_N),
    "dr": _doubly_robust,
    "sndr": lambda overlap, weights_N: equations.self_normalised_doubly_robust(
        overlap.direct, overlap.residuals, weights_N
    ),
    "switch_dr": _doubly_robust,
    "dros": _doubly_robust,
}

ESTIMATORS = (
    EstimatorSpec("dm"),
    EstimatorSpec("ips"),
    EstimatorSpec("snips"),
    EstimatorSpec("dr"),
    EstimatorSpec("dr", 10.0),
    EstimatorSpec("sndr"),
    EstimatorSpec("switch_dr"),
    EstimatorSpec("dros"),
)


def estimate(
    logged: LoggedDecisions,
    target_NK: Floats,
    *,
    q_NK: Floats | None = None,
    estimators: Sequence[EstimatorSpec] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[Estimate, ...]:
    """One estimate for each estimator of what the target policy would have earned for each decision.

    `target_NK` holds its probabilities, each row sums to 1; what falls on candidates that were not offered is reported
    as unsupported mass and left out: each row is scaled to what was offered, and rows with nothing there are dropped,
    so the value reads "had it been confined to what was offered".  `q_NK` are predicted rewards
    (`cross_fitted_rewards`); without them the default `estimators` are those that need none.  `seed` draws the
    `resamples` of the bootstrap, the same for all.  The target must not learn from the log that judges it; for one that
    learns see `selector.replay`.
    """
    chosen = ESTIMATORS if estimators is None else tuple(estimators)
    if q_NK is None:
        if estimators is not None and any(spec.is_model_based for spec in chosen):
            raise SelectorUsageError("predicted rewards q_NK are missing; give them, or ask for ips and snips alone")
        chosen = tuple(spec for spec in chosen if not spec.is_model_based)
    overlap = _overlap(logged, target_NK, q_NK)
    return tuple(_estimated(overlap, _tuned(overlap, spec), seed, resamples) for spec in chosen)


def estimate_episodes(
    logged: LoggedDecisions,
    target_NK: Floats,
    *,
    discount: float = 1.0,
    seed: int = 0,
    resamples: int = 1000,
) -> Estimate:
    """The return of short episodes under the target policy, by per-decision importance sampling (Precup 2000).

    Rows of one episode stand in the order of its steps.  Weights multiply along an episode and die: beyond
    LONGEST_EPISODE decisions this refuses, and values of single steps or a simulator must do.  `decisions` and the
    sample sizes count episodes, by the weights of their last steps; a step without support weighs 0.
    """
    _check_target(logged, target_NK)
    inside_NK = np.where(logged.offered_NK, target_NK, 0.0)
    mass_N = inside_NK.sum(axis=1)
    confined_NK = np.divide(inside_NK, mass_N[:, None], out=np.zeros_like(inside_NK), where=mass_N[:, None] > 0)
    weights_N = equations.importance_weights(logged.at_chosen(confined_NK), logged.propensities_N)
    rewards_ET = equations.by_episode_and_step(logged.rewards_N, logged.episodes_N, 0.0)
    weights_ET = equations.by_episode_and_step(weights_N, logged.episodes_N, 1.0)
    if rewards_ET.shape[1] > LONGEST_EPISODE:
        rule = f"products of weights carry at most {LONGEST_EPISODE}; judge single decisions with `estimate`"
        raise SelectorUsageError(f"an episode has {rewards_ET.shape[1]} decisions, {rule}")
    returns_E, last_E = equations.per_decision_returns(rewards_ET, weights_ET, discount=discount), weights_ET.prod(1)
    numbers_E = np.arange(len(returns_E))
    interval = bootstrap_interval(returns_E, numbers_E, np.random.default_rng(seed), resamples=resamples)
    unsupported = max(0.0, 1.0 - float(mass_N.mean()))
    return _record("per_decision", interval, last_E, unsupported, doubt(last_E, numbers_E, unsupported))


def rank(estimates: Mapping[str, Estimate]) -> Ranking:
    """Policies by falling value; no difference can be told where one is not trusted or two intervals overlap."""
    if len(estimates) < 2:
        raise SelectorUsageError(f"a ranking needs two policies or more, got {len(estimates)}")
    names = {found.estimator.split("(")[0] for found in estimates.values()}
    if len(names) > 1:
        raise SelectorUsageError(f"a ranking needs one estimator for all policies, got {', '.join(sorted(names))}")
    for policy, found in estimates.items():
        if not found.is_trusted:
            return Ranking((), f"no difference can be told: {policy} is not trusted, {found.reason}")
    order = sorted(estimates, key=lambda policy: -estimates[policy].value)
    for better, worse in pairwise(order):
        if estimates[better].low <= estimates[worse].high:
            return Ranking((), f"no difference can be told: the intervals of {better} and {worse} overlap")
    return Ranking(tuple(order), f"{order[0]} earns most")


def _tuned(overlap: _Overlap, spec: EstimatorSpec) -> EstimatorSpec:
    """The same estimator with its limit chosen from the log where it has none and needs one (Su et al. 2020).

    Among quantiles of the weights, their squares for dros, and infinity, it takes the smallest variance plus squared
    bound of the bias, rewards scaled by the largest residual.  It chooses by the very rewards that it then estimates
    from, so a finite limit makes the interval too narrow; such an estimate is not trusted.
    """
    if spec.limit is not None or spec.name not in ("switch_dr", "dros"):
        return spec
    grid = np.quantile(overlap.weights_N, QUANTILES) ** (2 if spec.name == "dros" else 1)
    scale = float(np.abs(overlap.residuals).max()) or 1.0
    candidates = [EstimatorSpec(spec.name, float(limit)) for limit in (*np.unique(grid), np.inf)]
    return min(candidates, key=lambda candidate: _risk(overlap, candidate, scale))


def _risk(overlap: _Overlap, spec: EstimatorSpec, scale: float) -> float:
    altered_N = _altered(overlap.weights_N, spec)
    bias = equations.bias_bound(overlap.weights_N, altered_N, overlap.residuals / scale)
    return equations.squared_error_bound(_CONTRIBUTIONS[spec.name](overlap, altered_N) / scale, bias)


def _altered(weights_N: Floats, spec: EstimatorSpec) -> Floats:
    """Clipped, switched or shrunk weights, as the estimator has it."""
    if spec.limit is None:
        return weights_N
    if spec.name == "switch_dr":
        return equations.switched_weights(weights_N, spec.limit)
    if spec.name == "dros":
        return equations.shrunk_weights(weights_N, spec.limit)
    return np.minimum(weights_N, spec.limit)


def _overlap(logged: LoggedDecisions, target_NK: Floats, q_NK: Floats | None) -> _Overlap:
    _check_target(logged, target_NK)
    q_NK = np.zeros(target_NK.shape) if q_NK is None else q_NK
    if q_NK.shape != target_NK.shape or not np.isfinite(q_NK[logged.offered_NK]).all():
        raise SelectorUsageError(f"q_NK must be finite where offered, of shape {target_NK.shape}, got {q_NK.shape}")
    inside_NK = np.where(logged.offered_NK, target_NK, 0.0)
    mass_N = inside_NK.sum(axis=1)
    kept_N = mass_N > 0
    if not kept_N.any():
        raise SelectorUsageError("the target policy chooses nothing that was offered; this log cannot judge it")
    confined_NK = inside_NK[kept_N] / mass_N[kept_N, None]
    kept, safe_NK = logged.rows(kept_N), np.where(logged.offered_NK, q_NK, 0.0)[kept_N]
    weights_N = equations.importance_weights(kept.at_chosen(confined_NK), kept.propensities_N)
    return _Overlap(kept, confined_NK, weights_N, safe_NK, max(0.0, 1.0 - float(mass_N.mean())))


def _check_target(logged: LoggedDecisions, target_NK: Floats) -> None:
    if target_NK.shape != logged.offered_NK.shape:
        raise SelectorUsageError(f"target_NK must have shape {logged.offered_NK.shape}, got {target_NK.shape}")
    if not (target_NK >= 0).all():
        raise SelectorUsageError("target probabilities must be 0 or more and not NaN")
    sums_N = target_NK.sum(axis=1)
    if not np.allclose(sums_N, 1.0, rtol=0.0, atol=1e-6):
        wrong = int(np.argmax(np.abs(sums_N - 1.0)))
        raise SelectorUsageError(f"each row of target_NK must sum to 1, row {wrong} sums to {sums_N[wrong]:.6g}")


def _estimated(overlap: _Overlap, spec: EstimatorSpec, seed: int, resamples: int) -> Estimate:
    altered_N = _altered(overlap.weights_N, spec)
    contributions_N, episodes_N = _CONTRIBUTIONS[spec.name](overlap, altered_N), overlap.logged.episodes_N
    interval = bootstrap_interval(contributions_N, episodes_N, np.random.default_rng(seed), resamples=resamples)
    reason = doubt(overlap.weights_N, episodes_N, overlap.unsupported_mass)
    changed = int((altered_N != overlap.weights_N).sum())
    if not reason and (spec.name == "dm" or changed):
        error = "error of the reward model" if spec.name == "dm" else f"bias of {changed} altered weights"
        reason = f"its interval leaves out the {error}, which this log cannot bound"
    return _record(spec.label, interval, overlap.weights_N, overlap.unsupported_mass, reason)


def _record(label: str, interval: Interval, weights_N: Floats, unsupported_mass: float, reason: str) -> Estimate:
    return Estimate(
        label,
        interval.value,
        interval.standard_error,
        interval.low,
        interval.high,
        effective_sample_size(weights_N),
        unsupported_mass,
        len(weights_N),
        largest_weight_share(weights_N),
        not reason,
        reason,
    )

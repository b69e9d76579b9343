"""How far guided and held-out episodes differ, by tests that may be looked at after every episode.

Two of them.  One keeps an e-process for the mean of each arm and needs nothing but counts and sums; it holds while both
means stay put.  The other bets on a stream of propensity-weighted differences (Waudby-Smith & Ramdas 2020, arXiv
2010.09686); it needs the order of episodes and the probability of their arms, holds while the difference keeps its
sign, however tasks drift, and needs fewer episodes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaln

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PSEUDO = 0.5
STEEPEST = 60.0
LEAST = 1e-300  # stands for a mean of 0, whose logarithm no count of episodes may be multiplied with
STAKES = np.array([0.015, 0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6])
PRECISION = 1e-5
BLOCK = 16  # so many factors, each in (0, 2), are multiplied before one logarithm is taken


@dataclass(frozen=True, slots=True)
class ArmRewards:
    """What the guard knows of one arm: how many episodes ended with a known reward in [0, 1], and their sum."""

    episodes: int = 0
    total: float = 0.0

    def __post_init__(self) -> None:
        if self.episodes < 0 or not -1e-9 <= self.total <= self.episodes + 1e-9:
            raise SelectorUsageError(
                f"rewards must lie in [0, 1], got a sum of {self.total} over {self.episodes} episodes: scale them first"
            )

    @property
    def mean(self) -> float | None:
        """Mean reward, None before the first episode."""
        return self.total / self.episodes if self.episodes else None

    @property
    def lost(self) -> "ArmRewards":
        """The same episodes, each with 1 less its reward."""
        return ArmRewards(self.episodes, max(self.episodes - self.total, 0.0))

    def add(self, reward: float) -> "ArmRewards":
        """With one more episode; raises SelectorUsageError where `reward` is not in [0, 1]."""
        if not 0.0 <= reward <= 1.0:
            raise SelectorUsageError(f"reward must lie in [0, 1], got {reward}: combine KPIs to a reward first")
        return ArmRewards(self.episodes + 1, self.total + float(reward))


def log_evidence(arm: ArmRewards, mean: float) -> float:
    """Logarithm of an e-process against the mean of an arm being `mean`; the e-process is at most 1 in expectation.

    ln B(S + ½, n − S + ½) / B(½, ½) − S ln m − (n − S) ln (1 − m): the mixture of likelihood ratios under a
    Beta(½, ½) (Howard et al. 2021, arXiv 1810.08240, sub-Bernoulli).  It needs rewards in [0, 1] alone, because
    (p/m)^x ((1−p)/(1−m))^(1−x) is convex in x; for rewards of 0 and 1 it loses nothing, for others it is wide.
    `mean` in [0, 1].

    >>> round(log_evidence(ArmRewards(10, 5.0), 0.5), 3)
    -1.402
    """
    return _log_mixture(arm) - _log_likelihood(arm.total, arm.lost.total, _Mean(mean, 1.0 - mean))


def difference_interval(guided: ArmRewards, held_out: ArmRewards, *, confidence: float) -> tuple[float, float]:
    """Interval for guided less held-out mean reward, valid at all looks together (a confidence sequence).

    The means (g, h) against which the evidence, the product of both arms' e-processes, stays below 1 / (1 − confidence)
    form a convex set that contains the true ones at all times with probability `confidence` (Ville's inequality; two
    streams: Turner, Ly and Grünwald, arXiv 2106.02693).  The interval is its range of g − h.  Means must stay put.

    >>> difference_interval(ArmRewards(), ArmRewards(), confidence=0.95)
    (-1.0, 1.0)
    """
    return -_largest_difference(held_out, guided, confidence), _largest_difference(guided, held_out, confidence)


@dataclass(frozen=True, slots=True)
class DifferenceStream:
    """One number an episode whose mean, given the past, is guided less held-out mean reward; shape (N,) each.

    `lowest_N` and `highest_N` are the ends of its range, known before the episode; they lie outside of (−1, 1).
    """

    values_N: Floats
    lowest_N: Floats
    highest_N: Floats


def difference_stream(rewards_N: Floats, guided_N: Flags, propensities_N: Floats) -> DifferenceStream:
    """X = (R − c) (A / p − (1 − A) / (1 − p)), with c = (1 − p) ĝ + p ĥ; in the order of time.

    `rewards_N` R in [0, 1], `guided_N` A, `propensities_N` p in (0, 1): the probability with which the episode was to
    be guided; shape (N,) each.  ĝ and ĥ are the means of both arms before the episode, with half a success and half a
    failure added; with this centre X has least variance (it is the doubly robust score, Robins et al. 1994), with any
    its mean is the difference.  Raises SelectorUsageError where a value is out of range.

    >>> difference_stream(np.array([1.0, 0.0]), np.array([True, False]), np.array([0.5, 0.5])).values_N.tolist()
    [1.0, 1.25]
    """
    _check_stream(rewards_N, guided_N, propensities_N)
    guided, held_out = _means_before(rewards_N, guided_N), _means_before(rewards_N, ~guided_N)
    center = (1.0 - propensities_N) * guided + propensities_N * held_out
    weights = np.where(guided_N, 1.0 / propensities_N, -1.0 / (1.0 - propensities_N))
    highest = np.maximum((1.0 - center) / propensities_N, center / (1.0 - propensities_N))
    lowest = -np.maximum(center / propensities_N, (1.0 - center) / (1.0 - propensities_N))
    return DifferenceStream((rewards_N - center) * weights, lowest, highest)


def evidence_below(stream: DifferenceStream, difference: float) -> Floats:
    """ln of an e-process against the difference being `difference` or more, after every episode; shape (N,).

    ln mean_θ Π (1 − θ (X − d) / (1 + highest)), the mean capital of gamblers who stake a fixed share θ each on every
    episode; the stakes are `STAKES`.  It is a supermartingale that starts at 1, so that it ever exceeds 1 / α with
    probability at most α (Ville's inequality).
    """
    shares_N = (stream.values_N - difference) / (1.0 + stream.highest_N)
    logs_JN = np.log1p(-STAKES[:, None] * shares_N).cumsum(axis=1)
    return _log_mean_exp(logs_JN)


def evidence_above(stream: DifferenceStream, difference: float) -> Floats:
    """The same against the difference being `difference` or less; shape (N,)."""
    return evidence_below(reversed_stream(stream), -difference)


def reversed_stream(stream: DifferenceStream) -> DifferenceStream:
    """The stream of held-out less guided."""
    return DifferenceStream(-stream.values_N, -stream.highest_N, -stream.lowest_N)


def stream_interval(stream: DifferenceStream, *, confidence: float) -> tuple[float, float]:
    """Interval for guided less held-out mean reward after the last episode, valid at all looks together.

    All differences against which neither `evidence_below` nor `evidence_above` reaches ln (2 / (1 − confidence)).

    >>> nothing = np.zeros(0)
    >>> stream_interval(difference_stream(nothing, nothing > 0.0, nothing), confidence=0.95)
    (-1.0, 1.0)
    """
    return -_largest_of(reversed_stream(stream), confidence), _largest_of(stream, confidence)


def _largest_of(stream: DifferenceStream, confidence: float) -> float:
    """The largest difference that is not rejected; evidence rises with the difference."""
    least = math.log(2.0 / (1.0 - confidence))

    def excess(difference: float) -> float:
        return _last_evidence_below(stream, difference) - least

    if excess(1.0) <= 0.0:
        return 1.0
    return -1.0 if excess(-1.0) >= 0.0 else float(brentq(excess, -1.0, 1.0, xtol=PRECISION))


def _last_evidence_below(stream: DifferenceStream, difference: float) -> float:
    """The last of `evidence_below`, with few logarithms."""
    shares_N = (stream.values_N - difference) / (1.0 + stream.highest_N)
    padded = np.zeros(-(-len(shares_N) // BLOCK) * BLOCK)
    padded[: len(shares_N)] = shares_N
    products = np.multiply.reduce(1.0 - STAKES[:, None, None] * padded.reshape(-1, BLOCK), axis=2)
    return float(_log_mean_exp(np.log(products).sum(axis=1)))


def _log_mean_exp(logs: Floats) -> Floats:
    """ln of the mean of e to these along the first axis."""
    largest = logs.max(axis=0)
    return np.asarray(largest + np.log(np.exp(logs - largest).mean(axis=0)), np.float64)


def _means_before(rewards_N: Floats, chosen_N: Flags) -> Floats:
    """Mean reward of the chosen episodes before each one, (S + ½) / (n + 1)."""
    earned_N = np.where(chosen_N, rewards_N, 0.0)
    totals_N = np.cumsum(earned_N) - earned_N
    counts_N: Floats = np.cumsum(chosen_N, dtype=np.float64) - chosen_N
    return np.asarray((totals_N + PSEUDO) / (counts_N + 2.0 * PSEUDO), np.float64)


def _check_stream(rewards_N: Floats, guided_N: Flags, propensities_N: Floats) -> None:
    if not len(rewards_N) == len(guided_N) == len(propensities_N):
        raise SelectorUsageError(
            f"rewards, arms and propensities must be as many, got {len(rewards_N)}, {len(guided_N)} and "
            f"{len(propensities_N)}: give one of each an episode"
        )
    for reward in rewards_N[~((rewards_N >= 0.0) & (rewards_N <= 1.0))].tolist():
        raise SelectorUsageError(f"reward must lie in [0, 1], got {reward}: combine KPIs to a reward first")
    for propensity in propensities_N[~((propensities_N > 0.0) & (propensities_N < 1.0))].tolist():
        raise SelectorUsageError(f"propensity must lie in (0, 1), got {propensity}: leave out what was certain")


@dataclass(frozen=True, slots=True)
class _Mean:
    """A mean and 1 less it: near 0 and 1 neither can be had from the other."""

    value: float
    complement: float


def _largest_difference(first: ArmRewards, second: ArmRewards, confidence: float) -> float:
    """Largest first − second mean on the convex set; on its edge both evidences rise equally steeply."""
    least = _log_mixture(first) + _log_mixture(second) + math.log1p(-confidence)
    won, lost, second_won, second_lost = first.total, first.lost.total, second.total, second.lost.total

    def means(log_slope: float) -> tuple[_Mean, _Mean]:
        slope = math.exp(log_slope)
        lower = _mean_at_slope(second_lost, second_won, slope)
        return _mean_at_slope(won, lost, slope), _Mean(lower.complement, lower.value)

    def excess(log_slope: float) -> float:
        upper, lower = means(log_slope)
        return least - _log_likelihood(won, lost, upper) - _log_likelihood(second_won, second_lost, lower)

    if excess(STEEPEST) <= 0.0:
        return 1.0
    upper, lower = means(float(brentq(excess, -STEEPEST, STEEPEST, xtol=1e-9)))
    return upper.value - lower.value


def _mean_at_slope(won: float, lost: float, slope: float) -> _Mean:
    """Where the evidence rises by `slope` s > 0: m ≥ S/n with (n m − S) / (m (1 − m)) = s, free of cancellation."""
    gap = won + lost - slope
    root = math.sqrt(gap * gap + 4.0 * slope * won)
    mean = 2.0 * won / (gap + root) if gap > 0.0 else (root - gap) / (2.0 * slope)
    return _Mean(min(mean, 1.0), 2.0 * lost / (won + lost + slope + root))


def _log_mixture(arm: ArmRewards) -> float:
    return float(betaln(arm.total + PSEUDO, arm.lost.total + PSEUDO) - betaln(PSEUDO, PSEUDO))


def _log_likelihood(won: float, lost: float, mean: _Mean) -> float:
    return won * math.log(max(mean.value, LEAST)) + lost * math.log(max(mean.complement, LEAST))

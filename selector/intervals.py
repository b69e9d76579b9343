"""How far a mean over logged decisions is to be trusted: intervals by episode, and what the weights say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SMALLEST_SAMPLE = 200.0
SMALLEST_SAMPLE_SHARE = 0.02
LARGEST_WEIGHT_SHARE = 0.05
LARGEST_UNSUPPORTED_MASS = 0.01
LARGEST_DRIFT = 4.0
ENTRIES_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its standard error and the two ends of its confidence interval, low ≤ high."""

    value: float
    standard_error: float
    low: float
    high: float


def effective_sample_size(weights_N: Floats) -> float:
    """(Σ w)² / Σ w²: how many equal weights say as much (Kish 1965); in [1, N], 0 where every weight is 0.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0])).__round__(3)
    2.667
    """
    largest = float(np.max(weights_N, initial=0.0))
    if largest <= 0:
        return 0.0
    scaled_N = weights_N / largest
    return float(scaled_N.sum() ** 2 / (scaled_N**2).sum())


def largest_weight_share(weights_N: Floats) -> float:
    """max w / Σ w: the share of the one decision that weighs most; in (0, 1], 1 where every weight is 0.

    >>> largest_weight_share(np.array([1.0, 3.0]))
    0.75
    """
    largest = float(np.max(weights_N, initial=0.0))
    return 1.0 if largest <= 0 else float(1.0 / (weights_N / largest).sum())


def standard_error_by_episode(contributions_N: Floats, episodes_N: Integers) -> float:
    """√(E/(E − 1) Σ_e (S_e − n_e m)²) / N: decisions of one episode vary together (Liang & Zeger 1986).

    Infinite if E = 1.  S_e is the sum of an episode's n_e contributions, m the mean of all N.

    >>> standard_error_by_episode(np.array([0.0, 1.0]), np.array([7, 8]))
    0.5
    """
    sums_E, counts_E = _by_episode(contributions_N, episodes_N)
    if len(sums_E) < 2:
        return float("inf")
    return float(_errors(sums_E[None], counts_E[None])[0])


def doubt(weights_N: Floats, episodes_N: Integers, unsupported_mass: float) -> str:
    """Why weights carry no estimate, in words; empty where they do.

    Too much of the target was never offered, one decision outweighs the rest, the effective sample size is below
    max(200, 2 % of N), or the weights' mean is further from 1, which exact propensities give, than chance allows.
    """
    size, share = effective_sample_size(weights_N), largest_weight_share(weights_N)
    needed = max(SMALLEST_SAMPLE, SMALLEST_SAMPLE_SHARE * len(weights_N))
    if unsupported_mass > LARGEST_UNSUPPORTED_MASS:
        return f"{unsupported_mass:.1%} of what the target would choose was never offered"
    if share > LARGEST_WEIGHT_SHARE:
        return f"one decision carries {share:.1%} of all weight"
    if size < needed:
        return f"the effective sample size is {size:.0f}, below {needed:.0f}"
    drift, error = abs(float(weights_N.mean()) - 1.0), standard_error_by_episode(weights_N, episodes_N)
    if drift > LARGEST_DRIFT * error + 1e-6:
        return f"the weights average {weights_N.mean():.3g} where 1 is right: these are not the log's propensities"
    return ""


def normal_interval(contributions_N: Floats, episodes_N: Integers, *, confidence: float = 0.95) -> Interval:
    """m ± z · standard error by episode: quick, and too narrow on the side of a long tail."""
    reach = float(ndtri(0.5 + _checked(confidence) / 2.0))
    error = standard_error_by_episode(contributions_N, episodes_N)
    value = float(np.mean(contributions_N))
    return Interval(value, error, value - reach * error, value + reach * error)


def bootstrap_interval(
    contributions_N: Floats,
    episodes_N: Integers,
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Studentised bootstrap over episodes (Efron & Tibshirani 1993, §12.5): whole episodes are drawn again.

    Each resample is judged by its own standard error, which follows the skew that importance weights bring.
    `resamples` is at least 20.  With one episode nothing can be said: the interval is infinite.
    """
    _checked(confidence)
    if resamples < 20:
        raise SelectorUsageError(f"resamples must be at least 20, got {resamples}")
    sums_E, counts_E = _by_episode(contributions_N, episodes_N)
    value, error = float(sums_E.sum() / counts_E.sum()), standard_error_by_episode(contributions_N, episodes_N)
    if len(sums_E) < 2:
        return Interval(value, error, float("-inf"), float("inf"))
    studentised = _studentised(sums_E, counts_E, rng, resamples)
    below, above = np.quantile(studentised, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return Interval(value, error, value - max(float(above), 0.0) * error, value - min(float(below), 0.0) * error)


def _studentised(sums_E: Floats, counts_E: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """(m* − m) / s* of each resample, as many at once as memory allows; a resample without spread counts as 0."""
    episodes, value = len(sums_E), sums_E.sum() / counts_E.sum()
    parts, left = [], resamples
    while left > 0:
        rows = min(left, max(1, ENTRIES_AT_ONCE // episodes))
        drawn = rng.integers(episodes, size=(rows, episodes))
        sums, counts = sums_E[drawn], counts_E[drawn]
        errors = _errors(sums, counts)
        moves = sums.sum(axis=1) / counts.sum(axis=1) - value
        parts.append(np.divide(moves, errors, out=np.zeros_like(moves), where=errors > 0))
        left -= rows
    return np.concatenate(parts)


def _errors(sums_SE: Floats, counts_SE: Floats) -> Floats:
    """Standard error of the mean of each of S samples of E episodes; shape (S,)."""
    totals_S, episodes = counts_SE.sum(axis=1), sums_SE.shape[1]
    means_S = sums_SE.sum(axis=1) / totals_S
    squares_S = ((sums_SE - counts_SE * means_S[:, None]) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(squares_S * episodes / (episodes - 1)) / totals_S, np.float64)


def _by_episode(contributions_N: Floats, episodes_N: Integers) -> tuple[Floats, Floats]:
    """Sum of the contributions and number of the decisions of each episode; shape (E,) each."""
    if len(contributions_N) == 0 or contributions_N.shape != episodes_N.shape:
        raise SelectorUsageError(
            f"contributions and episodes must have one shape (N,), N > 0, "
            f"got {contributions_N.shape} and {episodes_N.shape}"
        )
    _, place_N = np.unique(episodes_N, return_inverse=True)
    return np.bincount(place_N, contributions_N).astype(np.float64), np.bincount(place_N).astype(np.float64)


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise SelectorUsageError(f"confidence must lie in (0, 1), got {confidence}")
    return confidence

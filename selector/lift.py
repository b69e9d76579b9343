"""How much guidance lifts the reward: guided against held-out episodes, with three intervals.

Welch's interval is for independent episodes and one look at a fixed number of them; the bootstrap resamples whole task
groups, because attempts at one task are alike; the anytime interval of `selector.guard` may be looked at after every
episode, and is the widest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from selector.errors import SelectorUsageError
from selector.guard import ArmRewards, difference_interval

Floats = NDArray[np.float64]

FEWEST_EPISODES = 20
FEWEST_GROUPS = 10
CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval for guided less held-out mean reward."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmGroups:
    """The task group of every episode of both arms, in the order of their rewards."""

    guided: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lift:
    """Mean rewards of both arms, their difference and its intervals.

    Means are None for an arm without episodes, `relative` (the difference by the held-out mean) also where that mean is
    0, `welch` with fewer than two episodes in an arm, `bootstrap` with fewer than two units to resample.  `groups` is
    the number of task groups (0: none were given).  `summary` says in words what is known, and whether it is too
    little.
    """

    guided: float | None
    held_out: float | None
    difference: float | None
    relative: float | None
    welch: Interval | None
    bootstrap: Interval | None
    anytime: Interval
    episodes_guided: int
    episodes_held_out: int
    groups: int
    summary: str

    @property
    def interval(self) -> Interval:
        """The one to quote for a single look: by groups where they are known, else Welch's, else the anytime one."""
        return (self.bootstrap if self.groups else self.welch) or self.anytime

    @property
    def low(self) -> float:
        """Lower end of `interval`."""
        return self.interval.low

    @property
    def high(self) -> float:
        """Upper end of `interval`."""
        return self.interval.high

    @property
    def is_enough(self) -> bool:
        """Whether there are enough episodes, and groups where they are known, for `interval` to be believed."""
        fewest = min(self.episodes_guided, self.episodes_held_out)
        return fewest >= FEWEST_EPISODES and (not self.groups or self.groups >= FEWEST_GROUPS)


def lift(
    guided: Sequence[float],
    held_out: Sequence[float],
    rng: np.random.Generator,
    *,
    groups: ArmGroups | None = None,
    confidence: float = 0.95,
    draws: int = 2000,
) -> Lift:
    """Compare the rewards in [0, 1] of guided and held-out episodes.

    `confidence` in (0, 1) is that of each interval; `draws` > 0 resamples are drawn by `rng`.  Raises
    SelectorUsageError for rewards outside [0, 1] and for groups that do not match them.
    """
    guided_N, held_out_N = _rewards(guided), _rewards(held_out)
    _check(confidence, draws)
    low, high = difference_interval(_counted(guided_N), _counted(held_out_N), confidence=confidence)
    welch = welch_interval(guided_N, held_out_N, confidence)
    differences_S = _resampled(guided_N, held_out_N, groups, draws, rng)
    means = (_mean(guided_N), _mean(held_out_N))
    difference = None if means[0] is None or means[1] is None else means[0] - means[1]
    known = len({*groups.guided, *groups.held_out}) if groups else 0
    return Lift(
        *means,
        difference,
        relative=difference / means[1] if difference is not None and means[1] else None,
        welch=welch,
        bootstrap=_middle(differences_S, confidence),
        anytime=Interval(low, high),
        episodes_guided=len(guided_N),
        episodes_held_out=len(held_out_N),
        groups=known,
        summary=_summary(guided_N, held_out_N, known, difference),
    )


def welch_interval(guided_N: Floats, held_out_N: Floats, confidence: float) -> Interval | None:
    """Welch's t interval (1947) for the difference of two means, None with fewer than two episodes in an arm.

    d ± t_f √(s₁²/n₁ + s₂²/n₂), with f = (s₁²/n₁ + s₂²/n₂)² / Σ ((s²/n)² / (n − 1)) degrees of freedom.

    >>> welch_interval(np.array([1.0, 0.0]), np.array([1.0]), 0.95) is None
    True
    """
    sizes = np.array([len(guided_N), len(held_out_N)])
    if sizes.min() < 2:
        return None
    squares = np.array([guided_N.var(ddof=1), held_out_N.var(ddof=1)]) / sizes
    difference, total = float(guided_N.mean() - held_out_N.mean()), float(squares.sum())
    if total == 0.0:
        return Interval(difference, difference)
    shares = squares / total
    freedom = 1.0 / float((shares**2 / (sizes - 1)).sum())
    reach = float(stdtrit(freedom, 0.5 + confidence / 2.0)) * math.sqrt(total)
    return Interval(difference - reach, difference + reach)


def _resampled(
    guided_N: Floats, held_out_N: Floats, groups: ArmGroups | None, draws: int, rng: np.random.Generator
) -> Floats:
    """Differences of means over resamples of episodes, or of whole task groups; shape (S,), S at most `draws`."""
    if groups is not None:
        _check_groups(groups, guided_N, held_out_N)
        return _by_group(guided_N, held_out_N, groups, draws, rng)
    if min(len(guided_N), len(held_out_N)) < 2:
        return np.empty(0)
    return _resampled_means(guided_N, draws, rng) - _resampled_means(held_out_N, draws, rng)


def _resampled_means(rewards_N: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Equal rewards are drawn together, so that a million successes and failures cost no more than two values."""
    values, counts = np.unique(rewards_N, return_counts=True)
    blocks = _blocks(draws, len(values))
    size = len(rewards_N)
    return np.concatenate([rng.multinomial(size, counts / size, block) @ values / size for block in blocks])


def _by_group(guided_N: Floats, held_out_N: Floats, groups: ArmGroups, draws: int, rng: np.random.Generator) -> Floats:
    """A group brings its episodes of both arms; resamples that lack an arm are left out."""
    names, codes = np.unique([*groups.guided, *groups.held_out], return_inverse=True)
    if len(names) < 2 or min(len(guided_N), len(held_out_N)) == 0:
        return np.empty(0)
    split = len(guided_N)
    columns = []
    for rewards_N, codes_N in ((guided_N, codes[:split]), (held_out_N, codes[split:])):
        columns += [
            np.bincount(codes_N, weights=rewards_N, minlength=len(names)),
            np.bincount(codes_N, minlength=len(names)).astype(np.float64),
        ]
    even = np.full(len(names), 1.0 / len(names))
    sums_S4 = np.concatenate(
        [rng.multinomial(len(names), even, block) @ np.stack(columns, axis=1) for block in _blocks(draws, len(names))]
    )
    whole = (sums_S4[:, 1] > 0) & (sums_S4[:, 3] > 0)
    sums_S4 = sums_S4[whole]
    return np.asarray(sums_S4[:, 0] / sums_S4[:, 1] - sums_S4[:, 2] / sums_S4[:, 3], np.float64)


def _blocks(draws: int, width: int) -> list[int]:
    """Sizes of blocks of draws, so that no matrix of counts grows beyond CELLS."""
    size = max(CELLS // max(width, 1), 1)
    return [min(size, draws - start) for start in range(0, draws, size)]


def _middle(differences_S: Floats, confidence: float) -> Interval | None:
    if len(differences_S) == 0:
        return None
    low, high = np.quantile(differences_S, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0]).tolist()
    return Interval(low, high)


def _summary(guided_N: Floats, held_out_N: Floats, groups: int, difference: float | None) -> str:
    counts = f"{len(guided_N)} guided and {len(held_out_N)} held-out episodes"
    if difference is None:
        return f"nothing to compare: {counts}, both arms need at least one"
    if min(len(guided_N), len(held_out_N)) < FEWEST_EPISODES:
        return f"too few to tell: {counts}, each arm needs {FEWEST_EPISODES}"
    if 0 < groups < FEWEST_GROUPS:
        return f"too few task groups to tell: {groups} over {counts}, {FEWEST_GROUPS} are needed"
    return f"guided less held-out reward is {difference:+.3f} over {counts}" + (
        f" of {groups} task groups" * bool(groups)
    )


def _counted(rewards_N: Floats) -> ArmRewards:
    return ArmRewards(len(rewards_N), math.fsum(rewards_N.tolist()))


def _mean(rewards_N: Floats) -> float | None:
    return float(rewards_N.mean()) if len(rewards_N) else None


def _rewards(values: Sequence[float]) -> Floats:
    rewards_N = np.asarray(values, np.float64)
    outside = rewards_N[~((rewards_N >= 0.0) & (rewards_N <= 1.0))]
    if rewards_N.ndim != 1 or len(outside):
        found = outside[0] if rewards_N.ndim == 1 else f"shape {rewards_N.shape}"
        raise SelectorUsageError(f"rewards must be one row of numbers in [0, 1], got {found}: scale them first")
    return rewards_N


def _check(confidence: float, draws: int) -> None:
    if not 0.0 < confidence < 1.0:
        raise SelectorUsageError(f"confidence must lie in (0, 1), got {confidence}: 0.95 is usual")
    if draws < 1:
        raise SelectorUsageError(f"draws must be 1 or more, got {draws}: 2000 is usual")


def _check_groups(groups: ArmGroups, guided_N: Floats, held_out_N: Floats) -> None:
    found, needed = (len(groups.guided), len(groups.held_out)), (len(guided_N), len(held_out_N))
    if found != needed:
        raise SelectorUsageError(f"groups must name each episode of both arms, got {found} for {needed} rewards")

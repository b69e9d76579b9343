"""Keeps guidance from doing harm: who is guided, what is shown, and when guidance must stop.

Modes, from the least to the most that an agent feels:

- "shadow": decisions are made and logged, never shown;
- "suggest": the decision is shown, the agent may differ;
- "narrow": the pruned candidates are taken away from the agent, which chooses among the rest itself;
- "force": the agent does what was decided.

A fraction of the episodes is held out: unguided in every mode, so that guided ones have something to be compared with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal, get_args

from scipy.optimize import brentq
from scipy.special import betaln

from selector.errors import SelectorUsageError
from trajstore.schema import Candidate

Mode = Literal["shadow", "suggest", "narrow", "force"]
Arm = Literal["guided", "held_out"]
Verdict = Literal["not enough", "not inferior", "inferior"]

MODES: tuple[str, ...] = get_args(Mode)
PSEUDO = 0.5
STEEPEST = 60.0
LEAST = 1e-300  # stands for a mean of 0, whose logarithm no count of episodes may be multiplied with


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arm of an episode, and the propensity in (0, 1] with which an episode falls into it."""

    arm: Arm
    propensity: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What the agent gets: the candidates left to it, the one suggested (None: none), and whether it must take it."""

    candidates: tuple[Candidate, ...]
    suggestion: Candidate | None = None
    is_forced: bool = False


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


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Guided less held-out mean reward (None where an arm is empty), its interval at every look, and a verdict."""

    difference: float | None
    low: float
    high: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class ConservativeLedger:
    """Whether what was chosen so far is surely worth (1 − `allowance`) of what the baseline would have earned.

    The condition of CLUCB (Kazerouni et al. 2017, arXiv 1611.06426; CLUCB2: Garcelon et al. 2020, arXiv 2002.03221),
    kept as three sums: lower bounds of past guided choices, baseline means where the baseline was played, and baseline
    means of all decisions.  The guarantee holds with the probability that the bounds given hold together, while means
    stay as they are.  Where the baseline's mean is itself estimated, give its upper bound for guided choices and its
    lower bound for baseline ones (CLUCB2).  `allowance` α in [0, 1).
    """

    allowance: float = 0.1
    guided_lower: float = 0.0
    baseline_played: float = 0.0
    baseline_owed: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.allowance < 1.0:
            raise SelectorUsageError(
                f"allowance must lie in [0, 1), got {self.allowance}: give the share that may be lost"
            )

    @property
    def slack(self) -> float:
        """What may still be lost: Σ lower + Σ played − (1 − α) Σ owed."""
        return self.guided_lower + self.baseline_played - (1.0 - self.allowance) * self.baseline_owed

    def may_guide(self, lower_bound: float, baseline_mean: float) -> bool:
        """Whether a choice of mean at least `lower_bound` may replace the baseline's, of mean `baseline_mean`.

        >>> ConservativeLedger().record_baseline(0.5).may_guide(0.4, 0.5)
        True
        >>> ConservativeLedger().may_guide(0.4, 0.5)
        False
        """
        return self.record_guided(lower_bound, baseline_mean).slack >= 0.0

    def record_guided(self, lower_bound: float, baseline_mean: float) -> "ConservativeLedger":
        """After a guided choice."""
        _require_finite(lower_bound, baseline_mean)
        guided, owed = self.guided_lower + lower_bound, self.baseline_owed + baseline_mean
        return replace(self, guided_lower=guided, baseline_owed=owed)

    def record_baseline(self, baseline_mean: float) -> "ConservativeLedger":
        """After the baseline was played."""
        _require_finite(baseline_mean)
        played, owed = self.baseline_played + baseline_mean, self.baseline_owed + baseline_mean
        return replace(self, baseline_played=played, baseline_owed=owed)


@dataclass(frozen=True, slots=True)
class Guard:
    """Mode, held-out fraction and what both arms earned; falls back to shadow, for good, once guidance is inferior.

    `fallback` says why it fell back (empty: it did not); only `resumed` clears it.  `margin` in [0, 1] is the loss of
    mean reward that is still called not inferior, `confidence` in (0, 1) holds over all looks together.
    """

    mode: Mode = "shadow"
    fraction: float = 0.1
    salt: str = ""
    margin: float = 0.05
    confidence: float = 0.95
    guided: ArmRewards = field(default_factory=ArmRewards)
    held_out: ArmRewards = field(default_factory=ArmRewards)
    fallback: str = ""

    def __post_init__(self) -> None:
        _require_mode(self.mode)
        _require_fraction(self.fraction)
        _require_test(self.margin, self.confidence)

    @property
    def effective_mode(self) -> Mode:
        """The mode to act in now."""
        return "shadow" if self.fallback else self.mode

    def assign(self, episode_id: str) -> Assignment:
        """The arm of an episode."""
        return assign(episode_id, self.fraction, self.salt)

    def record(self, arm: Arm, reward: float) -> "Guard":
        """After an episode of `arm` ended with `reward` in [0, 1]; falls back where that shows guidance inferior.

        Episodes that were decided in shadow were unguided: leave them out, or record them as held out.
        """
        if arm not in get_args(Arm):
            raise SelectorUsageError(f"arm must be guided or held_out, got {arm!r}: record what assign gave")
        after = replace(self, **{arm: getattr(self, arm).add(reward)})
        found = after.compare()
        return replace(after, fallback=found.reason) if found.verdict == "inferior" and not self.fallback else after

    def compare(self) -> NonInferiority:
        """How the arms compare now."""
        return non_inferiority(self.guided, self.held_out, margin=self.margin, confidence=self.confidence)

    def resumed(self) -> "Guard":
        """A guard that guides again and has forgotten both arms, for after a cause was found and mended."""
        return replace(self, guided=ArmRewards(), held_out=ArmRewards(), fallback="")


def assign(episode_id: str, fraction: float, salt: str = "") -> Assignment:
    """Hold out a `fraction` in [0, 1) of episodes by the BLAKE2 hash of their id, so that all processes agree.

    Another `salt` draws another, independent split.

    >>> assign("episode-1", 0.0).arm
    'guided'
    """
    _require_fraction(fraction)
    if not episode_id:
        raise SelectorUsageError("episode_id must not be empty, got '': every episode needs its own id")
    digest = blake2b(f"{len(salt)}:{salt}{episode_id}".encode(), digest_size=8).digest()
    # 53 bits fill a float exactly, so that the share is below 1.
    is_held_out = (int.from_bytes(digest, "big") >> 11) / 2**53 < fraction
    return Assignment("held_out", fraction) if is_held_out else Assignment("guided", 1.0 - fraction)


def narrow(offered: Sequence[Candidate], pruned: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that remain once `pruned` are taken away; all of them where none would remain.

    >>> narrow([Candidate("open"), Candidate("shut")], [Candidate("shut")])
    (Candidate(tool='open', args={}, text=''),)
    """
    return tuple(candidate for candidate in offered if candidate not in pruned) or tuple(offered)


def shown(
    mode: Mode, arm: Arm, offered: Sequence[Candidate], pruned: Sequence[Candidate], chosen: Candidate | None
) -> Shown:
    """What the agent gets at one step; `chosen` is None where the selector abstained: then nothing is put before it."""
    _require_mode(mode)
    if arm == "held_out" or mode == "shadow":
        return Shown(tuple(offered))
    if mode == "narrow":
        return Shown(narrow(offered, pruned))
    if mode == "force" and chosen is not None:
        return Shown((chosen,), chosen, is_forced=True)
    return Shown(tuple(offered), chosen)


def non_inferiority(
    guided: ArmRewards, held_out: ArmRewards, *, margin: float = 0.05, confidence: float = 0.95
) -> NonInferiority:
    """Compare guided with held-out episodes, as often as one likes.

    "not inferior" once the interval lies above −`margin`, else "inferior" once it lies below 0, else "not enough".
    With no true difference, "inferior" is ever said with probability at most 1 − confidence.
    """
    _require_test(margin, confidence)
    low, high = difference_interval(guided, held_out, confidence=confidence)
    difference = None if guided.mean is None or held_out.mean is None else guided.mean - held_out.mean
    verdict: Verdict = "not inferior" if low > -margin else "inferior" if high < 0.0 else "not enough"
    counts = f"{guided.episodes} guided and {held_out.episodes} held-out episodes"
    bounds = f"guided less held-out reward lies in [{low:.3f}, {high:.3f}] after {counts}"
    return NonInferiority(difference, low, high, verdict, f"{_reason(verdict, margin)}: {bounds}")


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


def _reason(verdict: Verdict, margin: float) -> str:
    return {
        "inferior": "guidance is worse than none, fall back to shadow",
        "not inferior": f"guidance loses less than {margin:g}",
        "not enough": "too few episodes to tell",
    }[verdict]


def _require_mode(mode: str) -> None:
    if mode not in MODES:
        raise SelectorUsageError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")


def _require_fraction(fraction: float) -> None:
    if not 0.0 <= fraction < 1.0:
        raise SelectorUsageError(f"fraction must lie in [0, 1), got {fraction}: hold out less than all episodes")


def _require_test(margin: float, confidence: float) -> None:
    if not 0.0 <= margin <= 1.0:
        raise SelectorUsageError(f"margin must lie in [0, 1], got {margin}: give a loss of mean reward")
    if not 0.0 < confidence < 1.0:
        raise SelectorUsageError(f"confidence must lie in (0, 1), got {confidence}: 0.95 is usual")


def _require_finite(*values: float) -> None:
    for value in values:
        if not math.isfinite(value):
            raise SelectorUsageError(f"bounds and means must be finite, got {value}: give 0 where nothing is known")

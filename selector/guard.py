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

import numpy as np

from selector.anytime import (
    ArmRewards,
    DifferenceStream,
    Flags,
    Floats,
    difference_interval,
    difference_stream,
    evidence_above,
    evidence_below,
    log_evidence,
    stream_interval,
)
from selector.errors import SelectorUsageError
from trajstore.schema import Candidate

Mode = Literal["shadow", "suggest", "narrow", "force"]
Arm = Literal["guided", "held_out"]
Verdict = Literal["not enough", "not inferior", "inferior"]

MODES: tuple[str, ...] = get_args(Mode)

__all__ = [
    "MODES",
    "Arm",
    "ArmRewards",
    "Assignment",
    "ConservativeLedger",
    "Guard",
    "Mode",
    "NonInferiority",
    "Shown",
    "Verdict",
    "assign",
    "difference_interval",
    "log_evidence",
    "narrow",
    "non_inferiority",
    "shown",
]


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
    mean reward that is still called not inferior, `confidence` in (0, 1) holds over all looks together.  `arms`,
    `rewards` in [0, 1] and `propensities` in [0, 1], with which each was to be guided, are those of the episodes
    recorded, in the order of time; an episode that could fall into one arm only counts in the sums and says nothing of
    the difference.
    """

    mode: Mode = "shadow"
    fraction: float = 0.1
    salt: str = ""
    margin: float = 0.05
    confidence: float = 0.95
    arms: tuple[Arm, ...] = ()
    rewards: tuple[float, ...] = ()
    propensities: tuple[float, ...] = ()
    fallback: str = ""
    guided: ArmRewards = field(init=False)
    held_out: ArmRewards = field(init=False)

    def __post_init__(self) -> None:
        _require_mode(self.mode)
        _require_fraction(self.fraction)
        _require_test(self.margin, self.confidence)
        _require_episodes(self.arms, self.rewards, self.propensities)
        guided_N, rewards_N = np.array([arm == "guided" for arm in self.arms], np.bool_), np.array(self.rewards)
        for name, arm_N in (("guided", guided_N), ("held_out", ~guided_N)):
            earned = ArmRewards(int(arm_N.sum()), float(rewards_N[arm_N].sum()))
            object.__setattr__(self, name, earned)  # derived, and read at every decision

    @property
    def effective_mode(self) -> Mode:
        """The mode to act in now."""
        return "shadow" if self.fallback else self.mode

    def assign(self, episode_id: str) -> Assignment:
        """The arm of an episode."""
        return assign(episode_id, self.fraction, self.salt)

    def record(self, arm: Arm, reward: float) -> "Guard":
        """After an episode of `arm`, drawn as `fraction` says, ended with `reward` in [0, 1]."""
        return self.record_all([arm], [reward])

    def record_all(
        self, arms: Sequence[Arm], rewards: Sequence[float], propensities: Sequence[float] | None = None
    ) -> "Guard":
        """After these episodes, in the order of time; falls back where one of them showed guidance inferior.

        `propensities` in [0, 1] are the probabilities with which each was to be guided, known before it (None:
        1 − `fraction`).  Leave out all episodes begun while guidance was off, held-out ones as well: the arms are
        compared as they were drawn.  Raises SelectorUsageError for another arm, or a value that is not in [0, 1].
        """
        drawn = [1.0 - self.fraction] * len(arms) if propensities is None else [float(p) for p in propensities]
        after = replace(
            self,
            arms=(*self.arms, *arms),
            rewards=(*self.rewards, *map(float, rewards)),
            propensities=(*self.propensities, *drawn),
        )
        if self.fallback:
            return after
        found = after._first_inferior(len(self.arms))
        return replace(after, fallback=found.reason) if found else after

    def compare(self) -> NonInferiority:
        """How the arms compare now."""
        low, high = stream_interval(self._stream, confidence=self.confidence)
        return _compared(self.guided, self.held_out, low, high, margin=self.margin)

    def resumed(self) -> "Guard":
        """A guard that guides again and has forgotten both arms, for after a cause was found and mended."""
        return replace(self, arms=(), rewards=(), propensities=(), fallback="")

    @property
    def _stream(self) -> DifferenceStream:
        """The comparable episodes."""
        propensities_N = np.array(self.propensities, np.float64)
        told_N = _is_comparable(propensities_N)
        guided_N = np.array([arm == "guided" for arm in self.arms], np.bool_)
        return difference_stream(np.array(self.rewards, np.float64)[told_N], guided_N[told_N], propensities_N[told_N])

    def _first_inferior(self, start: int) -> NonInferiority | None:
        """The comparison after the first episode from `start` on that showed guidance inferior."""
        told_N = _is_comparable(np.array(self.propensities, np.float64))
        first = int(told_N[:start].sum())
        stream, limit = self._stream, math.log(2.0 / (1.0 - self.confidence))
        is_worse = (evidence_below(stream, 0.0) >= limit)[first:]
        if not is_worse.any():
            return None
        is_worse &= (evidence_above(stream, -self.margin) < limit)[first:]
        at = int(np.flatnonzero(told_N)[first + int(np.argmax(is_worse))]) + 1
        then = replace(self, arms=self.arms[:at], rewards=self.rewards[:at], propensities=self.propensities[:at])
        found = then.compare()
        return found if found.verdict == "inferior" else None


def _is_comparable(propensities_N: Floats) -> Flags:
    """Whether an episode could fall into either arm; shape (N,)."""
    return np.asarray((propensities_N > 0.0) & (propensities_N < 1.0))


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
    """Compare guided with held-out episodes by their sums alone, as often as one likes.

    "not inferior" once the interval lies above −`margin`, else "inferior" once it lies below 0, else "not enough".
    With no true difference, "inferior" is ever said with probability at most 1 − confidence.
    """
    _require_test(margin, confidence)
    low, high = difference_interval(guided, held_out, confidence=confidence)
    return _compared(guided, held_out, low, high, margin=margin)


def _compared(guided: ArmRewards, held_out: ArmRewards, low: float, high: float, *, margin: float) -> NonInferiority:
    difference = None if guided.mean is None or held_out.mean is None else guided.mean - held_out.mean
    verdict: Verdict = "not inferior" if low > -margin else "inferior" if high < 0.0 else "not enough"
    counts = f"{guided.episodes} guided and {held_out.episodes} held-out episodes"
    bounds = f"guided less held-out reward lies in [{low:.3f}, {high:.3f}] after {counts}"
    return NonInferiority(difference, low, high, verdict, f"{_reason(verdict, margin)}: {bounds}")


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


def _require_episodes(arms: Sequence[str], rewards: Sequence[float], propensities: Sequence[float]) -> None:
    if not len(arms) == len(rewards) == len(propensities):
        raise SelectorUsageError(
            f"every episode needs an arm, a reward and a propensity, got {len(arms)}, {len(rewards)} and "
            f"{len(propensities)}"
        )
    for arm in set(arms) - set(get_args(Arm)):
        raise SelectorUsageError(f"arm must be guided or held_out, got {arm!r}: record what assign gave")
    values = np.array(rewards, np.float64)
    for reward in values[~((values >= 0.0) & (values <= 1.0))].tolist():
        raise SelectorUsageError(f"reward must lie in [0, 1], got {reward}: combine KPIs to a reward first")
    for propensity in propensities:
        if not 0.0 <= propensity <= 1.0:
            raise SelectorUsageError(f"propensity must lie in [0, 1], got {propensity}: give that of being guided")


def _require_test(margin: float, confidence: float) -> None:
    if not 0.0 <= margin <= 1.0:
        raise SelectorUsageError(f"margin must lie in [0, 1], got {margin}: give a loss of mean reward")
    if not 0.0 < confidence < 1.0:
        raise SelectorUsageError(f"confidence must lie in (0, 1), got {confidence}: 0.95 is usual")


def _require_finite(*values: float) -> None:
    for value in values:
        if not math.isfinite(value):
            raise SelectorUsageError(f"bounds and means must be finite, got {value}: give 0 where nothing is known")

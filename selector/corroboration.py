"""How far evidence counts by who vouches for it: full where independent sources agree, little where nobody can tell.

What a trajectory claims is believed where the environment, a test or a person judged it; its own word and that of a
language model are not, and neither is an unjudged one.  Three rules, which never lessen what a lone source brings:

- what is not believed of an arm counts at most (1 + r) times what is believed of it and `floor` more, with r the weight
  of all that is not believed over that of all that is: so a flood stays small, and a store without any judge loses
  nothing;
- an arm that fewer than `sources` sources vouch for counts no more than the strongest single source of an arm that as
  many do vouch for: one source does not outvote several that agree;
- in counts of success and failure, moreover, no source weighs more than all others together, where there are
  `sources` others.

Corroboration by verified outcomes is what keeps poisoned memories from being followed (A-MemGuard, arXiv 2510.02373).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

VOUCHES = 0.1
"""Weight from which on the evidence of a source vouches for an arm."""


@dataclass(frozen=True, slots=True)
class CorroborationConfig:
    """When evidence counts in full: `sources` ≥ 2 that agree; `floor` ≥ 0 is what anybody's word is worth."""

    sources: int = 3
    floor: float = 0.25

    def __post_init__(self) -> None:
        if self.sources < 2:
            raise SelectorUsageError(f"sources must be 2 or more, got {self.sources}: one source agrees with itself")
        if not self.floor >= 0.0:
            raise SelectorUsageError(f"floor must be 0 or more, got {self.floor}")


@dataclass(frozen=True, slots=True)
class Claims:
    """N pieces of evidence: weight ≥ 0, arm from 0, source from 0, and whether its judge is believed; (N,) each."""

    weights_N: Floats
    arms_N: Numbers
    sources_N: Numbers
    believed_N: Flags


def vouched(claims: Claims, unbelieved_ratio: float, config: CorroborationConfig) -> Floats:
    """The weights of claims that follow different arms, by the first two rules; shape (N,).

    >>> flood = Claims(np.ones(8), np.zeros(8, int), np.zeros(8, int), np.zeros(8, bool))
    >>> [float(vouched(flood, ratio, CorroborationConfig()).sum()) for ratio in (0.0, np.inf)]
    [0.25, 8.0]
    """
    if not len(claims.weights_N):
        return claims.weights_N
    _, arm_N = np.unique(claims.arms_N, return_inverse=True)
    believed_N = np.where(claims.believed_N, claims.weights_N, 0.0)
    believed_A = _totals(arm_N, believed_N)
    kept_A = np.minimum(believed_A, _lone_limit(believed_N, arm_N, claims.sources_N, config))
    other_A = _totals(arm_N, claims.weights_N - believed_N)
    return _scaled(claims, arm_N, _Sums(believed_A, kept_A, other_A), unbelieved_ratio, config)


def balanced(claims: Claims, unbelieved_ratio: float, config: CorroborationConfig) -> Floats:
    """The weights of claims about what became of arms, successes and failures, by all three rules; shape (N,).

    >>> claims = Claims(np.array([9.0, 1.0, 1.0, 1.0]), np.zeros(4, int), np.arange(4), np.ones(4, bool))
    >>> balanced(claims, 0.0, CorroborationConfig()).tolist()
    [3.0, 1.0, 1.0, 1.0]
    """
    if not len(claims.weights_N):
        return claims.weights_N
    _, arm_N = np.unique(claims.arms_N, return_inverse=True)
    believed_N = np.where(claims.believed_N, claims.weights_N, 0.0)
    balanced_N = believed_N * _majority_factors(believed_N, arm_N, claims.sources_N, config)
    believed_A, other_A = (_totals(arm_N, w) for w in (balanced_N, claims.weights_N - believed_N))
    kept_A = np.minimum(believed_A, _lone_limit(balanced_N, arm_N, claims.sources_N, config))
    evened = Claims(
        np.where(claims.believed_N, balanced_N, claims.weights_N), arm_N, claims.sources_N, claims.believed_N
    )
    return _scaled(evened, arm_N, _Sums(believed_A, kept_A, other_A), unbelieved_ratio, config)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weight of each arm that is believed, what of it is kept, and what is not believed; shape (A,) each."""

    believed_A: Floats
    kept_A: Floats
    other_A: Floats


def _scaled(claims: Claims, arm_N: Numbers, sums: _Sums, ratio: float, config: CorroborationConfig) -> Floats:
    limit_A = np.full(len(sums.kept_A), np.inf) if np.isinf(ratio) else (1.0 + ratio) * (sums.kept_A + config.floor)
    believed_A = sums.kept_A / np.maximum(sums.believed_A, 1e-12)
    other_A = np.minimum(1.0, limit_A / np.maximum(sums.other_A, 1e-12))
    return np.asarray(claims.weights_N * np.where(claims.believed_N, believed_A[arm_N], other_A[arm_N]), np.float64)


def _lone_limit(weights_N: Floats, arm_N: Numbers, sources_N: Numbers, config: CorroborationConfig) -> Floats:
    """The most that each arm may weigh: ∞ where enough sources vouch for it, or no arm has as many; shape (A,)."""
    totals, arm_G, _, _ = _by_source(weights_N, arm_N, sources_N)
    arms = int(arm_N.max()) + 1
    vouchers_A = np.bincount(arm_G, totals >= VOUCHES, arms)
    is_agreed_A = vouchers_A >= config.sources
    if not is_agreed_A.any():
        return np.full(arms, np.inf)
    return np.where(is_agreed_A, np.inf, totals[is_agreed_A[arm_G]].max())


def _majority_factors(weights_N: Floats, arm_N: Numbers, sources_N: Numbers, config: CorroborationConfig) -> Floats:
    """What each weight is scaled by so that no source outweighs all others of its arm; shape (N,)."""
    totals, arm_G, group_N, arms = _by_source(weights_N, arm_N, sources_N)
    all_A = np.bincount(arm_G, totals, arms)
    others_G = all_A[arm_G] - totals
    has_others = np.bincount(arm_G, totals >= VOUCHES, arms)[arm_G] - (totals >= VOUCHES) >= config.sources
    factors_G = np.where(has_others, np.minimum(1.0, others_G / np.maximum(totals, 1e-12)), 1.0)
    return np.asarray(factors_G[group_N], np.float64)


def _by_source(weights_N: Floats, arm_N: Numbers, sources_N: Numbers) -> tuple[Floats, Numbers, Numbers, int]:
    """Total of each pair of arm and source, the pair's arm, each claim's pair, and the number of arms."""
    width = int(sources_N.max()) + 1
    keys, group_N = np.unique(arm_N.astype(np.int64) * width + sources_N, return_inverse=True)
    return _totals(group_N, weights_N), keys // width, group_N, int(arm_N.max()) + 1


def _totals(groups_N: Numbers, weights_N: Floats) -> Floats:
    return np.asarray(np.bincount(groups_N, weights_N), np.float64)

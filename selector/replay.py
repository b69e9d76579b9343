"""The value of a policy that learns as it goes, by replaying a log and keeping what it would have chosen itself."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError
from selector.ope import LoggedDecisions

Floats = NDArray[np.float64]


class LearningPolicy(Protocol):
    """A policy that changes with what it sees."""

    def probabilities(self, context_D: Floats, offered_K: NDArray[np.bool_]) -> Floats:
        """How probably it chooses each of K candidates now; shape (K,), sums to 1, 0 where not offered."""

    def learn(self, context_D: Floats, place: int, reward: float) -> None:
        """Take in one decision that it made itself."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Mean reward of the decisions a policy would have made itself.

    `accepted` of `decisions` logged ones; `cut` counts those whose chance of acceptance would have been above 1, which
    biases the value.  Where nothing was accepted the value is 0 and its error infinite.
    """

    value: float
    standard_error: float
    accepted: int
    decisions: int
    cut: int


def replay(
    policy: LearningPolicy,
    logged: LoggedDecisions,
    contexts_ND: Floats,
    rng: np.random.Generator,
    *,
    scale: float | None = None,
) -> ReplayReport:
    """Go through the log in order, accept a decision with probability scale · π(a) / p, learn from the accepted alone.

    Unbiased for a log whose contexts are drawn alike, since what the policy sees is distributed as if it had acted (Li
    et al. 2011, arXiv 1003.5956; rejection with propensities as in Dudík et al. 2012, arXiv 1210.4862).  `scale` in
    (0, 1] must be one number for the whole log, or contexts would be chosen among too; None takes the smallest logged
    propensity, 1 / K for a uniform log, which never cuts.  A larger one accepts more, and counts what it cuts.
    `rng` must be a stream of its own: the numbers that made the log's choices would accept them by their own draws.
    """
    if len(contexts_ND) != len(logged):
        raise SelectorUsageError(f"contexts_ND must have {len(logged)} rows, got {len(contexts_ND)}")
    scale = float(logged.propensities_N.min()) if scale is None else scale
    if not 0 < scale <= 1:
        raise SelectorUsageError(f"scale must lie in (0, 1], got {scale}")
    earned, cut = [], 0
    for row, draw in enumerate(rng.random(len(logged)).tolist()):
        place, reward = int(logged.chosen_N[row]), float(logged.rewards_N[row])
        probability = _probability(policy, contexts_ND[row], logged.offered_NK[row], place)
        chance = scale * probability / float(logged.propensities_N[row])
        cut += chance > 1.0 + 1e-9
        if draw < chance:
            policy.learn(contexts_ND[row], place, reward)
            earned.append(reward)
    return _report(earned, len(logged), cut)


def _probability(policy: LearningPolicy, context_D: Floats, offered_K: NDArray[np.bool_], place: int) -> float:
    found_K = policy.probabilities(context_D, offered_K)
    if found_K.shape != offered_K.shape or not (found_K >= 0).all() or abs(float(found_K.sum()) - 1.0) > 1e-6:
        raise SelectorUsageError(f"a policy must give {len(offered_K)} probabilities that sum to 1, got {found_K}")
    if (found_K[~offered_K] > 0).any():
        raise SelectorUsageError("a policy must give probability 0 to what is not offered")
    return float(found_K[place])


def _report(earned: list[float], decisions: int, cut: int) -> ReplayReport:
    if not earned:
        return ReplayReport(0.0, float("inf"), 0, decisions, cut)
    error = float(np.std(earned, ddof=1) / len(earned) ** 0.5) if len(earned) > 1 else float("inf")
    return ReplayReport(float(np.mean(earned)), error, len(earned), decisions, cut)

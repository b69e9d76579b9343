"""A trained policy as the prior of the choice: experience and policy are pooled, each with its weight."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.situation import Situation

Floats = NDArray[np.float64]


class PriorPolicy(Protocol):
    """What a selector asks of a policy (`grpo.ToolPolicy` is one)."""

    version: int

    def log_probabilities(self, situation: Situation) -> Floats:
        """ln P(candidate), shape (K,)."""
        ...


def pooled_logits(logits_K: Floats, policy_K: Floats, weight: float) -> Floats:
    """(1 − w) ln p + w ln π, up to a constant: the logarithmic opinion pool (Genest and Zidek 1986); shape (K,).

    `policy_K` is ln π of each candidate, `weight` w in [0, 1].

    >>> pooled_logits(np.log([0.9, 0.1]), np.log([0.1, 0.9]), 0.5).round(3).tolist()
    [-1.204, -1.204]
    """
    return np.asarray((1.0 - weight) * logits_K + weight * policy_K, np.float64)

"""What is believed of an arm: Beta posteriors with a hierarchical prior, and Gaussians that stand in for them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BetaPosterior:
    """Beta(alpha, beta) for each of K arms; both are above 0, shape (K,) each."""

    alpha: Floats
    beta: Floats

    @cached_property
    def mean(self) -> Floats:
        """Posterior mean, shape (K,)."""
        return self.alpha / (self.alpha + self.beta)

    @cached_property
    def weight(self) -> Floats:
        """alpha + beta: how much evidence, the prior's included; shape (K,)."""
        return self.alpha + self.beta

    def standard_deviation(self, sharpening: float = 1.0) -> Floats:
        """sqrt(m (1 − m) / (η (α + β) + 1)), shape (K,); η = 1 is the Beta's own, larger η explores less."""
        return np.sqrt(self.mean * (1.0 - self.mean) / (sharpening * self.weight + 1.0))

    def bounds(self, deviations: float) -> tuple[Floats, Floats]:
        """Credible bounds m ± deviations · sd, cut to [0, 1]; shape (K,) each."""
        reach = deviations * self.standard_deviation()
        return np.maximum(self.mean - reach, 0.0), np.minimum(self.mean + reach, 1.0)


def beta_from_evidence(
    prior_mean: Floats, strength: float | Floats, successes: Floats, failures: Floats
) -> BetaPosterior:
    """α = s·m + Σ w·r and β = s·(1 − m) + Σ w·(1 − r), both at least 0.1 (C3, arXiv 2603.16755); shape (K,) each.

    >>> beta_from_evidence(np.array([0.5]), 2.0, np.array([3.0]), np.array([0.0])).mean.tolist()
    [0.8]
    """
    alpha = np.maximum(strength * prior_mean + successes, 0.1)
    beta = np.maximum(strength * (1.0 - prior_mean) + failures, 0.1)
    return BetaPosterior(alpha, beta)


def shrunk_means(successes: Floats, counts: Floats, parent: float, strength: float) -> Floats:
    """Means of siblings drawn toward their parent: (s · parent + S) / (s + N); shape (K,).

    >>> shrunk_means(np.array([9.0, 0.0]), np.array([10.0, 0.0]), 0.5, 10.0).tolist()
    [0.7, 0.5]
    """
    return np.asarray((strength * parent + successes) / (strength + counts), np.float64)

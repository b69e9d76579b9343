"""Priors by hierarchy: all tools → tool family → tool → tool in this state cluster.

Each level is drawn toward its parent by a strength that the data themselves give (empirical Bayes).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

STRENGTHS = (1.0, 50.0)
ROUNDS = 20
_FIRST_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Hierarchy:
    """Mean success of all tools, of each of T tools, and of each tool in each of C state clusters.

    `weights_T` is the weight with which a tool's mean stands as the prior in each cluster.
    """

    overall: float
    tools_T: Floats
    clusters_CT: Floats
    weights_T: Floats

    def weight(self, tools_M: Numbers) -> Floats:
        """Weight of `prior` for tools by number; that of the weakest known tool for a tool never seen (−1); (M,)."""
        return np.asarray(self._padded_weights.take(tools_M), np.float64)

    def prior(self, cluster: int, tools_M: Numbers) -> Floats:
        """Prior mean of tools by number, in a cluster (−1: none); a tool never seen (−1) gets the mean of all; (M,)."""
        row = cluster if 0 <= cluster < len(self.clusters_CT) else -1
        return np.asarray(self._padded_means[row].take(tools_M), np.float64)

    @cached_property
    def _padded_weights(self) -> Floats:
        """The weights, with that of a tool never seen at the end."""
        weakest = float(self.weights_T.min()) if len(self.weights_T) else STRENGTHS[0]
        return np.append(self.weights_T, weakest)

    @cached_property
    def _padded_means(self) -> Floats:
        """The means by cluster and tool, with those without a cluster below and that of a tool never seen beside."""
        means = np.full((len(self.clusters_CT) + 1, len(self.tools_T) + 1), self.overall)
        means[:-1, :-1], means[-1, :-1] = self.clusters_CT, self.tools_T
        return means


def build_hierarchy(successes_CT: Floats, counts_CT: Floats, families_T: Numbers) -> Hierarchy:
    """From weighted successes and counts, 0 ≤ successes ≤ counts; `families_T` numbers each tool's family from 0.

    Trials of a tool in one cluster are alike, so that n of them tell its mean as much as n (s + 1) / (s + n)
    independent ones, with s the strength that siblings show.
    """
    strength = sibling_strength(successes_CT, counts_CT)
    alike_CT = (strength + 1.0) / (strength + counts_CT)
    successes_T, counts_T = (alike_CT * successes_CT).sum(axis=0), (alike_CT * counts_CT).sum(axis=0)
    overall = float((successes_T.sum() + 1.0) / (counts_T.sum() + 2.0))
    families = int(families_T.max()) + 1 if len(families_T) else 0
    totals = (np.bincount(families_T, values, families) for values in (successes_T, counts_T))
    wins_F, tries_F = (np.asarray(total, np.float64) for total in totals)
    means_F = shrink(wins_F, tries_F, np.full(families, overall))
    means_T = shrink(successes_T, counts_T, means_F[families_T])
    above = moment_strength(successes_T, counts_T, means_F[families_T])
    weights_T = prior_weight(strength, counts_T + above)
    clusters_CT = (weights_T * means_T + successes_CT) / (weights_T + counts_CT)
    return Hierarchy(overall, means_T, clusters_CT, weights_T)


def shrink(successes: Floats, counts: Floats, parents: Floats) -> Floats:
    """Means drawn toward their parents: (s · parent + S) / (s + N), s by `moment_strength`; one shape for all.

    >>> shrink(np.array([8.0, 0.0]), np.array([8.0, 0.0]), np.array([0.5, 0.5]))[1]
    np.float64(0.5)
    """
    strength = moment_strength(successes, counts, parents)
    return np.asarray((strength * parents + successes) / (strength + counts), np.float64)


def moment_strength(successes: Floats, counts: Floats, parents: Floats) -> float:
    """Weight of a parent's mean: s = m (1 − m) / Var − 1, within [1, 50] (method of moments for the Beta-binomial).

    Var is how much the children's means differ beyond what their sampling explains.  Of children with fewer than two
    trials nothing can be told; without two others it is the geometric middle of the range.
    """
    tried = counts >= 2.0
    if tried.sum() < 2:
        return float(np.sqrt(STRENGTHS[0] * STRENGTHS[1]))
    weights = counts[tried]
    expected = np.broadcast_to(parents, counts.shape)[tried]
    noise = np.clip(expected * (1.0 - expected), 1e-3, None)
    spread = (successes[tried] / weights - expected) ** 2 - noise / weights
    variance = float(np.average(spread, weights=weights))
    if variance <= 0.0:
        return STRENGTHS[1]
    return float(np.clip(np.average(noise, weights=weights) / variance - 1.0, *STRENGTHS))


def sibling_strength(successes_CT: Floats, counts_CT: Floats) -> float:
    """s = 1 / ρ − 1, within [1, 50], with ρ the intraclass correlation of siblings' successes (Kleinman 1973).

    Siblings are the C children of each of T parents, compared with each other and never with a mean that was drawn
    somewhere.  SS = Σ n_i (p_i − p)² and E[SS] = Q Σ n_i (1 − n_i / n) [1 / n_i + ρ (1 − 1 / n_i)], where Q = m (1 − m)
    and E[p (1 − p)] = Q (1 − Var(p) / Q): both are solved together for ρ, all parents pooled.
    """
    tried = np.where(counts_CT > 0.0, np.maximum(counts_CT, 1e-6), 1.0)
    total_T = np.maximum(counts_CT.sum(axis=0), 1e-9)
    mean_T = successes_CT.sum(axis=0) / total_T
    squares = float((counts_CT * (successes_CT / tried - mean_T) ** 2).sum())
    apart, share = counts_CT * (1.0 - counts_CT / total_T), (counts_CT / total_T) ** 2
    beyond = np.maximum(1.0 - 1.0 / tried, 0.0)
    noise_T, signal_T = (apart * (counts_CT > 0.0) / tried).sum(axis=0), (apart * beyond).sum(axis=0)
    drift_T, drift_signal_T = (share / tried).sum(axis=0), (share * beyond).sum(axis=0)
    if signal_T.sum() <= 0.0:
        return float(np.sqrt(STRENGTHS[0] * STRENGTHS[1]))
    correlation, (weakest, strongest) = 0.1, STRENGTHS
    for _ in range(ROUNDS):
        spread_T = mean_T * (1.0 - mean_T) / np.maximum(1.0 - drift_T - drift_signal_T * correlation, 0.05)
        found = (squares - float((noise_T * spread_T).sum())) / max(float((signal_T * spread_T).sum()), 1e-9)
        correlation = float(np.clip(found, 1.0 / (strongest + 1.0), 1.0 / (weakest + 1.0)))
    return float(np.clip(1.0 / correlation - 1.0, *STRENGTHS))


def prior_weight(strength: float, parents_T: Floats) -> Floats:
    """Weight of a prior whose mean is itself uncertain, of weight v: 1 / (w + 1) = 1 / (s + 1) + 1 / (v + 1); (T,).

    >>> prior_weight(3.0, np.array([3.0, np.inf])).tolist()
    [1.0, 3.0]
    """
    return np.asarray(1.0 / (1.0 / (strength + 1.0) + 1.0 / (parents_T + 1.0)) - 1.0, np.float64)


def tool_families(names: Sequence[str]) -> Numbers:
    """A number for each tool's family: tools whose names begin with the same word belong together; shape (T,).

    >>> tool_families(["get_user", "getOrder", "book"]).tolist()
    [0, 0, 1]
    """
    numbers: dict[str, int] = {}
    words = ((_FIRST_WORD.search(name) or [name])[0].lower() for name in names)
    return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64)

"""What stored states say of tools in a state nearby: kernel weights over prototypes, shrunken means, change, newcomers.

Prototypes are unit vectors that stand for kinds of states; each keeps weighted sums of the rewards of every tool.  All
functions are pure.  Letters: N stored states, P prototypes, K tools, D vector entries.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

REACH = 4.5
STRENGTH_RANGE = (1.0, 50.0)
SHORTEST = 1e-12
WIDEST_BACKGROUND = 0.7
SPLITTING_ROUNDS = 6
TURNS = 8
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
STEPS, STEP_WEIGHTS = NODES + 1.0, NODE_WEIGHTS / np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Similarities between which the kernel rises from 0 to 1: that of unlike states, and that of a good match."""

    background: float
    match: float


@dataclass(frozen=True, slots=True)
class Prototypes:
    """Kinds of states: unit `centres_PD`, the sums `sums_PD` of their members, and each state's kind `kinds_N`."""

    centres_PD: Vectors
    sums_PD: Vectors
    kinds_N: Numbers


@dataclass(frozen=True, slots=True)
class Posterior:
    """Of K tools: `means_K` and `counts_K`, how many observations they rest on, the prior's included.

    Means of the kernel lie in [0, 1]; those of a linear model may lie outside.  `suspicions_K` are 0, or 1 more than
    the failures since an alarm in this kind of state.
    """

    means_K: Floats
    counts_K: Floats
    suspicions_K: Floats


@dataclass(frozen=True, slots=True)
class Report:
    """A reported decision: its state, the tool's column, the reward and its weight in [0, 1], the mean expected."""

    state_D: Vectors
    column: int
    reward: float
    weight: float
    expected: float


def bandwidth_of(states_ND: Vectors, centres_PD: Vectors) -> Bandwidth:
    """Background: median similarity of states and prototypes at large; match: median similarity to the nearest.

    The background is at most 0.7 of the match, so that states of one kind alone are not told apart by their noise.
    Adapting both to the embedding is what makes a kernel bandit work (C3, arXiv 2603.16755, keeps them fixed).
    """
    similarities_NP = states_ND @ centres_PD.T
    background, match = float(np.median(similarities_NP)), float(np.median(similarities_NP.max(axis=1)))
    return Bandwidth(min(background, WIDEST_BACKGROUND * match), match)


def kernel_weights(similarities_P: Floats | Vectors, bandwidth: Bandwidth, power: float) -> Floats | Vectors:
    """w = z^p, z = max(s − b, 0) / (max(s_top, s_match) − b): the best match weighs 1, or less where it is distant.

    `similarities_P`: cosines, P > 0; `power` p > 0.  Returns shape (P,), in [0, 1].

    >>> kernel_weights(np.array([0.9, 0.6, 0.2]), Bandwidth(0.3, 0.8), 2.0).round(3).tolist()
    [1.0, 0.25, 0.0]
    """
    span = max(float(similarities_P.max()), bandwidth.match) - bandwidth.background
    weights_P: Floats = (np.maximum(similarities_P - bandwidth.background, 0.0) / span) ** power
    return weights_P


def tool_means(successes_K: Floats, counts_K: Floats, strength: float) -> Floats:
    """Means of the tools over all states, each drawn to the mean of all: (s·g + S) / (s + N), g = (ΣS + 1)/(ΣN + 2).

    >>> tool_means(np.array([8.0, 0.0]), np.array([8.0, 0.0]), 10.0).round(2).tolist()
    [0.94, 0.9]
    """
    overall = (successes_K.sum() + 1.0) / (counts_K.sum() + 2.0)
    return np.asarray((strength * overall + successes_K) / (strength + counts_K), np.float64)


def sibling_strength(successes_PK: Floats, counts_PK: Floats, parents_K: Floats) -> float:
    """How many observations a parent is worth: s = m(1 − m)/Var − 1 by the method of moments, in [1, 50].

    Var is the variance of the true means around their parents: the squared distances, each less its sampling noise,
    weighted by the counts (Nabi et al. 2020, empirical Bayes for grouped features).  Without evidence the answer is 50.

    >>> sibling_strength(np.array([[90.0, 10.0]]), np.array([[100.0, 100.0]]), np.array([0.5, 0.5])).__round__(2)
    1.0
    """
    low, high = STRENGTH_RANGE
    seen = counts_PK > 1.0
    if not seen.any():
        return high
    parents = np.broadcast_to(parents_K, counts_PK.shape)[seen]
    counts = counts_PK[seen]
    noise = parents * (1.0 - parents)
    squares = (successes_PK[seen] / counts - parents) ** 2
    variance = float(((squares - noise / counts) * counts).sum() / counts.sum())
    return float(np.clip(noise.mean() / max(variance, 1e-6) - 1.0, low, high))


def newcomer_mean(best: float, best_deviation: float, deviation: float, chance: float) -> float:
    """m_new = m* − z_{1−ε}·√(v_new + v*): the mean with which a newcomer beats the incumbent with probability ε.

    Roblox, arXiv 2602.00943.  `chance` ε in (0, 1), deviations above 0.

    >>> round(newcomer_mean(0.8, 0.03, 0.04, 0.5), 6)
    0.8
    """
    if not 0.0 < chance < 1.0:
        raise SelectorUsageError(f"the chance of a newcomer must lie in (0, 1), got {chance}")
    return best + float(ndtri(chance)) * float(np.hypot(best_deviation, deviation))


def failure_alarm(level: float, reward: float, expected: float, drop: float) -> float:
    """The next level of a CUSUM that watches for success falling from m to m·drop: max(0, G + log-likelihood ratio).

    Page (1954).  A reward between 0 and 1 counts as that share of a success; `expected` m is cut to [0.05, 0.95],
    `drop` in (0, 1).

    >>> failure_alarm(0.0, 1.0, 0.9, 0.4), round(failure_alarm(1.0, 0.0, 0.9, 0.4), 2)
    (0.0, 2.86)
    """
    healthy = min(max(expected, 0.05), 0.95)
    broken = healthy * drop
    step = reward * log(drop) + (1.0 - reward) * log((1.0 - broken) / (1.0 - healthy))
    return max(0.0, level + step)


def chosen_probability(means_K: Floats, deviations_K: Floats, arm: int, exploration: float = 0.0) -> float:
    """Probability that one arm wins a Gaussian Thompson draw with a floor: `choice_probabilities`, for one arm only.

    (1 − ε) ∫ φ(t) Π_{b≠a} Φ((m_a + σ_a t − m_b)/σ_b) dt + ε/K on t in [−4.5, 4.5], above the point under which some
    rival surely wins (Jeunen, RecSys 2025, arXiv 2504.08773); two panels of 16 Gauss–Legendre nodes each, parted where
    the strongest rival draws level.  Deviations within a factor of 30: error below 2e-4.

    >>> round(chosen_probability(np.array([0.5, 0.5]), np.array([0.1, 0.1]), 0), 4)
    0.5
    """
    mean, deviation = float(means_K[arm]), float(deviations_K[arm])
    reaches_K = REACH * deviations_K
    lows_K = means_K - reaches_K
    start = float(lows_K.max())
    low, floor = (start - mean) / deviation, exploration / len(means_K)
    if low >= REACH:
        return floor
    rivals = means_K + reaches_K > start
    rivals[arm] = False
    winning = _wins((means_K[rivals] - mean) / deviation, deviations_K[rivals] / deviation, low)
    return (1.0 - exploration) * winning + floor


def _wins(rivals_K: Floats, spreads_K: Floats, low: float) -> float:
    """The integral from `low` on against the rivals left, in units of the arm's own mean and deviation."""
    if not len(rivals_K):
        return 1.0
    middle = min(max(float(rivals_K.max()), low + 0.2 * (REACH - low)), low + 0.8 * (REACH - low))
    first, second = (middle - low) / 2.0, (REACH - middle) / 2.0
    points = np.concatenate((low + first * STEPS, middle + second * STEPS))
    below = ndtr((points - rivals_K[:, None]) / spreads_K[:, None]).prod(axis=0)
    values = below * np.exp(-0.5 * points * points)
    half = len(STEPS)
    return float(first * (values[:half] @ STEP_WEIGHTS) + second * (values[half:] @ STEP_WEIGHTS))


def settle_prototypes(states_ND: Vectors, centres_PD: Vectors, most: int, edge: float = 1.3) -> Prototypes:
    """Prototypes split until none has structure inside, and a last assignment; at most `most`, none of them empty.

    Spherical k-means whose clusters are parted along their principal direction (PDDP, Boley 1998) where its variance
    exceeds what noise alone would show, `edge`·σ²(1 + √(D/n))² (Marchenko & Pastur 1967).
    """
    settled = assign_states(states_ND, centres_PD)
    for _ in range(SPLITTING_ROUNDS):
        parted_PD = _split(states_ND, settled, most, edge)
        if len(parted_PD) == len(settled.centres_PD):
            break
        settled = assign_states(states_ND, parted_PD)
    return assign_states(states_ND, settled.centres_PD)


def assign_states(states_ND: Vectors, centres_PD: Vectors) -> Prototypes:
    """Each state goes to the prototype most similar to it; centres move to their members; empty ones vanish."""
    nearest_N = (states_ND @ centres_PD.T).argmax(axis=1)
    live, kinds_N = np.unique(nearest_N, return_inverse=True)
    members_PN = (np.arange(len(live))[:, None] == kinds_N).astype(np.float32)
    sums_PD = members_PN @ states_ND
    return Prototypes(units(sums_PD), sums_PD, kinds_N.astype(np.int64))


def units(vectors_PD: Vectors) -> Vectors:
    """Vectors of length 1 in the same directions; shape (P, D).

    >>> units(np.array([[3.0, 4.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    lengths_P = np.sqrt(np.einsum("pd,pd->p", vectors_PD, vectors_PD))
    return np.asarray(vectors_PD / np.maximum(lengths_P, SHORTEST)[:, None], np.float32)


def _split(states_ND: Vectors, settled: Prototypes, most: int, edge: float) -> Vectors:
    """The centres, with two in place of each prototype that has structure inside, while there is room."""
    centres: list[Vectors] = []
    left = len(settled.centres_PD)
    for kind, centre_D in enumerate(settled.centres_PD):
        left -= 1
        halves_PD = principal_halves(states_ND[settled.kinds_N == kind], edge)
        fits = len(halves_PD) == 2 and len(centres) + 2 + left <= most
        centres.extend(halves_PD if fits else centre_D[None])
    return np.asarray(centres, np.float32)


def principal_halves(members_ND: Vectors, edge: float, fewest: int = 16) -> Vectors:
    """Centres of the two sides of the principal direction, shape (2, D); (0, D) where it is no more than noise."""
    none = np.zeros((0, members_ND.shape[1]), np.float32)
    count, dimension = members_ND.shape
    if count < fewest:
        return none
    spread_ND = members_ND - members_ND.mean(axis=0)
    squares_N = np.einsum("nd,nd->n", spread_ND, spread_ND)
    along_N = spread_ND @ _principal_direction(spread_ND, int(squares_N.argmax()))
    noise = float(squares_N.sum()) / count / dimension
    sides = along_N > 0.0
    is_noise = float(along_N @ along_N) / count <= edge * noise * (1.0 + np.sqrt(dimension / count)) ** 2
    if is_noise or min(sides.sum(), count - sides.sum()) < 3:
        return none
    return units(np.stack([members_ND[sides].sum(axis=0), members_ND[~sides].sum(axis=0)]))


def _principal_direction(spread_ND: Vectors, start: int) -> Vectors:
    """The direction of the largest variance by power iteration from one of the rows; shape (D,)."""
    direction_D = spread_ND[start]
    for _ in range(TURNS):
        direction_D = (spread_ND @ direction_D) @ spread_ND
        direction_D = direction_D / max(float(np.linalg.norm(direction_D)), SHORTEST)
    return np.asarray(direction_D, np.float32)

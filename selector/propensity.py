"""How probable a choice was, exactly: Thompson sampling from independent Gaussians, with a floor of exploration."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]

NODES = 16
REACH = 5.5
PANEL_DEVIATIONS = 8.0
HOPELESS_DEVIATIONS = -6.0  # a draw of the best arm lies below with probability 1e-9
SMALLEST = 1e-300
NEGLIGIBLE = 1e-9  # so improbable that the largest draw lies in a panel that may be left out


def choice_probabilities(means: Floats, deviations: Floats, *, exploration: float = 0.0) -> Floats:
    """Probability that each of K arms is chosen; shape (K,), sums to 1.

    p_a = (1 − ε) ∫ N(u; m_a, v_a) Π_{b≠a} Φ((u − m_b) / √v_b) du + ε / K, by Gauss–Legendre quadrature on the range
    where the largest draw lies, exact to about 1e-6 (Jeunen, RecSys 2025, arXiv 2504.08773).  `means` and `deviations`
    > 0 have shape (K,), `exploration` ε lies in [0, 1].

    >>> choice_probabilities(np.array([0.5, 0.5]), np.array([0.1, 0.1])).round(6).tolist()
    [0.5, 0.5]
    """
    _check(means, deviations, exploration)
    return (1.0 - exploration) * winning_probabilities(means, deviations) + exploration / len(means)


def winning_probabilities(means: Floats, deviations: Floats) -> Floats:
    """The same without exploration, for arms that are known to be sound; shape (K,), sums to 1."""
    winning = np.zeros(len(means))
    contenders = _contenders(means, deviations)
    if len(contenders) == 1:
        winning[contenders] = 1.0
        return winning
    winning[contenders] = _largest_draw(means[contenders], deviations[contenders])
    winning /= winning.sum()
    return winning


def _contenders(means: Floats, deviations: Floats) -> NDArray[np.intp]:
    """Arms that can win at all: the best arm's draw, and any other's, may fall below the highest that theirs can be."""
    best = int(np.argmax(means))
    reach = REACH * deviations
    tops = means + reach
    lowest = max(means[best] + HOPELESS_DEVIATIONS * deviations[best], (means - reach).max())
    return np.flatnonzero(tops >= lowest)


def _largest_draw(means: Floats, deviations: Floats) -> Floats:
    """The integral for each contender, panel by panel."""
    edges = _panels(means, deviations)
    largest_below = ndtr((edges[:, None] - means[None]) / deviations[None]).prod(axis=1)
    matters = (largest_below[1:] > NEGLIGIBLE) & (largest_below[:-1] < 1.0 - NEGLIGIBLE)
    starts, half = edges[:-1][matters, None], (edges[1:] - edges[:-1])[matters, None] / 2.0
    nodes, weights = _legendre(NODES)
    points, at_points = (starts + half * (nodes[None] + 1.0)).ravel(), (half * weights[None]).ravel()
    standard = (points[None] - means[:, None]) / deviations[:, None]
    below = np.maximum(ndtr(standard), SMALLEST)
    at_points *= below.prod(axis=0)
    return np.asarray((np.exp(-0.5 * standard**2) / below) @ at_points / deviations, np.float64)


def _panels(means: Floats, deviations: Floats) -> Floats:
    """Edges of the panels, rising: none is wider than eight deviations of the narrowest arm that may win there."""
    reach = REACH * deviations
    arms = [*zip((means + reach).tolist(), deviations.tolist(), strict=True)]  # so few that lists are quicker
    last, edges = max(arms)[0], [float((means - reach).max())]
    while edges[-1] < last - 1e-12:
        active = [(top, deviation) for top, deviation in arms if top > edges[-1] + 1e-12]
        narrowest = min(deviation for _, deviation in active)
        end = max(top for top, deviation in active if deviation < 2.0 * narrowest)
        count = math.ceil((end - edges[-1]) / (PANEL_DEVIATIONS * narrowest))
        step = (end - edges[-1]) / count
        edges += [edges[-1] + step * number for number in range(1, count)] + [end]
    return np.array(edges)


@lru_cache(maxsize=8)
def _legendre(nodes: int) -> tuple[Floats, Floats]:
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return places, weights


def _check(means: Floats, deviations: Floats, exploration: float) -> None:
    if len(means) == 0 or means.shape != deviations.shape:
        raise SelectorUsageError(
            f"means and deviations must have one shape (K,), K > 0, got {means.shape} and {deviations.shape}"
        )
    if not (np.isfinite(means).all() and (deviations > 0).all()):
        raise SelectorUsageError("means must be finite and deviations above 0")
    if not 0.0 <= exploration <= 1.0:
        raise SelectorUsageError(f"exploration must lie in [0, 1], got {exploration}")

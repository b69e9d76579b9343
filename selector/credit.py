"""Credit: what each stored step contributed, from its own outcome and from how its trajectory ended."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

IMMEDIATE_WEIGHT = 0.5
TRACE = 0.98


@dataclass(frozen=True, slots=True)
class Credit:
    """Sum of credited outcomes and their weight for each of N rows; shape (N,) each, 0 ≤ successes ≤ weights ≤ 1."""

    successes_N: Floats
    weights_N: Floats


def credit(
    final_N: ArrayLike,
    immediate_N: ArrayLike,
    steps_left_N: ArrayLike,
    wasted_N: ArrayLike,
    *,
    trace: float = TRACE,
    immediate_weight: float = IMMEDIATE_WEIGHT,
) -> Credit:
    """Mix the immediate outcome y of a step with the final reward R of its trajectory.

    S = μ y + c R and N = μ + c, with μ = `immediate_weight` where y is known (not NaN), else 0, and
    c = λ^(steps left) · (1 − μ), 0 where R is not known: eligibility as in TD(λ) (Sutton 1988).  A step that only led
    back to where the agent was before (`wasted_N`) is credited with R = 0.  R and y in [0, 1] or NaN, λ = `trace` in
    [0, 1].

    >>> credit([1.0], [np.nan], [0], [False]).successes_N.tolist()
    [1.0]
    """
    final, immediate = np.asarray(final_N, np.float64), np.asarray(immediate_N, np.float64)
    at_once = np.where(np.isnan(immediate), 0.0, immediate_weight)
    later = np.where(np.isnan(final), 0.0, trace ** np.asarray(steps_left_N, np.float64) * (1.0 - at_once))
    earned = np.where(np.asarray(wasted_N, np.bool_), 0.0, np.clip(np.nan_to_num(final), 0.0, 1.0))
    return Credit(at_once * np.clip(np.nan_to_num(immediate), 0.0, 1.0) + later * earned, at_once + later)

"""Predicted rewards for off-policy evaluation: means and a kernel over contexts, fitted on other episodes."""

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError
from selector.ope import LoggedDecisions
from selector.posteriors import shrunk_means

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ROWS_AT_ONCE = 512
SAMPLE = 400


def cross_fitted_rewards(
    contexts_ND: Floats,
    tools_NK: Integers,
    logged: LoggedDecisions,
    *,
    folds: int = 5,
    strength: float = 4.0,
    seed: int = 0,
) -> Floats:
    """q(x_n, k): what each candidate of each decision would earn, learnt from the other folds' episodes; shape (N, K).

    The global mean draws each tool's mean toward it, and that draws the kernel-weighted rewards of the tool near this
    context, each with the weight of `strength` examples (> 0).  No episode is predicted from itself, so that doubly
    robust estimates stay unbiased (cross-fitting; Chernozhukov et al. 2018, arXiv 1608.00060).  `tools_NK` number the
    tools from 0, −1 where a row is padded; `folds` from 2 to the number of episodes; `seed` deals the episodes out.
    It takes about N² kernel entries, a block of rows at a time.
    """
    _check(contexts_ND, tools_NK, logged, strength)
    fold_N = _folds(logged.episodes_N, folds, np.random.default_rng(seed))
    chosen_N = tools_NK[np.arange(len(logged)), logged.chosen_N]
    q_NK = np.empty(tools_NK.shape)
    for fold in range(folds):
        held_N = fold_N == fold
        table = _predicted(
            contexts_ND[held_N],
            contexts_ND[~held_N],
            _by_tool(chosen_N[~held_N], logged.rewards_N[~held_N], int(tools_NK.max()) + 1),
            strength,
        )
        q_NK[held_N] = np.take_along_axis(table, np.maximum(tools_NK[held_N], 0), axis=1)
    return np.where(tools_NK >= 0, q_NK, 0.0)


def bandwidth(contexts_ND: Floats, *, sample: int = SAMPLE) -> float:
    """Median distance to the √n-th nearest of n contexts: as wide as the data are sparse; above 0.

    At most `sample` of them, evenly spaced in the log, are looked at.

    >>> bandwidth(np.array([[0.0], [1.0], [2.0], [3.0]]))
    1.5
    """
    few = contexts_ND[:: max(1, len(contexts_ND) // sample)]
    nearest = max(1, min(len(few) - 1, round(len(few) ** 0.5)))
    ordered = np.sort(np.sqrt(_squared_distances(few, few)), axis=1)
    return max(float(np.median(ordered[:, min(nearest, len(few) - 1)])), 1e-9)


def _predicted(contexts_ND: Floats, known_ND: Floats, chosen_NT: tuple[Floats, Floats], strength: float) -> Floats:
    """(s · m_t + Σ_j κ(x, x_j) r_j) / (s + Σ_j κ(x, x_j)) over the known j that chose tool t; shape (N, T)."""
    hits_NT, tried_NT = chosen_NT
    overall = float(hits_NT.sum() / tried_NT.sum())
    means_T = shrunk_means(hits_NT.sum(axis=0), tried_NT.sum(axis=0), overall, strength)
    width = bandwidth(known_ND)
    rows = []
    for start in range(0, len(contexts_ND), ROWS_AT_ONCE):
        distances = _squared_distances(contexts_ND[start : start + ROWS_AT_ONCE], known_ND)
        kernel = np.exp(-0.5 * distances / width**2)
        rows.append((strength * means_T + kernel @ hits_NT) / (strength + kernel @ tried_NT))
    return np.concatenate(rows)


def _by_tool(chosen_N: Integers, rewards_N: Floats, tools: int) -> tuple[Floats, Floats]:
    """Reward and one at the tool that was chosen, 0 elsewhere; shape (N, T) each."""
    tried_NT = np.zeros((len(chosen_N), tools))
    tried_NT[np.arange(len(chosen_N)), chosen_N] = 1.0
    return tried_NT * rewards_N[:, None], tried_NT


def _folds(episodes_N: Integers, folds: int, rng: np.random.Generator) -> Integers:
    names_E, place_N = np.unique(episodes_N, return_inverse=True)
    if not 2 <= folds <= len(names_E):
        raise SelectorUsageError(f"folds must lie between 2 and the {len(names_E)} episodes of the log, got {folds}")
    return np.asarray((rng.permutation(len(names_E)) % folds)[place_N], np.int64)


def _squared_distances(left_ND: Floats, right_ND: Floats) -> Floats:
    squares = (left_ND**2).sum(axis=1)[:, None] + (right_ND**2).sum(axis=1)[None] - 2.0 * left_ND @ right_ND.T
    return np.asarray(np.maximum(squares, 0.0), np.float64)


def _check(contexts_ND: Floats, tools_NK: Integers, logged: LoggedDecisions, strength: float) -> None:
    if contexts_ND.ndim != 2 or len(contexts_ND) != len(logged) or not np.isfinite(contexts_ND).all():
        raise SelectorUsageError(f"contexts_ND must be finite with {len(logged)} rows, got shape {contexts_ND.shape}")
    if tools_NK.shape != logged.offered_NK.shape:
        raise SelectorUsageError(f"tools_NK must have shape {logged.offered_NK.shape}, got {tools_NK.shape}")
    if (tools_NK[logged.offered_NK] < 0).any():
        raise SelectorUsageError("what was offered needs the number of its tool in tools_NK, 0 or more")
    if not strength > 0:
        raise SelectorUsageError(f"strength must be above 0, got {strength}")

"""Off-policy estimators: one equation, one function, one contribution for each decision.

The mean of a function's contributions is the estimate, and their spread is its sampling error: a self-normalised
estimate is given by its influence values (the delta method), not by its rescaled terms, so one interval serves all.
"""

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]


def importance_weights(chosen_probabilities_N: Floats, propensities_N: Floats, *, clip: float = np.inf) -> Floats:
    """w = min(π(a) / p, clip): target probability of what was chosen over its propensity; shape (N,), 0 or more.

    `propensities_N` in (0, 1]; `clip` above 0 trades bias for variance (Ionides 2008; Bottou et al. 2013,
    arXiv 1209.2355).

    >>> importance_weights(np.array([0.5, 0.9]), np.array([0.25, 0.01]), clip=10.0).tolist()
    [2.0, 10.0]
    """
    if not clip > 0:
        raise SelectorUsageError(f"clip must be above 0, got {clip}; infinity leaves the weights as they are")
    return np.asarray(np.minimum(chosen_probabilities_N / propensities_N, clip), np.float64)


def switched_weights(weights_N: Floats, threshold: float) -> Floats:
    """w · 1[w ≤ τ]: beyond τ the reward model speaks alone (Switch-DR; Wang, Agarwal & Dudík 2017, arXiv 1612.01205).

    `threshold` τ is 0 or more; τ = 0 leaves the direct method, infinity doubly robust.  Shape (N,).

    >>> switched_weights(np.array([0.5, 4.0]), 2.0).tolist()
    [0.5, 0.0]
    """
    if not threshold >= 0:
        raise SelectorUsageError(f"the threshold of switching must be 0 or more, got {threshold}")
    return np.where(weights_N <= threshold, weights_N, 0.0)


def shrunk_weights(weights_N: Floats, strength: float) -> Floats:
    """λ w / (w² + λ), never above √λ / 2: optimistic shrinkage (DRos; Su et al. 2020, arXiv 1907.09623); shape (N,).

    `strength` λ is 0 or more; λ = 0 leaves the direct method, infinity doubly robust.

    >>> shrunk_weights(np.array([1.0, 3.0]), 1.0).tolist()
    [0.5, 0.3]
    """
    if not strength >= 0:
        raise SelectorUsageError(f"the strength of shrinkage must be 0 or more, got {strength}")
    if np.isinf(strength):
        return weights_N
    return np.divide(strength * weights_N, weights_N**2 + strength, out=np.zeros_like(weights_N), where=weights_N > 0)


def direct_method(target_NK: Floats, q_NK: Floats) -> Floats:
    """Σ_a π(a) q(a): the reward model's word alone (Beygelzimer & Langford 2009, arXiv 0812.4044); shape (N,).

    >>> direct_method(np.array([[0.25, 0.75]]), np.array([[0.0, 1.0]])).tolist()
    [0.75]
    """
    return np.asarray((target_NK * q_NK).sum(axis=1), np.float64)


def inverse_propensity(rewards_N: Floats, weights_N: Floats) -> Floats:
    """w r (Horvitz & Thompson 1952; Strehl et al. 2010, arXiv 1003.0120): unbiased with exact propensities; shape (N,).

    >>> inverse_propensity(np.array([1.0, 0.5]), np.array([2.0, 1.0])).tolist()
    [2.0, 0.5]
    """
    return np.asarray(rewards_N * weights_N, np.float64)


def self_normalised(rewards_N: Floats, weights_N: Floats) -> Floats:
    """v + w (r − v) / w̄ with v = Σ w r / Σ w, whose mean is v (SNIPS; Swaminathan & Joachims 2015, NIPS); shape (N,).

    Consistent, and biased by the order of 1/N.  Raises SelectorUsageError where every weight is 0.

    >>> self_normalised(np.array([1.0, 0.0]), np.array([3.0, 1.0])).tolist()
    [1.125, 0.375]
    """
    total = float(weights_N.sum())
    if total <= 0:
        raise SelectorUsageError("every weight is 0: the target policy never chooses what the log chose")
    value = float(weights_N @ rewards_N) / total
    return np.asarray(value + weights_N * (rewards_N - value) * (len(weights_N) / total), np.float64)


def doubly_robust(direct_N: Floats, residuals_N: Floats, weights_N: Floats) -> Floats:
    """Σ_a π(a) q(a) + w (r − q(a)): right where the model or the propensities are (Dudík et al. 2011, arXiv 1103.4601).

    `direct_N` from `direct_method`, `residuals_N` r − q of what was chosen; with clipped, switched or shrunk weights
    this is clipped DR, Switch-DR or DRos.  Shape (N,).

    >>> doubly_robust(np.array([0.5]), np.array([0.25]), np.array([2.0])).tolist()
    [1.0]
    """
    return np.asarray(direct_N + weights_N * residuals_N, np.float64)


def self_normalised_doubly_robust(direct_N: Floats, residuals_N: Floats, weights_N: Floats) -> Floats:
    """Σ_a π(a) q(a) + the self-normalised mean of w (r − q) (SNDR; Thomas & Brunskill 2016, arXiv 1604.00923).

    Arguments as for `doubly_robust`; shape (N,).

    >>> self_normalised_doubly_robust(np.array([0.5, 0.5]), np.array([0.2, 0.2]), np.array([3.0, 1.0])).tolist()
    [0.7, 0.7]
    """
    return np.asarray(direct_N + self_normalised(residuals_N, weights_N), np.float64)


def bias_bound(weights_N: Floats, altered_N: Floats, residuals_N: Floats, *, risk: float = 0.05) -> float:
    """|mean (w − ŵ)(r − q)| + √(2 w²̄ ln(2/δ) / N) + 2 w_max ln(2/δ) / (3 N): how far altered weights can mislead.

    Su et al. 2020 (arXiv 1907.09623, appendix on model selection); it holds with probability 1 − `risk`, in (0, 1), for
    rewards in [0, 1].  `altered_N` ŵ are the clipped, switched or shrunk weights.

    >>> bias_bound(np.zeros(4), np.zeros(4), np.ones(4))
    0.0
    """
    if not 0 < risk < 1:
        raise SelectorUsageError(f"risk must lie in (0, 1), got {risk}")
    decisions = len(weights_N)
    doubt = float(np.log(2.0 / risk))
    direct = abs(float(np.mean((weights_N - altered_N) * residuals_N)))
    spread = float(np.sqrt(2.0 * np.mean(weights_N**2) * doubt / decisions))
    return direct + spread + 2.0 * float(weights_N.max()) * doubt / (3.0 * decisions)


def squared_error_bound(contributions_N: Floats, bias: float) -> float:
    """Var(contributions) / N + bias²: what tuning makes small (Su et al. 2020, arXiv 1907.09623).

    >>> squared_error_bound(np.array([0.0, 1.0]), 0.5)
    0.375
    """
    return float(np.var(contributions_N)) / len(contributions_N) + bias**2


def by_episode_and_step(values_N: Floats, episodes_N: NDArray[np.int64], fill: float) -> Floats:
    """Values of E episodes (in rising order of their numbers) by T steps (in the order of the log); shape (E, T).

    What an episode that ended earlier lacks is `fill`.

    >>> by_episode_and_step(np.array([1.0, 2.0, 3.0]), np.array([7, 4, 7]), 0.0).tolist()
    [[2.0, 0.0], [1.0, 3.0]]
    """
    _, episode_N, counts_E = np.unique(episodes_N, return_inverse=True, return_counts=True)
    order_N = np.argsort(episode_N, kind="stable")
    step_N = np.arange(len(order_N)) - np.repeat(np.cumsum(counts_E) - counts_E, counts_E)
    values_ET = np.full((len(counts_E), int(counts_E.max())), fill)
    values_ET[episode_N[order_N], step_N] = values_N[order_N]
    return values_ET


def per_decision_returns(rewards_ET: Floats, weights_ET: Floats, *, discount: float = 1.0) -> Floats:
    """Σ_t γ^t (Π_{s ≤ t} w_s) r_t for each of E episodes of at most T steps (Precup, Sutton & Singh 2000); shape (E,).

    Episodes that ended earlier are padded with reward 0 and weight 1; `discount` γ in [0, 1].

    >>> per_decision_returns(np.array([[1.0, 1.0]]), np.array([[2.0, 0.5]])).tolist()
    [3.0]
    """
    if not 0 <= discount <= 1:
        raise SelectorUsageError(f"discount must lie in [0, 1], got {discount}")
    discounts_T = discount ** np.arange(rewards_ET.shape[1])
    return np.asarray((np.cumprod(weights_ET, axis=1) * rewards_ET) @ discounts_T, np.float64)

"""A Bayesian linear model of every tool's rewards, and how far it is to be believed beside the kernel.

Reward ≈ θ·φ with features φ = (1, state) (Agrawal & Goyal 2013), the covariance kept as a square-root factor (Potter
1963); kernel and line are averaged by how well each foretold the rewards that came (Vovk 2001, Competitive on-line
statistics).  Variances are in units of the noise of one reward, so that one over a variance is a number of
observations.  Letters: K tools offered, T tools known, N rows, D vector entries, E features, P prototypes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import exp

import numpy as np
from numpy.typing import NDArray

from selector.kernel_values import Floats, Numbers, Posterior, Report, Vectors

MOST_PLAIN = 64
DIRECTIONS = 32
RIDGE = 0.03
RATE = 2.0
FORGOTTEN = 0.999
FIRST_ODDS = -3.0
SMALLEST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class LinearPosterior:
    """One tool's weights: `mean_E`, and `factor_EE` F with covariance FᵀF in units of the noise."""

    mean_E: Floats
    factor_EE: Floats


def updated(believed: LinearPosterior, features_E: Floats, reward: float, weight: float) -> LinearPosterior:
    """After one more reward: φ = Fx, c = φᵀφ + 1/w, μ + Fᵀφ(r − xᵀμ)/c, F − φ(Fᵀφ)ᵀ/(c(1 + 1/√(wc))) (Potter 1963).

    `weight` w in [0, 1]; 0 changes nothing.  Shapes (E,) and (E, E).

    >>> after = updated(LinearPosterior(np.zeros(1), np.eye(1)), np.ones(1), 1.0, 1.0)
    >>> after.mean_E.tolist(), (after.factor_EE**2).round(6).tolist()
    ([0.5], [[0.5]])
    """
    if weight == 0.0:
        return believed
    along_E = believed.factor_EE @ features_E
    whole = float(along_E @ along_E) + 1.0 / weight
    gain_E = along_E @ believed.factor_EE
    mean_E = believed.mean_E + gain_E * ((reward - float(features_E @ believed.mean_E)) / whole)
    shrinking = along_E / (whole * (1.0 + (weight * whole) ** -0.5))
    return LinearPosterior(mean_E, believed.factor_EE - shrinking[:, None] * gain_E)


def fitted(features_NE: Floats, rewards_N: Floats, weights_N: Floats, ridge: float) -> LinearPosterior:
    """All rows at once: precision A = λI + Σ w φφᵀ, μ = A⁻¹ Σ w φ r, F = L⁻¹ where A = LLᵀ; λ `ridge` > 0.

    >>> fitted(np.ones((1, 1)), np.ones(1), np.ones(1), 1.0).mean_E.round(6).tolist()
    [0.5]
    """
    weighed_NE = features_NE * weights_N[:, None]
    entries = features_NE.shape[1]
    lower_EE = np.linalg.cholesky(weighed_NE.T @ features_NE + ridge * np.eye(entries))
    factor_EE = np.linalg.inv(lower_EE)
    return LinearPosterior((factor_EE @ (rewards_N @ weighed_NE)) @ factor_EE, factor_EE)


def squared_error(reward: float, mean: float) -> float:
    """(r − m)², the mean m cut to [0, 1] as the reward is.

    >>> squared_error(1.0, 1.5), squared_error(0.0, 0.5)
    (0.0, 0.25)
    """
    return (reward - min(max(mean, 0.0), 1.0)) ** 2


def next_odds(odds: float, gain: float, weight: float) -> float:
    """Log odds of the linear model after one more reward: o + w·((1 − γ)(o₁ − o) + 2·gain), o₁ the first odds.

    `gain` is the kernel's squared error less the linear one's; 2 is the highest rate at which Vovk's aggregating
    algorithm (2001) foretells rewards in [0, 1] nearly as well as the better model; γ lets older evidence fade.
    Likelihoods would count a wide prior, which a few rewards do away with, against the linear model for long.

    >>> next_odds(FIRST_ODDS, 0.5, 1.0) - FIRST_ODDS
    1.0
    """
    return odds + weight * ((1.0 - FORGOTTEN) * (FIRST_ODDS - odds) + RATE * gain)


def averaged(kernel: Posterior, means_K: Floats, counts_K: Floats, share: float) -> Posterior:
    """The kernel's posterior and the linear one as one of their mixture's mean and variance; `share` in [0, 1].

    m = (1 − p)·m_k + p·m_l and 1/n = (1 − p)/n_k + p/n_l.  The variance between the two models is left out: which of
    them is right is one question for all tools, and `share` answers it.
    """
    mixed_K = (1.0 - share) / kernel.counts_K + share / counts_K
    return Posterior((1.0 - share) * kernel.means_K + share * means_K, 1.0 / mixed_K, kernel.suspicions_K)


def main_directions(centres_PD: Vectors, most: int) -> Vectors:
    """Orthonormal directions in which unit prototypes lie, the main ones first; shape (D, E − 1), zeros to fill it up.

    >>> np.abs(main_directions(np.eye(3, dtype=np.float32)[:1], 2)).tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    directions_PD = np.linalg.svd(centres_PD, full_matrices=False)[2][:most]
    found_DE = np.zeros((centres_PD.shape[1], most), np.float32)
    found_DE[:, : len(directions_PD)] = directions_PD.T
    return found_DE


@dataclass(frozen=True, slots=True)
class Rows:
    """N rewarded states: `states_ND`, the tools' `columns_N`, `rewards_N` in [0, 1], `weights_N` in [0, 1]."""

    states_ND: Vectors
    columns_N: Numbers
    rewards_N: Floats
    weights_N: Floats


@dataclass(slots=True)
class _Held:
    """The arrays of a layer; `odds_1` are the log odds of the linear model against the kernel."""

    directions_DE: Vectors
    linear_means_TE: Floats
    linear_factors_TEE: Floats
    odds_1: Floats


class LinearLayer:
    """Linear posteriors of all tools, and the share of belief they have earned beside the kernel's."""

    def __init__(self, dimension: int) -> None:
        self._is_plain = dimension <= MOST_PLAIN
        entries = dimension if self._is_plain else DIRECTIONS
        directions_DE = np.zeros((0, 0) if self._is_plain else (dimension, entries), np.float32)
        none_TE, none_TEE = np.zeros((0, entries + 1)), np.zeros((0, entries + 1, entries + 1))
        self._held = _Held(directions_DE, none_TE, none_TEE, np.array([float(FIRST_ODDS)]))

    @property
    def share(self) -> float:
        """The linear model's share of belief, in (0, 1)."""
        return 1.0 / (1.0 + exp(-min(max(float(self._held.odds_1[0]), -50.0), 50.0)))

    def widen(self, more: int) -> None:
        """Make room for more tools, of which nothing is known."""
        held = self._held
        entries = held.linear_means_TE.shape[1]
        prior_TEE = np.broadcast_to(np.eye(entries) * RIDGE**-0.5, (more, entries, entries))
        held.linear_means_TE = np.concatenate([held.linear_means_TE, np.zeros((more, entries))])
        held.linear_factors_TEE = np.concatenate([held.linear_factors_TEE, prior_TEE])

    def blended(self, kernel: Posterior, state_D: Vectors, columns_K: Numbers) -> Posterior:
        """The kernel's posterior of K tools averaged with the linear one, which is left out where it has no share."""
        share = self.share
        if share < SMALLEST_SHARE:
            return kernel
        held = self._held
        features_E = self.features(state_D[None])[0]
        variances_K = _variances(held.linear_factors_TEE, features_E, columns_K)
        return averaged(kernel, held.linear_means_TE[columns_K] @ features_E, 1.0 / variances_K, share)

    def learn(self, report: Report, foretold: float) -> None:
        """Judge both models by a reward, for which the kernel `foretold` a mean; then learn it."""
        held, column = self._held, report.column
        features_E = self.features(report.state_D[None])[0]
        believed = LinearPosterior(held.linear_means_TE[column], held.linear_factors_TEE[column])
        kernel_error = squared_error(report.reward, foretold)
        linear_error = squared_error(report.reward, float(features_E @ believed.mean_E))
        held.odds_1[0] = next_odds(float(held.odds_1[0]), kernel_error - linear_error, report.weight)
        after = updated(believed, features_E, report.reward, report.weight)
        held.linear_means_TE[column], held.linear_factors_TEE[column] = after.mean_E, after.factor_EE

    def turn(self, centres_PD: Vectors) -> None:
        """Look along the main directions of these prototypes from now on; what was learned must be learned anew."""
        if not self._is_plain:
            self._held.directions_DE = main_directions(centres_PD, DIRECTIONS)

    def relearn(self, rows: Rows) -> None:
        """Believe what the rows say, whatever was believed before."""
        held = self._held
        for column in range(len(held.linear_means_TE)):
            here = np.flatnonzero(rows.columns_N == column)
            features_NE = self.features(rows.states_ND[here])
            one = fitted(features_NE, rows.rewards_N[here], rows.weights_N[here], RIDGE)
            held.linear_means_TE[column], held.linear_factors_TEE[column] = one.mean_E, one.factor_EE

    def features(self, states_ND: Vectors) -> Floats:
        """(1, state), or (1, the state along the main directions) where it has more than 64 entries; shape (N, E)."""
        seen_ND = states_ND if self._is_plain else states_ND @ self._held.directions_DE
        features_NE = np.ones((len(seen_ND), seen_ND.shape[1] + 1))
        features_NE[:, 1:] = seen_ND
        return features_NE

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name."""
        return {one.name: getattr(self._held, one.name) for one in fields(_Held)}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Become the layer that gave these arrays."""
        self._held = _Held(**{one.name: arrays[one.name].copy() for one in fields(_Held)})  # type: ignore[arg-type]


def _variances(factors_TEE: Floats, features_E: Floats, columns_K: Numbers) -> Floats:
    """‖Fφ‖² for each of K tools; copies the factors of those offered only where they are few of those known."""
    tools, entries = factors_TEE.shape[:2]
    is_few = 2 * len(columns_K) < tools
    factors_TEE = factors_TEE[columns_K] if is_few else factors_TEE
    along_TE = (factors_TEE.reshape(-1, entries) @ features_E).reshape(-1, entries)
    squares_T: Floats = np.einsum("te,te->t", along_TE, along_TE)
    return squares_T if is_few else squares_T[columns_K]

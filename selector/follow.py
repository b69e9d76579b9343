"""Following a proven path: stored trajectories that passed through a state like this one, and what each did next.

A path stands for all stored trajectories with the same sequence of tools.  It is good to follow from here as far as
those succeeded, as this moment matches, as the tools that remain are healthy, and as other evidence agrees:

    logit P(its next action is right) = b + w₁ ln z + w₂ logit r + w₃ Σ ln h + w₄ ln a + w₅ logit p,

with z the weight of its nearest step as evidence, r the record (successes and attempts, shrunk toward all), h the
health of each tool from here to its end, a the share of the evidence that agrees on the next action, and p what the
choice among tools gives that action: where both disagree, the path must make up for it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from selector.posteriors import BetaPosterior, shrunk_means

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

FEATURES = ("match", "record", "health of what remains", "agreement", "choice")
MOST_PATHS = 5
RECORD_STRENGTH = 4.0
PATH_WEIGHT = 4.0
RIDGE = 5.0
CENTRE = np.array([0.0, 0.3, 0.3, 1.0, 0.3, 1.0])  # bias first: what is believed before any fit


@dataclass(frozen=True, slots=True)
class Paths:
    """P paths that may be followed, best match first; shape (P,) each, and `features_PF` (P, 4), all but the choice.

    `rows` are their steps in the experience, `places` the candidate that each does next, `attempts` how many stored
    trajectories took it.
    """

    rows: Numbers
    places: Numbers
    features_PF: Floats
    attempts: Floats

    def __len__(self) -> int:
        return len(self.rows)


NO_PATHS = Paths(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(FEATURES) - 1)), np.zeros(0))


@dataclass(frozen=True, slots=True)
class PathModel:
    """Calibration of paths: the bias, then one weight for each of FEATURES; shape (6,)."""

    weights: Floats

    def probabilities(self, features_PF: Floats) -> Floats:
        """P(the next action of each path is right), shape (P,)."""
        return np.asarray(expit(self.weights[0] + features_PF @ self.weights[1:]), np.float64)

    def posterior(self, paths: Paths, chosen_K: Floats) -> BetaPosterior:
        """Beta posterior of each path: its probability, weighing as much as its attempts.

        `chosen_K` is the probability of each candidate by the choice among tools.
        """
        probable = self.probabilities(path_features(paths.features_PF, chosen_K[paths.places]))
        means = np.minimum(np.maximum(probable, 1e-6), 1.0 - 1e-6)
        weight = PATH_WEIGHT + paths.attempts
        return BetaPosterior(means * weight, (1.0 - means) * weight)


@dataclass(frozen=True)
class Records:
    """How the stored trajectories of each tool sequence (template) ended; shape (templates,) each.

    What `is_low` (credibly worse than the others) is not followed.
    """

    wins: Floats
    attempts: Floats
    is_low: NDArray[np.bool_]

    @cached_property
    def rates(self) -> Floats:
        """Success of each template, shrunk toward that of all; shape (templates,)."""
        overall = (self.wins.sum() + 1.0) / (self.attempts.sum() + 2.0)
        return shrunk_means(self.wins, self.attempts, float(overall), RECORD_STRENGTH)


@dataclass(frozen=True, slots=True)
class Nearby:
    """Evidence rows that are examples (n of them): weight, template, candidate done next (−1: not offered).

    `health` is Σ ln h of the tools from the row to the end of its trajectory; shape (n,) each.
    """

    rows: Numbers
    weights: Floats
    templates: Numbers
    places: Numbers
    health: Floats


def find_paths(nearby: Nearby, records: Records) -> Paths:
    """The best row of each template, at most MOST_PATHS of them."""
    usable = np.flatnonzero((nearby.places >= 0) & (nearby.weights > 0.0) & ~records.is_low[nearby.templates])
    order = usable[(-nearby.weights[usable]).argsort(kind="stable")]
    best = _first_of_each(order, nearby.templates, MOST_PATHS)
    agreeing = np.bincount(nearby.places[usable], nearby.weights[usable]) if len(usable) else np.zeros(1)
    templates, places = nearby.templates[best], nearby.places[best]
    rates = np.minimum(np.maximum(records.rates[templates], 1e-3), 1.0 - 1e-3)
    share = agreeing[places] / max(float(agreeing.sum()), 1e-12)
    match, record, agreement = np.log(np.stack([nearby.weights[best], rates / (1.0 - rates), share]))
    features_PF = np.stack([match, record, nearby.health[best], agreement], axis=1)
    return Paths(nearby.rows[best], places, features_PF, records.attempts[templates])


def _first_of_each(order: Numbers, templates: Numbers, most: int) -> Numbers:
    """At most so many places, the first of `order`, shape (n,), without those whose template stands before them."""
    first: dict[int, int] = {}
    for place, template in zip(order.tolist(), templates[order].tolist(), strict=True):
        first.setdefault(template, place)
        if len(first) == most:
            break
    return np.array([*first.values()], np.int64)


def path_features(features_PF: Floats, chosen_P: Floats) -> Floats:
    """All FEATURES of P paths, shape (P, 5): the four known of them alone, and logit p of the action each names."""
    chosen = np.minimum(np.maximum(chosen_P, 1e-6), 1.0 - 1e-6)
    return np.concatenate([features_PF, np.log(chosen / (1.0 - chosen))[:, None]], axis=1)


def unfitted_paths() -> PathModel:
    """The calibration before any fit."""
    return PathModel(CENTRE.copy())


def fit_paths(features_NF: Floats, is_right_N: NDArray[np.bool_]) -> PathModel:
    """Logistic regression drawn toward what is believed before any fit (ridge); weights of evidence stay ≥ 0.

    Platt's scaling (1999) on N rows of `path_features`, each with whether its next action was right.
    """
    if not len(is_right_N):
        return unfitted_paths()
    design = np.concatenate([np.ones((len(features_NF), 1)), features_NF], axis=1)
    signs = np.where(is_right_N, 1.0, -1.0)

    def objective(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (design @ weights)
        away = weights - CENTRE
        loss = np.logaddexp(0.0, -margins).sum() + RIDGE * away @ away
        slope = design.T @ (-signs * expit(-margins)) + 2.0 * RIDGE * away
        return float(loss), slope

    bounds = [(None, None)] + [(0.0, 5.0)] * len(FEATURES)
    found = minimize(objective, CENTRE, jac=True, method="L-BFGS-B", bounds=bounds)
    return PathModel(np.asarray(found.x, np.float64))

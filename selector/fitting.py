"""Fits the choice model to stored decisions, each assessed without its own family or group.

Two convex steps.  First θ and ψ (what holds for every tool), θ ≥ 0 and drawn toward equal pooling; then, with that as a
fixed offset, the weights that belong to single tools, drawn toward 0.  The experts are asked with the decision's own
unit left out, so that their weights are those that they earn on unseen tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from selector.choice_model import ChoiceModel, softmax, unfitted
from selector.features import STATE_FEATURES, Sparse
from selector.follow import PathModel, fit_paths, path_features, unfitted_paths
from selector.knowledge import EXPERTS
from selector.relations import RELATIONS

Floats = NDArray[np.float64]

STRANGEST = 0.01


@dataclass(frozen=True, slots=True)
class Example:
    """One stored decision: K candidates, of which number `chosen` was right, believed with `weight`.

    `paths` (P, 4) describe the paths that could have been followed, best match first, and `path_places` (P,) what
    candidate each of them names.  `similarity` is that of the nearest stored step.
    """

    experts: Floats
    features: Sparse
    tools: NDArray[np.int64]
    relations: Floats | None
    chosen: int
    weight: float
    paths: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    path_places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    similarity: float = 1.0


@dataclass(frozen=True, slots=True)
class Penalties:
    """How strongly each kind of weight is drawn back (ridge)."""

    experts: float = 0.01
    relations: float = 0.001
    tools: float = 4.0
    iterations: int = 60


@dataclass(frozen=True, slots=True)
class _Design:
    """All examples in flat arrays: one row a candidate, `starts` where each example begins."""

    shared: Floats
    relations: Floats
    tools: NDArray[np.int64]
    starts: NDArray[np.int64]
    owners: NDArray[np.int64]
    chosen: NDArray[np.int64]
    weights: Floats
    features: csr_matrix

    def losses(self, logits: Floats) -> tuple[float, Floats]:
        """Weighted negative log-likelihood, and its gradient for each candidate's logit."""
        peaks = np.maximum.reduceat(logits, self.starts)
        grown = np.exp(logits - peaks[self.owners])
        sums = np.add.reduceat(grown, self.starts)
        loss = self.weights @ (np.log(sums) + peaks - logits[self.chosen])
        slope = self.weights[self.owners] * grown / sums[self.owners]
        slope[self.chosen] -= self.weights
        return float(loss), slope


def fit(examples: Sequence[Example], tools: int, penalties: Penalties | None = None) -> ChoiceModel:
    """The choice model of `tools` known tools; the unfitted one where there are no examples."""
    start = unfitted(tools)
    if not examples:
        return start
    penalties = penalties or Penalties()
    design = _design(examples, tools)
    with threadpool_limits(1, "blas"):  # teams of spinning threads cost more than they bring here
        shared = _fit_shared(design, start, penalties)
        offset = design.shared @ shared
        state, tool_relations = _fit_tools(design, offset, tools + 1, penalties)
    return ChoiceModel(shared[: len(EXPERTS)], shared[len(EXPERTS) :], tool_relations, state)


def fit_path_model(examples: Sequence[Example], model: ChoiceModel) -> PathModel:
    """The calibration of paths, from the best match of each decision and whether it named the right candidate."""
    known = [one for one in examples if len(one.paths)]
    if not known:
        return unfitted_paths()
    chosen = np.array([_probabilities(one, model)[one.path_places[0]] for one in known])
    right = np.array([one.path_places[0] == one.chosen for one in known])
    return fit_paths(path_features(np.stack([one.paths[0] for one in known]), chosen), right)


def familiar_similarity(examples: Sequence[Example]) -> float:
    """How near the nearest stored step is at least, for all but the strangest 1 % of stored decisions; −1 for none."""
    similarities = [one.similarity for one in examples]
    return float(np.quantile(similarities, STRANGEST)) if similarities else -1.0


def _probabilities(example: Example, model: ChoiceModel) -> Floats:
    return softmax(model.logits(example.experts, example.features, example.tools, example.relations))


def _design(examples: Sequence[Example], tools: int) -> _Design:
    sizes = np.array([len(example.tools) for example in examples])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    empty = np.zeros((1, len(RELATIONS)))
    relations = np.concatenate(
        [
            np.broadcast_to(empty, (len(example.tools), len(RELATIONS)))
            if example.relations is None
            else example.relations
            for example in examples
        ]
    )
    numbers = np.concatenate([example.tools for example in examples])
    return _Design(
        shared=np.concatenate([np.concatenate([example.experts for example in examples]), relations], axis=1),
        relations=relations,
        tools=np.where(numbers < 0, tools, numbers),
        starts=starts,
        owners=np.repeat(np.arange(len(examples)), sizes),
        chosen=starts + np.array([example.chosen for example in examples]),
        weights=np.array([example.weight for example in examples]),
        features=_features(examples),
    )


def _features(examples: Sequence[Example]) -> csr_matrix:
    sizes = [len(example.features.places) for example in examples]
    return csr_matrix(
        (
            np.concatenate([example.features.values for example in examples]),
            np.concatenate([example.features.places for example in examples]),
            np.concatenate([[0], np.cumsum(sizes)]),
        ),
        shape=(len(examples), STATE_FEATURES),
    )


def _fit_shared(design: _Design, start: ChoiceModel, penalties: Penalties) -> Floats:
    """θ and ψ in one vector."""
    centre = np.concatenate([start.experts, start.relations])
    pull = np.repeat([penalties.experts, penalties.relations], [len(EXPERTS), len(RELATIONS)]) * design.weights.sum()

    def objective(weights: Floats) -> tuple[float, Floats]:
        loss, slope = design.losses(design.shared @ weights)
        away = weights - centre
        return loss + float(pull @ away**2), design.shared.T @ slope + 2.0 * pull * away

    bounds = [(0.0, 3.0)] * len(EXPERTS) + [(None, None)] * len(RELATIONS)
    found = minimize(objective, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float64)


def _fit_tools(design: _Design, offset: Floats, tools: int, penalties: Penalties) -> tuple[Floats, Floats]:
    """W (F, T + 1) and ψ_tool (T + 1, R), with the shared part as a fixed offset."""
    examples, cut = len(design.weights), STATE_FEATURES * tools
    cells = design.owners * tools + design.tools
    transposed = design.features.T.tocsr()

    def objective(weights: Floats) -> tuple[float, Floats]:
        state, relations = weights[:cut].reshape(STATE_FEATURES, tools), weights[cut:].reshape(tools, -1)
        logits = offset + (design.features @ state).ravel()[cells] + (design.relations * relations[design.tools]).sum(1)
        loss, slope = design.losses(logits)
        state_slope = transposed @ np.bincount(cells, slope, examples * tools).reshape(examples, tools)
        relation_slope = np.zeros((tools, design.relations.shape[1]))
        np.add.at(relation_slope, design.tools, design.relations * slope[:, None])
        gradient = np.concatenate([state_slope.ravel(), relation_slope.ravel()]) + penalties.tools * weights
        return loss + 0.5 * penalties.tools * float(weights @ weights), gradient

    start = np.zeros(cut + tools * design.relations.shape[1])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": penalties.iterations})
    return found.x[:cut].reshape(STATE_FEATURES, tools), found.x[cut:].reshape(tools, -1)

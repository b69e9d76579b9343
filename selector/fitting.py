"""Fits the choice model to stored decisions, each assessed without its own family or group.

Two convex steps, and a small network.  First θ and ψ (what holds for every tool), θ ≥ 0 and drawn toward equal
pooling; then, with that as a fixed offset, the weights that belong to single tools, drawn toward 0; last what features
mean together.  The experts are asked with the decision's own unit left out, so that their weights are those that they
earn on unseen tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from selector.choice_model import ActionFeatures, ChoiceModel, softmax, unfitted
from selector.crosses import CROSSES, HASHED_CROSSES, NONE, SAID
from selector.features import STATE_FEATURES, Sparse
from selector.follow import PathModel, fit_paths, path_features, unfitted_paths
from selector.interplay import Decisions, fit_interplay, shares_by_decision
from selector.knowledge import EXPERTS
from selector.relations import RELATIONS

Floats = NDArray[np.float64]

STRANGEST = 0.01
FEWEST_TOLD = 200


@dataclass(frozen=True, slots=True)
class Example:
    """One stored decision: K candidates, of which number `chosen` was right (or `is_wrong`), believed with `weight`.

    `paths` (P, 4) describe the paths that could have been followed, best match first, and `path_places` (P,) what
    candidate each of them names.  `nearest_step` and `nearest_task` are the similarities of what comes nearest.
    Examples of one `unit` are left out together.
    """

    experts: Floats
    features: Sparse
    tools: NDArray[np.int64]
    actions: ActionFeatures | None
    chosen: int
    weight: float
    paths: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    path_places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    nearest_step: float = 1.0
    nearest_task: float = 1.0
    is_wrong: bool = False
    unit: int = 0


@dataclass(frozen=True, slots=True)
class Familiar:
    """Similarities in [−1, 1] below which the nearest stored step, and the nearest stored task, are strange."""

    step: float
    task: float

    def is_strange(self, nearest_step: float, nearest_task: float, slack: float) -> bool:
        """Whether a moment is like nothing stored: neither the step nor its task comes near anything, by `slack`.

        A known task in a new state (other objects, other numbers) is not strange.  A task without words says nothing.
        """
        is_task_strange = nearest_task <= 0.0 or nearest_task < self.task - slack
        return nearest_step < self.step - slack and is_task_strange


EVERYTHING = Familiar(-1.0, -1.0)


@dataclass(frozen=True, slots=True)
class Penalties:
    """How strongly each kind of weight is drawn back (ridge)."""

    experts: float = 0.01
    relations: float = 0.001
    tools: float = 4.0
    crosses: float = 0.5
    said: float = 16.0
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
    is_wrong: NDArray[np.bool_]
    features: csr_matrix
    crosses: csr_matrix

    def losses(self, logits: Floats) -> tuple[float, Floats]:
        """Weighted −ln p of what was right, −ln(1 − p) of what was wrong; and its gradient for each candidate's logit.

        The second is the unlikelihood of Welleck et al. 2020 (arXiv 1908.04319).
        """
        shares = shares_by_decision(logits, self.starts, self.owners)
        chosen = np.clip(shares[self.chosen], 1e-12, 1.0 - 1e-9)
        loss = self.weights @ np.where(self.is_wrong, -np.log1p(-chosen), -np.log(chosen))
        pulls = self.weights * np.where(self.is_wrong, -chosen / (1.0 - chosen), 1.0)
        slope = pulls[self.owners] * shares
        slope[self.chosen] -= pulls
        return float(loss), slope


def fit(examples: Sequence[Example], tools: int, penalties: Penalties | None = None) -> ChoiceModel:
    """The choice model of `tools` known tools; the unfitted one where there are no examples."""
    start = unfitted(tools, _related(examples))
    if not examples:
        return start
    penalties = penalties or Penalties()
    design = _design(examples, tools)
    with threadpool_limits(1, "blas"):  # teams of spinning threads cost more than they bring here
        shared = _fit_shared(design, start, penalties)
        offset = design.shared @ shared
        own = _fit_tools(design, offset, tools + 1, penalties)
    return ChoiceModel(
        shared[: len(EXPERTS)], shared[len(EXPERTS) :], own.relations, own.state, np.append(own.crosses, 0.0)
    )


def with_interplay(model: ChoiceModel, examples: Sequence[Example], seed: int = 0) -> ChoiceModel:
    """The model with what its features mean together, learned from grounded decisions that were right.

    As it is where fewer than FEWEST_TOLD of them are known.
    """
    told = [(one, one.actions) for one in examples if one.actions is not None and not one.is_wrong]
    if len(told) < FEWEST_TOLD:
        return model
    features = [np.concatenate([one.experts, actions.relations], axis=1) for one, actions in told]
    linear = [model.logits(one.experts, one.features, one.tools, actions) for one, actions in told]
    starts = np.cumsum([0, *map(len, linear)])[:-1]
    counts = np.array([one.weight for one, _ in told])
    known = Decisions(
        np.concatenate(features).astype(np.float32),
        np.concatenate(linear).astype(np.float32),
        starts,
        starts + np.array([one.chosen for one, _ in told]),
        (counts / counts.mean()).astype(np.float32),
    )
    return replace(model, interplay=fit_interplay(known, seed))


def fit_path_model(examples: Sequence[Example], model: ChoiceModel) -> PathModel:
    """The calibration of paths, from the best match of each decision and whether it named the right candidate."""
    known = [one for one in examples if len(one.paths) and not one.is_wrong]
    if not known:
        return unfitted_paths()
    chosen = np.array([_probabilities(one, model)[one.path_places[0]] for one in known])
    right = np.array([one.path_places[0] == one.chosen for one in known])
    return fit_paths(path_features(np.stack([one.paths[0] for one in known]), chosen), right)


def familiar_among(examples: Sequence[Example]) -> Familiar:
    """How near the nearest stored step and task are at least, for all but the strangest 1 % of stored decisions."""
    if all(one.is_wrong for one in examples):
        return EVERYTHING
    nearest = np.array([(one.nearest_step, one.nearest_task) for one in examples if not one.is_wrong])
    step, task = np.quantile(nearest, STRANGEST, axis=0)
    return Familiar(float(step), float(task))


def log_probability(example: Example, model: ChoiceModel) -> float:
    """ln of what the model gives the example's choice."""
    return float(np.log(np.maximum(_probabilities(example, model)[example.chosen], 1e-12)))


def _probabilities(example: Example, model: ChoiceModel) -> Floats:
    return softmax(model.logits(example.experts, example.features, example.tools, example.actions))


def _related(examples: Sequence[Example]) -> int:
    """How many relations the examples have."""
    return max((one.actions.relations.shape[1] for one in examples if one.actions is not None), default=len(RELATIONS))


def _design(examples: Sequence[Example], tools: int) -> _Design:
    sizes = np.array([len(example.tools) for example in examples])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    empty = np.zeros((1, _related(examples)))
    relations = np.concatenate(
        [
            np.broadcast_to(empty, (len(example.tools), empty.shape[1]))
            if example.actions is None
            else example.actions.relations
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
        is_wrong=np.array([example.is_wrong for example in examples]),
        features=_features(examples),
        crosses=_crosses(examples),
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
    pull = (
        np.repeat([penalties.experts, penalties.relations], [len(EXPERTS), len(start.relations)]) * design.weights.sum()
    )

    def objective(weights: Floats) -> tuple[float, Floats]:
        loss, slope = design.losses(design.shared @ weights)
        away = weights - centre
        return loss + float(pull @ away**2), design.shared.T @ slope + 2.0 * pull * away

    bounds = [(0.0, 3.0)] * len(EXPERTS) + [(None, None)] * len(start.relations)
    found = minimize(objective, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float64)


@dataclass(frozen=True, slots=True)
class _Own:
    """Weights of single tools and of sparse features: W (F, T + 1), ψ_tool (T + 1, R), χ (C,)."""

    state: Floats
    relations: Floats
    crosses: Floats


def _fit_tools(design: _Design, offset: Floats, tools: int, penalties: Penalties) -> _Own:
    """What belongs to single tools, with the shared part as a fixed offset."""
    examples, related = len(design.weights), design.relations.shape[1]
    counts = (STATE_FEATURES * tools, tools * related, HASHED_CROSSES, SAID)
    sizes = np.cumsum(counts)
    cells = design.owners * tools + design.tools
    features_T, crosses_T = design.features.T.tocsr(), design.crosses.T.tocsr()
    pull = np.repeat([penalties.tools, penalties.tools, penalties.crosses, penalties.said], counts)

    def parted(weights: Floats) -> _Own:
        state, relations, crosses = np.split(weights, sizes[:2])
        return _Own(state.reshape(STATE_FEATURES, tools), relations.reshape(tools, related), crosses)

    def objective(weights: Floats) -> tuple[float, Floats]:
        own = parted(weights)
        logits = offset + (design.features @ own.state).ravel()[cells] + design.crosses @ own.crosses
        logits += np.einsum("nr,nr->n", design.relations, own.relations[design.tools])
        loss, slope = design.losses(logits)
        state_slope = features_T @ np.bincount(cells, slope, examples * tools).reshape(examples, tools)
        relation_slope = np.zeros((tools, related))
        np.add.at(relation_slope, design.tools, design.relations * slope[:, None])
        parts = [state_slope.ravel(), relation_slope.ravel(), crosses_T @ slope]
        return loss + 0.5 * float(pull @ weights**2), np.concatenate(parts) + pull * weights

    found = minimize(
        objective, np.zeros(sizes[-1]), jac=True, method="L-BFGS-B", options={"maxiter": penalties.iterations}
    )
    return parted(found.x)


def _crosses(examples: Sequence[Example]) -> csr_matrix:
    """One row a candidate, in the order of the examples."""
    rows, places, first = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for example in examples:
        if example.actions is not None:
            row, column = np.nonzero(example.actions.crosses != NONE)
            rows.append(first + row)
            places.append(example.actions.crosses[row, column])
        first += len(example.tools)
    row, place = np.concatenate(rows), np.concatenate(places)
    return csr_matrix((np.ones(len(row)), (row, place)), (first, CROSSES))

"""A conditional logit over the candidates of a situation: how far each expert is believed, and what the words add.

    P(c | situation) ∝ exp( θ · experts(c) + ψ · relations(c) + ψ_tool(c) · relations(c) + W_tool(c) · state features )

McFadden's discrete choice model (1974).  θ pools the experts logarithmically (Genest & Zidek 1986); the rest is what
they leave unexplained, drawn toward 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.features import STATE_FEATURES, Sparse
from selector.knowledge import EXPERTS, TOOL_EXPERTS
from selector.relations import RELATIONS

Floats = NDArray[np.float64]

UNFITTED_EXPERT_WEIGHT = 0.25
UNFITTED_ACTION_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class ChoiceModel:
    """Weights: `experts` (E,), `relations` (R,), `tool_relations` (T + 1, R), `state` (F, T + 1).

    The last tool stands for tools that were never seen.
    """

    experts: Floats
    relations: Floats
    tool_relations: Floats
    state: Floats

    def logits(
        self, experts: Floats, features: Sparse, tools: NDArray[np.int64], relations: Floats | None = None
    ) -> Floats:
        """Unnormalised log-probabilities of K candidates whose tools have the numbers `tools` (K,); shape (K,).

        `experts` has shape (K, E), `relations` (K, R) or None where no candidate has arguments.
        """
        known = np.where(tools < len(self.tool_relations) - 1, tools, -1)
        state = features.values @ self.state[features.places]
        logits = experts @ self.experts + state[known]
        if relations is not None:
            logits += relations @ self.relations + (relations * self.tool_relations[known]).sum(axis=1)
        return np.asarray(logits, np.float64)


def unfitted(tools: int) -> ChoiceModel:
    """The model before any fit: experts pooled with equal weights, nothing from words."""
    weights = np.where(np.arange(len(EXPERTS)) < len(TOOL_EXPERTS), UNFITTED_EXPERT_WEIGHT, UNFITTED_ACTION_WEIGHT)
    return ChoiceModel(
        weights, np.zeros(len(RELATIONS)), np.zeros((tools + 1, len(RELATIONS))), np.zeros((STATE_FEATURES, tools + 1))
    )


def softmax(logits: Floats) -> Floats:
    """exp(z − max z), normalised; shape (K,).

    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    grown = np.exp(logits - logits.max())
    return np.asarray(grown / grown.sum(), np.float64)

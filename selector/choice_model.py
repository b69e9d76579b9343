"""A conditional logit over the candidates of a situation: how far each expert is believed, and what the words add.

    P(c | situation) ∝ exp( θ·experts(c) + (ψ + ψ_tool(c))·relations(c) + χ·crosses(c) + W_tool(c)·state features
                            + network(experts(c), relations(c)) )

McFadden's discrete choice model (1974).  θ pools the experts logarithmically (Genest & Zidek 1986); the rest is what
they leave unexplained, drawn toward 0, and last what experts and relations mean together (`selector.interplay`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.asked_things import said_of_asked
from selector.crosses import CROSSES, HASHED_CROSSES, crosses
from selector.features import STATE_FEATURES, Sparse
from selector.interplay import Interplay
from selector.knowledge import EXPERTS, TOOL_EXPERTS
from selector.reading import NO_WORDS
from selector.relations import RELATIONS, relations
from selector.situation import Situation

Floats = NDArray[np.float64]

UNFITTED_EXPERT_WEIGHT = 0.25
UNFITTED_ACTION_WEIGHT = 1.0
FEW = 64


@dataclass(frozen=True, slots=True)
class ActionFeatures:
    """What grounded candidates are like here: `relations` (K, R), and `crosses` (K, n), numbers of sparse features."""

    relations: Floats
    crosses: NDArray[np.int64]


def action_features(
    situation: Situation,
    paths: Floats | None = None,
    usual: NDArray[np.int64] = NO_WORDS,
    *,
    with_said: bool = False,
) -> ActionFeatures | None:
    """Features of the situation's candidates; None where none of them has more than a tool's name.

    `paths` (K, len(PATH_RELATIONS)), where they are asked for, are further relations; `usual` are the numbers of words
    that most tasks have.  `with_said` adds what is said of the things that the task names, where at most FEW candidates
    are offered: which of many is meant is told by relations.
    """
    if not situation.is_described:
        return None
    said = said_of_asked(situation, usual) if with_said and len(situation.candidates) <= FEW else NO_WORDS
    related = relations(situation, usual)
    if paths is not None:
        related = np.concatenate([related, paths], axis=1)
    return ActionFeatures(related, crosses(situation, said))


@dataclass(frozen=True, slots=True)
class ChoiceModel:
    """Weights: `experts` (E,), `relations` (R,), `tool_relations` (T + 1, R), `state` (F, T + 1), `crosses` (C + 1,).

    The last tool stands for tools that were never seen, the last of `crosses` is 0.  R is len(RELATIONS), and
    len(PATH_RELATIONS) more where stored paths were found to help.  `interplay` is of grounded candidates alone.
    """

    experts: Floats
    relations: Floats
    tool_relations: Floats
    state: Floats
    crosses: Floats
    interplay: Interplay | None = None

    @property
    def uses_paths(self) -> bool:
        """Whether it has weights for relations to stored paths."""
        return len(self.relations) > len(RELATIONS)

    @property
    def uses_said(self) -> bool:
        """Whether it has weights for what is said of the things that the task names."""
        return bool(self.crosses[HASHED_CROSSES:-1].any())

    def logits(
        self, experts: Floats, features: Sparse, tools: NDArray[np.int64], actions: ActionFeatures | None = None
    ) -> Floats:
        """Unnormalised log-probabilities of K candidates whose tools have the numbers `tools` (K,); shape (K,).

        `experts` has shape (K, E); `actions` is None where candidates are bare names.
        """
        known = np.where(tools < len(self.tool_relations) - 1, tools, -1)
        state = features.values @ self.state[features.places]
        logits = experts @ self.experts + state[known]
        if actions is not None:
            logits += actions.relations @ self.relations + self.crosses[actions.crosses].sum(axis=1)
            if self.interplay is not None:
                logits += self.interplay.of(np.concatenate([experts, actions.relations], axis=1))
            logits += np.einsum("kr,kr->k", actions.relations, self.tool_relations[known])
        return np.asarray(logits, np.float64)


def unfitted(tools: int, related: int = len(RELATIONS)) -> ChoiceModel:
    """The model before any fit, of `related` relations: experts pooled with equal weights, nothing from words."""
    weights = np.where(np.arange(len(EXPERTS)) < len(TOOL_EXPERTS), UNFITTED_EXPERT_WEIGHT, UNFITTED_ACTION_WEIGHT)
    return ChoiceModel(
        weights,
        np.zeros(related),
        np.zeros((tools + 1, related)),
        np.zeros((STATE_FEATURES, tools + 1)),
        np.zeros(CROSSES + 1),
    )


def softmax(logits: Floats) -> Floats:
    """exp(z − max z), normalised; shape (K,).

    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    grown = np.exp(logits - logits.max())
    return np.asarray(grown / grown.sum(), np.float64)

"""Numbers that describe how each candidate stands to what the agent has read and done, without learning.

Each family is a function of the situation alone, and none knows what a word means in one environment: what is learned
of them carries over to objects, places and numbers never seen before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.asked_relations import ASKED_RELATIONS, asked_relations
from selector.description_relations import DESCRIPTION_RELATIONS, description_relations
from selector.mention_relations import MENTION_RELATIONS, mention_relations
from selector.number_relations import NUMBER_RELATIONS, number_relations
from selector.place_relations import PLACE_RELATIONS, place_relations
from selector.reading import NO_WORDS
from selector.situation import Situation
from selector.together_relations import TOGETHER_RELATIONS, together_relations
from selector.word_relations import WORD_RELATIONS, word_relations


@dataclass(frozen=True, slots=True)
class Family:
    """Relations of one kind: their names, and what computes them; shape (K, len(names))."""

    names: tuple[str, ...]
    compute: Callable[[Situation], NDArray[np.float64]]


FAMILIES = (
    Family(WORD_RELATIONS, word_relations),
    Family(NUMBER_RELATIONS, number_relations),
    Family(MENTION_RELATIONS, mention_relations),
    Family(PLACE_RELATIONS, place_relations),
    Family(ASKED_RELATIONS, asked_relations),
    Family(DESCRIPTION_RELATIONS, description_relations),
)
RELATIONS = (*(name for family in FAMILIES for name in family.names), *TOGETHER_RELATIONS)


def relations(situation: Situation, usual: NDArray[np.int64] = NO_WORDS) -> NDArray[np.float64]:
    """All relations of the situation's candidates; shape (K, len(RELATIONS)), about 0 to 1 each.

    `usual` are the numbers of words that most tasks have.
    """
    parts = [family.compute(situation) for family in FAMILIES]
    return np.concatenate([*parts, together_relations(situation, usual)], axis=1)

"""Whether what was read tells the agent to do just this: a candidate's verb before its object ("slice the carrot").

Verbs are compared by their first letters, so that a list that holds a "sliced carrot" is seen to answer.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.mentions import stem_of
from selector.situation import Situation

Floats = NDArray[np.float64]

MENTION_RELATIONS = (
    "object in the task",
    "object in the state",
    "object in what was read",
    "verb before object in the task",
    "verb before object in the state",
    "verb before object in what was read",
    "places in what was read",
)


def mention_relations(situation: Situation) -> Floats:
    """How the arguments of each candidate were mentioned; shape (K, len(MENTION_RELATIONS)), 0 to 1 each.

    The first is its object, the others are its places.
    """
    mentions = situation.mentions
    verbs_K = np.array([_verb(tool) for tool in situation.tools.texts], np.int64)[situation.tools.places]
    is_there_NP = mentions.found.is_found[:, :, 0]
    # NO_WORD, which stands where nothing was found, is the number of no verb.
    is_told_NK = (mentions.found.before_stems[:, mentions.first] == verbs_K[:, None, None]).any(axis=(2, 3))
    task, state, was_read = 0, 1, slice(2, None)
    was_read_P = np.asarray(is_there_NP[was_read].any(axis=0))
    made = np.empty((len(MENTION_RELATIONS), len(verbs_K)))
    made[0:2] = is_there_NP[[task, state]][:, mentions.first]
    made[2] = was_read_P[mentions.first]
    made[3:5] = is_told_NK[[task, state]]
    made[5] = is_told_NK[was_read].any(axis=0)
    made[6] = mentions.of_others(was_read_P)
    return made.T


@lru_cache(maxsize=1 << 12)
def _verb(tool: str) -> int:
    return stem_of(tool.lower().split()[0]) if tool.strip() else 0

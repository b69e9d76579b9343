"""Whether what was read tells the agent to do just this: a candidate's verb before its object ("slice the carrot").

Verbs are compared by their first letters, so that a list that holds a "sliced carrot" is seen to answer.
"""

import numpy as np
from numpy.typing import NDArray

from selector.mentions import STEM_LETTERS, Found, number_of
from selector.situation import STATE, TASK, Situation

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]

MENTION_RELATIONS = (
    "object in the task",
    "object in the state",
    "object in what was read",
    "verb before object in the task",
    "verb before object in the state",
    "verb before object in what was read",
    "place in what was read",
)


def mention_relations(situation: Situation) -> Floats:
    """How the first two arguments of each candidate were mentioned; shape (K, len(MENTION_RELATIONS)), 0 or 1 each."""
    mentions = situation.mentions
    verbs_K = np.array([_verb(candidate.tool) for candidate in situation.candidates], np.int64)
    named = dict(zip(mentions.names, mentions.found, strict=True))
    read = [found for name, found in named.items() if name not in (TASK, STATE)]
    columns = [
        *(named[name].is_found[mentions.first, 0] for name in (TASK, STATE)),
        _any([found.is_found[mentions.first, 0] for found in read], len(verbs_K)),
        *(_told(verbs_K, named[name], mentions.first) for name in (TASK, STATE)),
        _any([_told(verbs_K, found, mentions.first) for found in read], len(verbs_K)),
        _any([found.is_found[mentions.second, 0] for found in read], len(verbs_K)),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _verb(tool: str) -> int:
    return number_of(tool.lower().split()[0][:STEM_LETTERS]) if tool.strip() else 0


def _told(verbs_K: NDArray[np.int64], found: Found, first: NDArray[np.int64]) -> Marks:
    """Whether the verb stands among the words before a mention of the object."""
    is_verb = found.before_stems[first] == verbs_K[:, None, None]
    return np.asarray((is_verb & found.is_found[first][:, :, None]).any(axis=(1, 2)))


def _any(marks: list[Marks], candidates: int) -> Marks:
    return np.any(marks, axis=0) if marks else np.zeros(candidates, np.bool_)

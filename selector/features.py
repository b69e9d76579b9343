"""Numbers that describe a situation, without learning: hashed words by field, and the order of steps.

The linear layer has one weight for each of them and each tool; how candidates stand to it is in `selector.relations`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from selector.decisive_words import MOST_DECISIVE, NONE_DECISIVE, DecisiveWords
from selector.reading import first_words
from selector.situation import Situation
from trajstore.embedding import word_hashes
from trajstore.render import PastStep
from trajstore.retriever import Keys

HASHED = 4096
STATE_FEATURES = HASHED + MOST_DECISIVE
DECISIVE = 2.0  # as strong as a weight that is drawn back a quarter as much
ALL_KEYS = Keys()
Entries = tuple[list[int], list[float]]


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: places and values, shape (n,) each."""

    places: NDArray[np.int64]
    values: NDArray[np.float64]


def state_features(situation: Situation, keys: Keys = ALL_KEYS, decisive: DecisiveWords = NONE_DECISIVE) -> Sparse:
    """Hashed features of the situation: words by field, and the order of steps; about 150 entries.

    A key whose weight is 0 leaves its features out: goal the task's words, state those of state and observations; each
    of them the decisive words, which are of the task, of the state, and of the tool before.
    """
    last, before = situation.last, situation.history[-2] if len(situation.history) > 1 else None
    parts = [_entries(word_hashes("", ["bias"]), [1.0])]
    if keys.goal:
        parts.append(_field("task", situation.task, 60, 0.7))
    if keys.state:
        parts += [
            _field("state", situation.state, 60, 1.0),
            _field("observation", last.observation if last else "", 80, 1.0),
            _field("arguments", last.args if last else "", 40, 0.5),
            _field("before", before.observation if before else "", 60, 0.5),
        ]
    if keys.order:
        parts.append(_order_features(situation.history))
    told = decisive.places_in(situation) if keys.goal and keys.state and keys.order else []
    parts.append(([HASHED + place for place in told], [DECISIVE] * len(told)))
    places, values = (chain.from_iterable(columns) for columns in zip(*parts, strict=True))
    return Sparse(np.array([*places], np.int64), np.array([*values], np.float64))


@lru_cache(maxsize=1 << 11)
def _field(name: str, text: str, most: int, scale: float) -> Entries:
    """The first `most` words of one field, counts damped, the whole scaled to length `scale`; remembered."""
    counts = Counter(first_words(text, most))
    damped = [1.0 + log(count) for count in counts.values()]
    share = scale / (sqrt(sum(value * value for value in damped)) or 1.0)
    return _entries(word_hashes(f"{name}:", counts), [share * value for value in damped])


def _entries(hashes: Sequence[int], weights: Iterable[float]) -> Entries:
    """Places and values of features: lists, as there are too few of them for a call of NumPy to pay."""
    values = [weight if code & 1 else -weight for code, weight in zip(hashes, weights, strict=True)]
    return [(code >> 1) % HASHED for code in hashes], values


def _order_features(history: Sequence[PastStep]) -> Entries:
    names = ["^", "^", "^", *(step.tool for step in history)]
    failed = history[-1].failed if history else False
    counts = Counter(names[3:])
    weighted = {
        f"1:{names[-1]}": 1.0,
        f"2:{names[-2]}>{names[-1]}": 1.0,
        f"3:{'>'.join(names[-3:])}": 1.0,
        f"before:{names[-2]}": 0.5,
        f"steps:{min(len(history), 8)}": 0.3,
        f"failed:{failed}": 0.5,
        f"failed:{names[-1]}{failed}": 0.5,
    }
    weighted |= {f"used:{tool}": 0.5 for tool in counts}
    weighted |= {f"used{min(times, 4)}:{tool}": 0.3 for tool, times in counts.items()}
    return _entries(word_hashes("", weighted), weighted.values())

"""Numbers that describe a situation, without learning: hashed words by field, and the order of steps.

The linear layer has one weight for each of them and each tool; how candidates stand to it is in `selector.relations`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import words_of
from selector.situation import Situation
from trajstore.embedding import word_hash
from trajstore.render import PastStep
from trajstore.retriever import Keys

STATE_FEATURES = 4096
ALL_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: places and values, shape (n,) each."""

    places: NDArray[np.int64]
    values: NDArray[np.float64]


def state_features(situation: Situation, keys: Keys = ALL_KEYS) -> Sparse:
    """Hashed features of the situation: words by field, and the order of steps; about 150 entries.

    A key whose weight is 0 leaves its features out: goal the task's words, state those of state and observations.
    """
    last, before = situation.last, situation.history[-2] if len(situation.history) > 1 else None
    parts = [_BIAS]
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
    return Sparse(np.concatenate([part.places for part in parts]), np.concatenate([part.values for part in parts]))


@lru_cache(maxsize=1 << 11)
def _field(name: str, text: str, most: int, scale: float) -> Sparse:
    """The first `most` words of one field, counts damped, the whole scaled to length `scale`; remembered."""
    counts = Counter(words_of(text)[:most])
    values = 1.0 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))
    length = np.sqrt(values @ values) or 1.0
    return _hashed((f"{name}:{word}" for word in counts), scale * values / length)


def _order_features(history: Sequence[PastStep]) -> Sparse:
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
    return _hashed(weighted, np.fromiter(weighted.values(), np.float64, len(weighted)))


def _hashed(names: Iterable[str], values: NDArray[np.float64]) -> Sparse:
    hashes = np.fromiter(map(word_hash, names), np.int64, len(values))
    return Sparse((hashes >> 1) % STATE_FEATURES, np.where(hashes & 1, values, -values))


_BIAS = _hashed(["bias"], np.ones(1))

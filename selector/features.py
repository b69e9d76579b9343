"""Numbers that describe a situation, without learning: hashed words by field, and the order of steps.

The linear layer has one weight for each of them and each tool; how candidates stand to it is in `selector.relations`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selector.reading import first_words
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
    fields = [_Field("task", situation.task, 60, 0.7)] if keys.goal else []
    if keys.state:
        fields += [
            _Field("state", situation.state, 60, 1.0),
            _Field("observation", last.observation if last else "", 80, 1.0),
            _Field("arguments", last.args if last else "", 40, 0.5),
            _Field("before", before.observation if before else "", 60, 0.5),
        ]
    fixed = {"bias": 1.0, **(_order_features(situation.history) if keys.order else {})}
    return _hashed(fields, fixed)


class _Field(NamedTuple):
    """The first `most` words of a text, whose features have the length `scale` together."""

    name: str
    text: str
    most: int
    scale: float


@dataclass(frozen=True, slots=True)
class _Words:
    """The hashes of a field's different words, and how often each occurs."""

    hashes: tuple[int, ...]
    counts: tuple[int, ...]


@lru_cache(maxsize=1 << 11)
def _words(name: str, text: str, most: int) -> _Words:
    """The words of one field; remembered, as the task stays the same and an observation stays for a while."""
    counts = Counter(first_words(text, most))
    return _Words(tuple(word_hash(f"{name}:{word}") for word in counts), tuple(counts.values()))


def _order_features(history: Sequence[PastStep]) -> dict[str, float]:
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
    return weighted


def _hashed(fields: Sequence[_Field], fixed: Mapping[str, float]) -> Sparse:
    """Fields of words, counts damped, and features of a fixed value, all at once: each is too short for a call."""
    found = [(field, words) for field in fields if (words := _words(*field[:3])).hashes]
    hashes = [*chain.from_iterable(words.hashes for _, words in found), *map(word_hash, fixed)]
    damped = _damped([words.counts for _, words in found], [field.scale for field, _ in found])
    values, numbers = np.concatenate([damped, list(fixed.values())]), np.array(hashes, np.int64)
    return Sparse((numbers >> 1) % STATE_FEATURES, np.where(numbers & 1, values, -values))


def _damped(counts: Sequence[tuple[int, ...]], scales: Sequence[float]) -> NDArray[np.float64]:
    """1 + ln(count), those of each field, none of them empty, scaled to their length; one after the other.

    >>> _damped([(1, 1, 1, 1), (7,)], [1.0, 0.5]).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5]
    """
    if not counts:
        return np.zeros(0)
    sizes = [len(of_field) for of_field in counts]
    values = 1.0 + np.log(np.array([*chain.from_iterable(counts)], np.float64))
    lengths = np.sqrt(np.add.reduceat(values * values, [0, *accumulate(sizes[:-1])]))
    return np.asarray(values * np.repeat(np.asarray(scales) / lengths, sizes), np.float64)

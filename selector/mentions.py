"""Where the arguments of candidates are mentioned in what the agent has read, and which words stand before them there.

"take carrot" differs from "take apple" in that a recipe that was read says "slice the carrot": that the object is named
in what a tool gave back, by which tool, and after which words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.reading import words_of
from trajstore.embedding import word_hash
from trajstore.render import render_arguments
from trajstore.schema import Candidate

Numbers = NDArray[np.int64]

PHRASE_WORDS = 4
MENTIONS = 3
WORDS_BEFORE = 2
NO_WORD = -1
STEM_LETTERS = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as numbers of its n words and of their stems, and the places of each word in it."""

    words: Numbers
    stems: Numbers
    order: Numbers
    sorted_words: Numbers


@dataclass(frozen=True, slots=True)
class Found:
    """Mentions of P phrases in one text, the last first: whether there is one (P, MENTIONS), and what stands before it.

    `before` and `before_stems` (P, MENTIONS, WORDS_BEFORE) are numbers of words, the nearest first, NO_WORD where the
    text begins.
    """

    is_found: NDArray[np.bool_]
    before: Numbers
    before_stems: Numbers


@lru_cache(maxsize=1 << 13)
def read(text: str) -> Reading:
    """The text as numbers."""
    found = words_of(text)
    words = np.fromiter(map(number_of, found), np.int64, len(found))
    stems = np.fromiter((number_of(word[:STEM_LETTERS]) for word in found), np.int64, len(found))
    order = np.argsort(words, kind="stable")
    return Reading(words, stems, order, words[order])


@lru_cache(maxsize=1 << 16)
def number_of(word: str) -> int:
    """A number of 32 bits for a word, the same in every process."""
    return word_hash(word) >> 1


@lru_cache(maxsize=1 << 14)
def phrase_numbers(phrase: str) -> tuple[int, ...]:
    """The last words of a phrase as PHRASE_WORDS numbers, NO_WORD before a shorter one."""
    numbers = [number_of(word) for word in words_of(phrase)[-PHRASE_WORDS:]]
    return (*[NO_WORD] * (PHRASE_WORDS - len(numbers)), *numbers)


def find(phrases_PW: Numbers, reading: Reading) -> Found:
    """The last MENTIONS mentions of each phrase (P, PHRASE_WORDS), word for word."""
    heads_P = phrases_PW[:, -1]
    left_P = np.searchsorted(reading.sorted_words, heads_P, "left")
    right_P = np.searchsorted(reading.sorted_words, heads_P, "right")
    ranks_PM = right_P[:, None] - 1 - np.arange(MENTIONS)
    padded = np.concatenate([np.full(PHRASE_WORDS + WORDS_BEFORE, NO_WORD), reading.words])
    stems = np.concatenate([np.full(PHRASE_WORDS + WORDS_BEFORE, NO_WORD), reading.stems])
    is_found = (ranks_PM >= left_P[:, None]) & (heads_P[:, None] != NO_WORD)
    places_PM = PHRASE_WORDS + WORDS_BEFORE + _take(reading.order, ranks_PM)
    for back in range(1, PHRASE_WORDS):
        wanted_P1 = phrases_PW[:, -1 - back][:, None]
        is_found &= (wanted_P1 == NO_WORD) | (padded[places_PM - back] == wanted_P1)
    starts_PM = places_PM - (phrases_PW != NO_WORD).sum(axis=1)[:, None] + 1
    starts_PM = np.where(is_found, starts_PM, PHRASE_WORDS + WORDS_BEFORE)
    before = starts_PM[:, :, None] - 1 - np.arange(WORDS_BEFORE)
    return Found(is_found, padded[before], stems[before])


def _take(values: Numbers, places: Numbers) -> Numbers:
    if not len(values):
        return np.zeros(places.shape, np.int64)
    return values[np.clip(places, 0, len(values) - 1)]


@dataclass(frozen=True, slots=True)
class Mentions:
    """The first two arguments (by name) of K candidates, and where each of them is mentioned.

    `phrases_PW` (P, PHRASE_WORDS) are all different arguments, row 0 the empty one; `first` and `second` (K,) the rows
    of each candidate's.  `found` has one entry for each text, in the order of `names`.
    """

    phrases_PW: Numbers
    first: Numbers
    second: Numbers
    names: tuple[str, ...]
    found: tuple[Found, ...]


def find_mentions(candidates: Sequence[Candidate], texts: Mapping[str, str]) -> Mentions:
    """Look the candidates' arguments up in each of the named texts."""
    rows = {"": 0}
    pairs = [_first_two(candidate.args) for candidate in candidates]
    numbers = [(rows.setdefault(one, len(rows)), rows.setdefault(two, len(rows))) for one, two in pairs]
    first, second = np.array(numbers, np.int64).reshape(-1, 2).T
    phrases_PW = np.array([phrase_numbers(phrase) for phrase in rows], np.int64)
    found = tuple(find(phrases_PW, read(text)) for text in texts.values())
    return Mentions(phrases_PW, first, second, tuple(texts), found)


def _first_two(args: Mapping[str, Any]) -> tuple[str, str]:  # Any: JSON
    values = [render_arguments({name: args[name]}) for name in sorted(args)[:2]] + ["", ""]
    return values[0], values[1]

"""Texts as words, and words as numbers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trajstore.embedding import word_hash

MOST_CHARACTERS = 4000
LEAST_PLURAL = 4
AMPLE = 12  # characters a word, which is more than most have
WORD = re.compile(r"[a-z]+|\d+")
NAME = re.compile(r"[a-z\d]+(?:[-_][a-z\d]+)*")
JOINT = re.compile(r"[-_]")
NO_WORDS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Distinct:
    """Texts without their repetitions, in the order in which they come up; `places` (n,) leads from each to its own."""

    texts: tuple[str, ...]
    places: NDArray[np.int64]


@lru_cache(maxsize=1 << 13)
def words_of(text: str) -> tuple[str, ...]:
    """Words and numbers of the first MOST_CHARACTERS characters, in lower case.

    >>> words_of("Take 2 apples, re-try.")
    ('take', '2', 'apples', 're', 'try')
    """
    return tuple(WORD.findall(text[:MOST_CHARACTERS].lower()))


@lru_cache(maxsize=1 << 13)
def names_of(text: str) -> tuple[str, ...]:
    """Words of the first MOST_CHARACTERS characters, in lower case; an identifier that has a digit is one.

    >>> names_of("Sail from l1 to loc-1-3, mug 2: order_id user_7")
    ('sail', 'from', 'l1', 'to', 'loc-1-3', 'mug', '2', 'order', 'id', 'user_7')
    """
    return tuple(part for name in NAME.findall(text[:MOST_CHARACTERS].lower()) for part in _parts(name))


def _parts(name: str) -> Sequence[str]:
    return (name,) if name.isalpha() or any(map(str.isdecimal, name)) else JOINT.split(name)


def first_words(text: str, most: int) -> Sequence[str]:
    """The first `most` of `words_of`, without reading on where they are found at the beginning.

    >>> first_words("Take 2 apples, re-try.", 2)
    ['take', '2']
    """
    beginning = min(most * AMPLE, MOST_CHARACTERS)
    words = WORD.findall(text[:beginning].lower())
    if len(words) > most or len(text) <= beginning:  # one more word was found, so that none of these is cut
        return words[:most]
    return words_of(text)[:most]


@lru_cache(maxsize=1 << 16)
def number_of(word: str) -> int:
    """A number of 32 bits for a word, the same in every process, and for its plural."""
    return word_hash(singular(word)) >> 1


@lru_cache(maxsize=1 << 16)
def singular(word: str) -> str:
    """A word without the ending of a plural, by its form alone (after the S stemmer of Harman 1991).

    >>> [singular(word) for word in ("apples", "boxes", "berries", "glass", "bus", "is")]
    ['apple', 'box', 'berry', 'glass', 'bus', 'is']
    """
    if len(word) < LEAST_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


@lru_cache(maxsize=1 << 15)
def numbers_of(text: str) -> NDArray[np.int64]:
    """The numbers of a text's words, in their order; shape (n,)."""
    return np.fromiter(map(number_of, words_of(text)), np.int64)


def distinct(texts: Iterable[str]) -> Distinct:
    """Number the different texts.

    >>> found = distinct(["b", "a", "b"])
    >>> found.texts, found.places.tolist()
    (('b', 'a'), [0, 1, 0])
    """
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(text, len(numbers)) for text in texts]
    return Distinct(tuple(numbers), np.array(places, np.int64))

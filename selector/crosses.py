"""Sparse features of each candidate: its tool crossed with where and how its arguments were mentioned.

Each is a number in [0, CROSSES), hashed from a few numbers of words (feature hashing, Weinberger et al. 2009), with the
value 1; a linear weight for each is learned.  Most cross the tool with the words around the object, not the object
itself, so that what is learned holds for objects never seen; a few hold the object, for those that come again.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from selector.mentions import MENTIONS, WORDS_BEFORE, Found, Mentions, number_of
from selector.situation import MOST_TEXTS, Situation

Numbers = NDArray[np.int64]

CROSSES = 1 << 15
NONE = CROSSES
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def crosses(situation: Situation) -> Numbers:
    """Features of each candidate, shape (K, n) with the same n in all situations; NONE where there is none."""
    tools_K = np.array([number_of(candidate.tool) for candidate in situation.candidates], np.int64)
    mentions = situation.mentions
    columns = [*_own(tools_K, mentions, situation), *_mentioned(tools_K, mentions)]
    return np.stack(columns, axis=1)


def _own(tools_K: Numbers, mentions: Mentions, situation: Situation) -> Iterator[Numbers]:
    """What the candidate is, and how it follows on the last step."""
    first_KW, second_KW = mentions.phrases_PW[mentions.first], mentions.phrases_PW[mentions.second]
    object_K, head_K, place_K = mixed(*first_KW.T), first_KW[:, -1], mixed(*second_KW.T)
    has_object, has_place, last = mentions.first > 0, mentions.second > 0, situation.last
    last_tool = np.full(len(tools_K), number_of(last.tool) if last else 0)
    last_failed = np.full(len(tools_K), bool(last and last.failed))
    yield _hashed("whole", tools_K, object_K)
    yield np.where(has_object, _hashed("head", tools_K, head_K), NONE)
    yield np.where(has_place, _hashed("place", tools_K, place_K), NONE)
    yield np.where(has_place, _hashed("head in place", head_K, place_K), NONE)
    yield _hashed("after", tools_K, last_tool, last_failed)
    yield np.where(has_object, _hashed("object after", object_K, last_tool), NONE)


def _mentioned(tools_K: Numbers, mentions: Mentions) -> Iterator[Numbers]:
    """Whether and after which words its object, and whether its place, is mentioned in each text."""
    place_K = mixed(*mentions.phrases_PW[mentions.second].T)
    for name, found in zip(mentions.names, mentions.found, strict=True):
        text_K = np.full(len(tools_K), number_of(name))
        yield np.where(found.is_found[mentions.first, 0], _hashed("in", tools_K, text_K), NONE)
        yield np.where(found.is_found[mentions.second, 0], _hashed("place in", tools_K, text_K), NONE)
        yield from _after_words(found, mentions.first, _hashed("after words", tools_K, place_K, text_K))
    missing = (MOST_TEXTS - len(mentions.names)) * (2 + MENTIONS * WORDS_BEFORE)
    yield from (np.full(len(tools_K), NONE) for _ in range(missing))


def _after_words(found: Found, first: Numbers, kinds_K: Numbers) -> Iterator[Numbers]:
    for mention in range(MENTIONS):
        for back in range(WORDS_BEFORE):
            words_K = found.before[first, mention, back]
            yield np.where(found.is_found[first, mention], mixed(kinds_K, words_K) % CROSSES, NONE)


def mixed(*numbers: NDArray[np.integer] | NDArray[np.bool_]) -> Numbers:
    """One number of 62 bits for several; shape of each of them."""
    made = np.zeros(len(numbers[0]), np.uint64)
    for number in numbers:
        made = (made ^ number.astype(np.uint64)) * _GOLDEN
        made ^= made >> np.uint64(29)
    return (made >> np.uint64(2)).astype(np.int64)


def _hashed(kind: str, *numbers: NDArray[np.integer] | NDArray[np.bool_]) -> Numbers:
    return mixed(np.full(len(numbers[0]), number_of(kind)), *numbers) % CROSSES

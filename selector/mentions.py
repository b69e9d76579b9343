"""Where the arguments of candidates are mentioned in what the agent has read, and which words stand before them there.

"take carrot" differs from "take apple" in that a recipe that was read says "slice the carrot": that the object is named
in what a tool gave back, by which tool, and after which words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import number_of, numbers_of, words_of

Numbers = NDArray[np.int64]

PHRASE_WORDS = 4
MENTIONS = 3
WORDS_BEFORE = 2
NO_WORD = -1
STEM_LETTERS = 4
_MARGIN = PHRASE_WORDS + WORDS_BEFORE
_WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as numbers of its n words and of their stems (_MARGIN + n,), NO_WORD before the first of them.

    `places` (n,) leads to the words in the order of their numbers, equal ones in the order of the text; `sorted_words`
    are they.
    """

    words: Numbers
    stems: Numbers
    places: Numbers
    sorted_words: Numbers


@dataclass(frozen=True, slots=True)
class Found:
    """Mentions of P phrases in N texts, the last first: whether there is one (N, P, MENTIONS), and what stands before.

    `before` and `before_stems` (N, P, MENTIONS, WORDS_BEFORE) are numbers of words, the nearest first, NO_WORD where
    the text begins or the phrase is not mentioned.
    """

    is_found: NDArray[np.bool_]
    before: Numbers
    before_stems: Numbers


@dataclass(frozen=True, slots=True)
class Mentions:
    """The first few arguments (by name) of K candidates, and where each of them is mentioned.

    `phrases` are all P different arguments, the first of them empty; `first` (K,) leads to each candidate's first one,
    its object, and `others_KM` to the M after it, M at least 1.  `found` tells of the texts in the order of `names`.
    """

    phrases: tuple[str, ...]
    first: Numbers
    others_KM: Numbers
    names: tuple[str, ...]
    found: Found

    @property
    def second(self) -> Numbers:
        """Where each candidate's second argument stands among the phrases, shape (K,)."""
        return self.others_KM[:, 0]

    def of_others(self, values_P: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """The mean of values of phrases over each candidate's arguments after the first, 0 without any; shape (K, …).

        A mean, as of "from" and "to" it is often but one in which candidates differ, and the greatest could hide it.
        """
        return self.mean_of_others(values_P[self.others_KM])

    def mean_of_others(self, values_KM: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """The mean of values (K, M, …) of arguments after the first over those that there are; shape (K, …)."""
        is_one_KM = self.others_KM > 0
        sums_K = np.where(is_one_KM.reshape(*is_one_KM.shape, *[1] * (values_KM.ndim - 2)), values_KM, 0.0).sum(axis=1)
        return np.asarray((sums_K.T / np.maximum(is_one_KM.sum(axis=1), 1)).T, np.float64)


@lru_cache(maxsize=1 << 13)
def read(text: str) -> Reading:
    """The text as numbers."""
    margin = np.full(_MARGIN, NO_WORD)
    words = np.concatenate([margin, numbers_of(text)])
    stems = np.concatenate([margin, np.fromiter(map(stem_of, words_of(text)), np.int64)])
    places = _MARGIN + np.argsort(words[_MARGIN:], kind="stable")
    return Reading(words, stems, places, words[places])


@lru_cache(maxsize=1 << 16)
def stem_of(word: str) -> int:
    """The number of a word's first STEM_LETTERS letters."""
    return number_of(word[:STEM_LETTERS])


@lru_cache(maxsize=1 << 14)
def phrase_numbers(phrase: str) -> tuple[int, ...]:
    """The last words of a phrase as PHRASE_WORDS numbers, NO_WORD before a shorter one."""
    return numbered(words_of(phrase))


def numbered(words: Sequence[str]) -> tuple[int, ...]:
    """The last words as PHRASE_WORDS numbers, NO_WORD before fewer."""
    numbers = [number_of(word) for word in words[-PHRASE_WORDS:]]
    return (*[NO_WORD] * (PHRASE_WORDS - len(numbers)), *numbers)


def find(phrases_PW: Numbers, readings: Sequence[Reading]) -> Found:
    """The last MENTIONS mentions of each phrase (P, PHRASE_WORDS) in each of the texts, word for word."""
    words, stems = (np.concatenate(parts) for parts in zip(*((one.words, one.stems) for one in readings), strict=True))
    text_H, phrase_H, mention_H, place_H = _heads(phrases_PW, readings)
    wanted_HW = phrases_PW[phrase_H, :-1]
    read_HW = words[place_H[:, None] - np.arange(PHRASE_WORDS - 1, 0, -1)]
    is_whole = ((wanted_HW == NO_WORD) | (wanted_HW == read_HW)).all(axis=1)
    lengths_P = (phrases_PW != NO_WORD).sum(axis=1)
    start_H = (place_H - lengths_P[phrase_H])[is_whole]
    before_HB = start_H[:, None] - np.arange(WORDS_BEFORE)
    hits = text_H[is_whole], phrase_H[is_whole], mention_H[is_whole]
    shape = (len(readings), len(phrases_PW), MENTIONS)
    is_found = np.zeros(shape, np.bool_)
    is_found[hits] = True
    before, before_stems = np.full((2, *shape, WORDS_BEFORE), NO_WORD)
    before[hits], before_stems[hits] = words[before_HB], stems[before_HB]
    return Found(is_found, before, before_stems)


def _heads(phrases_PW: Numbers, readings: Sequence[Reading]) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """The last MENTIONS places of each phrase's last word in each text: text, phrase, mention and place, (H,) each.

    All texts are searched at once: the number of its text stands above the bits of each word.
    """
    lengths = [len(one.places) for one in readings]
    starts = np.concatenate([[0], np.cumsum([len(one.words) for one in readings[:-1]], dtype=np.int64)])
    texts = np.arange(len(readings)) << (_WORD_BITS + 1)
    none = [np.full(MENTIONS, -2)]
    keys = np.concatenate(none + [one.sorted_words for one in readings])
    keys[MENTIONS:] += np.repeat(texts, lengths)
    places = np.concatenate(none + [one.places for one in readings])
    places[MENTIONS:] += np.repeat(starts, lengths)
    wanted_NP = texts[:, None] + phrases_PW[:, -1]
    ranks_NPM = np.searchsorted(keys, wanted_NP, "right")[:, :, None] - 1 - np.arange(MENTIONS)
    text_H, phrase_H, mention_H = hits = np.nonzero(keys[ranks_NPM] == wanted_NP[:, :, None])
    return text_H, phrase_H, mention_H, places[ranks_NPM[hits]]

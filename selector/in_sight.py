"""What a task names is in sight, or it is not yet: that tells stored paths apart which their calls do not.

Of two paths that begin alike, one fetches what its task names from where it stands, the other has to make it first.
Which of them to go on with, what is in sight now decides, the words of tasks exchanged as elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from selector.phrases import FUNCTION_WORDS
from selector.reading import words_of
from selector.task_words import Pairs, exchanged

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sights:
    """F phrases that a path's task names and its steps act on, and before which of its L steps each was in sight."""

    phrases: tuple[str, ...]
    seen_LF: NDArray[np.bool_]


def sights_of(task: str, args: Sequence[str], states: Sequence[str]) -> Sights:
    """The sights of a path of `task`, whose steps have these arguments, in the states before them.

    >>> sights = sights_of("boil the red tea", ["stove", "red tea in pot"], ["a stove", "a pot (with red tea)"])
    >>> sights.phrases, sights.seen_LF.tolist()
    (('red tea',), [[False], [True]])
    """
    named = frozenset(words_of(task)) - FUNCTION_WORDS
    phrases = tuple(dict.fromkeys(phrase for one in args for phrase in _runs(words_of(one), named)))
    return Sights(phrases, seen_in(states, phrases))


def seen_in(states: Iterable[str], phrases: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each state has the words of each phrase, one after the other; shape (states, phrases)."""
    texts = [f" {' '.join(words_of(state))} " for state in states]
    seen = [[f" {phrase} " in text for phrase in phrases] for text in texts]
    return np.array(seen, np.bool_).reshape(len(texts), len(phrases))


class SightTable:
    """The sights of P paths of at most L steps in the words of another task."""

    def __init__(self, sights: Sequence[Sights], pairs_P: Sequence[Pairs], longest: int) -> None:
        images_P = [
            [exchanged(phrase, pairs) for phrase in one.phrases] for one, pairs in zip(sights, pairs_P, strict=True)
        ]
        numbers = {image: number for number, image in enumerate(dict.fromkeys(chain.from_iterable(images_P)))}
        self._images = tuple(numbers)
        most = max(map(len, images_P), default=0)
        self._images_PF = np.full((len(sights), most), len(numbers))
        self._shares_PF = np.zeros((len(sights), most), np.float32)
        self._seen_PLF = np.zeros((len(sights), longest, most), np.float32)
        for path, (one, images) in enumerate(zip(sights, images_P, strict=True)):
            count = len(images)
            self._images_PF[path, :count] = [numbers[image] for image in images]
            self._shares_PF[path, :count] = 1.0 / max(count, 1)
            self._seen_PLF[path, : len(one.seen_LF), :count] = one.seen_LF

    def differing(self, state: str) -> Floats:
        """The share of each path's phrases that were in sight before each step and are not now, or the reverse.

        Shape (P, L), in [0, 1].
        """
        now = np.append(seen_in([state], self._images)[0], False).astype(np.float32)
        apart_PLF = np.abs(self._seen_PLF - now[self._images_PF][:, None, :])
        return np.asarray(np.einsum("plf,pf->pl", apart_PLF, self._shares_PF), np.float32)


def _runs(words: Iterable[str], wanted: frozenset[str]) -> list[str]:
    """Runs of wanted words."""
    return [" ".join(run) for is_wanted, run in groupby(words, wanted.__contains__) if is_wanted]

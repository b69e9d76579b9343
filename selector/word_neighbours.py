"""Which texts read most alike, by the words that they share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from selector.phrases import Words

Floats = NDArray[np.float64]

ROWS = 256


def bags_of(texts: Sequence[Words]) -> tuple[dict[str, int], csr_matrix]:
    """The words of all texts, numbered, and which text has which: ones in a matrix (texts, words)."""
    numbers: dict[str, int] = {}
    places = [sorted(numbers.setdefault(word, len(numbers)) for word in sorted(words)) for words in texts]
    ends = np.cumsum([0, *map(len, places)])
    flat = np.array([number for one in places for number in one], np.int64)
    return numbers, csr_matrix((np.ones(len(flat)), flat, ends), (len(texts), max(len(numbers), 1)))


def nearest_texts(
    texts: Sequence[Words], asked: NDArray[np.int64], compared: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], Floats]:
    """The places of the `most` texts among `compared` that are most alike to each of `asked`, and the cosines.

    Shape (asked, most) each, fewer columns where fewer are compared.  A text comes last for itself, with a cosine of
    −1; of equal ones the first comes first.
    """
    bags = bags_of(texts)[1]
    lengths = np.sqrt(np.maximum(np.asarray(bags.sum(axis=1), np.float64), 1.0))
    bags = csr_matrix(bags.multiply(1.0 / lengths))
    others = bags[compared].T.tocsr()
    places, cosines = [], []
    for first in range(0, len(asked), ROWS):
        rows = asked[first : first + ROWS]
        alike = (bags[rows] @ others).toarray()
        alike[rows[:, None] == compared[None, :]] = -1.0
        order = np.argsort(-alike, axis=1, kind="stable")[:, :most]
        places.append(compared[order])
        cosines.append(np.take_along_axis(alike, order, axis=1))
    columns = min(most, len(compared))
    return (
        np.concatenate([np.zeros((0, columns), np.int64), *places]),
        np.concatenate([np.zeros((0, columns)), *cosines]),
    )

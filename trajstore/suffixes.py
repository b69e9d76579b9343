"""Rows by the steps before them: which follow the same order, and how far the order of each agrees with another."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SUFFIX_SIMILARITY = np.array([0.0, 0.5, 0.8, 1.0], np.float32)
Rows = NDArray[np.int64]


def agreement(suffixes_N3: NDArray[np.int64], suffix: Sequence[int]) -> NDArray[np.float32]:
    """Similarity of order, shape (N,): the longest suffix that agrees with `suffix`, by keys of 1, 2 and 3 steps.

    >>> agreement(np.array([[1, 2, 3], [1, 2, 9], [7, 2, 3]]), (1, 2, 3)).tolist()
    [1.0, 0.800000011920929, 0.0]
    """
    one, two, three = ((suffixes_N3[:, at] == key).view(np.int8) for at, key in enumerate(suffix))
    return np.asarray(SUFFIX_SIMILARITY.take(one * (1 + two * (1 + three))), np.float32)


class RowsBySuffix:
    """The rows that come after each suffix, in the order in which they were stored.

    >>> rows = RowsBySuffix([[1, 2, 3], [1, 5, 6], [1, 2, 3]])
    >>> rows.newest((1, 2, 3), 2).tolist(), rows.newest((1, 5, 6), 2).tolist()
    ([0, 2], [1, 1])
    """

    def __init__(self, suffixes: Iterable[Sequence[int]]) -> None:
        self._rows: dict[int, array[int]] = {}
        self._count = 0
        self.extend(suffixes)

    def extend(self, suffixes: Iterable[Sequence[int]]) -> None:
        """Take in the keys of the rows that come next."""
        for keys in suffixes:
            for key in keys:
                if key not in self._rows:
                    self._rows[key] = array("q")
                self._rows[key].append(self._count)
            self._count += 1

    def newest(self, suffix: Sequence[int], most: int) -> Rows:
        """The newest rows after a suffix, at most so many of each length, from the longest on until there are enough.

        A row may be named more than once.
        """
        found = array("q")
        for key in reversed(suffix):
            if key in self._rows:
                found += self._rows[key][-most:]
            if len(found) >= most:
                break
        return np.array(found, np.int64)

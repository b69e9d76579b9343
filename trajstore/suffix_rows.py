"""The rows that came after the same steps: by the numbers of their suffixes, oldest first.

Most rows are known from the start and sorted once, which takes a fraction of a second for a million; rows that come
later go into lists.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class SuffixRows:
    """Rows by suffix of the steps before them; `suffixes` has shape (rows, lengths), see `experience.suffix_keys`."""

    def __init__(self, suffixes: Numbers) -> None:
        self._orders = [np.argsort(keys, kind="stable") for keys in suffixes.T]
        self._sorted = [keys[order] for keys, order in zip(suffixes.T, self._orders, strict=True)]
        self._later: list[dict[int, list[int]]] = [{} for _ in self._orders]
        self._length = len(suffixes)

    def extend(self, suffixes: Numbers) -> None:
        """Take in the rows that follow those known, shape (rows, lengths)."""
        for row, keys in enumerate(suffixes.tolist(), start=self._length):
            for known, key in zip(self._later, keys, strict=True):
                known.setdefault(key, []).append(row)
        self._length += len(suffixes)

    def newest(self, length: int, key: int, most: int) -> list[int]:
        """The newest rows, at most `most`, whose suffix of the `length`-th length has this number; oldest first.

        >>> rows = SuffixRows(np.array([[5], [7], [5]]))
        >>> rows.extend(np.array([[5]]))
        >>> rows.newest(0, 5, 2), rows.newest(0, 7, 2), rows.newest(0, 9, 2)
        ([2, 3], [1], [])
        """
        later = self._later[length].get(key, [])
        later = later[max(0, len(later) - most) :]
        keys = self._sorted[length]
        begin, end = np.searchsorted(keys, key, "left"), np.searchsorted(keys, key, "right")
        known = self._orders[length][max(int(begin), int(end) - (most - len(later))) : end]
        return [*known.tolist(), *later]

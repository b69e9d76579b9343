"""The rows that came after the same steps: by the numbers of their suffixes, oldest first.

Most rows are known from the start and sorted once, which takes a fraction of a second for a million; rows that come
later go into lists.
"""

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed

BLOCKS = 4  # how many times as many rows each next block has

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

    def newest(self, length: int, key: int, most: int, allowed: Allowed | None = None) -> list[int]:
        """The newest rows, at most `most`, whose suffix of the `length`-th length has this number; oldest first.

        With `allowed`, the newest of those.

        >>> rows = SuffixRows(np.array([[5], [7], [5]]))
        >>> rows.extend(np.array([[5]]))
        >>> rows.newest(0, 5, 2), rows.newest(0, 7, 2), rows.newest(0, 9, 2)
        ([2, 3], [1], [])
        """
        later = self._later[length].get(key, [])
        if allowed is not None:
            later = allowed.among(np.asarray(later, np.int64)).tolist()
        later = later[max(0, len(later) - most) :]
        keys, wanted = self._sorted[length], most - len(later)
        begin, end = np.searchsorted(keys, key, "left"), np.searchsorted(keys, key, "right")
        if allowed is not None:
            return [*_last_allowed(self._orders[length][begin:end], wanted, allowed), *later]
        known = self._orders[length][max(int(begin), int(end) - wanted) : end]
        return [*known.tolist(), *later]


def _last_allowed(rows: Numbers, most: int, allowed: Allowed) -> list[int]:
    """The last of some rows that are allowed, at most `most`, in their order; no more rows are read than it takes."""
    found: list[int] = []
    end, block = len(rows), BLOCKS * most
    while end and len(found) < most:
        begin = max(0, end - block)
        found = [*allowed.among(rows[begin:end]).tolist(), *found]
        end, block = begin, BLOCKS * block
    return found[max(0, len(found) - most) :]

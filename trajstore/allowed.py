"""Which rows a search may find: a condition inside the search, for what is taken away afterwards leaves too few."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Allowed:
    """Some rows of a matrix, marked in `mask_N` (one entry a row); rows that came after the mask was made are not.

    What indexes need of it is made once, so that one serves many queries.

    >>> some = Allowed(np.array([True, False, True, True]))
    >>> some.count, some.rows.tolist(), some.part(1, 4).rows.tolist()
    (3, [0, 2, 3], [1, 2])
    """

    def __init__(self, mask_N: NDArray[np.bool_]) -> None:
        self.mask_N = mask_N
        self._parts: dict[tuple[int, int], Allowed] = {}

    @cached_property
    def count(self) -> int:
        """How many rows are allowed."""
        return int(np.count_nonzero(self.mask_N))

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The allowed rows, rising."""
        return np.asarray(np.flatnonzero(self.mask_N), np.int64)

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """The mask as a bitmap, the first row in the lowest bit."""
        return np.packbits(self.mask_N, bitorder="little")

    def part(self, first: int, end: int) -> "Allowed":
        """Those from row `first` to before row `end`, which are numbered from 0."""
        if (first, end) not in self._parts:
            self._parts[first, end] = Allowed(self.mask_N[first:end])
        return self._parts[first, end]

    def has(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of some rows are allowed."""
        known = rows < len(self.mask_N)
        return np.asarray(known & self.mask_N[np.where(known, rows, 0)] if len(self.mask_N) else known, np.bool_)

    def among(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Those of some rows that are allowed, in their order.

        >>> Allowed(np.array([True, False, True])).among(np.array([5, 2, 1, 0])).tolist()
        [2, 0]
        """
        return np.asarray(rows[self.has(rows)], np.int64)


def all_but(numbers: Iterable[int], ends_T: NDArray[np.integer]) -> Allowed:
    """All rows but those of some trajectories, by their numbers; `ends_T` says where the rows of each end.

    >>> all_but([1], np.array([2, 3, 5])).rows.tolist()
    [0, 1, 3, 4]
    """
    mask_N = np.ones(int(ends_T[-1]) if len(ends_T) else 0, np.bool_)
    for number in numbers:
        mask_N[ends_T[number - 1] if number else 0 : ends_T[number]] = False
    return Allowed(mask_N)

"""An index that goes on serving when some of its rows are gone, until one of the others is made."""

import numpy as np
from numpy.typing import NDArray

from trajstore.index import Neighbours, VectorIndex, Vectors

SPARE = 16


class ThinnedIndex(VectorIndex):
    """Another index without some of its rows; the others are numbered anew, in the same order.

    `kept_N` marks those that stay, shape (rows of the index,).  It asks for as many neighbours more as are gone in
    proportion: near a place where most are gone it finds fewer than it was asked for.
    """

    def __init__(self, index: VectorIndex, kept_N: NDArray[np.bool_]) -> None:
        self._whole, self.kind = index, index.kind
        self._places = np.where(kept_N, np.cumsum(kept_N) - 1, -1)
        self._length = int(np.count_nonzero(kept_N))

    def __len__(self) -> int:
        return self._length

    @property
    def dimension(self) -> int:
        """Entries of a vector."""
        return self._whole.dimension

    def pages(self) -> list[NDArray[np.generic]]:
        """What a search of the whole index reads."""
        return self._whole.pages()

    def search(self, query: Vectors, k: int) -> Neighbours:
        """At most `k` of the rows nearest to `query`, shape (D,)."""
        if not self._length or k < 1:
            return Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32))
        found = self._whole.search(query, k * len(self._whole) // self._length + SPARE)
        places = self._places[found.rows]
        still = np.flatnonzero(places >= 0)[:k]
        return Neighbours(places[still], found.similarities[still])

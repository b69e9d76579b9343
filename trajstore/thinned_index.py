"""An index that goes on serving when some of its rows are gone, until one of the others is made."""

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.index import VectorIndex, Vectors
from trajstore.neighbours import Neighbours

SPARE, WIDER = 16, 4


class ThinnedIndex(VectorIndex):
    """Another index without some of its rows; the others are numbered anew, in the same order.

    `kept_N` marks those that stay, shape (rows of the index,).  It asks for ever more neighbours, until enough of them
    are left.
    """

    def __init__(self, index: VectorIndex, kept_N: NDArray[np.bool_]) -> None:
        self._whole, self.kind = index, index.kind
        self._kept = Allowed(kept_N)
        self._places = np.where(kept_N, np.cumsum(kept_N) - 1, -1)

    def __len__(self) -> int:
        return self._kept.count

    @property
    def dimension(self) -> int:
        """Entries of a vector."""
        return self._whole.dimension

    def pages(self) -> list[NDArray[np.generic]]:
        """What a search of the whole index reads."""
        return self._whole.pages()

    def search(
        self, query: Vectors, k: int, allowed: Allowed | None = None, *, most_breadth: int | None = None
    ) -> Neighbours:
        """The `k` of the rows left nearest to `query`, shape (D,), as `VectorIndex.search` finds them."""
        left = self._kept if allowed is None else self._of_whole(allowed)
        most = min(k, left.count)
        wanted = most * len(self._whole) // max(left.count, 1) + SPARE
        while most and (most_breadth is None or wanted <= most_breadth):
            found = self._whole.search(query, wanted)
            still = np.flatnonzero(left.has(found.rows))[:most]
            if len(still) == most or wanted >= len(self._whole):
                return Neighbours(self._places[found.rows[still]], found.similarities[still])
            wanted *= WIDER
        return Neighbours.nothing()

    def _of_whole(self, allowed: Allowed) -> Allowed:
        """The same rows as the whole index numbers them."""
        mask_N = np.zeros(len(self._whole), np.bool_)
        mask_N[self._kept.rows[allowed.rows]] = True
        return Allowed(mask_N)

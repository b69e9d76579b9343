"""Nearest rows of a matrix that grows: a large index, a small one of what came later, and the rest one by one.

FAISS's graphs cannot be added to while they are searched, nor once they are mapped; so they never change.  What came
later costs a search of its own until it is an eighth of all, when everything is indexed anew.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.index import Neighbours, VectorIndex

TAIL_ROWS = 2048
LATER_SHARE = 8


@dataclass(frozen=True, slots=True)
class Layers:
    """Two indexes of neighbouring rows: `main` of the first, `recent` (where there is one) of those after them."""

    main: VectorIndex
    recent: VectorIndex | None = None

    @property
    def indexed(self) -> int:
        """How many rows, the first, are in an index."""
        return len(self.main) + (len(self.recent) if self.recent is not None else 0)

    def suit(self, rows: int) -> bool:
        """Whether they serve for this many rows, the first of which they index; else all should be indexed anew."""
        return is_near(len(self.main), rows)

    def grown(self, vectors: NDArray[np.float32]) -> "Layers":
        """The same for more rows, shape (N, D): those that no index holds are put into one where they are many."""
        later = len(vectors) - len(self.main)
        known = self.indexed - len(self.main)
        if later - known <= max(TAIL_ROWS, known // LATER_SHARE):
            return self
        return Layers(self.main, VectorIndex.build(vectors[len(self.main) :]))

    def search(self, query: NDArray[np.float32], k: int, vectors: NDArray[np.float32]) -> Neighbours:
        """The `k` rows of each layer that are nearest to `query`, shape (D,), in no order; `vectors` are all rows.

        Similarities are those of the vectors, but for 16-bit rounding; NaN where an index only knows them roughly.
        """
        found = self.main.search(query, k)
        if len(self.main) == len(vectors):
            return found
        rows, similarities = [found.rows], [found.similarities]
        if self.recent is not None:
            recent = self.recent.search(query, k)
            rows.append(recent.rows + len(self.main))
            similarities.append(recent.similarities)
        tail = vectors[self.indexed :] @ query
        nearest = np.arange(len(tail)) if len(tail) <= k else np.argpartition(-tail, k)[:k]
        return Neighbours(
            np.concatenate([*rows, nearest + self.indexed]), np.concatenate([*similarities, tail[nearest]])
        )


def is_near(kept: int, rows: int) -> bool:
    """Whether what was made of `kept` rows still serves where there are `rows`, the first of which are those.

    >>> is_near(80_000, 90_000), is_near(80_000, 90_001), is_near(80_000, 79_999)
    (True, False, False)
    """
    return 0 <= rows - kept <= max(TAIL_ROWS, kept // LATER_SHARE)

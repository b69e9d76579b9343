"""Nearest rows of a matrix that grows: a large index, a small one of what came later, and the rest one by one.

FAISS's graphs cannot be added to while they are searched, nor once they are mapped; so they never change.  What came
later costs a search of its own until it is an eighth of all, when everything is indexed anew.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.index import VectorIndex, nearest_exactly
from trajstore.neighbours import Neighbours

TAIL_ROWS = 2048
LATER_SHARE = 8
# From `benchmarks/filtered_search.py`: an exact index takes as long for all its rows as half of them take one by one,
# and a graph as long for each row that it is asked for as this many rows.
FLAT_SHARE, ROWS_A_BREADTH = 0.5, 56


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

    def search(
        self, query: NDArray[np.float32], k: int, vectors: NDArray[np.float32], allowed: Allowed | None = None
    ) -> Neighbours:
        """The `k` rows of each layer that are nearest to `query`, shape (D,), in no order; `vectors` are all rows.

        With `allowed`, of those rows alone; all of them where they are fewer.  Similarities are those of the vectors,
        but for 16-bit rounding; NaN where an index only knows them roughly.
        """
        if allowed is not None:
            return self._search_allowed(query, k, vectors, allowed)
        found = self.main.search(query, k)
        if len(self.main) == len(vectors):
            return found
        parts = [found]
        if self.recent is not None:
            parts.append(self.recent.search(query, k).after(len(self.main)))
        tail = Neighbours(np.arange(self.indexed, len(vectors)), vectors[self.indexed :] @ query)
        return Neighbours.joined([*parts, tail.nearest(k)])

    def _search_allowed(
        self, query: NDArray[np.float32], k: int, vectors: NDArray[np.float32], allowed: Allowed
    ) -> Neighbours:
        first, found = 0, []
        for index in (self.main, self.recent):
            if index is not None:
                end = first + len(index)
                near = _nearest_allowed(index, query, k, vectors[first:end], allowed.part(first, end))
                found.append(near.after(first))
                first = end
        tail = first + allowed.part(first, len(vectors)).rows
        return Neighbours.joined([*found, nearest_exactly(query, vectors, tail, k)])


def _nearest_allowed(
    index: VectorIndex, query: NDArray[np.float32], k: int, vectors: NDArray[np.float32], allowed: Allowed
) -> Neighbours:
    """The nearest allowed rows of one index; one by one where that is quicker, or a graph does not come to enough."""
    if index.kind not in ("flat", "codes") or allowed.count > FLAT_SHARE * len(index):
        found = index.search(query, k, allowed, most_breadth=allowed.count // ROWS_A_BREADTH)
        if len(found.rows) == min(k, allowed.count):
            return found
    return nearest_exactly(query, vectors, allowed.rows, k)


def is_near(kept: int, rows: int) -> bool:
    """Whether what was made of `kept` rows still serves where there are `rows`, the first of which are those.

    >>> is_near(80_000, 90_000), is_near(80_000, 90_001), is_near(80_000, 79_999)
    (True, False, False)
    """
    return 0 <= rows - kept <= max(TAIL_ROWS, kept // LATER_SHARE)

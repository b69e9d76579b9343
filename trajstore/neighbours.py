"""What a search finds: numbers of rows with their similarities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Row numbers, and similarities (NaN: not known); shape (k,) each, k no larger than the rows there are.

    Nearest first where one index gives them.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]

    @classmethod
    def nothing(cls) -> "Neighbours":
        """No row."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def of(cls, rows: NDArray[np.int64]) -> "Neighbours":
        """Rows of which no similarity is known."""
        return cls(rows, np.full(len(rows), np.nan, np.float32))

    @classmethod
    def joined(cls, parts: "Sequence[Neighbours]") -> "Neighbours":
        """All of several, one after the other."""
        return cls(np.concatenate([one.rows for one in parts]), np.concatenate([one.similarities for one in parts]))

    def after(self, first: int) -> "Neighbours":
        """The same where the rows are numbered from `first`."""
        return Neighbours(self.rows + first, self.similarities)

    def at(self, places: NDArray[np.intp] | NDArray[np.bool_]) -> "Neighbours":
        """Those at some places."""
        return Neighbours(self.rows[places], self.similarities[places])

    def nearest(self, k: int) -> "Neighbours":
        """The `k` of them that are most similar, in no order; all where there are no more.

        >>> Neighbours(np.array([4, 7, 9]), np.array([0.5, 0.9, 0.1], np.float32)).nearest(1).rows.tolist()
        [7]
        """
        return self if len(self.rows) <= k else self.at(np.argpartition(-self.similarities, k)[:k])

    def and_rows(self, rows: NDArray[np.int64]) -> "Neighbours":
        """These, and behind them rows of which no similarity is known."""
        return Neighbours.joined([self, Neighbours.of(rows)])

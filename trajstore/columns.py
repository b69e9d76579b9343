"""Arrays that grow at the end, and names with numbers: what the columns in memory are made of."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Column:
    """One array that grows by blocks; appending costs O(1) a row on average.

    `values` are the rows so far, without a copy.
    """

    def __init__(self, dtype: DTypeLike, width: int = 0) -> None:
        shape = (16, width) if width else (16,)
        self._data: NDArray[np.generic] = np.zeros(shape, dtype)
        self.values = self._data[:0]

    @classmethod
    def over(cls, data: NDArray[np.generic], length: int) -> "Column":
        """The column of the first `length` rows of an array, which it writes to as it grows."""
        column = cls(data.dtype)
        column._data, column.values = data, data[:length]
        return column

    def __len__(self) -> int:
        return len(self.values)

    def extend(self, values: Sequence[object] | NDArray[np.generic]) -> None:
        """Append a block of rows."""
        block = np.asarray(values, self._data.dtype)
        if not len(block):
            return
        length = len(self.values)
        needed = length + len(block)
        if needed > len(self._data):
            self.reserve(max(needed, 2 * len(self._data)))
        self._data[length:needed] = block
        self.values = self._data[:needed]

    def reserve(self, rows: int) -> None:
        """Have room for so many rows in all, so that none is copied until there are more."""
        if rows > len(self._data):
            length = len(self.values)
            grown = np.zeros((rows, *self._data.shape[1:]), self._data.dtype)
            grown[:length] = self.values
            self._data, self.values = grown, grown[:length]


class Vocabulary:
    """Names numbered in order of first use.

    >>> tools = Vocabulary(["search", "book"])
    >>> tools.number("pay"), tools.number("book"), tools.known("fly"), tools.names
    (2, 1, -1, ('search', 'book', 'pay'))
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._names: tuple[str, ...] = ()
        self.extend(names)

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, name: str) -> int:
        """The name's number, a new one where it is new."""
        return self._numbers.setdefault(name, len(self._numbers))

    def extend(self, names: Iterable[str]) -> None:
        """Number those names that are new."""
        for name in names:
            self._numbers.setdefault(name, len(self._numbers))

    def known(self, name: str) -> int:
        """The name's number, or -1 where it was never seen."""
        return self._numbers.get(name, -1)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, by number; listed anew only where there are more than when they were last asked for."""
        if len(self._names) < len(self._numbers):
            self._names = tuple(self._numbers)
        return self._names

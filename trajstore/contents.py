"""What an experience holds, as plain arrays and names: the form in which a snapshot keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.array_file import Array, ArrayFile, Grown
from trajstore.columns import Column
from trajstore.errors import DamagedStore

HASH_BYTES = 16
TEXTS, ENDS = "names ", "ends "
DECISIONS, DECIDED = "decisions", "decided"


@dataclass(frozen=True, slots=True)
class Contents:
    """Columns and vectors by name, vocabularies by name, the row of each decision, two weights (believed and not).

    Texts of states are not among them, only their hashes.
    """

    arrays: Mapping[str, Array | Grown]
    names: Mapping[str, Sequence[str]]
    decisions: Mapping[str, int]
    weights: tuple[float, float]

    def to_arrays(self) -> dict[str, Array]:
        """Everything but the weights as arrays."""
        found = {name: one.values if isinstance(one, Grown) else one for name, one in self.arrays.items()}
        for name, texts in (*self.names.items(), (DECISIONS, tuple(self.decisions))):
            found[f"{TEXTS}{name}"], found[f"{ENDS}{name}"] = pack(texts)
        found[DECIDED] = np.fromiter(self.decisions.values(), np.int64, len(self.decisions))
        return found

    @classmethod
    def of(cls, file: ArrayFile) -> "Contents":
        """What `to_arrays` gave, from the file that it was written to."""
        values = {name: grown.values for name, grown in file.arrays.items()}
        names = {
            name.removeprefix(TEXTS): unpack(values[name], values[ENDS + name.removeprefix(TEXTS)])
            for name in values
            if name.startswith(TEXTS)
        }
        decisions = dict(zip(names.pop(DECISIONS), values[DECIDED].tolist(), strict=True))
        believed, unbelieved = file.about["weights"]
        return cls(file.arrays, names, decisions, (believed, unbelieved))


def pack(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as their bytes end to end, and where each ends.

    >>> unpack(*pack(["", "Zürich", "x"]))
    ['', 'Zürich', 'x']
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(one) for one in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), ends


def unpack(content: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[str]:
    """The texts that `pack` was given."""
    joined = content.tobytes()
    return [joined[first:end].decode("utf-8", "surrogatepass") for first, end in pairwise([0, *ends.tolist()])]


def hex_names(hashes: NDArray[Any]) -> list[str]:
    """Each hash, shape (N, HASH_BYTES), as hex digits."""
    digits, width = hashes.tobytes().hex(), 2 * HASH_BYTES
    return [digits[first : first + width] for first in range(0, len(digits), width)]


def column_of(contents: Contents, name: str, like: Column) -> Column:
    """The column of a name, of the same type and width as another; `DamagedStore` where it is not there as such."""
    found = contents.arrays.get(name)
    if not isinstance(found, Grown) or (found.data.dtype, found.data.shape[1:]) != (
        like.values.dtype,
        like.values.shape[1:],
    ):
        raise DamagedStore(f"the snapshot has no column {name!r} of {like.values.dtype}; the rows are read instead")
    return Column.over(found.data, found.length)

"""Vectors as they are compared: each entry by its rarity among the first rows, then scaled to length 1."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.array_file import Grown
from trajstore.columns import Column
from trajstore.experience import Experience
from trajstore.index import BLOCK
from trajstore.nearness import rarity

Floats = NDArray[np.float32]

SCALED = ("states", "goals", "moments")


@dataclass(frozen=True, slots=True)
class Scaled:
    """Scaled vectors by name (SCALED), and the rarity that scaled them: that among the first `indexed` rows."""

    indexed: int
    rarity: Floats
    vectors: Mapping[str, Grown]


class ScaledVectors:
    """The vectors of an experience, scaled; `known` are taken where they were scaled by the same rows."""

    def __init__(self, experience: Experience, indexed: int, known: Scaled | None = None) -> None:
        self._experience, self.indexed = experience, indexed
        if known is not None and known.indexed == indexed:
            self._rarity = known.rarity
            self._columns = {name: Column.over(one.data, one.length) for name, one in known.vectors.items()}
        else:
            self._rarity = rarity(experience.states[:indexed])
            self._columns = {name: Column(np.float32, experience.dimension) for name in SCALED}
        self.extend()

    def extend(self) -> None:
        """Scale the vectors that the experience has got since, block by block: there are gigabytes of them."""
        for name, column in self._columns.items():
            vectors: NDArray[np.floating] = getattr(self._experience, name)
            if not len(column):
                column.reserve(len(vectors))
            for first in range(len(column), len(vectors), BLOCK):
                column.extend(self.scale(vectors[first : first + BLOCK]))

    def scale(self, vectors: NDArray[np.floating]) -> Floats:
        """Other vectors, shape (N, D), as these are; zero rows stay zero."""
        scaled = vectors.astype(np.float32, copy=False) * self._rarity
        lengths = np.sqrt(np.add.reduce(scaled * scaled, axis=1, keepdims=True))
        return np.asarray(scaled / np.where(lengths > 0, lengths, 1.0), np.float32)

    def of(self, name: str) -> Floats:
        """The vectors of one kind (SCALED), shape (N, D), without a copy."""
        return np.asarray(self._columns[name].values, np.float32)

    def taken(self) -> Scaled:
        """All of them, as they stand now."""
        vectors = {name: Grown(column.values, len(column)) for name, column in self._columns.items()}
        return Scaled(self.indexed, self._rarity, vectors)

"""What a student learns from: stored texts with the full model's vectors, kept together by task."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.embedding import text_hash
from trajstore.experience import embedded_texts
from trajstore.identity import EmbedderIdentity
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

SHARED = -1
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Corpus:
    """N texts with the full model's unit vectors, and the units (N,) that keep the texts of one task together.

    Texts that several tasks have are of the unit `SHARED`, which is never hidden from a fit.
    """

    identity: EmbedderIdentity
    texts: tuple[str, ...]
    vectors_ND: NDArray[np.float32]
    units_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, chosen: NDArray[np.bool_]) -> "Corpus":
        """Some of the texts."""
        at = np.flatnonzero(chosen).tolist()
        texts = tuple(self.texts[place] for place in at)
        return Corpus(self.identity, texts, self.vectors_ND[chosen], self.units_N[chosen])

    def joined(self, other: "Corpus") -> "Corpus":
        """The texts of both."""
        vectors, units = (self.vectors_ND, other.vectors_ND), (self.units_N, other.units_N)
        return Corpus(self.identity, self.texts + other.texts, np.concatenate(vectors), np.concatenate(units))


def read_corpus(
    store: TrajectoryStore,
    identity: EmbedderIdentity,
    trajectories: Iterable[Trajectory] | None = None,
    *,
    every: int = 1,
) -> Corpus:
    """The texts of some trajectories (None: all that are stored) that have a vector, of one task in `every`.

    Blank texts, whose vector is zero, are left out.
    """
    units: dict[str, int] = {}
    for trajectory in store.trajectories() if trajectories is None else trajectories:
        unit = unit_of(trajectory)
        if unit % every == 0:
            for text in sorted(embedded_texts(trajectory)):
                units[text] = unit if units.get(text, unit) == unit else SHARED
    vectors = dict(_vectors(store, list(units)))
    texts = tuple(text for text in units if text in vectors)
    vectors_ND = np.array([vectors[text] for text in texts], np.float32).reshape(len(texts), identity.dimension)
    return Corpus(identity, texts, vectors_ND, np.array([units[text] for text in texts], np.int64))


def unit_of(trajectory: Trajectory) -> int:
    """A number in [0, 2⁶²) for what is hidden together: attempts at one task, which are often nearly the same.

    >>> from trajstore.schema import Task, Trajectory
    >>> unit_of(Trajectory(Task("a", group="g"), ())) == unit_of(Trajectory(Task("b", group="g"), ()))
    True
    """
    name = trajectory.task.group or trajectory.task.text
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def _vectors(store: TrajectoryStore, texts: list[str]) -> Iterator[tuple[str, NDArray[np.float16]]]:
    for start in range(0, len(texts), CHUNK):
        chunk = {text_hash(text): text for text in texts[start : start + CHUNK]}
        for key, vector in store.vectors(list(chunk)).items():
            if vector.any():
                yield chunk[key], vector

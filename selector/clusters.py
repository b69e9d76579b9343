"""State clusters: kinds of state, so that what is learned of a tool in one state holds for its like."""

import io
import zipfile
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DamagedStore

Floats = NDArray[np.float32]

STATES_PER_CLUSTER = 8.0
MOST_CLUSTERS = 64
MOST_STATES = 8192
ROUNDS = 15
BLOCK = 8192


@dataclass(frozen=True, slots=True)
class StateClusters:
    """Centres of length 1, shape (C, D), and how many rows there were when they were found.  C is 0 without rows.

    `members_N` are the numbers of the clusters that the first N rows were assigned to.
    """

    centres_CD: Floats
    rows: int
    members_N: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __len__(self) -> int:
        return len(self.centres_CD)

    def nearest(self, state_D: Floats) -> int:
        """Number of the cluster with the largest cosine; −1 where there are none."""
        return int(np.argmax(self.centres_CD @ state_D)) if len(self.centres_CD) else -1

    def assign(self, states_ND: NDArray[np.floating]) -> NDArray[np.int64]:
        """`nearest` of each of N states; shape (N,)."""
        if not len(self.centres_CD):
            return np.full(len(states_ND), -1, np.int64)
        blocks = [states_ND[start : start + BLOCK] for start in range(0, len(states_ND), BLOCK)]
        numbers = [np.argmax(block.astype(np.float32) @ self.centres_CD.T, axis=1) for block in blocks]
        return np.concatenate([np.zeros(0, np.int64), *numbers])

    def with_members(self, states_ND: NDArray[np.floating]) -> "StateClusters":
        """The same with the members of all N rows; those that are known keep their cluster."""
        if not len(self.centres_CD):
            return self
        later = self.assign(states_ND[len(self.members_N) :]).astype(np.uint8)
        return replace(self, members_N=np.concatenate([self.members_N, later])[: len(states_ND)])


def find_clusters(states_ND: Floats, *, seed: int = 0) -> StateClusters:
    """Spherical k-means (Dhillon & Modha 2001) on unit vectors, C = √(N / 8), at most 64.

    The first centres are drawn far apart (k-means++, Arthur & Vassilvitskii 2007).  The same states and seed give the
    same clusters.
    """
    rows, rng = len(states_ND), np.random.default_rng(seed)
    if not rows:
        return StateClusters(np.zeros((0, states_ND.shape[1]), np.float32), 0)
    sample = np.sort(rng.permutation(rows)[:MOST_STATES])
    states = states_ND[sample].astype(np.float32)
    wanted = int(np.clip(np.sqrt(rows / STATES_PER_CLUSTER), 1, MOST_CLUSTERS))
    centres = _first_centres(states, wanted, rng)
    for _ in range(ROUNDS):
        members = np.argmax(states @ centres.T, axis=1)
        moved = _mean_directions(states, members, centres)
        if np.allclose(moved, centres, atol=1e-5):
            break
        centres = moved
    return StateClusters(centres, rows)


def _first_centres(states: Floats, wanted: int, rng: np.random.Generator) -> Floats:
    chosen = [int(rng.integers(len(states)))]
    away = 1.0 - states @ states[chosen[0]]
    while len(chosen) < wanted and away.max() > 1e-6:
        odds = np.clip(away, 0.0, None).astype(np.float64)
        chosen.append(int(rng.choice(len(states), p=odds / odds.sum())))
        away = np.minimum(away, 1.0 - states @ states[chosen[-1]])
    return states[chosen]


def _mean_directions(states: Floats, members: NDArray[np.int64], centres: Floats) -> Floats:
    """The mean direction of each cluster's members; a cluster without any stays where it is."""
    order = np.argsort(members, kind="stable")
    filled, starts = np.unique(members[order], return_index=True)
    moved = centres.copy()
    sums = np.add.reduceat(states[order], starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    moved[filled] = np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-9), centres[filled])
    return moved


def to_bytes(clusters: StateClusters) -> bytes:
    """A NumPy archive without pickles, 16 bits an entry."""
    buffer = io.BytesIO()
    centres, rows = clusters.centres_CD.astype(np.float16), np.array(clusters.rows)
    np.savez_compressed(buffer, centres=centres, rows=rows, members=clusters.members_N)
    return buffer.getvalue()


def from_bytes(content: bytes) -> StateClusters:
    """The clusters that `to_bytes` wrote; `DamagedStore` where the bytes are anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            members = archive["members"] if "members" in archive else np.zeros(0, np.uint8)
            clusters = StateClusters(archive["centres"].astype(np.float32), int(archive["rows"]), members)
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedStore("the stored state clusters cannot be read; they are found anew from the steps") from error
    if clusters.centres_CD.ndim != 2 or not np.isfinite(clusters.centres_CD).all():
        raise DamagedStore("the stored state clusters are no vectors; they are found anew from the steps")
    if members.dtype != np.uint8 or members.max(initial=0) >= max(len(clusters), 1):
        raise DamagedStore("the stored state clusters have members of none; they are found anew from the steps")
    return clusters

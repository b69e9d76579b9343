"""What features of a candidate mean together: a small network on top of the choice model's linear weights.

That paths of like tasks agree on a tool matters most where the literal order of actions says otherwise; no sum of the
two says so.  One hidden layer of rectified units (Nair & Hinton 2010) adds to each candidate's logit what the linear
weights leave unexplained, trained by Adam with decoupled decay (Loshchilov & Hutter 2019) from no effect at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Float = TypeVar("Float", bound=np.floating)

UNITS = 32
EPOCHS = 15
BATCH = 128
RATE = 3e-3
DECAY = 0.3
LEAST_SCALE = 0.05
MOMENTS = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class Interplay:
    """Weights: `inner` (F + 1, H), the last row a constant, and `outer` (H,)."""

    inner: Floats
    outer: Floats

    def of(self, features_KF: NDArray[np.floating]) -> NDArray[np.float64]:
        """What it adds to the logits of K candidates, shape (K,)."""
        hidden_KH = np.maximum(features_KF.astype(np.float32) @ self.inner[:-1] + self.inner[-1], 0.0)
        return np.asarray(hidden_KH @ self.outer, np.float64)


@dataclass(frozen=True, slots=True)
class Decisions:
    """N decisions: features (rows, F) and linear logits (rows,) of all their candidates, one decision after another.

    `starts`, `chosen` and `weights` (N,) say where each begins, which row was right, and how much it counts.
    """

    features: Floats
    logits: Floats
    starts: NDArray[np.int64]
    chosen: NDArray[np.int64]
    weights: Floats


def fit_interplay(known: Decisions, seed: int = 0) -> Interplay:
    """The network after EPOCHS rounds over the decisions."""
    rng = np.random.default_rng(seed)
    centre, scale = known.features.mean(axis=0), known.features.std(axis=0) + LEAST_SCALE
    scaled = (known.features - centre) / scale
    count = scaled.shape[1]
    bound = count**-0.5
    inner = rng.uniform(-bound, bound, (count + 1, UNITS)).astype(np.float32)
    weights = [inner, np.zeros(UNITS, np.float32)]
    first, second = [np.zeros_like(one) for one in weights], [np.zeros_like(one) for one in weights]
    for step, batch in enumerate(_batches(len(known.starts), rng), start=1):
        for number, slope in enumerate(_slopes(weights, scaled, known, batch)):
            first[number] += (1.0 - MOMENTS[0]) * (slope - first[number])
            second[number] += (1.0 - MOMENTS[1]) * (slope**2 - second[number])
            mean, square = first[number] / (1.0 - MOMENTS[0] ** step), second[number] / (1.0 - MOMENTS[1] ** step)
            weights[number] *= 1.0 - RATE * DECAY
            weights[number] -= RATE * mean / (np.sqrt(square) + 1e-8)
    inner, outer = weights
    slopes = inner[:-1] / scale[:, None]
    return Interplay(np.concatenate([slopes, inner[-1:] - centre @ slopes]).astype(np.float32), outer)


def _batches(decisions: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(EPOCHS):
        order = rng.permutation(decisions)
        yield from (order[first : first + BATCH] for first in range(0, decisions, BATCH))


def shares_by_decision(logits: NDArray[Float], starts: NDArray[np.int64], owners: NDArray[np.int64]) -> NDArray[Float]:
    """The softmax of each decision's logits: candidates from `starts` on are of the decision in `owners`; like logits.

    >>> shares_by_decision(np.zeros(3), np.array([0, 2]), np.array([0, 0, 1])).tolist()
    [0.5, 0.5, 1.0]
    """
    grown = np.exp(logits - np.maximum.reduceat(logits, starts)[owners])
    return np.asarray(grown / np.add.reduceat(grown, starts)[owners], logits.dtype)


def _slopes(weights: list[Floats], scaled: Floats, known: Decisions, batch: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The gradient of the mean weighted −ln p of what was right."""
    inner, outer = weights
    ends = np.append(known.starts[1:], len(known.logits))
    sizes = ends[batch] - known.starts[batch]
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    owners = np.repeat(np.arange(len(batch)), sizes)
    rows = np.arange(sizes.sum()) + (known.starts[batch] - firsts)[owners]
    features = scaled[rows]
    hidden = np.maximum(features @ inner[:-1] + inner[-1], 0.0)
    pulls = shares_by_decision(known.logits[rows] + hidden @ outer, firsts, owners)
    pulls[firsts + known.chosen[batch] - known.starts[batch]] -= 1.0
    pulls *= (known.weights[batch] / len(batch))[owners]
    back = (pulls[:, None] * outer) * (hidden > 0.0)
    return np.concatenate([features.T @ back, back.sum(axis=0)[None]]), hidden.T @ pulls

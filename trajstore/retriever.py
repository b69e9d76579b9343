"""Brings back the stored steps that matter now, by three keys: goal, state and order.

A row's joint similarity is w_goal · cos(goal) + w_state · cos(state) + w_order · m, with m the share of the last three
steps that agree (longest suffix first).  Its weight as evidence is that of an adaptive kernel (the C3 family, arXiv
2603.16755):

    z = clip((s − b) / (max(s_top, b + floor) − b), 0, 1) ** power,

with b the background, the median similarity of a fixed random sample of stored rows (at most 1 − floor), so that
the bandwidth follows the data.  No trajectory contributes more than `trajectory_cap` in all: near-duplicate steps of
one pass are not independent.

Nobody crowds out the others: what is believed, what needs corroboration and what failed are taken apart, and where one
source holds most of the nearest rows, the nearest of the others are taken as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.columns import Column
from trajstore.experience import Experience, suffix_keys
from trajstore.index import VectorIndex

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

SUFFIX_SIMILARITY = np.array([0.0, 0.5, 0.8, 1.0], np.float32)
BACKGROUND_ROWS = 256
TAIL_ROWS = 2048
CROWDED = 0.5
CROWDED_TIMES = 1.5


@dataclass(frozen=True, slots=True)
class Keys:
    """Weight of each retrieval key; 0 switches it off."""

    goal: float = 0.15
    state: float = 0.6
    order: float = 0.25

    def scaled(self) -> "Keys":
        """The same weights with sum 1 (all zero stays zero)."""
        total = self.goal + self.state + self.order or 1.0
        return Keys(self.goal / total, self.state / total, self.order / total)


@dataclass(frozen=True, slots=True)
class RetrieverConfig:
    """Settings of retrieval; `pool` rows are compared in all three keys, `nearest` of them become evidence."""

    keys: Keys = Keys()
    nearest: int = 40
    pool: int = 320
    same_order: int = 128
    power: float = 3.0
    floor: float = 0.05
    trajectory_cap: float = 1.0


@dataclass(frozen=True, slots=True)
class Query:
    """One live decision in the three keys: vectors as the retriever scales them, and suffix keys.

    `goal_similarities` has one entry for each stored task: it is made once an episode.
    """

    state: Floats
    moment: Floats
    goal_similarities: Floats
    suffix: tuple[int, ...]
    excluded: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Stored rows near a query, nearest first: joint similarity, and weight as evidence.

    `weights` uses all three keys, `content_weights` goal and state without order, `moment_weights` the state alone,
    without the steps before it.  Shape (n,) each.
    """

    rows: Rows
    similarities: Floats
    weights: Floats
    content_weights: Floats
    moment_weights: Floats

    @property
    def nearest(self) -> float:
        """Similarity of the nearest row; −1 where there is none."""
        return float(self.similarities[0]) if len(self.similarities) else -1.0


class Retriever:
    """Finds evidence in an `Experience`; rows that came after the index was built are scanned exactly."""

    def __init__(
        self,
        experience: Experience,
        config: RetrieverConfig | None = None,
        *,
        seed: int = 0,
        index: VectorIndex | None = None,
    ) -> None:
        self.config = config or RetrieverConfig()
        self._experience = experience
        self._seed = seed
        self._keys = self.config.keys.scaled()
        self.rebuild(index)

    def rebuild(self, index: VectorIndex | None = None) -> None:
        """Scale every vector by its entries' rarity and index the rows; a given index of them all is taken as it is."""
        experience = self._experience
        self._rarity = rarity(experience.states)
        self._scaled = {name: Column(np.float32, experience.dimension) for name in ("states", "goals", "moments")}
        self._scale_new()
        fits = index is not None and (len(index), index.dimension) == self.states.shape
        self.index = index if index is not None and fits else VectorIndex.build(self.states)
        self._order_rows = _rows_by_suffix(experience)
        sample = np.random.default_rng(self._seed).permutation(len(experience))[:BACKGROUND_ROWS]
        self._background_rows = np.sort(sample)
        self._background_states = self.states[self._background_rows]

    def refresh(self) -> None:
        """Take in rows that the experience has got since."""
        seen = len(self.states)
        if len(self._experience) - len(self.index) > TAIL_ROWS or not seen:
            self.rebuild()
            return
        self._scale_new()
        for row in range(seen, len(self._experience)):
            _add_suffixes(self._order_rows, self._experience.column("suffix")[row], row)

    @property
    def states(self) -> Floats:
        """The vectors of the rows' states as this retriever compares them, shape (rows, D)."""
        return np.asarray(self._scaled["states"].values, np.float32)

    @property
    def _goals(self) -> Floats:
        return np.asarray(self._scaled["goals"].values, np.float32)

    @property
    def _moments(self) -> Floats:
        return np.asarray(self._scaled["moments"].values, np.float32)

    def _scale_new(self) -> None:
        """Scale the vectors that the experience has got since."""
        for name, scaled in self._scaled.items():
            scaled.extend(self._scale(getattr(self._experience, name)[len(scaled) :]))

    def goal_similarities(self, goal: Floats) -> Floats:
        """Cosine of one task's vector with every stored task, shape (tasks,)."""
        return np.asarray(self._goals @ self._scale(goal[None])[0], np.float32)

    def query(
        self,
        texts: tuple[Floats, Floats],
        goal_similarities: Floats,
        tokens: Sequence[int],
        *,
        excluded: NDArray[np.bool_] | None = None,
    ) -> Query:
        """A query from the vectors of state and moment as the embedder made them, without what `excluded` marks."""
        state, moment = self._scale(np.stack(texts))
        return Query(state, moment, goal_similarities, suffix_keys(tokens), excluded)

    def evidence(self, query: Query) -> Evidence:
        """The weighted stored steps behind one decision: at most `nearest` by each similarity; failures apart."""
        rows = self._pool(query)
        similarities = self._similarities(rows, self.states[rows], query)
        kept = self._nearest(rows, similarities)
        rows, similarities = rows[kept], similarities[:, kept]
        sample = self._similarities(self._background_rows, self._background_states, query)
        _, owners = np.unique(self._experience.column("trajectory")[rows], return_inverse=True)
        path, content, moment = (
            self._kernel(values, background, owners) for values, background in zip(similarities, sample, strict=True)
        )
        return Evidence(rows, similarities[0], path, content, moment)

    def _pool(self, query: Query) -> Rows:
        """Rows near in state, and the newest ones with the same order of steps, without the excluded."""
        wanted = self.config.pool
        while True:
            near = self.index.search(query.state, wanted).rows
            allowed = self._allowed(near, query)
            is_enough = len(allowed) >= min(self.config.pool, self.config.nearest)
            if wanted >= len(self.index) or (
                is_enough and not (wanted == self.config.pool and self._is_crowded(allowed))
            ):
                break
            wanted *= 4
        tail = np.arange(len(self.index), len(self.states))
        same_order = self._same_order(query) if self._keys.order else np.zeros(0, np.int64)
        return np.unique(np.concatenate([allowed, self._allowed(np.concatenate([tail, same_order]), query)]))

    def _is_crowded(self, rows: Rows) -> bool:
        """Whether one source, or what is not believed, holds most of the rows, and far more than of all there are."""
        experience = self._experience
        if not experience.is_contested or not len(rows):
            return False
        owners = experience.column("trajectory")[rows]
        sources, believed = (experience.trajectory_column(name) for name in ("source", "believed"))
        here = np.bincount(sources[owners])
        most = int(np.argmax(here))
        shares = (here[most] / len(rows), 1.0 - believed[owners].mean())
        usual = ((sources == most).mean(), 1.0 - believed.mean())
        return any(one > max(CROWDED, CROWDED_TIMES * other) for one, other in zip(shares, usual, strict=True))

    def _allowed(self, rows: Rows, query: Query) -> Rows:
        if query.excluded is None or not len(rows):
            return rows
        kept: Rows = rows[~query.excluded[self._experience.column("trajectory")[rows]]]
        return kept

    def _same_order(self, query: Query) -> Rows:
        found: list[int] = []
        for key in reversed(query.suffix):
            found += self._order_rows.get(key, [])[-self.config.same_order :]
            if len(found) >= self.config.same_order:
                break
        return np.asarray(found, np.int64)

    def key_similarities(self, rows: Rows, query: Query) -> Floats:
        """Similarity of rows to the query by goal, by state and by order; shape (rows, 3)."""
        return np.stack(self._by_key(rows, self.states[rows], query), axis=1)

    def _by_key(self, rows: Rows, states: Floats, query: Query) -> tuple[Floats, Floats, Floats]:
        experience = self._experience
        goals = experience.trajectory_column("goal")[experience.column("trajectory")[rows]]
        agree = (experience.column("suffix")[rows] == np.asarray(query.suffix)[None]).cumprod(axis=1).sum(axis=1)
        return query.goal_similarities[goals], states @ query.state, SUFFIX_SIMILARITY[agree]

    def _similarities(self, rows: Rows, states: Floats, query: Query) -> Floats:
        """Similarity of rows to the query: in all three keys, in content, and of their moments; shape (3, rows)."""
        keys = self._keys
        goal, state, order = self._by_key(rows, states, query)
        content = keys.state * state + keys.goal * goal
        moments = self._moments[self._experience.column("moment")[rows]] @ query.moment
        return np.stack([content + keys.order * order, content / (keys.state + keys.goal or 1.0), moments])

    def _nearest(self, rows: Rows, similarities: Floats) -> NDArray[np.intp]:
        """Positions of the nearest rows by any similarity, of each kind and of no one source alone, nearest first."""
        experience = self._experience
        owners = experience.column("trajectory")[rows]
        is_example, believed = experience.example_weights(rows) > 0, experience.trajectory_column("believed")[owners]
        kinds = 2 * is_example + (believed if experience.is_contested else False)
        sources = experience.trajectory_column("source")[owners]
        groups = [np.flatnonzero(kinds == kind) for kind in range(4)]
        parts = [
            members[_nearest_of_all(values[members], sources[members], self.config.nearest)]
            for members in groups
            for values in similarities
        ]
        kept = np.unique(np.concatenate(parts))
        return kept[np.argsort(-similarities[0, kept], kind="stable")]

    def _kernel(self, similarities: Floats, background: Floats, owners: NDArray[np.intp]) -> Floats:
        if not len(similarities):
            return np.zeros(0, np.float32)
        base = min(float(np.median(background)), 1.0 - self.config.floor) if len(background) else 0.0
        top = max(float(similarities.max()), base + self.config.floor)
        z = np.clip((similarities - base) / (top - base), 0.0, 1.0) ** self.config.power
        return cap_by_group(z, owners, self.config.trajectory_cap)

    def _scale(self, vectors: NDArray[np.floating]) -> Floats:
        scaled = vectors.astype(np.float32) * self._rarity
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        return np.asarray(scaled / np.where(lengths > 0, lengths, 1.0), np.float32)


def rarity(vectors: NDArray[np.floating]) -> Floats:
    """Weight of each of D entries, shape (D,): ln((1 + N) / (1 + n)) + 1, with n the rows where it is not zero.

    For hashed words this is the inverse document frequency in its smoothed form (Spärck Jones 1972); entries that are
    never zero, as in dense models, all get 1 and change nothing.
    """
    present = np.count_nonzero(vectors, axis=0)
    return np.asarray(np.log((1.0 + len(vectors)) / (1.0 + present)) + 1.0, np.float32)


def cap_by_group(weights: NDArray[np.floating], groups: NDArray[np.integer], cap: float) -> Floats:
    """Scale weights so that no group's total exceeds `cap`; groups are numbered from 0.

    >>> cap_by_group(np.array([1.0, 1.0, 0.5]), np.array([0, 0, 1]), 1.0).tolist()
    [0.5, 0.5, 0.5]
    """
    totals = np.bincount(groups, weights)
    return np.asarray(weights * np.minimum(1.0, cap / np.maximum(totals, 1e-12))[groups], np.float32)


def _top(values: Floats, k: int) -> NDArray[np.intp]:
    if len(values) <= k:
        return np.arange(len(values))
    return np.argpartition(-values, k)[:k]


def _nearest_of_all(values: Floats, sources: NDArray[np.integer], k: int) -> NDArray[np.intp]:
    """Positions of the k largest, and where one source holds most of them, of the k / 2 largest of the others."""
    top = _top(values, k)
    if len(top) == len(values) or not len(top):
        return top
    counts = np.bincount(sources[top])
    if counts.max() <= CROWDED * len(top):
        return top
    others = np.flatnonzero(sources != np.argmax(counts))
    return np.union1d(top, others[_top(values[others], k // 2)])


def _rows_by_suffix(experience: Experience) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, keys in enumerate(experience.column("suffix").tolist()):
        _add_suffixes(rows, keys, row)
    return rows


def _add_suffixes(rows: dict[int, list[int]], keys: Sequence[int], row: int) -> None:
    for key in keys:
        rows.setdefault(int(key), []).append(row)

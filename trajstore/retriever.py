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

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.experience import Experience, suffix_keys
from trajstore.index import IndexKind, VectorIndex, inner_products
from trajstore.layers import Layers
from trajstore.nearness import CROWDED, cap_by_group, distinct, medians, nearest_of, numbered
from trajstore.neighbours import Neighbours
from trajstore.scaling import Scaled, ScaledVectors
from trajstore.suffix_rows import SuffixRows
from trajstore.suffixes import agreement

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

Offer = Callable[[VectorIndex | None], None]
MakeIndex = Callable[[Floats, Offer, VectorIndex | None], VectorIndex]

BACKGROUND_ROWS = 256
CROWDED_TIMES = 1.5
CROWDED_POOLS = 4


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
    """Settings of retrieval; `pool` rows are compared in all three keys, `nearest` of them become evidence.

    `student` lets live texts be embedded by the store's student of a slow embedder (`trajstore.live_embedder`); `index`
    forces a kind of index, None takes the one that suits the number of rows.
    """

    keys: Keys = Keys()
    nearest: int = 40
    pool: int = 160
    same_order: int = 128
    power: float = 3.0
    floor: float = 0.05
    trajectory_cap: float = 1.0
    student: bool = True
    index: IndexKind | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One live decision in the three keys: vectors as the retriever scales them, and suffix keys.

    `goal_similarities` has one entry for each stored task, made once an episode; only `allowed` rows become evidence.
    """

    state: Floats
    moment: Floats
    goal_similarities: Floats
    suffix: tuple[int, ...]
    allowed: Allowed | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Stored rows near a query, nearest first: their trajectories (`owners`), joint similarity, and weight as evidence.

    Shape (n,) each.  `kernels` (3, n) are three weights: `weights` uses all three keys, `content_weights` goal and
    state without order, `moment_weights` the state alone, without the steps before it.
    """

    rows: Rows
    owners: NDArray[np.int32]
    similarities: Floats
    kernels: Floats

    @property
    def weights(self) -> Floats:
        """Weights by goal, state and order."""
        return np.asarray(self.kernels[0], np.float32)

    @property
    def content_weights(self) -> Floats:
        """Weights by goal and state."""
        return np.asarray(self.kernels[1], np.float32)

    @property
    def moment_weights(self) -> Floats:
        """Weights by the state of the moment alone."""
        return np.asarray(self.kernels[2], np.float32)

    @property
    def nearest(self) -> float:
        """Similarity of the nearest row; −1 where there is none."""
        return float(self.similarities[0]) if len(self.similarities) else -1.0


@dataclass(frozen=True, slots=True)
class _Background:
    """A fixed random sample of B rows, gathered once: vectors (B, D), numbers of their tasks (B,), suffix keys."""

    states: Floats
    moments: Floats
    goals: NDArray[np.int32]
    suffixes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.goals)


class Retriever:
    """Finds evidence in an `Experience`; rows that came after the index was built are scanned exactly.

    `make_index` gives an index of vectors at once, which may be the one used so far, and may hand over a better one
    later, from any thread; None where it cannot.  `scaled` are the vectors of an earlier retriever, taken where they
    were scaled for this index.
    """

    def __init__(
        self,
        experience: Experience,
        config: RetrieverConfig | None = None,
        *,
        seed: int = 0,
        index: VectorIndex | None = None,
        make_index: MakeIndex | None = None,
        scaled: Scaled | None = None,
    ) -> None:
        self.config = config or RetrieverConfig()
        self._make_index = make_index or _build
        self._swapping = threading.Lock()
        self._built = 0
        self._is_making = False
        self._layers = Layers(VectorIndex.build(np.zeros((0, experience.dimension), np.float32)))
        self._experience = experience
        self._seed = seed
        self._keys = self.config.keys.scaled()
        self.rebuild(index, scaled)

    def rebuild(self, index: VectorIndex | None = None, scaled: Scaled | None = None) -> None:
        """Scale every vector by its entries' rarity and index the rows.

        A given index is taken as it is where it holds the first rows and lacks few; it was made with their rarity.
        """
        experience = self._experience
        fits = index is not None and index.dimension == experience.dimension and Layers(index).suit(len(experience))
        indexed = len(index) if index is not None and fits else len(experience)
        self._vectors = ScaledVectors(experience, indexed, scaled)
        with self._swapping:  # what is offered meanwhile comes after what is made here
            self._built += 1
            offer = partial(self._take_better, self._built)
            known = self.index if len(self.index) else None
            made = index if index is not None and fits else self._make_index(self.states, offer, known)
            self._is_making = made is known
            self._layers = Layers(made).grown(self.states)
        self._order_rows = SuffixRows(experience.column("suffix"))
        sample = np.sort(np.random.default_rng(self._seed).permutation(indexed)[:BACKGROUND_ROWS])
        moment, goal, suffix = (experience.column(name)[sample] for name in ("moment", "goal", "suffix"))
        self._background = _Background(self.states[sample], self._moments[moment], goal, suffix)

    @property
    def index(self) -> VectorIndex:
        """The index of most rows; those that came later are in a smaller one, or compared one by one."""
        return self._layers.main

    def _take_better(self, built: int, index: VectorIndex | None) -> None:
        """Use another index of the first rows from now on, unless they were indexed anew since."""
        with self._swapping:
            if built == self._built:
                self._is_making = False
                self._layers = self._layers if index is None else Layers(index)

    def refresh(self) -> None:
        """Take in rows that the experience has got since."""
        seen = len(self.states)
        is_due = not self._layers.suit(len(self._experience)) and not self._is_making
        if not seen or is_due:
            self.rebuild()
            return
        self._vectors.extend()
        self._order_rows.extend(self._experience.column("suffix")[seen:])
        with self._swapping:
            self._layers = self._layers.grown(self.states)

    @property
    def states(self) -> Floats:
        """The vectors of the rows' states as this retriever compares them, shape (rows, D)."""
        return self._vectors.of("states")

    @property
    def _goals(self) -> Floats:
        return self._vectors.of("goals")

    @property
    def _moments(self) -> Floats:
        return self._vectors.of("moments")

    @property
    def indexed(self) -> int:
        """How many rows, the first, its vectors are scaled by."""
        return self._vectors.indexed

    @property
    def scaled(self) -> Scaled:
        """Its vectors, as they stand now, for a retriever to come."""
        return self._vectors.taken()

    def goal_similarities(self, goal: Floats) -> Floats:
        """Cosine of one task's vector with every stored task, shape (tasks,)."""
        return np.asarray(self._goals @ self._vectors.scale(goal[None])[0], np.float32)

    def query(
        self,
        texts: tuple[Floats, Floats],
        goal_similarities: Floats,
        tokens: Sequence[int],
        *,
        allowed: Allowed | None = None,
    ) -> Query:
        """A query from the vectors of state and moment as the embedder made them, for `allowed` rows (None: all)."""
        state, moment = self._vectors.scale(np.stack(texts))
        return Query(state, moment, goal_similarities, suffix_keys(tokens), allowed)

    def evidence(self, query: Query) -> Evidence:
        """The weighted stored steps behind one decision: at most `nearest` by each similarity; failures apart."""
        near = self._pool(query)
        similarities, count = self._joint(near, query), len(near.rows)
        background = similarities[:, count:]
        kept = self._nearest(near.rows, similarities[:, :count])
        rows, similarities = near.rows[kept], similarities.take(kept, axis=1)
        owners = self._experience.column("trajectory").take(rows)
        kernels = self._kernel(similarities, background, numbered(owners)) if len(rows) else similarities
        return Evidence(rows, owners, similarities[0], kernels)

    def _pool(self, query: Query) -> Neighbours:
        """Rows near in state, and the newest ones with the same order of steps, of those allowed; numbers rise.

        Similarities are those in state, as the search gave them; NaN where it gave none.
        """
        wanted = self.config.pool
        near = self._layers.search(query.state, wanted, self.states, query.allowed)
        if wanted < len(self.states) and self._is_crowded(near.rows):
            near = self._layers.search(query.state, CROWDED_POOLS * wanted, self.states, query.allowed)
        if self._keys.order:
            near = near.and_rows(self._same_order(query))
        return near.at(distinct(near.rows))

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
        if max(shares) <= CROWDED:  # the rest reads all trajectories
            return False
        usual = ((sources == most).mean(), 1.0 - believed.mean())
        return any(one > max(CROWDED, CROWDED_TIMES * other) for one, other in zip(shares, usual, strict=True))

    def _same_order(self, query: Query) -> Rows:
        found: list[int] = []
        for length, key in reversed(tuple(enumerate(query.suffix))):
            found += self._order_rows.newest(length, key, self.config.same_order, query.allowed)
            if len(found) >= self.config.same_order:
                break
        return np.asarray(found, np.int64)

    def key_similarities(self, rows: Rows, query: Query) -> Floats:
        """Similarity of rows to the query by goal, by state and by order; shape (rows, 3)."""
        return np.stack(self._by_key(Neighbours.of(rows), query), axis=1)[: len(rows)]

    def _by_key(self, near: Neighbours, query: Query) -> tuple[Floats, Floats, Floats]:
        """Similarities of rows, and of the background behind them; shape (rows + B,) each."""
        experience, known, rows = self._experience, self._background, near.rows
        goals = np.concatenate([experience.column("goal").take(rows), known.goals])
        suffixes = np.concatenate([experience.column("suffix").take(rows, axis=0), known.suffixes])
        return query.goal_similarities.take(goals), self._states_like(near, query), agreement(suffixes, query.suffix)

    def _states_like(self, near: Neighbours, query: Query) -> Floats:
        """Similarities in state: as they are known, of the other rows by their vectors, and of the background."""
        unknown = np.flatnonzero(np.isnan(near.similarities))
        compared = inner_products(query.state, self.states, near.rows[unknown], self._background.states)
        found = np.concatenate([near.similarities, compared[len(unknown) :]])
        found[unknown] = compared[: len(unknown)]
        return found

    def _moments_like(self, rows: Rows, query: Query) -> Floats:
        moments = self._experience.column("moment").take(rows).astype(np.int64)
        return inner_products(query.moment, self._moments, moments, self._background.moments)

    def _joint(self, near: Neighbours, query: Query) -> Floats:
        """Similarity of rows, and of the background behind them: in all keys, in content, and of their moments.

        Shape (3, rows + B): with so few rows a call of NumPy costs more than its work, so both are compared at once.
        """
        keys, (goal, state, order) = self._keys, self._by_key(near, query)
        content = keys.state * state + keys.goal * goal
        made = np.empty((3, len(content)), np.float32)
        np.add(content, keys.order * order, out=made[0])
        np.divide(content, keys.state + keys.goal or 1.0, out=made[1])
        made[2] = self._moments_like(near.rows, query)
        return made

    def _nearest(self, rows: Rows, similarities: Floats) -> NDArray[np.intp]:
        """Positions of the nearest rows by any similarity, of each kind and of no one source alone, nearest first."""
        experience = self._experience
        is_example = experience.example_weights(rows) > 0
        groups = [is_example, ~is_example]
        if experience.is_contested:
            believed = experience.column("believed").take(rows)
            groups = [group & heard for group in groups for heard in (believed, ~believed)]
        sources, is_kept = experience.column("source").take(rows), np.zeros(len(rows), np.bool_)
        for group in groups:
            is_kept[nearest_of(np.flatnonzero(group), sources, similarities, self.config.nearest)] = True
        kept: NDArray[np.intp] = np.flatnonzero(is_kept)
        nearest_first: NDArray[np.intp] = kept[(-similarities[0, kept]).argsort(kind="stable")]
        return nearest_first

    def _kernel(self, similarities: Floats, background: Floats, owners: NDArray[np.intp]) -> Floats:
        """Weights as evidence by each similarity, of trajectories numbered from 0; shape (3, rows), rows > 0."""
        floor = self.config.floor
        bases = np.minimum(medians(background), 1.0 - floor)[:, None]
        tops = np.maximum(similarities.max(axis=1)[:, None], bases + floor)
        risen = (similarities - bases) / (tops - bases)
        weights = np.minimum(np.maximum(risen, 0.0), 1.0) ** self.config.power
        return cap_by_group(weights, owners, self.config.trajectory_cap)


def _build(states: Floats, _: Offer, __: VectorIndex | None) -> VectorIndex:
    return VectorIndex.build(states)

"""The experience of one namespace, loaded from its store with vectors and index: what search and choice begin with."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trajstore.embedding import Embedder, make_embedder
from trajstore.errors import StoreError
from trajstore.experience import Experience
from trajstore.index import GRAPH_FROM_ROWS, VectorIndex
from trajstore.index_cache import IndexCache, rows_key
from trajstore.live_embedder import LiveEmbedder
from trajstore.marks import Mark
from trajstore.retriever import Floats, Offer, Retriever, RetrieverConfig
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import VectorCache

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Recollection:
    """The trajectories of one namespace up to a mark of its store, and their steps ready for retrieval."""

    mark: Mark
    trajectories: tuple[Trajectory, ...]
    experience: Experience
    retriever: Retriever


def recollect(
    store: TrajectoryStore,
    embedder: Embedder,
    namespace: str = "default",
    *,
    config: RetrieverConfig | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    in_background: bool = False,
) -> Recollection:
    """Read a namespace, embed what is new, and load its index, or build it where it lacks more than a few rows.

    A graph of many rows takes minutes to build: `in_background` gives an exact index of them at once, and puts the
    graph in its place when it is done.  Live texts may go through a student.
    """
    tell, mark, config = on_progress or _silent, store.mark, config or RetrieverConfig()
    trajectories = tuple(store.added(namespace, mark))
    vectors = VectorCache(store, embedder, lambda done, total: tell("embedding", done, total))
    live = LiveEmbedder(store, embedder, has_student=config.student)
    experience = Experience(vectors.embed, embedder.identity.dimension, embed_live=live.embed)
    experience.extend(trajectories)
    live.refresh()
    keeper = _Keeper(IndexCache(store, namespace), experience, embedder.identity.fingerprint)
    kept = keeper.cache.load_for(experience.trajectory_ids, keeper.fingerprint)
    make_index = keeper.make_in_background if in_background else keeper.make
    retriever = Retriever(experience, config, seed=seed, index=kept, make_index=make_index)
    return Recollection(mark, trajectories, experience, retriever)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Makes the index of an experience, and keeps it for whoever opens the store next."""

    cache: IndexCache
    experience: Experience
    fingerprint: str

    def make(self, states: Floats, _: Offer) -> VectorIndex:
        """Make and keep the index."""
        return self._keep(
            VectorIndex.build(states, graph_from_rows=GRAPH_FROM_ROWS), tuple(self.experience.trajectory_ids)
        )

    def make_in_background(self, states: Floats, offer: Offer) -> VectorIndex:
        """An exact index where the graph would take long; the graph is offered when a thread has made and kept it."""
        if len(states) < GRAPH_FROM_ROWS:
            return self.make(states, offer)
        rows, ids = states.copy(), tuple(self.experience.trajectory_ids)

        def make_graph() -> None:
            offer(self._keep(VectorIndex.build(rows, graph_from_rows=GRAPH_FROM_ROWS), ids))

        threading.Thread(target=make_graph, name="trajstore index", daemon=True).start()
        return VectorIndex.build(states, graph_from_rows=len(states) + 1)

    def _keep(self, index: VectorIndex, ids: Sequence[str]) -> VectorIndex:
        with contextlib.suppress(StoreError):  # the store may be closed or busy: the index serves without being kept
            self.cache.save(index, rows_key(ids, self.fingerprint), len(ids))
        return index


def stored_embedder(store: TrajectoryStore) -> Embedder:
    """The embedder that made the store's vectors, the hashed one where there are none; no model is loaded yet."""
    identity = store.embedder_identity()
    if identity is None:
        return make_embedder()
    return make_embedder(identity.name, dimension=identity.dimension, identity=identity)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""

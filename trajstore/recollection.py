"""The experience of one namespace, loaded from its store with vectors and index: what search and choice begin with."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trajstore.embedding import Embedder, make_embedder
from trajstore.errors import StoreError
from trajstore.experience import Experience
from trajstore.index import IndexKind, VectorIndex, fitting_kind
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

    A graph of many rows takes minutes to build: with `in_background` an older one serves until it is done, or an exact
    index.  Live texts may go through a student.
    """
    tell, mark, config = on_progress or _silent, store.mark, config or RetrieverConfig()
    trajectories = tuple(store.added(namespace, mark))
    vectors = VectorCache(store, embedder, lambda done, total: tell("embedding", done, total))
    live = LiveEmbedder(store, embedder, has_student=config.student)
    experience = Experience(vectors.embed, embedder.identity.dimension, embed_live=live.embed)
    experience.extend(trajectories)
    live.refresh()
    keeper = _Keeper(IndexCache(store, namespace), experience, embedder.identity.fingerprint, config.index)
    kept = keeper.cache.load_for(experience.trajectory_ids, keeper.fingerprint, config.index)
    make_index = keeper.make_in_background if in_background else keeper.make
    retriever = Retriever(experience, config, seed=seed, index=kept, make_index=make_index)
    return Recollection(mark, trajectories, experience, retriever)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Makes the index of an experience, and keeps it for whoever opens the store next."""

    cache: IndexCache
    experience: Experience
    fingerprint: str
    kind: IndexKind | None

    def make(self, states: Floats, _: Offer, __: VectorIndex | None) -> VectorIndex:
        """Make and keep the index."""
        return self._keep(VectorIndex.build(states, self._kind(states)), tuple(self.experience.trajectory_ids))

    def make_in_background(self, states: Floats, offer: Offer, current: VectorIndex | None) -> VectorIndex:
        """The current index, or an exact one, where a graph takes long: it is offered when a thread has made it."""
        kind = self._kind(states)
        if kind == "flat":
            return self.make(states, offer, current)
        rows, ids = states.copy(), tuple(self.experience.trajectory_ids)

        def make_graph() -> None:
            try:
                offer(self._keep(VectorIndex.build(rows, kind), ids))
            except BaseException:
                offer(None)
                raise

        threading.Thread(target=make_graph, name="trajstore index", daemon=True).start()
        return current or VectorIndex.build(states, "flat")

    def _kind(self, states: Floats) -> IndexKind:
        return self.kind or fitting_kind(len(states))

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

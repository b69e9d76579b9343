"""The experience of one namespace, loaded from its store with vectors and index: what search and choice begin with."""

from collections.abc import Callable
from dataclasses import dataclass

from trajstore.embedding import Embedder, make_embedder
from trajstore.experience import Experience
from trajstore.index_cache import IndexCache, rows_key
from trajstore.live_embedder import LiveEmbedder
from trajstore.retriever import Retriever, RetrieverConfig
from trajstore.schema import Trajectory
from trajstore.store import Mark, TrajectoryStore
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
) -> Recollection:
    """Read a namespace, embed what is new, and load its index; it is built where most of what it lacks came since.

    Live texts may go through a student.
    """
    tell, mark, config = on_progress or _silent, store.mark, config or RetrieverConfig()
    trajectories = tuple(store.added(namespace, mark))
    vectors = VectorCache(store, embedder, lambda done, total: tell("embedding", done, total))
    live = LiveEmbedder(store, embedder, has_student=config.student)
    experience = Experience(vectors.embed, embedder.identity.dimension, embed_live=live.embed)
    experience.extend(trajectories)
    live.refresh()
    cache, ids = IndexCache(store, namespace), experience.trajectory_ids
    kept = cache.load_for(ids, embedder.identity.fingerprint)
    retriever = Retriever(experience, config, seed=seed, index=kept)
    if retriever.index is not kept:
        cache.save(retriever.index, rows_key(ids, embedder.identity.fingerprint), len(ids))
    return Recollection(mark, trajectories, experience, retriever)


def stored_embedder(store: TrajectoryStore) -> Embedder:
    """The embedder that made the store's vectors, the hashed one where there are none; no model is loaded yet."""
    identity = store.embedder_identity()
    if identity is None:
        return make_embedder()
    return make_embedder(identity.name, dimension=identity.dimension, identity=identity)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""

"""The experience of one namespace, loaded from its store with vectors and index: what search and choice begin with."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from trajstore.embedding import Embedder, make_embedder
from trajstore.errors import DamagedStore, StoreError
from trajstore.experience import Experience, Read
from trajstore.filters import Scope
from trajstore.index import IndexKind, VectorIndex, fitting_kind
from trajstore.index_cache import IndexCache, rows_key
from trajstore.live_embedder import LiveEmbedder
from trajstore.marks import BEGINNING, Mark
from trajstore.recalled import Recollection, remainder
from trajstore.residency import bring_in_soon
from trajstore.retriever import Floats, Offer, Retriever, RetrieverConfig
from trajstore.snapshot import Snapshot, SnapshotCache, Taken
from trajstore.store import TrajectoryStore
from trajstore.trajectory_table import TrajectoryContent
from trajstore.vector_cache import VectorCache

OnProgress = Callable[[str, int, int], None]


def recollect(  # noqa: PLR0913 - all but the store and the embedder are optional
    store: TrajectoryStore,
    embedder: Embedder,
    namespace: str = "default",
    *,
    config: RetrieverConfig | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    in_background: bool = False,
    earlier: Recollection | None = None,
    sources: Sequence[str] | None = None,
) -> Recollection:
    """Load a namespace: from its snapshot, and of rows those that came later; embed what is new, and load its index.

    With `sources`, only what these said: nothing of the others is read, and index and snapshot are of their own.

    Where trajectories were removed there is no snapshot; what is left of an `earlier` recollection is taken then.  The
    index is built where it lacks more than a few rows.  A graph of many rows takes minutes to build: with
    `in_background` an older one serves until it is done, or an exact index.  Live texts may go through a student.
    """
    tell, mark, config = on_progress or _silent, store.mark, config or RetrieverConfig()
    scope = Scope(namespace, None if sources is None else tuple(sources))
    vectors = VectorCache(store, embedder, lambda done, total: tell("embedding", done, total))
    live = LiveEmbedder(store, embedder, has_student=config.student)
    snapshots, fingerprint = SnapshotCache(store, scope.name), embedder.identity.fingerprint
    make = partial(Experience, vectors.embed, embedder.identity.dimension, embed_live=live.embed)
    content = store.content(scope, mark)
    known = snapshots.load_for(content, mark, fingerprint)
    experience = make()
    if known is not None and not _holds(experience, known, store.get):
        known, experience = None, make()
    left = None if known is not None or earlier is None else remainder(earlier, content, mark)
    if left is not None:
        experience.restore(left.contents, store.get)
    begun = known or left
    new = tuple(store.added(scope, mark, since=_mark_after(content, 0 if begun is None else begun.trajectories)))
    experience.extend(new)
    live.refresh()
    serving = None if left is None else left.index
    keeper = _Keeper(IndexCache(store, scope.name), experience, fingerprint, config.index, serving)
    kept = keeper.cache.load_for(experience.trajectory_ids, fingerprint, config.index)
    make_index = keeper.make_in_background if in_background else keeper.make
    scaled = None if known is None else known.scaled
    retriever = Retriever(experience, config, seed=seed, index=kept, make_index=make_index, scaled=scaled)
    if known is not None:
        bring_in_soon([*retriever.index.pages(), retriever.states, known.scaled.vectors["moments"].values])
    read = (lambda: new) if begun is None else lambda: tuple(store.added(scope, mark))
    loaded = Recollection(mark, content, experience, retriever, read)
    if snapshots.is_due(known, retriever):
        keep = partial(_keep_snapshot, snapshots, Taken.of(loaded, fingerprint))
        _in_thread(keep, "trajstore snapshot") if in_background else keep()
    return loaded


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Makes the index of an experience, and keeps it for whoever opens the store next; `serving` stands in for it."""

    cache: IndexCache
    experience: Experience
    fingerprint: str
    kind: IndexKind | None
    serving: VectorIndex | None

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

        _in_thread(make_graph, "trajstore index")
        return current or self.serving or VectorIndex.build(states, "flat")

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


def _holds(experience: Experience, known: Snapshot, read: Read) -> bool:
    """Restore what a snapshot holds; says whether it holds all that there is to an experience."""
    try:
        experience.restore(known.contents, read)
    except (DamagedStore, KeyError):
        return False
    return True


def _mark_after(content: Sequence[TrajectoryContent], trajectories: int) -> Mark:
    """A mark that the first so many trajectories came before, and the others after."""
    return Mark(content[trajectories - 1].seq, 0, 0) if trajectories else BEGINNING


def _keep_snapshot(snapshots: SnapshotCache, taken: Taken) -> None:
    with contextlib.suppress(StoreError):  # the store may be closed or busy: the rows are read again next time
        snapshots.save(taken)


def _in_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""

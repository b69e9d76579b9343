"""Search in a store on a server: it finds the trajectories near a situation, and only those are read and ranked."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trajstore.embedding import Embedder
from trajstore.errors import StoreUnavailable
from trajstore.experience import Experience, embedded_texts
from trajstore.filters import ALL_STEPS, TrajectoryFilter, Wanted
from trajstore.recalled import Recollection
from trajstore.render import PastStep, render_goal, render_state
from trajstore.retriever import Retriever, RetrieverConfig
from trajstore.schema import Trajectory
from trajstore.server_index import KEYS, MARK
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import VectorCache

POOL = RetrieverConfig().pool
READ_CHUNK = 200
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Situation:
    """What is searched for: the task, what the agent knows, and the steps before, among some steps of a namespace."""

    task: str
    state: str
    past: Sequence[PastStep]
    namespace: str
    wanted: Wanted = ALL_STEPS


def refresh(store: TrajectoryStore, embedder: Embedder, on_progress: OnProgress | None = None) -> None:
    """Embed what is new or has lost its vector, and take it into the server's index."""
    index = store.server_index
    if index.is_complete(embedder.identity.fingerprint):
        return
    removals = store.removals
    vectors = VectorCache(store, embedder, None if on_progress is None else lambda *at: on_progress("embedding", *at))
    while chunk := index.unlinked(READ_CHUNK):
        _embed(vectors, chunk)
        index.link(chunk)
    after = 0
    while chunk := index.blind(after, READ_CHUNK):
        _embed(vectors, chunk)
        index.link(chunk)
        after, _ = chunk[-1]
    with contextlib.suppress(StoreUnavailable):  # without a graph a search only takes longer
        index.build_graph(embedder.identity.dimension)
    if store.removals == removals:  # otherwise a text may have lost its vector meanwhile
        store.put_artifact(MARK, embedder.identity.fingerprint, b"")


def recollect_near(
    store: TrajectoryStore, embedder: Embedder, situation: Situation, *, pool: int = POOL
) -> Recollection:
    """The `pool` trajectories with wanted steps nearest in state, and as many nearest in goal, ready for retrieval."""
    mark, goal = store.mark, render_goal(situation.task)
    state = render_state(situation.state, situation.past) or goal
    near = {
        found.trajectory
        for key, vector in zip(KEYS, embedder.embed([state, goal]), strict=True)
        for found in store.server_index.nearest(situation.namespace, key, vector, pool, situation.wanted)
    }
    where = TrajectoryFilter(namespace=situation.namespace, ids=tuple(sorted(near)))
    trajectories = tuple(store.trajectories(where))
    experience = Experience(VectorCache(store, embedder).embed, embedder.identity.dimension, embed_live=embedder.embed)
    experience.extend(trajectories)
    return Recollection(mark, (), experience, Retriever(experience), lambda: trajectories)


def _embed(vectors: VectorCache, chunk: Sequence[tuple[int, Trajectory]]) -> None:
    vectors.embed(sorted(set().union(*(embedded_texts(trajectory) for _, trajectory in chunk))))

"""After removals, what is left in memory stands for the rows, and only for rows that are still as they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trajectory_samples import make_step, make_trajectory

from trajstore.backup import backup, restore
from trajstore.embedding import HashedEmbedder
from trajstore.index import VectorIndex
from trajstore.logbook import EpisodeRow
from trajstore.recalled import Recollection
from trajstore.recollection import recollect
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore
from trajstore.thinned_index import ThinnedIndex

EMBEDDER = HashedEmbedder(32)


def walk(number: int, source: str = "walks") -> Trajectory:
    steps = (make_step(0, f"look{number % 3}", state=f"in room {number}"), make_step(1, "take", state="there"))
    return make_trajectory(task=Task(f"find thing {number % 7}"), steps=steps, source=source)


def fill(store: TrajectoryStore) -> None:
    store.add_many(walk(number, "bad" if number % 4 == 0 else "walks") for number in range(20))


def in_words(loaded: Recollection) -> str:
    experience, retriever = loaded.experience, loaded.retriever
    vector = experience.embed("in room 3")
    query = retriever.query((vector, vector), retriever.goal_similarities(vector), (0,))
    arrays = {name: array.tolist() for name, array in experience.contents().to_arrays().items()}
    return repr([arrays, retriever.states.tolist(), retriever.evidence(query).rows.tolist()])


def read_by(store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch) -> list[Trajectory]:
    read: list[Trajectory] = []
    added = store.added
    monkeypatch.setattr(store, "added", lambda *on, **since: [read.append(one) or one for one in added(*on, **since)])
    return read


def test_after_a_removal_only_what_came_later_is_read(store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch):
    fill(store)
    earlier = recollect(store, EMBEDDER)
    assert store.forget(source="bad") == 5
    store.add(walk(30))
    read = read_by(store, monkeypatch)
    loaded = recollect(store, EMBEDDER, earlier=earlier)
    assert [one.steps[0].state for one in read] == ["in room 30"]
    assert in_words(loaded) == in_words(recollect(store, EMBEDDER))
    assert len(read) == 17


def test_what_was_judged_besides_is_read_again(store: TrajectoryStore):
    fill(store)
    earlier = recollect(store, EMBEDDER)
    store.forget(source="bad")
    left = EpisodeRow("e", "default", store.ids("default")[2], None, None, "{}", "censored", 1.0)
    store.logbook.end_episode(left)
    store.judge(replace(left, success=False, reward=0.0, stop_reason="late"), {})
    loaded = recollect(store, EMBEDDER, earlier=earlier)
    assert loaded.experience.trajectory_column("success").tolist().count(0.0) == 1
    assert in_words(loaded) == in_words(recollect(store, EMBEDDER))


def test_a_backup_that_was_restored_is_what_counts(store_path: Path):
    with TrajectoryStore(store_path) as store:
        fill(store)
        backup(store, store_path.with_name("copy.db"))
        store.forget(source="bad")
        store.add_many(map(walk, range(40, 45)))
        earlier = recollect(store, EMBEDDER)
    restore(store_path.with_name("copy.db"), store_path, overwriting=True)
    with TrajectoryStore(store_path) as store:
        loaded = recollect(store, EMBEDDER, earlier=earlier)
        assert loaded.experience.trajectory_ids == list(store.ids("default"))
        assert in_words(loaded) == in_words(recollect(store, EMBEDDER))


def test_where_nothing_is_left_nothing_is_found(store: TrajectoryStore):
    fill(store)
    earlier = recollect(store, EMBEDDER)
    store.forget(namespace="default")
    assert len(recollect(store, EMBEDDER, earlier=earlier).experience) == 0


def test_a_thinned_index_finds_what_is_left_by_its_new_numbers():
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    kept = np.arange(300) % 3 > 0
    index, exact = ThinnedIndex(VectorIndex.build(vectors), kept), VectorIndex.build(vectors[kept])
    assert (len(index), index.dimension, index.kind) == (200, 16, "flat")
    for query in vectors[:20]:
        assert index.search(query, 5).rows.tolist() == exact.search(query, 5).rows.tolist()
    assert len(ThinnedIndex(VectorIndex.build(vectors), np.zeros(300, bool)).search(vectors[0], 5).rows) == 0


def test_a_graph_serves_without_the_removed_rows_until_another_is_made(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.index.GRAPH_FROM_ROWS", 2)
    with TrajectoryStore(store_path) as store:
        fill(store)
        earlier = recollect(store, EMBEDDER)
        store.forget(source="bad")
        loaded = recollect(store, EMBEDDER, earlier=earlier, in_background=True)
        states = loaded.retriever.states
        assert loaded.retriever.index.kind == "hnsw"
        for row in range(len(states)):
            assert states[loaded.retriever.index.search(states[row], 1).rows[0]] @ states[row] > 0.99

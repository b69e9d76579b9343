"""The index file is a cache: whatever becomes of it, what is found is what comparing with every row finds."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trajectory_samples import make_step, make_trajectory

from trajstore.embedding import HashedEmbedder
from trajstore.index import VectorIndex
from trajstore.index_cache import LAYOUT, IndexCache, index_status, rows_key, unrecorded_files, unusable_files
from trajstore.recalled import Recollection
from trajstore.recollection import recollect
from trajstore.retriever import Offer, Retriever
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore, index_folder

EMBEDDER = HashedEmbedder(64)
PLACES = ["kitchen", "garden", "cellar", "attic", "pantry", "hallway", "bedroom", "workshop"]
THINGS = ["coin", "lamp", "map", "rope", "bread", "letter", "key", "hammer"]


def walk(number: int, namespace: str = "default") -> Trajectory:
    """A trajectory whose states differ from those of every other one."""
    place, thing = PLACES[number % 8], THINGS[number // 8 % 8]
    state = f"in the {place} with a {thing} numbered {number}"
    steps = (make_step(state=state), make_step(1, "book", state=f"{state} later"))
    return make_trajectory(task=Task(f"find the {thing}", namespace=namespace), steps=steps)


def add_walks(store: TrajectoryStore, numbers: range) -> None:
    store.add_many(map(walk, numbers))


def scaled_states(loaded: Recollection) -> NDArray[np.float32]:
    return loaded.retriever.states


def keep_graph(store: TrajectoryStore) -> Path:
    """Keep a graph of the store's rows, as a large store would; returns its file."""
    loaded = recollect(store, EMBEDDER)
    graph = VectorIndex.build(Retriever(loaded.experience).states, "hnsw")
    cache = IndexCache(store, "default")
    cache.save(graph, key_of(store), len(store.ids("default")))
    file = cache.file()
    assert file is not None
    assert file.is_file()
    return file


def key_of(store: TrajectoryStore) -> str:
    return rows_key(store.ids("default"), EMBEDDER.identity.fingerprint)


def found_rows(loaded: Recollection, row: int) -> NDArray[np.int64]:
    """The rows that are compared with a stored one: those near in the index, and those that came after it."""
    index, states = loaded.retriever.index, scaled_states(loaded)
    near = index.search(states[row], 5)
    np.testing.assert_allclose(states[near.rows] @ states[row], near.similarities, atol=2e-3)
    return np.concatenate([near.rows, np.arange(len(index), len(states))])


def assert_finds_what_brute_force_finds(store: TrajectoryStore) -> Recollection:
    loaded = recollect(store, EMBEDDER)
    states = scaled_states(loaded)
    assert len(states) == store.stats().steps
    for row in range(0, len(states), 7):
        found = found_rows(loaded, row)
        best = np.sort(states @ states[row])[::-1][:5]
        np.testing.assert_allclose(np.sort(states[found] @ states[row])[::-1][:5], best, atol=2e-3)
    return loaded


@pytest.fixture
def filled(store_path: Path) -> TrajectoryStore:
    store = TrajectoryStore(store_path)
    add_walks(store, range(64))
    return store


def test_a_kept_graph_is_loaded_and_finds_what_brute_force_finds(filled: TrajectoryStore):
    keep_graph(filled)
    assert assert_finds_what_brute_force_finds(filled).retriever.index.kind == "hnsw"
    assert index_status(filled) == {"kind": "hnsw", "vectors": 128, "fresh": True}
    assert unusable_files(filled) == unrecorded_files(filled) == ()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "one bit": flip,
    "foreign": lambda file: VectorIndex.build(np.eye(128, 64, dtype=np.float32)).write(file),
    "folder": replace_by_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_silently_built_anew(filled: TrajectoryStore, damage: str):
    file = keep_graph(filled)
    DAMAGES[damage](file)
    assert unusable_files(filled) == (file,)
    assert assert_finds_what_brute_force_finds(filled).retriever.index.kind == "flat"
    assert unusable_files(filled) == ()


@pytest.mark.parametrize("record", [b"", b"no json", b"[]", b"{}", b'{"digest": "\\u0000"}', b"\xff\xfe", b"null"])
def test_a_damaged_record_is_as_good_as_none(filled: TrajectoryStore, record: bytes):
    keep_graph(filled)
    filled.put_artifact("index/default", LAYOUT, record)
    assert index_status(filled)["fresh"] is False
    assert_finds_what_brute_force_finds(filled)


def test_an_index_of_another_store_is_not_taken(filled: TrajectoryStore, tmp_path: Path):
    file = keep_graph(filled)
    with TrajectoryStore(tmp_path / "other.db") as other:
        add_walks(other, range(64, 128))
        theirs = keep_graph(other)
    file.write_bytes(theirs.read_bytes())
    assert_finds_what_brute_force_finds(filled)


def test_a_graph_a_little_behind_the_rows_is_kept_and_the_newest_are_compared_one_by_one(filled: TrajectoryStore):
    keep_graph(filled)
    add_walks(filled, range(64, 80))
    assert index_status(filled)["fresh"] is False
    loaded = assert_finds_what_brute_force_finds(filled)
    assert (loaded.retriever.index.kind, len(loaded.retriever.index)) == ("hnsw", 128)


def test_a_graph_far_behind_the_rows_is_built_anew(filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trajstore.layers.TAIL_ROWS", 8)
    keep_graph(filled)
    add_walks(filled, range(64, 80))
    assert len(assert_finds_what_brute_force_finds(filled).retriever.index) == 160
    assert index_status(filled)["fresh"] is True


def test_an_index_ahead_of_the_rows_is_built_anew(filled: TrajectoryStore):
    file = keep_graph(filled)
    content, record = file.read_bytes(), filled.artifact("index/default", LAYOUT)
    assert record is not None
    filled.remove(filled.ids("default")[3])
    file.write_bytes(content)
    assert unrecorded_files(filled) == (file,)
    filled.put_artifact("index/default", LAYOUT, record)
    assert index_status(filled)["fresh"] is False
    assert_finds_what_brute_force_finds(filled)


def test_what_is_forgotten_leaves_no_index_file(filled: TrajectoryStore):
    keep_graph(filled)
    assert filled.forget(source="") == 64
    assert list(index_folder(filled.path).iterdir()) == []


def test_a_new_graph_takes_the_place_of_the_old_one(filled: TrajectoryStore):
    old = keep_graph(filled)
    add_walks(filled, range(64, 80))
    new = keep_graph(filled)
    assert new != old
    assert list(index_folder(filled.path).iterdir()) == [new]


def test_the_graphs_of_two_namespaces_do_not_touch_each_other(filled: TrajectoryStore):
    filled.add(walk(0, "other"))
    file = keep_graph(filled)
    graph = VectorIndex.build(np.eye(3, 64, dtype=np.float32), "hnsw")
    IndexCache(filled, "other").save(graph, "their rows", 1)
    assert file.is_file()
    assert len(list(index_folder(filled.path).iterdir())) == 2


def test_a_folder_that_cannot_be_made_only_costs_a_rebuild(filled: TrajectoryStore):
    index_folder(filled.path).write_text("a file where the folder should be")
    graph = VectorIndex.build(scaled_states(recollect(filled, EMBEDDER)), "hnsw")
    IndexCache(filled, "default").save(graph, key_of(filled), 64)
    assert IndexCache(filled, "default").load_for(filled.ids("default"), EMBEDDER.identity.fingerprint) is None
    assert_finds_what_brute_force_finds(filled)


def test_an_index_of_a_store_without_a_folder_makes_no_file(store: TrajectoryStore, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_walks(store, range(8))
    graph = VectorIndex.build(scaled_states(recollect(store, EMBEDDER)), "hnsw")
    IndexCache(store, "default").save(graph, key_of(store), 8)
    assert list(tmp_path.iterdir()) == []


def test_other_rows_another_order_and_another_embedder_have_other_keys():
    keys = {rows_key(*about) for about in [(["a", "b"], "e"), (["b", "a"], "e"), (["a"], "e"), (["a", "b"], "f")]}
    assert len(keys) == 4


def test_an_exact_index_answers_while_the_graph_is_built_in_the_background(
    filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.index.GRAPH_FROM_ROWS", 2)
    assert index_status(filled)["fresh"] is False
    loaded = recollect(filled, EMBEDDER, in_background=True)
    states = loaded.retriever.states
    for _ in range(2000):
        best = np.sort(states @ states[5])[::-1][:5]
        index = loaded.retriever.index
        np.testing.assert_allclose(index.search(states[5], 5).similarities, best, atol=2e-3)
        if index.kind == "hnsw":
            break
        time.sleep(0.005)
    assert loaded.retriever.index.kind == "hnsw"
    assert index_status(filled) == {"kind": "hnsw", "vectors": 128, "fresh": True}
    assert recollect(filled, EMBEDDER).retriever.index.kind == "hnsw"


def test_an_index_that_is_offered_after_the_rows_were_indexed_anew_is_not_taken(filled: TrajectoryStore):
    experience, offers = recollect(filled, EMBEDDER).experience, []

    def make(states: NDArray[np.float32], offer: Offer, _: VectorIndex | None) -> VectorIndex:
        offers.append(offer)
        return VectorIndex.build(states)

    retriever = Retriever(experience, make_index=make)
    retriever.rebuild()
    graph = VectorIndex.build(retriever.states, "hnsw")
    offers[0](graph)
    assert retriever.index is not graph
    offers[1](graph)
    assert retriever.index is graph


def test_a_store_that_was_closed_meanwhile_only_loses_the_file(
    filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.index.GRAPH_FROM_ROWS", 2)
    loaded = recollect(filled, EMBEDDER, in_background=True)
    filled.close()
    while any(thread.name == "trajstore index" for thread in threading.enumerate()):
        time.sleep(0.005)
    assert loaded.retriever.index.kind == "hnsw"
    with TrajectoryStore(filled.path) as again:
        assert_finds_what_brute_force_finds(again)

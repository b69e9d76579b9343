"""Search in a store on a server: exact while small, a graph when large, and never across namespaces."""

from collections.abc import Iterator

import numpy as np
import pytest
from command_line import trajstore
from postgres_server import PostgresServer
from trajectory_samples import make_step, make_trajectory

from trajstore.connection import AnyDatabase
from trajstore.embedding import HashedEmbedder
from trajstore.errors import UsageError
from trajstore.experience import Experience
from trajstore.index_cache import index_status
from trajstore.opening import open_database
from trajstore.recollection import recollect
from trajstore.render import render_goal
from trajstore.schema import Task
from trajstore.searching import search
from trajstore.server_index import ServerIndex
from trajstore.server_search import Situation, recollect_near, refresh
from trajstore.store import TrajectoryStore

EMBEDDER = HashedEmbedder(64)
COUNT = 120
WORDS = ("door", "window", "key", "lamp", "box", "coin", "map", "rope", "cup", "book", "bell", "shoe")


@pytest.fixture(scope="module")
def address(postgres_server: PostgresServer) -> str:
    return postgres_server.new_address()


@pytest.fixture(scope="module")
def filled(address: str) -> Iterator[TrajectoryStore]:
    """Two namespaces of the same tasks; the second one's are told by their words."""
    with TrajectoryStore(address) as store:
        rng = np.random.default_rng(0)
        for namespace, canary in (("ours", ""), ("theirs", " canary")):
            store.add_many(walk(rng, namespace, canary) for _ in range(COUNT))
        refresh(store, EMBEDDER)
        yield store


@pytest.fixture
def by_graph(address: str, filled: TrajectoryStore) -> Iterator[ServerIndex]:
    """The same index, told to be large."""
    database: AnyDatabase = open_database(address)
    index = ServerIndex(database, graph_from_texts=1)
    index.build_graph(EMBEDDER.identity.dimension)
    yield index
    database.close()


def walk(rng: np.random.Generator, namespace: str, canary: str):
    words = [" ".join(rng.choice(WORDS, 4)) + canary for _ in range(4)]
    steps = tuple(make_step(at, "look", state=text, observation="") for at, text in enumerate(words[:3]))
    return make_trajectory(task=Task(f"find {words[3]}", namespace=namespace), steps=steps)


def brute_force(store: TrajectoryStore, namespace: str, vector, k: int) -> list[float]:
    """The similarities of the nearest step of the nearest trajectories in state."""
    loaded = recollect(store, EMBEDDER, namespace).experience
    similarities = loaded.states.astype(np.float32) @ vector
    owners = loaded.column("trajectory")
    best = [similarities[owners == owner].max() for owner in range(len(loaded.trajectory_ids))]
    return sorted(best, reverse=True)[:k]


@pytest.mark.parametrize("namespace", ["ours", "theirs"])
@pytest.mark.parametrize("text", ["door key lamp", "rope canary", "nothing of all that"])
def test_a_small_namespace_is_searched_exactly(filled: TrajectoryStore, namespace: str, text: str):
    (vector,) = EMBEDDER.embed([text])
    found = filled.server_index.nearest(namespace, "state", vector, 10)
    expected = brute_force(filled, namespace, vector, 10)
    np.testing.assert_allclose([one.similarity for one in found], expected, atol=2e-3)


@pytest.mark.parametrize("namespace", ["ours", "theirs"])
def test_the_graph_finds_nearly_all_that_is_nearest(by_graph: ServerIndex, filled: TrajectoryStore, namespace: str):
    hits = total = 0
    for vector in EMBEDDER.embed(["door key lamp", "rope bell", "coin in a box", "map of the shoe"]):
        found = [one.similarity for one in by_graph.nearest(namespace, "state", vector, 10)]
        expected = brute_force(filled, namespace, vector, 10)
        hits += sum(similarity >= expected[-1] - 2e-3 for similarity in found)
        total += len(expected)
    assert hits >= 0.9 * total


def test_the_graph_is_what_a_large_namespace_is_searched_by(by_graph: ServerIndex, filled: TrajectoryStore):
    assert by_graph.kind(EMBEDDER.identity.dimension) == "hnsw"
    assert index_status(filled)["kind"] == "hnsw"


@pytest.mark.parametrize("key", ["state", "goal"])
def test_nothing_of_another_namespace_is_found_however_near_it_is(
    by_graph: ServerIndex, filled: TrajectoryStore, key: str
):
    (vector,) = EMBEDDER.embed(["canary canary canary"])
    ours = set(filled.ids("ours"))
    for index in (by_graph, filled.server_index):
        found = index.nearest("ours", key, vector, COUNT)
        assert {one.trajectory for one in found} <= ours
        assert index.nearest("nobody's", key, vector, COUNT) == ()


def test_the_graph_goes_on_until_it_has_enough_of_a_small_namespace(filled: TrajectoryStore, by_graph: ServerIndex):
    rare = filled.add(make_trajectory(task=Task("open it", namespace="rare")))
    refresh(filled, EMBEDDER)
    (vector,) = EMBEDDER.embed([render_goal("door door door")])
    assert [one.trajectory for one in by_graph.nearest("rare", "goal", vector, 5)] == [rare]
    filled.remove(rare)
    refresh(filled, EMBEDDER)


def test_a_search_on_a_server_ranks_as_one_on_a_file_where_it_reads_all(filled: TrajectoryStore):
    situation = Situation("find the door key", "lamp on a box", (), "ours")
    whole = recollect(filled, EMBEDDER, "ours")
    near = recollect_near(filled, EMBEDDER, situation, pool=COUNT)
    assert search(near, situation.task, situation.state) == search(whole, situation.task, situation.state)


def test_what_is_erased_is_not_found_any_more(by_graph: ServerIndex, filled: TrajectoryStore):
    unique = filled.add(make_trajectory("zebra crossing", task=Task("zebra crossing", namespace="ours")))
    refresh(filled, EMBEDDER)
    (vector,) = EMBEDDER.embed([render_goal("zebra crossing")])
    assert filled.server_index.nearest("ours", "goal", vector, 1)[0].trajectory == unique
    filled.remove(unique)
    assert unique not in {one.trajectory for one in filled.server_index.nearest("ours", "goal", vector, COUNT)}
    assert not index_status(filled)["fresh"]
    refresh(filled, EMBEDDER)
    assert index_status(filled) == {"kind": "hnsw", "vectors": 6 * COUNT, "fresh": True}


def test_a_text_that_lost_its_vector_is_found_again_after_the_next_search(filled: TrajectoryStore):
    (vector,) = EMBEDDER.embed([render_goal("door")])
    before = filled.server_index.nearest("ours", "goal", vector, 5)
    found = filled.check_vectors()
    filled.drop_vectors(found.unit | found.zero)
    assert filled.server_index.nearest("ours", "goal", vector, 5) == ()
    refresh(filled, EMBEDDER)
    assert filled.server_index.nearest("ours", "goal", vector, 5) == before


def test_a_second_refresh_embeds_nothing(filled: TrajectoryStore):
    told: list[int] = []
    refresh(filled, EMBEDDER, lambda what, done, total: told.append(done))
    assert told == []
    assert isinstance(recollect(filled, EMBEDDER, "ours").experience, Experience)


def test_another_embedder_gets_a_graph_of_its_own(postgres_address: str):
    with TrajectoryStore(postgres_address) as store:
        store.add(make_trajectory("open the door"))
        small = ServerIndex(store._database, graph_from_texts=1)
        refresh(store, EMBEDDER)
        small.build_graph(64)
        other = HashedEmbedder(32)
        store.replace_embedder(other.identity)
        refresh(store, other)
        small.build_graph(32)
        (vector,) = other.embed(["open the door"])
        (found,) = small.nearest("default", "goal", vector, 3)
        assert found.similarity == pytest.approx(1.0, abs=2e-3)
        assert (store.server_index.kind(64), store.server_index.kind(32)) == ("hnsw", "hnsw")


def test_what_an_interrupted_build_left_is_no_damage_and_gives_way(address: str, filled: TrajectoryStore):
    with filled._database.writing() as connection:
        connection.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = to_regclass('vectors_near_64')")
    assert filled.integrity_findings() == ()
    assert filled.server_index.kind(64) == "flat"
    ServerIndex(filled._database, graph_from_texts=1).build_graph(64)
    assert filled.server_index.kind(64) == "hnsw"


def test_a_file_has_no_index_on_a_server():
    with TrajectoryStore(":memory:") as store, pytest.raises(UsageError, match="recollect loads that of a file"):
        _ = store.server_index


def test_stats_tells_of_the_index_on_the_server(address: str, filled: TrajectoryStore):
    index = trajstore("stats", "--db", address, "--json").data["index"]
    assert index == index_status(filled)

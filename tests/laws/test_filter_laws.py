"""Searches among some rows: what may not be found never is, and what may be is found as if there were nothing else."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer
from trajectory_samples import make_step, make_trajectory

from trajstore.allowed import Allowed
from trajstore.embedding import HashedEmbedder, normalised
from trajstore.filters import Wanted
from trajstore.index import IndexKind, VectorIndex
from trajstore.layers import Layers
from trajstore.recollection import recollect
from trajstore.schema import Task
from trajstore.searching import Hit, search
from trajstore.server_index import ServerIndex
from trajstore.server_search import Situation, recollect_near, refresh
from trajstore.store import TrajectoryStore
from trajstore.suffix_rows import SuffixRows
from trajstore.thinned_index import ThinnedIndex

ROWS, DIMENSION, ASKED = 30_000, 32, 25
EMBEDDER = HashedEmbedder(32)
WORDS = ("door", "key", "lamp", "box", "coin", "map", "rope", "cup")
SOURCES, TOOLS = ("ours", "theirs", "rare"), ("look", "take")
SHARES = (0.5, 0.1, 0.01, 0.001)


def unit_rows(count: int, seed: int) -> np.ndarray:
    """Rows around a hundred places, as states of alike tasks are."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(0).normal(size=(100, DIMENSION))
    return normalised((places[rng.integers(100, size=count)] + 0.5 * rng.normal(size=(count, DIMENSION))).astype("f4"))


@functools.cache
def many() -> np.ndarray:
    return unit_rows(ROWS, seed=1)


@functools.cache
def graph() -> VectorIndex:
    return VectorIndex.build(many(), "hnsw")


def nearest(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray, k: int) -> set[int]:
    return set(rows[np.argsort(-(vectors[rows] @ query), kind="stable")[:k]].tolist())


def recall(index: Layers | VectorIndex, allowed: Allowed, k: int = 10) -> float:
    hits = 0
    for query in unit_rows(ASKED, seed=2):
        near = index.search(query, k, many(), allowed) if isinstance(index, Layers) else index.search(query, k, allowed)
        found = near.rows
        assert allowed.mask_N[found].all()
        hits += len(set(found.tolist()) & nearest(many(), query, allowed.rows, k))
    return hits / (k * ASKED)


@settings(max_examples=80)
@given(
    st.lists(st.booleans(), min_size=1, max_size=80),
    st.integers(1, 100),
    st.integers(0, 2**31),
    st.sampled_from(["flat", "hnsw", "hnsw-sq8"]),
    st.integers(0, 80),
)
def test_a_search_among_some_rows_is_brute_force_among_them(mask, k, seed, kind: IndexKind, indexed):
    allowed, vectors = Allowed(np.array(mask)), unit_rows(len(mask), seed)
    query = unit_rows(1, seed + 1)[0]
    layers = Layers(VectorIndex.build(vectors[:indexed], kind))
    near = layers.search(query, k, vectors, allowed)
    found, told = near.rows, ~np.isnan(near.similarities)
    assert near.similarities[told] == pytest.approx((vectors[found] @ query)[told], abs=5e-3)
    assert set(found.tolist()) <= set(allowed.rows.tolist())
    assert len(set(found.tolist())) == len(found) >= min(k, allowed.count)
    best = np.sort(vectors[allowed.rows] @ query)[::-1][:k]
    assert np.sort(vectors[found] @ query)[::-1][: len(best)] == pytest.approx(best, abs=5e-3)


@pytest.mark.parametrize("share", [*SHARES, 0.9999])
@pytest.mark.parametrize(("kind", "least"), [("flat", 0.995), ("codes", 0.95), ("hnsw", 0.95)])
def test_the_nearest_of_few_allowed_rows_are_found_as_well_as_those_of_many(
    kind: IndexKind, least: float, share: float
):
    main = graph() if kind == "hnsw" else VectorIndex.build(many(), kind)
    allowed = Allowed(np.random.default_rng(3).random(ROWS) < share)
    assert recall(Layers(main), allowed) >= least


def test_what_lies_behind_a_few_rows_that_are_not_allowed_is_found_by_codes():
    coded = VectorIndex.build(many(), "codes")
    for query in unit_rows(ASKED, seed=2):
        first = coded.search(query, 40).rows
        rest = Allowed(~np.isin(np.arange(ROWS), first[:20]))
        assert coded.search(query, 20, rest).rows.tolist() == first[20:].tolist()


@pytest.mark.parametrize("share", SHARES[:2])
def test_a_graph_alone_finds_nearly_all_of_the_nearest_allowed_rows(share: float):
    assert recall(graph(), Allowed(np.random.default_rng(3).random(ROWS) < share)) >= 0.95


@pytest.mark.parametrize("share", [0.99, 0.9, 0.6])
def test_where_all_that_is_near_is_not_allowed_the_nearest_of_the_rest_are_found(share: float):
    recalls = []
    for query in unit_rows(ASKED, seed=2):
        similarities = many() @ query
        rest = Allowed(similarities < np.quantile(similarities, share))
        found = Layers(graph()).search(query, 10, many(), rest).rows
        assert rest.mask_N[found].all()
        recalls.append(len(set(found.tolist()) & nearest(many(), query, rest.rows, 10)) / 10)
    assert np.mean(recalls) >= 0.95


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.05, 1.0), st.floats(0.0, 1.0), st.integers(1, 40))
def test_an_index_without_removed_rows_keeps_to_those_allowed_too(seed, kept_share, share, k):
    rng, vectors = np.random.default_rng(seed), many()[:300]
    kept_N = rng.random(300) < kept_share
    left = vectors[kept_N]
    allowed = Allowed(rng.random(len(left)) < share)
    found = ThinnedIndex(VectorIndex.build(vectors), kept_N).search(vectors[0], k, allowed)
    expected = np.sort(left[allowed.rows] @ vectors[0])[::-1][:k]
    assert allowed.mask_N[found.rows].all()
    assert left[found.rows] @ vectors[0] == pytest.approx(expected, abs=5e-3)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60),
    st.integers(0, 60),
    st.integers(0, 3),
    st.integers(1, 9),
)
def test_the_newest_allowed_rows_of_the_same_order_come_back(rows, known, key, most):
    keys, mask = np.array([key for key, _ in rows], np.int64)[:, None], np.array([one for _, one in rows], np.bool_)
    suffixes = SuffixRows(keys[:known])
    suffixes.extend(keys[known:])
    expected = [row for row, (one, is_allowed) in enumerate(rows) if one == key and is_allowed]
    assert suffixes.newest(0, key, most, Allowed(mask)) == expected[-most:]


@given(st.lists(st.booleans(), max_size=40), st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_parts_of_what_is_allowed_make_up_the_whole(mask, cuts):
    whole = Allowed(np.array(mask, np.bool_))
    ends = sorted({0, len(mask), *(min(cut, len(mask)) for cut in cuts)})
    parts = [first + whole.part(first, end).rows for first, end in pairwise(ends)]
    assert np.concatenate([np.zeros(0, np.int64), *parts]).tolist() == whole.rows.tolist()
    assert np.unpackbits(whole.bits, count=len(mask), bitorder="little").astype(bool).tolist() == mask


def fill(store: TrajectoryStore) -> None:
    """Two thousand steps of three sources, of which one is rare; each source's states begin with its name."""
    rng = np.random.default_rng(0)
    sources = rng.choice(SOURCES[:2], 400).tolist()
    sources[77] = sources[301] = "rare"
    store.add_many(
        make_trajectory(
            task=Task(f"find the {rng.choice(WORDS)}"),
            steps=tuple(
                make_step(
                    at, str(rng.choice(TOOLS)), state=f"{source} {' '.join(rng.choice(WORDS, 4))}", observation=""
                )
                for at in range(5)
            ),
            source=source,
        )
        for source in sources
    )


@dataclass(frozen=True)
class Asked:
    """A filled store, and searches in it: those in a file, on a server, or by the server's graph."""

    store: TrajectoryStore

    def search(self, text: str, wanted: Wanted, k: int) -> tuple[Hit, ...]:
        situation = Situation("find the key", text, (), "default", wanted)
        is_on_server = self.store.is_on_server
        loaded = recollect_near(self.store, EMBEDDER, situation) if is_on_server else recollect(self.store, EMBEDDER)
        return search(loaded, situation.task, text, k=k, wanted=wanted)

    def steps(self, wanted: Wanted) -> set[tuple[str, int]]:
        return {
            (one.trajectory_id, step.index)
            for one in self.store.trajectories()
            for step in one.steps
            if one.source in (wanted.sources or SOURCES) and step.tool in (wanted.tools or TOOLS)
        }


@pytest.fixture(scope="module")
def filled_address(postgres_server: PostgresServer) -> str:
    address = postgres_server.new_address()
    with TrajectoryStore(address) as store:
        fill(store)
        refresh(store, EMBEDDER)
        ServerIndex(store._database, graph_from_texts=1).build_graph(EMBEDDER.identity.dimension)
    return address


@pytest.fixture(params=["file", "server", "graph"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    if request.param == "file":
        with TrajectoryStore(":memory:") as store:
            fill(store)
            yield Asked(store)
        return
    if request.param == "graph":
        monkeypatch.setattr("trajstore.store.ServerIndex", functools.partial(ServerIndex, graph_from_texts=1))
    with TrajectoryStore(request.getfixturevalue("filled_address")) as store:
        yield Asked(store)


@pytest.mark.parametrize("sources", [(), ("rare",), ("ours",), ("rare", "theirs")])
@pytest.mark.parametrize("tools", [(), ("take",)])
def test_a_search_shows_only_steps_of_the_sources_and_tools_asked_for(asked: Asked, sources, tools):
    wanted = Wanted(sources, tools)
    allowed = asked.steps(wanted)
    for text in ("theirs door key lamp", "ours rope", "rare cup box"):
        hits = asked.search(text, wanted, 5)
        assert {(hit.trajectory, hit.step) for hit in hits} <= allowed
        assert len(hits) == min(5, len(allowed))


@pytest.mark.parametrize("tools", [(), ("take",), ("look", "take")])
def test_all_steps_of_a_rare_source_are_shown_where_more_are_asked_for(asked: Asked, tools):
    wanted = Wanted(("rare",), tools)
    found = asked.search("theirs door key lamp", wanted, 40)
    assert {(hit.trajectory, hit.step) for hit in found} == asked.steps(wanted)
    assert 0 < len(found) <= 10


@pytest.mark.parametrize("wanted", [Wanted(("nobody",)), Wanted((), ("fly",)), Wanted(("rare",), ("fly",))])
def test_a_source_or_a_tool_that_nobody_knows_shows_nothing(asked: Asked, wanted: Wanted):
    assert asked.search("theirs door", wanted, 5) == ()


def test_a_rare_source_fills_the_pool_of_a_server(asked: Asked):
    if not asked.store.is_on_server:
        pytest.skip("a file has no index on a server")
    (vector,) = EMBEDDER.embed(["theirs door key lamp"])
    found = asked.store.server_index.nearest("default", "state", vector, 20, Wanted(("rare", "nobody")))
    steps = asked.steps(Wanted(("rare",)))
    assert {(one.trajectory, one.step) for one in found} <= steps
    assert {one.trajectory for one in found} == {trajectory for trajectory, _ in steps}

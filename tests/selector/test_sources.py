"""A selector of some sources decides as if nobody else had ever said anything."""

from dataclasses import replace
from pathlib import Path

import pytest

from selector import Decision, Selector, SelectorConfig
from selector.memory import Memory, MemorySettings
from trajstore import Step, Task, Trajectory, TrajectoryStore
from trajstore.doctor import examine
from trajstore.embedding import HashedEmbedder
from trajstore.errors import UsageError
from trajstore.filters import Scope
from trajstore.index_cache import unrecorded_files
from trajstore.recollection import recollect

EMBEDDER = HashedEmbedder(64)
OURS = SelectorConfig(sources=("ours",), exploration=0.0)
ALL = replace(OURS, sources=None)
PLACES = ("Oslo", "Rome", "Lima", "Cairo", "Quito")


def trip(number: int, source: str, *, success: bool = True) -> Trajectory:
    """Ours search and then book; theirs book first, and pay with a tool of their own."""
    tools = ("search", "book", "rest") if source == "ours" else ("book", "pay", "search")
    state = f"to {PLACES[number % 5]}, day {number}"
    steps = tuple(Step(index=at, tool=tool, state=f"{state}, {at} done") for at, tool in enumerate(tools))
    name = f"{source} {number}"
    return Trajectory(
        Task(f"travel {state}", group=name), steps, success=success, source=source, trajectory_id=name, created_at=1.0
    )


def ours(first: int, end: int) -> list[Trajectory]:
    return [trip(number, "ours", success=number % 4 > 0) for number in range(first, end)]


def both(first: int, end: int) -> list[Trajectory]:
    """Those of ours with twice as many of theirs between them."""
    own = ours(first, end)
    return [
        one for at, mine in enumerate(own, first) for one in (trip(2 * at, "theirs"), mine, trip(2 * at + 1, "theirs"))
    ]


def decided(selector: Selector) -> list[Decision]:
    """What a selector chooses in some situations, with probabilities, evidence and reasons."""
    told = []
    for history in ((), ("search",), ("search", "book")):
        one = selector.choose(
            "travel to Rome", "to Rome, day 3", history=history, tools=("book", "search", "rest", "pay")
        )
        told.append(replace(one, decision_id="", policy="", cluster=0))
    return told


def test_decisions_are_those_of_a_store_that_never_held_the_others(store_address: str):
    with TrajectoryStore(store_address) as mixed, TrajectoryStore(":memory:") as pure:
        mixed.add_many(both(0, 30))
        pure.add_many(ours(0, 30))
        one, other = Selector(mixed, OURS, embedder=EMBEDDER), Selector(pure, ALL, embedder=EMBEDDER)
        chosen = decided(one)
        assert chosen == decided(other)
        assert [choice.tool for choice in chosen] == ["search", "book", "rest"]
        mixed.add_many(both(30, 34))
        pure.add_many(ours(30, 34))
        assert decided(one) == decided(other)
        mixed.remove("ours 3")
        pure.remove("ours 3")
        mixed.remove("theirs 5")
        assert decided(one) == decided(other)
        mixed.add_many(both(34, 60))
        pure.add_many(ours(34, 60))
        assert decided(one) == decided(other)
        assert decided(Selector(mixed, OURS, embedder=EMBEDDER)) == decided(Selector(pure, ALL, embedder=EMBEDDER))


def test_selectors_of_different_sources_do_not_see_each_other_on_one_store(store_address: str):
    with TrajectoryStore(store_address) as store:
        store.add_many(both(0, 30))
        configs = [OURS, ALL, replace(ALL, sources=("theirs",)), replace(ALL, sources=("theirs", "ours"))]
        first = [decided(Selector(store, config, embedder=EMBEDDER)) for config in configs]
        kept = set(store.artifact_names())
        again = [decided(Selector(store, config, embedder=EMBEDDER)) for config in reversed(configs)]
        assert again[::-1] == first
        assert set(store.artifact_names()) == kept
        names = {Scope("default", config.sources).name for config in configs}
        assert {f"choice-model/{name}" for name in names} | {f"clusters/{name}" for name in names} <= kept
        assert len(names) == len(configs)
        assert first[0] != first[1] != first[2]


def test_what_is_stored_of_another_source_is_not_learned(tmp_path: Path):
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(both(0, 20))
        memory = Memory(store, MemorySettings(EMBEDDER, OURS, "default"))
        memory.add(trip(90, "live"))
        assert memory.add(trip(91, "ours")) == "ours 91"
        experience = memory.learned.knowledge.experience
        assert experience.sources.names == ("ours",)
        assert "pay" not in experience.tools.names
        assert experience.trajectory_ids == [*(f"ours {number}" for number in range(20)), "ours 91"]
        assert store.get("live 90").source == "live"


def test_what_is_pruned_on_some_sources_is_pruned_for_them_alone_and_forgotten_with_any(tmp_path: Path):
    bad = [
        Trajectory(Task(f"t{at}"), (Step(index=0, tool=tool, state="here"),), success=tool == "good", source=source)
        for source, tools in (("ours", ("good", "bad")), ("theirs", ("good",)))
        for tool in tools
        for at in range(40)
    ]
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(bad)
        mine = Selector(store, OURS, embedder=EMBEDDER).room("default")
        theirs = Selector(store, replace(OURS, sources=("theirs",)), embedder=EMBEDDER).room("default")
        assert {row.tool for row in mine.prunings()} == {"bad"}
        assert theirs.prunings() == []
        assert store.logbook.prunings("default") == []
        store.forget(source="ours")
        assert mine.prunings() == []


def test_index_and_snapshot_of_some_sources_are_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trajstore.index.GRAPH_FROM_ROWS", 2)
    monkeypatch.setattr("trajstore.snapshot.LEAST_ROWS", 2)
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(both(0, 20))
        for sources in (None, ("ours",)):
            recollect(store, EMBEDDER, sources=sources)
        files = sorted(Path(f"{tmp_path / 'x.db'}.index").glob("*"))
        assert len(files) == 4
        assert unrecorded_files(store) == ()
        assert [one for one in examine(store) if one.severity != "info" or "index" in one.what] == []
        for sources, rows in ((None, 180), (("ours",), 60)):
            loaded = recollect(store, EMBEDDER, sources=sources)
            assert len(loaded.experience) == len(loaded.retriever.index) == rows
        assert sorted(Path(f"{tmp_path / 'x.db'}.index").glob("*")) == files
        store.forget(source="theirs")
        assert not [name for name in store.artifact_names() if "sources" in name]


def test_the_log_of_a_selector_of_some_sources_names_no_state_clusters(tmp_path: Path):
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(both(0, 30))
        for config in (OURS, ALL):
            decided(Selector(store, config, embedder=EMBEDDER))
        logged = [row.cluster for row in store.logbook.decisions("default")]
        assert logged[:3] == [-1, -1, -1]
        assert min(logged[3:]) >= 0


@pytest.mark.parametrize("sources", [(), "ours"])
def test_sources_that_name_nobody_are_refused(sources):
    with pytest.raises(UsageError, match="at least one name"):
        SelectorConfig(sources=sources)


def test_where_none_of_the_sources_said_anything_it_abstains(tmp_path: Path):
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(both(0, 5))
        nobody = Selector(store, replace(OURS, sources=("nobody",)), embedder=EMBEDDER)
        assert all(one.source == "defer" for one in decided(nobody))

"""A memory opened from a snapshot knows what one opened from the rows knows, and chooses alike."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from selector.engine import Engine
from selector.kpis import Kpi, RewardSpec, measured, measured_by, needs_steps
from selector.learning import known_tools
from selector.memory import Memory, MemorySettings
from selector.prune_book import PruneConfig, PrunedPair
from selector.records import SelectorConfig
from selector.situation import Situation
from trajstore import Step, Task, Trajectory, TrajectoryStore
from trajstore.embedding import HashedEmbedder
from trajstore.errors import DamagedStore
from trajstore.filters import Scope
from trajstore.logbook import PruningRow
from trajstore.snapshot import SnapshotCache
from trajstore.store import index_folder

SETTINGS = MemorySettings(HashedEmbedder(64), SelectorConfig(), "default")


@pytest.fixture(autouse=True)
def _small_stores_have_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajstore.snapshot.LEAST_ROWS", 1)


def booking(number: int) -> Trajectory:
    steps = (
        Step(index=0, tool="search", state=f"go to city {number}", outcome="ok", latency_seconds=0.1 * number),
        Step(index=1, tool="say", kind="message", observation="found it"),
        Step(index=2, tool="book" if number % 3 else "pay", state="found", outcome="ok", cost_usd=0.01),
    )
    task = Task(f"fly to city {number}", group=f"g{number}")
    return Trajectory(task=task, steps=steps, success=bool(number % 4), reward=0.5, source=f"s{number % 3}")


@pytest.fixture
def filled(tmp_path: Path) -> TrajectoryStore:
    store = TrajectoryStore(tmp_path / "agent.db")
    store.add_many(map(booking, range(60)))
    Memory(store, SETTINGS)
    return store


def known(memory: Memory) -> str:
    """What is known, in a form that two memories can be compared by; NaN equals nothing."""
    knowledge = memory.learned.knowledge
    outcomes, order = knowledge.outcomes, knowledge.tool_order
    orders = [order.predict(tokens, len(knowledge.experience.tools)).tolist() for tokens in ((), (0,), (0, 2))]
    sums = outcomes.successes_CT.tolist(), outcomes.counts_CT.tolist(), outcomes.records.wins.tolist()
    followers = knowledge.action_order.followers((0,)).weights.tolist()
    return repr([orders, sums, followers, memory.learned.model.state.tobytes(), memory.version])


def probabilities(memory: Memory) -> list[float]:
    knowledge = memory.learned.knowledge
    engine = Engine(memory.learned, SelectorConfig(), np.random.default_rng(0))
    asked = Situation("fly to city 7", "go to city 9", (), known_tools(knowledge.experience))
    return engine.probabilities(asked, knowledge.goal_similarities(asked)).tolist()


def test_what_is_opened_from_a_snapshot_knows_and_chooses_as_from_the_rows(filled):
    assert SnapshotCache(filled, "default").is_usable()
    from_snapshot = Memory(filled, SETTINGS)
    for file in index_folder(filled.path).glob("*"):
        file.unlink()
    from_rows = Memory(filled, SETTINGS)
    assert known(from_snapshot) == known(from_rows)
    assert probabilities(from_snapshot) == probabilities(from_rows)


def test_after_a_removal_what_is_left_in_memory_is_what_the_rows_give(filled):
    memory = Memory(filled, SETTINGS)
    filled.forget(source="s1")
    assert memory.keep_up()
    afresh = Memory(filled, SETTINGS)
    assert memory.learned.knowledge.experience.trajectory_ids == list(filled.ids("default"))
    assert known(memory) == known(afresh)
    assert probabilities(memory) == pytest.approx(probabilities(afresh))


def test_what_a_person_restored_after_pruning_stays_so_through_a_snapshot(filled):
    pruned = asdict(PrunedPair(0, "book", "restored", "restored: it fails", 1.0, 9.0, 0.2, "pay", 0.6, 5.0, 5.0, 1))
    row = PruningRow(namespace="default", **pruned)
    filled.logbook.put_prunings([row])
    from_snapshot = Memory(filled, SETTINGS).learned.knowledge.outcomes
    assert filled.logbook.prunings("default") == [row]
    SnapshotCache(filled, "default").file().unlink()
    from_rows = Memory(filled, SETTINGS).learned.knowledge.outcomes
    assert filled.logbook.prunings("default") == [row]
    assert from_snapshot.judged(PruneConfig(evidence=1.0)) == from_rows.judged(PruneConfig(evidence=1.0))
    assert from_snapshot.counts_CT.tolist() == from_rows.counts_CT.tolist()


@pytest.mark.parametrize("name", ["success", "steps", "latency_seconds", "cost_usd", "reward", "own"])
def test_what_the_store_measures_is_what_the_trajectories_show(filled, name):
    filled.add_many([replace(booking(70), kpis={"own": 3.0, "cost_usd": 9.0}), Trajectory(task=Task("nothing done"))])
    with_steps = needs_steps(RewardSpec((Kpi(name),)))
    assert with_steps == (name in {"steps", "latency_seconds", "cost_usd"})
    found = [measured_by(one) for one in filled.measures(Scope("default"), filled.mark, with_steps=with_steps)]
    for one, trajectory in zip(found, filled.trajectories(), strict=True):
        expected = measured(trajectory)
        assert (name in one) == (name in expected)
        assert one.get(name) == pytest.approx(expected.get(name))


def test_kpis_that_cannot_be_read_are_named(filled):
    with filled.lent_connection() as connection:
        connection.execute("UPDATE trajectories SET kpis = '{broken'")
    measures, *_ = filled.measures(Scope("default"), filled.mark, with_steps=False)
    with pytest.raises(DamagedStore, match="broken"):
        measured_by(measures)

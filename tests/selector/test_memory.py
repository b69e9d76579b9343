"""What was learned from a store is kept, reused while it speaks of most rows, and fitted anew when it does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selector.choice_model import unfitted
from selector.fitting import Familiar
from selector.follow import unfitted_paths
from selector.memory import Memory, MemorySettings
from selector.model_file import FittedModel, from_bytes, to_bytes
from selector.records import SelectorConfig
from selector.word_weights import WordWeights
from trajstore import Step, Task, Trajectory, TrajectoryStore
from trajstore.embedding import HashedEmbedder
from trajstore.errors import DamagedStore
from trajstore.logbook import EpisodeRow

SETTINGS = MemorySettings(HashedEmbedder(64), SelectorConfig(), "default")


def booking(city: str) -> Trajectory:
    steps = (Step(index=0, tool="search", state=f"go to {city}"), Step(index=1, tool="book", state="found"))
    return Trajectory(task=Task(f"fly to {city}", group=city), steps=steps, success=True)


def fill(store: TrajectoryStore, first: int, count: int) -> None:
    store.add_many([booking(f"city {number}") for number in range(first, first + count)])


def model_of(store: TrajectoryStore) -> bytes:
    return Memory(store, SETTINGS).learned.model.state.tobytes()


@pytest.fixture
def filled(tmp_path: Path) -> TrajectoryStore:
    store = TrajectoryStore(tmp_path / "x.db")
    fill(store, 0, 40)
    return store


def test_a_model_is_read_back_as_it_was_kept(filled):
    first = Memory(filled, SETTINGS)
    assert Memory(filled, SETTINGS).learned.model.state.tobytes() == first.learned.model.state.tobytes()


def test_a_little_more_experience_does_not_fit_anew(filled):
    before = model_of(filled)
    fill(filled, 40, 5)
    assert model_of(filled) == before


def test_much_more_experience_fits_anew(filled):
    before = model_of(filled)
    filled.add_many([booking(f"elsewhere {number}") for number in range(30)])
    assert model_of(filled) != before


def test_what_was_forgotten_leaves_no_model_behind(filled):
    model_of(filled)
    filled.remove(filled.ids("default")[0])
    assert Memory(filled, SETTINGS).learned.knowledge.experience.trajectory_ids == list(filled.ids("default"))


def test_a_duplicate_is_learned_once(filled):
    memory = Memory(filled, SETTINGS)
    rows = len(memory.learned.knowledge.experience)
    memory.add(booking("city 3"))
    assert len(memory.learned.knowledge.experience) == rows


def test_what_others_stored_is_taken_in_when_keeping_up(filled):
    memory = Memory(filled, SETTINGS)
    with TrajectoryStore(filled.path) as other:
        other.add(booking("Oslo"))
    memory.add(booking("Rome"))
    memory.keep_up()
    assert memory.learned.knowledge.experience.trajectory_ids == list(filled.ids("default"))


def in_rows(memory: Memory) -> str:
    """What is learned, in a form that two memories can be compared by."""
    knowledge = memory.learned.knowledge
    experience = knowledge.experience
    columns = ("trajectory", "position", "tool", "action", "failed", "reward", "moment", "wasted", "suffix")
    found: dict[str, object] = {name: experience.column(name).tolist() for name in columns}
    found |= {name: experience.trajectory_column(name).tolist() for name in ("source", "goal", "template", "end")}
    outcomes = knowledge.outcomes
    found |= {
        "ids": experience.trajectory_ids,
        "tools": list(experience.tools.names),
        "states": experience.states.tolist(),
        "successes": outcomes.successes_CT.tolist(),
        "counts": outcomes.counts_CT.tolist(),
        "order": knowledge.tool_order.followers(()).weight_of(np.arange(len(experience.tools))).tolist(),
    }
    return repr(found)  # where nothing is known there is NaN, which equals nothing


def test_what_others_stored_bit_by_bit_is_learned_as_if_it_had_been_there_at_once(filled):
    memory = Memory(filled, SETTINGS)
    with TrajectoryStore(filled.path) as other:
        for number in range(8):
            other.add(booking(f"later {number}"))
            other.add(replace(booking("elsewhere"), task=Task(f"{number}", namespace="another")))
            assert memory.keep_up()
            assert not memory.keep_up()
    assert in_rows(memory) == in_rows(Memory(filled, SETTINGS))


def test_taking_in_what_others_stored_reads_nothing_else_again(filled, monkeypatch):
    memory = Memory(filled, SETTINGS)
    read = []
    watched = filled.added
    monkeypatch.setattr(
        filled, "added", lambda *about, **since: [read.append(one) or one for one in watched(*about, **since)]
    )
    with TrajectoryStore(filled.path) as other:
        other.add(booking("Oslo"))
    memory.keep_up()
    assert [one.task.text for one in read] == ["fly to Oslo"]


@pytest.mark.parametrize("change", ["remove", "judge"])
def test_what_others_removed_or_judged_anew_is_learned_anew(filled, change):
    memory = Memory(filled, SETTINGS)
    with TrajectoryStore(filled.path) as other:
        first = other.ids("default")[0]
        if change == "remove":
            other.remove(first)
        else:
            left = EpisodeRow("e", "default", first, None, None, "{}", "censored", 1.0)
            other.logbook.end_episode(left)
            other.judge(replace(left, success=False, reward=0.0, stop_reason="late"), {})
        other.add(booking("Oslo"))
    memory.keep_up()
    assert in_rows(memory) == in_rows(Memory(filled, SETTINGS))


def test_a_tool_that_came_after_the_fit_can_be_chosen(filled):
    memory = Memory(filled, SETTINGS)
    memory.add(Trajectory(task=Task("pay"), steps=(Step(index=0, tool="pay", state="bill"),), success=True))
    assert "pay" in memory.learned.knowledge.experience.tools.names
    assert memory.learned.model.state.shape[1] == 3


def test_what_words_weigh_is_kept_with_the_model():
    words = WordWeights({"plant": 0.25, "größer": 1.5})
    content = to_bytes(FittedModel(unfitted(2), unfitted_paths(), Familiar(0.5, 0.25), 7, words))
    assert from_bytes(content).words == words
    broken = WordWeights({"plant": float("nan")})
    with pytest.raises(DamagedStore, match="fitted anew"):
        from_bytes(to_bytes(FittedModel(unfitted(2), unfitted_paths(), Familiar(0.5, 0.25), 7, broken)))


@pytest.mark.parametrize("damage", [lambda _: b"", lambda content: content[:100], lambda _: b"PK\x03\x04 nothing"])
def test_a_damaged_model_is_refused(damage):
    content = to_bytes(FittedModel(unfitted(2), unfitted_paths(), Familiar(0.5, 0.25), 7))
    assert from_bytes(content).rows == 7
    with pytest.raises(DamagedStore, match="fitted anew"):
        from_bytes(damage(content))

"""Which stored paths a task is compared with, and how far each is believed."""

import numpy as np
import pytest

from selector.knowledge import Knowledge
from selector.learning import know
from selector.path_relations import PATH_RELATIONS
from selector.situation import Situation
from selector.word_weights import NO_WEIGHTS
from trajstore.embedding import make_embedder
from trajstore.schema import Candidate, Step, Task, Trajectory

GARDEN, YARD = Candidate("go", {"to": "garden"}, "go to garden"), Candidate("go", {"to": "yard"}, "go to yard")
KINDS = {"plant": (GARDEN, "tree"), "animal": (YARD, "dog")}
COLOURS = ("red", "blue", "green", "black", "white")


def task(kind: str, colour: str, room: str) -> str:
    return f"find a {kind} and put it in the {colour} box in the {room}"


def carried(kind: str, colour: str, room: str) -> Trajectory:
    place, thing = KINDS[kind]
    take, put = Candidate("take", {"it": thing}), Candidate("put", {"it": thing, "into": f"{colour} box"})
    calls = [place, take, Candidate("go", {"to": room}), put]
    offered = (GARDEN, YARD, take, put)
    seen = ["a room", *(f"after {call.tool} {' '.join(map(str, call.args.values()))}" for call in calls)]
    steps = tuple(
        Step(index=at, tool=call.tool, args=call.args, state=seen[at], observation=seen[at + 1], candidates=offered)
        for at, call in enumerate(calls)
    )
    return Trajectory(Task(task(kind, colour, room)), steps, success=True, reward=1.0)


ROOMS = {"plant": ("hall", "bedroom"), "animal": ("kitchen", "bedroom")}


@pytest.fixture
def knowledge() -> Knowledge:
    """Either kind went to the bedroom too, plants never to the kitchen."""
    asked = [(kind, colour, room) for kind, rooms in ROOMS.items() for room in rooms for colour in COLOURS]
    return know([carried(*one) for one in asked], make_embedder())


def exactly_next(knowledge: Knowledge, text: str) -> np.ndarray:
    situation = Situation(text, "a room", (), (GARDEN, YARD))
    found = knowledge.path_relations(situation, knowledge.goal_similarities(situation))
    return found[:, PATH_RELATIONS.index("paths do exactly it next")]


def test_paths_are_believed_whose_tasks_differ_in_words_that_do_not_matter(knowledge: Knowledge):
    """A plant for the kitchen: as many words differ from each kind, and only one of them says where to go first."""
    before = exactly_next(knowledge, task("plant", "red", "kitchen"))
    knowledge.use_words(knowledge.weigh_words())
    garden, yard = exactly_next(knowledge, task("plant", "red", "kitchen"))
    assert garden > before[0]
    assert garden > 2.0 * yard
    knowledge.use_words(NO_WEIGHTS)
    np.testing.assert_array_equal(exactly_next(knowledge, task("plant", "red", "kitchen")), before)


def test_paths_of_the_very_same_task_are_believed_before_all_others(knowledge: Knowledge):
    garden, yard = exactly_next(knowledge, task("animal", "red", "kitchen"))
    assert yard > 5.0 * garden

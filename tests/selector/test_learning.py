"""Stored decisions as examples: which are used, and that none answers for itself."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_logs import WordEmbedder
from tiny_worlds import COLOURS, attempt, coloured_presses, knowledge_of, learned_from, routines

from selector.fitting import Example
from selector.knowledge import EXPERTS
from selector.learning import LearningConfig, build_examples, example, known_tools, learn
from selector.situation import situation_at
from trajstore.experience import play_back
from trajstore.schema import Candidate, Step, Task, Trajectory

PATH, CONTENT, MOMENT, ORDER = (EXPERTS.index(name) for name in ("path", "content", "moment", "order"))
KNOWING = [PATH, CONTENT, MOMENT]


def examples_of(trajectories: list[Trajectory], **changes: object) -> list[Example]:
    return list(build_examples(knowledge_of(trajectories), trajectories, LearningConfig(**changes)))


def believed(made: Example, experts: list[int]) -> np.ndarray:
    """How probable the right candidate was to each expert."""
    return np.exp(made.experts[made.chosen, experts])


def planted(**task: str) -> list[Trajectory]:
    """Two attempts at one task that nobody else knows, among blue and green ones."""
    own = [attempt(("red", "press_red"), trajectory_id=f"red{copy}", **task) for copy in range(2)]
    others = [
        attempt((colour, f"press_{colour}"), group=f"{colour}{n}", trajectory_id=f"{colour}{n}")
        for colour in ("blue", "green")
        for n in range(6)
    ]
    return own + others


@pytest.mark.parametrize(
    ("task", "hold_out"),
    [
        ({"group": "secret"}, "group"),
        ({"group": "secret"}, "family"),
        ({"family": "secret"}, "family"),
        ({"group": "secret", "family": "secret"}, "group"),
    ],
)
def test_an_attempt_that_only_its_own_task_could_answer_is_not_answered(task, hold_out):
    trajectories = planted(**task)
    knowledge = knowledge_of(trajectories)
    made = examples_of(trajectories, hold_out=hold_out)
    assert (believed(made[0], KNOWING) <= 1 / 3 + 1e-9).all()
    playback = play_back(trajectories[0])
    situation = situation_at(playback, 0, known_tools(knowledge.experience))
    goals = knowledge.goal_similarities(situation)
    told = example(knowledge, situation, goals, None, made[0].chosen)
    assert (believed(told, KNOWING) > 0.8).all()


def test_a_lone_trajectory_without_any_name_does_not_answer_for_itself():
    trajectories = [replace(one, task=Task("press"), trajectory_id="") for one in planted()][1:]
    assert (believed(examples_of(trajectories)[0], KNOWING) <= 1 / 3 + 1e-9).all()


def test_other_groups_of_the_family_answer_only_where_groups_are_left_out():
    trajectories = [
        attempt(("red", "press_red"), family="reds", group=f"red{n}", trajectory_id=f"red{n}") for n in range(2)
    ] + planted()[2:]
    assert (believed(examples_of(trajectories, hold_out="group")[0], KNOWING) > 0.5).all()
    assert (believed(examples_of(trajectories, hold_out="family")[0], KNOWING) <= 1 / 3 + 1e-9).all()


def test_an_order_that_only_its_own_task_has_seen_is_not_known():
    trajectories = [*routines(1, ["a", "b", "c", "d"], prefix="own"), *routines(5, ["d", "c", "b", "a"])]
    own = examples_of(trajectories, hold_out="family")[:4]
    assert max(believed(one, [ORDER])[0] for one in own) < 0.5
    assert min(believed(one, [ORDER])[0] for one in examples_of(trajectories, hold_out="family")[4:]) > 0.5


def test_only_successful_tool_calls_with_a_choice_are_examples():
    asked = Step(index=0, tool="ask", kind="message")
    alone = Step(index=1, tool="press_red", candidates=(Candidate("press_red"),))
    chosen = Step(index=2, tool="press_red", candidates=(Candidate("press_blue"), Candidate("press_red")))
    unlisted = Step(index=3, tool="press_red", candidates=(Candidate("press_blue"), Candidate("press_green")))
    trajectories = [
        Trajectory(task=Task("t"), steps=(asked, alone, chosen, unlisted), success=True),
        attempt(("red", "press_blue"), success=False),
    ]
    (made,) = examples_of(trajectories)
    assert made.chosen == 1
    assert len(made.tools) == 2


def test_the_choice_is_found_among_actions_by_tool_and_arguments():
    offered = tuple(Candidate("take", {"object": name}) for name in ("coin", "lamp"))
    step = Step(index=0, tool="take", args={"object": "lamp"}, candidates=offered)
    (made,) = examples_of([Trajectory(task=Task("t"), steps=(step,), success=True)])
    assert made.chosen == 1
    assert made.actions is not None


def test_steps_that_were_wasted_are_no_examples():
    offered = (Candidate("go", {"to": "attic"}), Candidate("go", {"to": "cellar"}))
    steps = tuple(
        Step(index=at, tool="go", args={"to": to}, state=state, candidates=offered)
        for at, (state, to) in enumerate([("hall", "attic"), ("attic", "cellar"), ("hall", "cellar")])
    )
    made = examples_of([Trajectory(task=Task("t"), steps=steps, success=True)])
    assert [one.chosen for one in made] == [1]


def test_where_there_are_too_many_decisions_a_fair_share_is_used():
    trajectories = coloured_presses(60)
    assert len(examples_of(trajectories)) == 240
    assert 60 < len(examples_of(trajectories, decisions=100)) < 140
    first, second = (examples_of(trajectories, decisions=100, seed=seed) for seed in (1, 2))
    assert [one.chosen for one in first] != [one.chosen for one in second]


def test_known_tools_are_those_that_were_called_in_order_of_first_use():
    steps = (Step(index=0, tool="ask", kind="message"), Step(index=1, tool="b"), Step(index=2, tool="a"))
    knowledge = knowledge_of([Trajectory(task=Task("t"), steps=steps)])
    assert known_tools(knowledge.experience) == (Candidate("b"), Candidate("a"))


def test_progress_is_told_example_by_example():
    told: list[tuple[int, int]] = []
    learn(coloured_presses(2), WordEmbedder(*COLOURS), on_example=lambda *place: told.append(place))
    assert [done for done, _ in told] == list(range(1, 9))


def test_nothing_stored_is_nothing_learned():
    assert examples_of([]) == []
    assert not learned_from([]).model.state.any()


def test_what_the_task_hides_is_in_no_text_that_is_embedded():
    hidden = {"task_hidden": "the lamp is secretly purple"}
    trajectories = [replace(one, metadata=hidden) for one in coloured_presses(4)]
    embedder = WordEmbedder(*COLOURS)
    learned = learn(trajectories, embedder)
    learned.knowledge.experience.embed("a live text")
    assert len(embedder.texts) > 8
    assert not any("purple" in text or "secretly" in text for text in embedder.texts)


def test_learning_the_same_twice_is_learning_it_once():
    first, second = learned_from(coloured_presses(4)), learned_from(coloured_presses(4))
    assert np.array_equal(first.model.experts, second.model.experts)
    assert np.array_equal(first.model.state, second.model.state)

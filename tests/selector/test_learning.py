"""Stored decisions as examples: which are used, and that none answers for itself."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_logs import WordEmbedder
from tiny_worlds import COLOURS, attempt, coloured_presses, knowledge_of, learned_from, routines

from selector.fitting import Example
from selector.knowledge import EXPERTS
from selector.learning import LearningConfig, build_examples, example, known_tools, learn
from selector.lessons import ENDED, FATAL_WEIGHT, WRONG_WEIGHT, Lesson, lessons, wrong_steps
from selector.situation import situation_at
from trajstore.experience import play_back
from trajstore.schema import Candidate, Outcome, Step, Task, Trajectory

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


def opened(*doors: tuple[str, Outcome, float], success: bool = False) -> Trajectory:
    offered = (Candidate("open", {"door": "red"}), Candidate("open", {"door": "blue"}))
    steps = tuple(
        Step(index=at, tool="open", args={"door": door}, outcome=outcome, reward=reward, candidates=offered)
        for at, (door, outcome, reward) in enumerate(doors)
    )
    return Trajectory(task=Task("t"), steps=steps, success=success, stop_reason=ENDED)


def test_steps_that_lost_reward_were_refused_or_ended_a_failure_were_wrong():
    refused, lost, fine = ("red", "invalid_args", 0.0), ("blue", "ok", -0.5), ("red", "ok", 0.0)
    assert wrong_steps(opened(fine, refused, refused, fine, lost, fine)) == {1, 4, 5}
    assert wrong_steps(opened(fine, refused, refused, fine, lost, fine, success=True)) == {1, 4}
    assert wrong_steps(replace(opened(fine, fine), stop_reason="step limit")) == set()
    assert wrong_steps(opened()) == set()


def test_what_ended_a_task_counts_more_than_what_was_wrong_on_the_way():
    failure = opened(("red", "ok", 0.0), ("blue", "ok", -0.2), ("red", "ok", -0.2))
    found = list(lessons(play_back(failure), wrong_steps(failure), is_example=False))
    assert found == [Lesson(1, WRONG_WEIGHT, is_wrong=True), Lesson(2, FATAL_WEIGHT, is_wrong=True)]
    assert WRONG_WEIGHT < FATAL_WEIGHT


def test_where_nothing_is_at_stake_the_end_of_a_failure_was_no_more_wrong_than_the_rest():
    def weights(*rewards: float, at_stake: float) -> list[float]:
        failure = opened(*(("red", "ok", reward) for reward in rewards))
        return [
            one.weight for one in lessons(play_back(failure), wrong_steps(failure), is_example=False, at_stake=at_stake)
        ]

    assert weights(0.0, 0.0, at_stake=0.0) == []
    assert weights(0.0, 0.0, at_stake=0.5) == [0.5 * FATAL_WEIGHT]
    assert weights(0.0, -0.1, at_stake=0.0) == [WRONG_WEIGHT]
    assert weights(0.0, 0.1, at_stake=1.0) == []


def test_of_a_failure_that_came_far_the_steps_up_to_there_are_right():
    failure = opened(("red", "ok", 0.2), ("blue", "ok", 0.3), ("red", "ok", 0.0), ("blue", "ok", -0.5))
    failure = replace(failure, steps=tuple(replace(step, state=f"moment {step.index}") for step in failure.steps))
    found = lessons(play_back(failure), wrong_steps(failure), is_example=True)
    assert list(found) == [Lesson(0), Lesson(1), Lesson(3, FATAL_WEIGHT, is_wrong=True)]


def test_wrong_steps_of_failures_are_examples_of_what_not_to_do_and_no_more_than_a_quarter_of_all():
    failures = [replace(opened(("red", "ok", -0.5)), trajectory_id=f"t{number}") for number in range(80)]
    made = examples_of(failures)
    assert [(one.chosen, one.is_wrong) for one in made] == [(0, True)] * 80
    few = examples_of(failures, decisions=80)
    assert 8 < len(few) < 40
    assert sum(one.weight for one in few) == pytest.approx(sum(one.weight for one in made), rel=0.5)


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


def test_a_decision_is_assessed_without_the_tasks_about_the_same_rare_thing():
    def about(thing: str, verb: str, number: int) -> Trajectory:
        offered = tuple(Candidate("take", {"object": one}) for one in ("milk", "pot", thing))
        steps = (Step(0, "take", f"a {thing}", args={"object": thing}, candidates=offered),)
        return Trajectory(
            Task(f"{verb} the {thing}", f"{verb} {thing}"), steps, success=True, trajectory_id=f"t{number}"
        )

    things = ["red", "red", *(f"jam{letter}" for letter in "abcdefgh")]
    trajectories = [
        about(thing, verb, at) for at, (thing, verb) in enumerate(zip(things, ["boil", "melt"] * 5, strict=True))
    ]
    with_kin, alone = (examples_of(trajectories, with_kin=with_kin)[0] for with_kin in (True, False))
    assert alone.nearest_step > with_kin.nearest_step


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

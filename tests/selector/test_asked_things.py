"""What is said of the things that the task names, and whether it is learned from where it helps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.asked_things import MOST_FOUND, Thing, asked_things, said_beside, said_of_asked
from selector.choice_model import FEW, action_features
from selector.crosses import CROSSES, HASHED_CROSSES, crosses
from selector.learning import LearningConfig, learn
from selector.reading import number_of, numbers_of
from selector.situation import Situation
from trajstore.embedding import HashedEmbedder
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

TURNS = (Candidate("turn", {"to": "left"}), Candidate("turn", {"to": "right"}), Candidate("pick up", {"how": "now"}))
TASK = "Put the red ball next to the green box."
THINGS = ("red ball", "green box", "blue key", "grey door", "pink cup")


USUAL = np.unique(numbers_of("put next find"))


def thing(phrase: str, usual: str = "") -> Thing:
    own, others = (frozenset(map(number_of, words.split())) for words in (phrase, usual))
    return Thing(own, others)


def seen(state: str, *before: str, task: str = TASK) -> Situation:
    return Situation(task, state, tuple(PastStep("look", "", text) for text in before), TURNS)


def test_things_are_named_in_the_order_of_the_task_and_usual_words_alone_name_none():
    assert asked_things(TASK, b"") == tuple(map(thing, ("put", "red ball next", "green box")))
    usual = np.unique(numbers_of("put next box"))
    assert asked_things(TASK, usual.tobytes()) == (thing("red ball", "next"), thing("green", "box"))


def test_what_is_said_is_of_the_first_record_with_all_words_of_the_thing():
    state = "You see a red box 1 step right; a red ball 24 steps forward and 3 steps left."
    said = said_beside(thing("red ball"), state)
    assert said is not None
    assert said.beside[0] == "= # step forward and 3 step left"
    assert "step left" in said.beside
    carried = said_beside(thing("red ball"), "You carry a red ball.")
    assert carried is not None
    assert carried.before == "carry"
    assert said_beside(thing("red ball"), "You see a red box; a green ball.") is None
    best = said_beside(thing("green", "box"), "a green key 1 step left; a green box 1 step right")
    assert best is not None
    assert best.beside[0] == "= 1 step right"


def test_where_a_thing_is_counts_with_where_the_other_is():
    near, far = (said_of_asked(seen(f"You carry a red ball; a green box {where}."), USUAL) for where in ("1", "2"))
    assert set(near) & set(far)
    put_down = said_of_asked(seen("A red ball; a green box 1."), USUAL)
    assert set(near) & set(put_down) < set(near)


def test_what_was_read_before_is_told_apart_from_what_is():
    now = said_of_asked(seen("a red ball 1 step left"), USUAL)
    before = said_of_asked(seen("nothing", "a red ball 1 step left"), USUAL)
    assert len(now) == len(before) > 0
    assert not set(now) & set(before)


@given(st.lists(st.sampled_from(THINGS), max_size=5), st.lists(st.sampled_from(THINGS), max_size=5))
def test_names_of_other_things_say_nothing_and_few_things_count(named, read):
    situation = seen("; ".join(f"a {one} here" for one in read), task=f"Find {', '.join(named)}.")
    said = said_of_asked(situation, USUAL)
    assert bool(len(said)) == bool(set(named) & set(read))
    assert len(said) <= 2 * 2 * MOST_FOUND


def test_crosses_tell_candidates_of_one_tool_apart_and_stay_in_their_places():
    situation = seen("a red ball 1 step left")
    said = said_of_asked(situation, USUAL)
    made = crosses(situation, said)[:, -2 * len(said) :]
    assert ((made >= HASHED_CROSSES) & (made < CROSSES)).all()
    of_tool, of_object = made[:, : len(said)], made[:, len(said) :]
    assert (of_tool[0] == of_tool[1]).all()
    assert (of_tool[0] != of_tool[2]).any()
    assert (of_object[0] != of_object[1]).any()


def test_of_many_candidates_nothing_more_is_asked():
    offered = tuple(Candidate("go", {"to": str(number)}) for number in range(FEW + 1))
    for count in (FEW, FEW + 1):
        situation = Situation(TASK, "a red ball 1 step left", (), offered[:count])
        features = action_features(situation, usual=USUAL, with_said=True)
        assert features is not None
        said = said_of_asked(situation, USUAL)
        assert features.crosses.shape[1] == crosses(situation).shape[1] + (2 * len(said) if count == FEW else 0)


def walks(count: int, *, tells: bool) -> list[Trajectory]:
    """Turning to where the asked thing is; or to a side of which the state says nothing."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        wanted, other = rng.permutation(THINGS)[:2]
        sides = [int(side) for side in rng.integers(0, 2, 4)]
        steps = []
        for index, side in enumerate(sides):
            shown = side if tells else int(rng.integers(0, 2))
            words = [f"a {wanted} 2 steps {('left', 'right')[shown]}", f"a {other} 2 steps {('right', 'left')[shown]}"]
            state = f"You see {'; '.join(rng.permutation(words))}."
            steps.append(
                Step(index, TURNS[side].tool, args=TURNS[side].args, state=state, candidates=TURNS, outcome="ok")
            )
        made.append(Trajectory(Task(f"Find the {wanted}.", group=str(number)), tuple(steps), success=True))
    return made


@pytest.mark.parametrize("tells", [True, False])
def test_it_is_learned_where_it_helps_and_only_there(tells: bool):  # noqa: FBT001 - a parameter of the test
    learned = learn(walks(60, tells=tells), HashedEmbedder(64), config=LearningConfig(decisions=400))
    assert learned.model.uses_said is tells
    if not tells:
        return
    right = 0
    for trajectory in walks(100, tells=True)[60:]:
        for step in trajectory.steps:
            situation = Situation(trajectory.task.text, step.state, (), TURNS)
            features = action_features(situation, usual=learned.knowledge.usual, with_said=True)
            assert features is not None
            scores = learned.model.crosses[features.crosses[:, -features.crosses.shape[1] // 2 :]].sum(axis=1)
            right += scores[:2].argmax() == TURNS.index(Candidate(step.tool, step.args))
    assert right >= 0.9 * 160

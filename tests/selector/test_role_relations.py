"""What role a candidate's arguments play in the task and in what was done."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.role_relations import ROLE_RELATIONS, role_relations
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

WORDS = ("coin", "red coin", "box", "lamp", "old lamp")
TOOLS = ("take", "put in", "look")

phrases = st.sampled_from(WORDS)
calls = st.builds(
    lambda tool, one, two: Candidate(tool, {"object": one, "place": two} if two else {"object": one}),
    st.sampled_from(TOOLS),
    phrases,
    st.none() | phrases,
)
steps = st.builds(
    PastStep,
    st.sampled_from(TOOLS),
    phrases,
    st.lists(phrases, max_size=3).map(" and ".join),
    st.booleans(),
    st.lists(phrases, max_size=3).map(" and ".join),
    st.just(()),
    st.none() | st.floats(0.0, 1.0),
)
situations = st.builds(
    Situation,
    st.lists(phrases, max_size=4).map("take the ".join),
    st.lists(phrases, max_size=4).map(" and ".join),
    st.lists(steps, max_size=8).map(tuple),
    st.lists(calls, min_size=1, max_size=6).map(tuple),
)


def seen(*candidates: Candidate, task="", state="", history=()) -> Situation:
    return Situation(task, state, tuple(history), candidates)


def relation(situation: Situation, name: str) -> list[float]:
    return role_relations(situation)[:, ROLE_RELATIONS.index(name)].tolist()


def take(thing: str) -> Candidate:
    return Candidate("take", {"object": thing})


def put(thing: str, place: str) -> Candidate:
    return Candidate("put in", {"object": thing, "place": place})


@given(situations)
def test_every_relation_is_finite_and_not_negative(situation):
    found = role_relations(situation)
    assert found.shape == (len(situation.candidates), len(ROLE_RELATIONS))
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()


@given(situations, st.randoms(use_true_random=False))
def test_the_order_of_candidates_changes_nothing(situation, random):
    order = list(range(len(situation.candidates)))
    random.shuffle(order)
    mixed = seen(
        *(situation.candidates[at] for at in order),
        task=situation.task,
        state=situation.state,
        history=situation.history,
    )
    assert role_relations(mixed) == pytest.approx(role_relations(situation)[order])


def renamed(text: str) -> str:
    return text.replace("coin", "gem").replace("lamp", "lantern").replace("box", "crate")


@given(situations)
def test_other_names_of_objects_change_only_where_in_the_task_they_stand(situation):
    history = tuple(
        PastStep(one.tool, renamed(one.args), renamed(one.observation), one.failed, renamed(one.state), (), one.reward)
        for one in situation.history
    )
    candidates = tuple(
        Candidate(one.tool, {name: renamed(value) for name, value in one.args.items()}) for one in situation.candidates
    )
    other = Situation(renamed(situation.task), renamed(situation.state), history, candidates)
    stays = [at for at, name in enumerate(ROLE_RELATIONS) if "where the task" not in name]
    assert role_relations(other)[:, stays] == pytest.approx(role_relations(situation)[:, stays])


def test_a_phrase_is_found_only_as_whole_words():
    assert relation(seen(take("coin"), take("red coin"), task="find coins"), "named in the task: first argument") == [
        0.0,
        0.0,
    ]


def test_each_argument_has_a_role_of_its_own():
    situation = seen(put("coin", "box"), put("lamp", "coin"), task="where is the coin?")
    assert relation(situation, "named in the task: first argument") == [1.0, 0.0]
    assert relation(situation, "named in the task: second argument") == [0.0, 1.0]


def test_what_the_task_says_to_do_with_a_thing_is_told_apart():
    situation = seen(take("coin"), take("box"), task="Take the coin; then look into the big and shiny box.")
    assert relation(situation, "tool named before it in the task") == [1.0, 0.0]


def test_an_argument_is_known_by_how_many_steps_ago_it_was_used():
    history = [PastStep("take", "coin"), PastStep("put in", "lamp box")]
    situation = seen(take("coin"), take("box"), take("lamp"), history=history)
    assert relation(situation, "argument 1 steps ago: first argument") == [0.0, 1.0, 1.0]
    assert relation(situation, "argument 2 steps ago: first argument") == [1.0, 0.0, 0.0]


def test_what_came_into_view_is_new_once():
    before, after = PastStep("look", "", "", state="a coin"), "a coin and a lamp"
    situation = seen(take("coin"), take("lamp"), state=after, history=[before])
    assert relation(situation, "new in the state: first argument") == [0.0, 1.0]


def test_calls_that_failed_and_calls_that_paid_are_remembered():
    history = [PastStep("take", "coin", failed=True), PastStep("take", "lamp", reward=0.5)]
    situation = seen(take("coin"), take("lamp"), take("box"), history=history)
    assert relation(situation, "call failed before") == [1.0, 0.0, 0.0]
    assert relation(situation, "call rewarded before") == [0.0, 1.0, 0.0]
    assert relation(situation, "tool never called") == [0.0, 0.0, 0.0]


def test_a_row_of_equal_calls_counts_for_that_call_alone():
    history = [PastStep("take", "lamp"), PastStep("take", "coin"), PastStep("take", "coin")]
    situation = seen(take("coin"), take("lamp"), history=history)
    assert relation(situation, "repeats in a row (log)") == pytest.approx([np.log(3.0), 0.0])

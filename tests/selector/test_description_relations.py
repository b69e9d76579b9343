"""Descriptions of tools stand to a request as their words do, whatever the words are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.description_relations import (
    DESCRIPTION_RELATIONS,
    description_relations,
)
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

TOOLS = (
    Candidate("startEngine", {}, "Starts the engine of the vehicle."),
    Candidate("lock_doors", {}, "Locks the doors of the vehicle."),
    Candidate("post_tweet", {}, "Posts a message for the user."),
    Candidate("end", {}, "Nothing is left."),
)
WORDS = st.sampled_from(["engine", "doors", "message", "user", "left", "vehicle", "start", "lock", "zebra", "quux"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
NAMES = st.sampled_from([candidate.tool for candidate in TOOLS] + ["unknown"])
STEPS = st.lists(st.builds(PastStep, NAMES, observation=TEXTS, state=TEXTS), max_size=4).map(tuple)


def column(situation, name):
    return description_relations(situation)[:, DESCRIPTION_RELATIONS.index(name)]


def asked(state, history=(), tools=TOOLS):
    return Situation("drive safely", state, tuple(history), tuple(tools))


@given(TEXTS, STEPS, st.lists(st.builds(Candidate, NAMES, text=TEXTS), min_size=1, max_size=6))
def test_every_relation_of_every_candidate_is_a_finite_number_from_0_to_about_1(state, history, tools):
    related = description_relations(asked(state, history, tools))
    assert related.shape == (len(tools), len(DESCRIPTION_RELATIONS))
    assert np.isfinite(related).all()
    assert (related >= 0.0).all()
    assert (related <= np.log1p(4) + 1e-9).all()


@given(TEXTS, STEPS, st.permutations(range(len(TOOLS))))
def test_the_order_in_which_candidates_are_offered_does_not_matter(state, history, order):
    there = description_relations(asked(state, history))
    back = description_relations(asked(state, history, [TOOLS[place] for place in order]))
    assert back == pytest.approx(there[list(order)])


@pytest.mark.parametrize(
    ("request_", "tool"),
    [("please get the engine started", 0), ("are all doors locked?", 1), ("tweeting a message", 2)],
)
def test_the_tool_that_describes_itself_in_the_words_of_the_request_is_most_like_it(request_, tool):
    for name in ("name in the request", "description like the request", "description most like the request"):
        assert int(np.argmax(column(asked(request_), name))) == tool


def test_likeness_is_the_cosine_of_the_weighted_words():
    tools = (Candidate("a", {}, "red blue"), Candidate("b", {}, "red"))
    weights = {"a": np.log(3 / 1.5), "b": np.log(3 / 1.5), "red": np.log(3 / 2.5), "blue": np.log(3 / 1.5)}
    first = weights["red"] ** 2 / np.sqrt(
        (weights["red"] ** 2 + weights["blue"] ** 2 + weights["a"] ** 2) * weights["red"] ** 2
    )
    second = weights["red"] ** 2 / np.sqrt((weights["red"] ** 2 + weights["b"] ** 2) * weights["red"] ** 2)
    found = column(asked("something red", tools=tools), "description like the request")
    assert found == pytest.approx([first, second])


def test_words_that_no_candidate_uses_change_nothing():
    plain, padded = (description_relations(asked(text)) for text in ("lock the doors", "lock the doors zebra quux"))
    assert padded == pytest.approx(plain)


def test_what_a_called_tool_describes_itself_by_is_no_longer_left_of_the_request():
    request_ = "lock the doors and start the engine"
    step = PastStep("lock_doors", observation="doors are locked", state=request_)
    since = asked(f"{request_}\ndoors are locked", [step])
    left = column(since, "description like what is left of the request")
    assert int(np.argmax(left)) == 0
    assert left[1] < column(since, "description like the request")[1]
    served = column(since, "share of the request that is served")
    assert (served > 0.0).all()
    assert not column(asked(request_), "share of the request that is served").any()


def test_only_calls_since_the_request_are_counted_for_it():
    first, second = "lock the doors", "now start the engine"
    history = [
        PastStep("lock_doors", observation="done", state=first),
        PastStep("end", state=f"{first}\ndone"),
        PastStep("lock_doors", observation="again", state=second),
    ]
    now = asked(f"{second}\nagain", history)
    assert len(now.since_request) == 1
    assert column(now, "called for the request (log)") == pytest.approx([0.0, np.log(2.0), 0.0, 0.0])
    assert column(now, "called before the request (log)").tolist() == [0.0, 1.0, 0.0, 1.0]


def test_a_state_that_is_another_each_time_leaves_no_step_to_the_request():
    history = [PastStep("end", state="a kitchen"), PastStep("end", state="a garden")]
    assert asked("a cellar", history).since_request == ()


def test_steps_without_a_state_belong_to_no_request():
    assert asked("a cellar", [PastStep("end")]).since_request == ()


def test_identifiers_are_read_by_their_parts_however_they_are_joined():
    tools = (Candidate("start_engine"), Candidate("lockDoors"), Candidate("HTTPPost"))
    for request_, tool in (("engine start", 0), ("door lock", 1), ("post", 2)):
        assert int(np.argmax(column(asked(request_, tools=tools), "name in the request"))) == tool


def test_without_any_words_nothing_stands_to_the_request():
    assert not description_relations(asked("", tools=(Candidate("1"), Candidate("2")))).any()

"""What stands beside a candidate's arguments in what was read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_worlds import knowledge_of

from selector.learning import usual_words
from selector.pages import clauses_of
from selector.phrases import FUNCTION_WORDS
from selector.reading import numbers_of
from selector.situation import Situation
from selector.together_relations import OF_OBJECT, TOGETHER_RELATIONS, together_relations
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

ORDERS = '{"orders": [{"id": "6892", "item": "teal bowl"}, {"id": "7329", "item": "red lamp"}]}'
POLICY = "Templates by status: processing 'still_packing', shipped 'on_its_way', delivered 'has_arrived'."


def relation(name: str, situation: Situation) -> list[float]:
    return together_relations(situation)[:, TOGETHER_RELATIONS.index(name)].tolist()


def asked(task: str, state: str, observations: list[str], *calls: tuple[str, ...]) -> Situation:
    """Candidates of a tool with an object, and places where there are more parts."""
    history = tuple(PastStep("read", str(number), text) for number, text in enumerate(observations))
    offered = (Candidate(one[0], dict(zip(("object", "place", "to"), one[1:], strict=False))) for one in calls)
    return Situation(task, state, history, tuple(offered))


def test_the_record_that_holds_what_the_task_names_tells_which_number_is_meant():
    situation = asked("Refund the teal bowl.", "", [ORDERS], ("refund", "6892"), ("refund", "7329"), ("refund", "1"))
    bowl, lamp, unread = relation("asked words in a record with its object", situation)
    assert bowl > lamp == unread == 0.0
    assert relation("most asked words in a record with its object, of its tool", situation) == [1.0, 0.0, 0.0]


def test_words_that_most_tasks_have_ask_for_nothing():
    situation = asked("Refund the teal bowl.", "", [ORDERS], ("refund", "6892"), ("refund", "7329"))
    place = TOGETHER_RELATIONS.index("asked words in a record with its object")
    assert together_relations(situation, np.unique(numbers_of("a teal bowl")))[:, place].tolist() == [0.0, 0.0]


def test_usual_are_the_words_that_more_than_half_of_the_trajectories_have_in_their_task():
    step = Step(0, "refund", args={"object": "1"}, outcome="ok")
    tasks = ("Refund the bowl of Ann", "Refund the lamp of Bob", "Send the lamp to Eve")
    stored = [Trajectory(task=Task(text), steps=(step,), success=True) for text in tasks]
    assert usual_words(knowledge_of(stored)).tolist() == sorted(numbers_of("refund the lamp of").tolist())


def test_what_was_read_last_of_a_thing_is_told_apart_from_what_was_read_before():
    read = ["In the box 1 there is a mug.", "In the box 1 there is nothing."]
    situation = asked("Find the mug.", "", read, ("open", "box 1"))
    assert relation("asked words in a record with its object", situation)[0] > 0.0
    assert relation("asked words in the newest record with its object", situation) == [0.0]


def test_a_clause_whose_words_were_read_elsewhere_answers_them():
    situation = asked(
        "Tell her where it is.", "", ['{"status": "shipped"}', POLICY], ("send", "on its way"), ("send", "has arrived")
    )
    shipped, delivered = relation("words in a clause with its object that other texts have", situation)
    assert shipped > delivered == 0.0


def test_two_things_that_one_clause_of_the_task_names_in_order_belong_together():
    task = "I want the red block on the blue block, the blue block on the white block."
    state = "The white block is on the red block. The blue block is on the table."
    pairs = [
        ("stack", "red block", "blue block"),
        ("stack", "blue block", "red block"),
        ("stack", "red block", "white block"),
    ]
    situation = asked(task, state, [], *pairs)
    assert relation("object before places in a clause of the task", situation) == [1.0, 0.0, 0.0]
    assert relation("object before places in a clause of the state", situation) == [0.0, 0.0, 0.0]
    assert relation("what the task says of its object is so", situation) == [0.0, 0.0, 0.0]


def test_what_the_task_says_is_so_once_the_state_says_it():
    task = "The red block is on the blue block, the blue block is on the table."
    situation = asked(task, "The blue block is on the table.", [], ("take", "blue block"), ("take", "red block"))
    assert relation("what the task says of its object is so", situation) == [1.0, 0.0]
    assert relation("what the task says of its object is not so", situation) == [1.0, 1.0]


FERRY = "Reach: at c1 l11; at c2 l7."


def test_what_the_task_says_of_a_thing_asks_for_nothing_once_it_is_so():
    calls = [("board", "c1"), ("board", "c2"), ("board", "c3")]
    asked_for = "open words in a clause with its object"
    open_both = asked(FERRY, "at c1 l7; at c2 l11; at c3 l1", [], *calls)
    first, second, third = relation(asked_for, open_both)
    assert first > third == 0.0
    assert second > third
    one_done = asked(FERRY, "at c1 l11; at c2 l11; at c3 l11", [], *calls)
    assert min(relation("asked words in a clause with its object", one_done)) > 0.0
    assert relation(asked_for, one_done) == [0.0, 0.0, 0.0]
    assert relation("what the task says of its object is so", one_done) == [1.0, 0.0, 0.0]


def test_what_was_just_acted_on_points_to_what_the_task_says_of_it():
    boarded = (PastStep("board", '{"car": "c2"}', "Now: on c2."), PastStep("wait", "", ""))
    offered = [Candidate("sail", {"from": "l1", "to": place}) for place in ("l7", "l11", "l77")]
    situation = Situation(FERRY, "on c2; at c1 l4; at ferry l1", boarded[:1], tuple(offered))
    assert relation("its places in an open clause with what the last step had", situation) == [1.0, 0.0, 0.0]
    later = Situation(FERRY, "on c2; at c1 l4; at ferry l1", boarded, tuple(offered))
    assert relation("its places in an open clause with what the last step had", later) == [0.0, 0.0, 0.0]
    assert relation("its places in an open clause with what the last steps had", later) == [1.0, 0.0, 0.0]
    settled = Situation(FERRY, "on c2; at c2 l7", boarded[:1], tuple(offered))
    assert relation("its places in an open clause with what the last step had", settled) == [0.0, 0.0, 0.0]


WORDS = st.sampled_from(["red", "cup", "box", "2", "the", "and", ",", ".", "{", "}", "(", ")", "\n"])
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
NAMES = st.sampled_from(["", "cup", "red cup", "box 2", "2", "jar"])
PUT = st.tuples(st.just("put"), NAMES, NAMES) | st.tuples(st.just("put"), NAMES, NAMES, NAMES)
CALLS = st.lists(PUT, min_size=1, max_size=4)


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), CALLS)
def test_relations_are_shares_and_none_where_there_is_no_argument(task, state, observations, calls):
    situation = asked(task, state, observations, *calls)
    made = together_relations(situation)
    assert made.shape == (len(calls), len(TOGETHER_RELATIONS))
    assert ((made >= 0.0) & (made <= 1.0)).all()
    mentions = situation.mentions
    assert not made[mentions.first == 0].any()
    assert not made[(mentions.others_KM == 0).all(axis=1), OF_OBJECT:].any()


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), st.lists(st.tuples(st.just("put"), NAMES, NAMES, NAMES), min_size=1))
def test_of_several_places_each_counts_alike(task, state, observations, calls):
    both = together_relations(asked(task, state, observations, *calls))
    # All are offered, so that the same arguments are known each time.
    alone = [("put", *pair) for _, thing, *places in calls for pair in ((thing, places[0]), (thing, places[1]))]
    apart = together_relations(asked(task, state, observations, *calls, *alone))[len(calls) :, OF_OBJECT:]
    given_KM = np.array([[bool(place) for place in one[2:]] for one in calls])
    counts = given_KM.sum(axis=1)[:, None]
    expected = apart.reshape(len(calls), 2, -1).sum(axis=1) / np.maximum(counts, 1)
    np.testing.assert_allclose(both[:, OF_OBJECT:], expected)


def test_where_a_call_leads_is_seen_wherever_its_argument_stands():
    state = "on p1; in p1 plane; at plane l1"
    flights = [("fly", "plane", "l1", place) for place in ("l7", "l11")]
    situation = asked("Reach: at p1 l11; at c2 l7.", state, ["p1 in plane"], *flights)
    loaded = Situation(situation.task, state, (PastStep("load", '{"parcel": "p1"}', ""),), situation.candidates)
    assert relation("its places in an open clause with what the last step had", loaded) == [0.0, 0.5]


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), CALLS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(task, state, observations, calls, random):
    order = random.sample(range(len(calls)), len(calls))
    made = together_relations(asked(task, state, observations, *calls))
    found = together_relations(asked(task, state, observations, *(calls[place] for place in order)))
    assert found == pytest.approx(made[order])


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=3), TEXTS)
def test_object_and_place_are_in_one_record_where_all_their_words_are(pairs, text):
    situation = asked("", text, [], *(("put", *pair) for pair in pairs))
    records = [{word for clause in record for word in clause} for record in clauses_of(text)]
    expected = [
        float(bool(first and second) and any({*first.split(), *second.split()} <= record for record in records))
        for first, second in pairs
    ]
    assert relation("object and places in one record", situation) == expected


def test_function_words_ask_for_nothing():
    task = " ".join(sorted(FUNCTION_WORDS))
    situation = asked(task, "the cup is in the box", [], ("take", "cup"))
    assert not np.delete(
        together_relations(situation), TOGETHER_RELATIONS.index("object and places in one record")
    ).any()

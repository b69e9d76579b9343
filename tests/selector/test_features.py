"""Numbers that describe a situation and its candidates."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_worlds import at

from selector.features import STATE_FEATURES, state_features
from selector.reading import MOST_CHARACTERS, distinct, first_words, words_of
from selector.relations import RELATIONS, relations
from selector.situation import Situation
from trajstore.render import MOST_ARGUMENTS, PastStep, call_of, render_action, render_arguments
from trajstore.retriever import Keys
from trajstore.schema import Candidate

OPEN_CHEST, OPEN_DOOR, LOOK = (
    Candidate("open", {"object": "wooden chest"}),
    Candidate("open", {"object": "door"}),
    Candidate("look"),
)
HISTORY = (
    PastStep("open", "door", "The door is locked.", failed=True, state="hall"),
    PastStep("look", "", "You see a wooden table.", state="hall"),
)
phrases = st.lists(st.sampled_from(["open", "door", "wooden", "chest", "key", "."]), max_size=8).map(" ".join)


def related(situation: Situation) -> dict[str, list[float]]:
    """Each relation by name, one value a candidate."""
    values = relations(situation)
    assert values.shape == (len(situation.candidates), len(RELATIONS))
    return dict(zip(RELATIONS, values.T.tolist(), strict=True))


def test_relations_say_which_words_of_an_action_were_read_where():
    found = related(Situation("open the chest", "a hall with a door", HISTORY, (OPEN_CHEST, OPEN_DOOR, LOOK)))
    assert found["words in the task"] == [0.5, 0.0, 0.0]
    assert found["words in the state"] == [0.0, 1.0, 0.0]
    assert found["words in the newest observation"] == [0.5, 0.0, 0.0]
    assert found["words in older observations"] == [0.0, 1.0, 0.0]
    assert found["has arguments"] == [1.0, 1.0, 0.0]
    assert found["words never read"] == [0.0, 0.0, 0.0]


def test_relations_say_what_was_done_before():
    found = related(Situation("t", "hall", HISTORY, (OPEN_CHEST, OPEN_DOOR, LOOK)))
    assert found["times done (log)"] == pytest.approx([0.0, np.log(2), np.log(2)])
    assert found["done in this state"] == [0.0, 1.0, 1.0]
    assert found["same as the last action"] == [0.0, 0.0, 1.0]
    assert found["words of older actions"] == [0.0, 1.0, 0.0]


def test_what_was_done_elsewhere_was_not_done_in_this_state():
    found = related(Situation("t", "cellar", HISTORY, (OPEN_CHEST, OPEN_DOOR, LOOK)))
    assert found["times done (log)"] == pytest.approx([0.0, np.log(2), np.log(2)])
    assert found["done in this state"] == [0.0, 0.0, 0.0]


def test_what_was_done_is_known_again_however_the_tool_is_written():
    history = (PastStep("Fs.Open", "door", "", state="hall"),)
    found = related(Situation("t", "hall", history, (Candidate("Fs.Open", {"object": "Door"}),)))
    assert found["same as the last action"] == [1.0]
    assert found["done in this state"] == [1.0]


def test_words_that_nobody_has_written_are_never_read():
    found = related(Situation("t", "hall", (), (Candidate("open", {"object": "purple chest"}),)))
    assert found["words never read"] == [1.0]


@given(phrases, phrases, phrases, st.lists(phrases, min_size=1, max_size=4))
def test_relations_are_finite_shares(task, state, observation, objects):
    candidates = tuple(Candidate("open", {"object": words}) for words in objects)
    history = (PastStep("look", "", observation),)
    values = np.array(list(related(Situation(task, state, history, candidates)).values()))
    assert ((values >= 0) & (values <= 1)).all()


@given(phrases, phrases, st.permutations([OPEN_CHEST, OPEN_DOOR, LOOK]))
def test_the_order_of_the_candidates_does_not_matter(task, state, order):
    first = related(Situation(task, state, HISTORY, (OPEN_CHEST, OPEN_DOOR, LOOK)))
    second = related(Situation(task, state, HISTORY, tuple(order)))
    places = [order.index(candidate) for candidate in (OPEN_CHEST, OPEN_DOOR, LOOK)]
    assert all([second[name][place] for place in places] == first[name] for name in RELATIONS)


values = st.sampled_from(["Red box", " x ", "", 1, 1.0, True, None, [1, "a"], {"b": 2}])


@given(st.lists(st.tuples(st.sampled_from(["Open", "put in"]), st.dictionaries(st.sampled_from("abcdef"), values))))
def test_a_call_reads_as_its_action_and_its_first_few_arguments_do_however_often_it_comes(calls):
    for tool, args in calls + calls:
        said = [render_arguments({name: args[name]}) for name in sorted(args)[:MOST_ARGUMENTS]] or [""]
        call = call_of(Candidate(tool, args))
        assert (call.action, call.first, *call.others) == (render_action(tool, args), *said)


@given(st.lists(phrases))
def test_distinct_texts_lead_back_to_all_texts(texts):
    found = distinct(texts)
    assert [found.texts[place] for place in found.places] == texts
    assert len(set(found.texts)) == len(found.texts)


@given(st.lists(phrases, max_size=5), st.lists(phrases, min_size=1, max_size=4))
def test_older_observations_are_read_one_after_the_other(observations, objects):
    candidates = tuple(Candidate("open", {"object": words}) for words in objects)
    history = tuple(PastStep("look", "", told) for told in (*observations, "nothing new"))
    found = related(Situation("t", "hall", history, candidates))
    read = words_of(" . ".join(observations))
    pairs = set(pairwise(words_of(" . ".join(dict.fromkeys(observations)))))
    for place, candidate in enumerate(candidates):
        argument = words_of(candidate.args["object"])
        own = list(pairwise(["open", *argument]))
        shared = sum(word in read for word in argument) / max(len(argument), 1)
        assert found["words in older observations"][place] == pytest.approx(shared)
        assert found["pairs in older observations"][place] == pytest.approx(
            sum(pair in pairs for pair in own) / max(len(own), 1)
        )


def test_older_observations_are_read_as_far_as_one_text_is():
    far = PastStep("look", "", "x " * MOST_CHARACTERS)
    history = (far, PastStep("look", "", "a chest"), PastStep("wait"))
    assert related(Situation("t", "hall", history, (OPEN_CHEST,)))["words in older observations"] == [0.0]
    assert related(Situation("t", "hall", history[1:], (OPEN_CHEST,)))["words in older observations"] == [0.5]


def test_the_newest_step_that_named_an_object_says_whether_it_earned():
    history = (
        PastStep("open", "door", reward=0.5),
        PastStep("hit", "wooden chest", reward=-0.5),
        PastStep("hit", "door"),
    )
    found = related(Situation("t", "hall", history, (OPEN_CHEST, OPEN_DOOR, LOOK)))
    assert found["its object earned last"] == [0.0, 0.0, 0.0]
    assert found["its object lost last"] == [1.0, 0.0, 0.0]
    assert related(Situation("t", "hall", history[:2], (OPEN_DOOR,)))["its object earned last"] == [1.0]


def features(situation: Situation, keys: Keys | None = None) -> np.ndarray:
    sparse = state_features(situation, keys or Keys())
    assert sparse.places.shape == sparse.values.shape
    return np.bincount(sparse.places, sparse.values, STATE_FEATURES)


VARIANTS = {
    "goal": (at("hall", "a", task="cook", history=HISTORY), at("hall", "a", task="clean", history=HISTORY)),
    "state": (at("hall", "a", history=HISTORY), at("cellar", "a", history=HISTORY)),
    "order": (at("hall", "a"), at("hall", "a", history=(PastStep("open"),))),
}


@pytest.mark.parametrize("key", ["goal", "state", "order"])
def test_a_key_that_is_off_leaves_its_features_out(key):
    first, second = VARIANTS[key]
    on, off = Keys(), Keys(**{key: 0.0})
    assert not np.array_equal(features(first, on), features(second, on))
    assert np.array_equal(features(first, off), features(second, off))


@given(phrases, phrases)
def test_features_are_finite_and_the_same_every_time(task, state):
    situation = Situation(task, state, HISTORY, (LOOK,))
    found = features(situation)
    assert np.isfinite(found).all()
    assert np.array_equal(found, features(Situation(task, state, HISTORY, (LOOK,))))


def test_a_very_long_text_is_read_only_at_its_start():
    long = "word " * 1000
    assert np.array_equal(features(at(long)), features(at(f"{long} secret")))


@given(st.text(alphabet="ab 1é\n", max_size=60), st.integers(1, 4))
def test_the_first_words_are_those_of_the_whole_text(text, most):
    assert tuple(first_words(text, most)) == words_of(text)[:most]

"""Where arguments are mentioned, after which words, and what a tool crossed with that becomes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.crosses import CROSSES, NONE, crosses, mixed
from selector.mention_relations import MENTION_RELATIONS, mention_relations
from selector.mentions import MENTIONS, NO_WORD, WORDS_BEFORE, find, phrase_numbers, read, stem_of
from selector.reading import number_of
from selector.situation import MOST_TEXTS, Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

WORDS = st.sampled_from(["red", "green", "pepper", "carrot", "the", "slice"])
RECIPE = PastStep("read", "book", "slice the carrot, fry the red pepper")


def cook(state: str = "a kitchen", history: tuple[PastStep, ...] = (RECIPE,)) -> Situation:
    candidates = [
        Candidate(verb, {"object": thing}) for verb in ("slice", "dice") for thing in ("carrot", "red pepper")
    ]
    return Situation("cook", state, history, tuple(candidates))


def places_of(phrase: list[str], text: list[str]) -> list[int]:
    return [at for at in range(len(text) - len(phrase) + 1) if text[at : at + len(phrase)] == phrase]


TEXTS = st.lists(st.lists(WORDS, max_size=20), min_size=1, max_size=4)


@given(st.lists(st.lists(WORDS, max_size=3), min_size=1, max_size=3), TEXTS)
def test_a_mention_is_the_whole_phrase_and_what_stands_before_it(phrases: list[list[str]], texts: list[list[str]]):
    numbers = np.array([phrase_numbers(" ".join(phrase)) for phrase in phrases])
    found = find(numbers, [read(" ".join(text)) for text in texts])
    for place, phrase in enumerate(phrases):
        for number, text in enumerate(texts):
            # The last three places of the phrase's last word are looked at, whether or not the phrase is there.
            heads = [at for at, word in enumerate(text) if phrase and word == phrase[-1]][::-1][:MENTIONS]
            starts = [at - len(phrase) + 1 for at in heads]
            whole = [at in places_of(phrase, text) for at in starts]
            assert found.is_found[number, place].tolist() == whole + [False] * (MENTIONS - len(whole))
            before = [[NO_WORD] * WORDS_BEFORE for _ in range(MENTIONS)]
            for mention, (at, is_whole) in enumerate(zip(starts, whole, strict=True)):
                words = text[max(0, at - WORDS_BEFORE) : at][::-1] if is_whole else []
                before[mention][: len(words)] = map(number_of, words)
            assert found.before[number, place].tolist() == before


@given(TEXTS)
def test_stems_before_a_mention_are_those_of_the_words_before_it(texts: list[list[str]]):
    found = find(np.array([phrase_numbers("carrot")]), [read(" ".join(text)) for text in texts])
    stems = {number_of(word): stem_of(word) for text in texts for word in text} | {NO_WORD: NO_WORD}
    assert found.before_stems.tolist() == np.vectorize(stems.get)(found.before).tolist()


def test_what_a_third_argument_is_and_where_it_is_mentioned_tells_calls_apart():
    def flights(*places: str) -> Situation:
        offered = (Candidate("fly", {"from": "oslo", "plane": "red", "to": place}) for place in places)
        return Situation("bring it to rome", "the plane is in oslo", (), tuple(offered))

    rome, bonn = (frozenset(row) - {NONE} for row in crosses(flights("rome", "bonn")).tolist())
    paris = frozenset(crosses(flights("paris"))[0].tolist()) - {NONE}
    assert len(rome - bonn) == 3  # what it is, that alone and from there, and that the task names it
    assert len(bonn - rome) == len(paris - bonn) == 2
    assert mention_relations(flights("rome", "bonn"))[:, -1].tolist() == [0.0, 0.0]


def test_what_the_text_says_to_do_is_told_from_what_it_does_not():
    told = mention_relations(cook())[:, MENTION_RELATIONS.index("verb before object in what was read")]
    assert told.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_an_inflected_verb_in_the_state_answers():
    done = mention_relations(cook("you hold a sliced carrot"))
    assert done[:, MENTION_RELATIONS.index("verb before object in the state")].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_no_object_is_mentioned_before_anything_was_read():
    related = mention_relations(cook(history=()))
    assert not related[:, MENTION_RELATIONS.index("object in what was read")].any()


def test_every_situation_has_the_same_number_of_crosses():
    many = tuple(PastStep(f"tool {number}", "", "a carrot") for number in range(2 * MOST_TEXTS))
    sizes = {crosses(cook(history=history)).shape for history in ((), (RECIPE,), many)}
    assert len(sizes) == 1


def test_crosses_tell_who_said_it_and_after_which_word():
    told = crosses(cook(history=(PastStep("read", "book", "slice the carrot"),)))[0]
    others = [
        crosses(cook(history=(PastStep(tool, "", text),)))[0]
        for tool, text in (("read", "dice the carrot"), ("hear", "slice the carrot"))
    ]
    assert all(set(told.tolist()) != set(other.tolist()) for other in others)


def test_objects_that_were_told_in_the_same_words_share_what_was_learned_about_the_words():
    seen = cook(history=(PastStep("read", "book", "slice the carrot. slice the red pepper."),))
    carrot, pepper = (set(row.tolist()) - {NONE} for row in crosses(seen)[:2])
    assert len(carrot & pepper) >= 3


@pytest.mark.parametrize("args", [{}, {"object": ""}, {"a": 1, "b": [2], "c": None}])
def test_any_arguments_make_crosses_in_range(args: dict[str, object]):
    made = crosses(Situation("", "", (), (Candidate("call", args), Candidate("press", {"object": "red"}))))
    assert ((made >= 0) & (made <= CROSSES)).all()


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_mixture_is_the_same_alone_as_among_others(rows: list[list[int]]):
    numbers = np.array(rows, np.int64)
    alone = [int(mixed(*row[:, None])[0]) for row in numbers]
    assert mixed(*numbers.T).tolist() == alone


@given(st.lists(WORDS, max_size=8).map(" ".join), st.permutations(range(4)))
def test_crosses_of_a_candidate_do_not_depend_on_the_others(told: str, order: list[int]):
    seen = cook(history=(PastStep("read", "book", told), PastStep("look", "", told, failed=True)))
    some = Situation(seen.task, seen.state, seen.history, tuple(seen.candidates[at] for at in order[:2]))
    assert np.array_equal(crosses(some), crosses(seen)[order[:2]])

"""Where arguments are mentioned, after which words, and what a tool crossed with that becomes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.crosses import CROSSES, NONE, crosses
from selector.mention_relations import MENTION_RELATIONS, mention_relations
from selector.mentions import NO_WORD, find, number_of, phrase_numbers, read
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


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=20))
def test_a_mention_is_the_whole_phrase_and_what_stands_before_it(phrase: list[str], text: list[str]):
    found = find(np.array([phrase_numbers(" ".join(phrase))]), read(" ".join(text)))
    # The last three places of the phrase's last word are looked at, whether or not the phrase is there.
    heads = [at for at, word in enumerate(text) if word == phrase[-1]][::-1][:3]
    starts = [at - len(phrase) + 1 for at in heads]
    whole = [at in places_of(phrase, text) for at in starts]
    assert found.is_found[0].tolist() == whole + [False] * (3 - len(whole))
    for number, (at, is_whole) in enumerate(zip(starts, whole, strict=True)):
        if is_whole:
            before = number_of(text[at - 1]) if at > 0 else NO_WORD
            assert found.before[0, number, 0] == before


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

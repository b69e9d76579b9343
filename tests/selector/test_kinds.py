"""Things that have numbers, and tasks that name their kind alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.kinds import as_asked
from selector.mention_relations import MENTION_RELATIONS, mention_relations
from selector.reading import numbers_of, singular
from selector.situation import Situation
from selector.word_relations import WORD_RELATIONS, word_relations
from trajstore.schema import Candidate

NAMES = st.sampled_from(["mug", "mug 1", "big mug 12", "3", "", "box 4", "desk"])


def situation(task: str, *objects: str) -> Situation:
    offered = tuple(Candidate("take", {"object": name}, f"take {name}") for name in objects)
    return Situation(task, "You see a mug 1 and a pen 2.", (), offered)


@pytest.mark.parametrize("task", ["Put a mug on the desk.", "Put two mugs on the desk."])
def test_a_thing_is_in_the_task_where_the_task_names_its_kind(task):
    asked = situation(task, "mug 1", "pen 2")
    in_task = mention_relations(asked)[:, MENTION_RELATIONS.index("object in the task")]
    shares = word_relations(asked)[:, WORD_RELATIONS.index("words in the task")]
    assert in_task.tolist() == shares.tolist() == [1.0, 0.0]


def test_a_task_that_names_the_very_thing_means_no_other_of_its_kind():
    in_task = mention_relations(situation("Wash mug 1.", "mug 1", "mug 2"))
    assert in_task[:, MENTION_RELATIONS.index("object in the task")].tolist() == [1.0, 0.0]


@given(NAMES, st.lists(NAMES, max_size=4).map(" and ".join))
def test_a_name_is_only_ever_cut_at_its_number(name, text):
    found = as_asked(name, text)
    assert found == name or (name.startswith(f"{found} ") and name[len(found) + 1 :].isdecimal())


@given(st.text(alphabet="aeisuxzhyc", max_size=8))
def test_a_singular_is_never_longer_and_never_empty(word):
    assert len(singular(word)) <= len(word)
    assert bool(singular(word)) == bool(word)


def test_a_word_and_its_plural_have_one_number():
    assert np.unique(numbers_of("box boxes Boxes")).size == np.unique(numbers_of("berry berries")).size == 1
    assert np.unique(numbers_of("glas glass bus bu")).size == 4

"""Numbers in candidates: least, next, told, computed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.number_relations import NUMBER_RELATIONS, expression, number_relations, quantity
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate


def seen(*objects: str, task: str = "", state: str = "", history: tuple[PastStep, ...] = ()) -> Situation:
    return Situation(task, state, history, tuple(Candidate("take", {"object": one}) for one in objects))


def column(situation: Situation, name: str) -> list[float]:
    return number_relations(situation)[:, NUMBER_RELATIONS.index(name)].tolist()


def test_units_count_when_numbers_are_compared():
    situation = seen("1 kg of oak", "25 g of oak", "300mg of oak")
    assert column(situation, "the least number of its tool") == [0.0, 0.0, 1.0]
    assert column(situation, "the greatest number of its tool") == [1.0, 0.0, 0.0]


def test_what_was_done_already_is_not_the_least_any_more():
    situation = seen("5 pears", "2 figs", "9 nuts", history=(PastStep("take", "2 figs"),))
    assert column(situation, "the least number not done yet of its tool") == [1.0, 0.0, 0.0]
    assert column(situation, "the next number after that of the newest action with one") == [1.0, 0.0, 0.0]


def test_a_computed_value_is_found_in_whatever_was_read():
    told = PastStep("read", "note", "subtract 6 from 31, then take as many")
    situation = seen("31 pears", "25 figs", "6 nuts", history=(told, PastStep("look")))
    assert column(situation, "its number is what was asked to be computed") == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("task", ["take 7 of them", "7"])
def test_a_number_of_the_task_is_marked(task: str):
    assert column(seen("7 pears", "8 figs", task=task), "its number in the task") == [1.0, 0.0]


def test_candidates_without_numbers_have_no_relations():
    assert not number_relations(seen("pear", "fig")).any()


@given(st.lists(st.integers(0, 99), min_size=1, max_size=8))
def test_ranks_are_those_of_sorting(numbers: list[int]):
    ranks = column(seen(*(f"{number} pears" for number in numbers)), "rank of its number among its tool's")
    wanted = [sorted(numbers).index(number) / max(len(numbers) - 1, 1) for number in numbers]
    np.testing.assert_allclose(ranks, wanted)


@given(st.integers(1, 60), st.integers(1, 60))
def test_words_and_signs_give_the_same_value(left: int, right: int):
    assert expression(f"add {left} and {right}") == expression(f"{left} + {right}") == left + right
    assert expression(f"subtract {left} from {right}") == expression(f"{right} minus {left}") == right - left
    assert expression(f"multiply {left} by {right}") == expression(f"{left} times {right}") == left * right
    assert expression(f"divide {left} by {right}") == expression(f"{left} divided by {right}") == left / right


def test_dividing_by_nothing_gives_no_value():
    assert np.isnan(expression("divide 4 by 0"))
    assert np.isnan(quantity("take the pear"))


def test_what_earned_already_is_no_longer_due_whatever_the_tool():
    placed = PastStep("put", "2 figs box", reward=0.5)
    candidates = (Candidate("take", {"object": "2 figs"}), Candidate("put", {"object": "5 pears", "place": "box"}))
    situation = Situation("", "", (placed,), (*candidates, Candidate("take", {"object": "9 nuts"})))
    assert column(situation, "the least number of all tools that earned nothing yet") == [0.0, 1.0, 0.0]

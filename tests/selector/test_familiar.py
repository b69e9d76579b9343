"""What is like nothing stored: a moment whose step and whose task are both far from everything."""

import pytest

from selector.fitting import EVERYTHING, Example, Familiar, familiar_among

KNOWN = Familiar(step=0.6, task=0.8)


@pytest.mark.parametrize(
    ("step", "task", "is_strange"),
    [(0.9, 0.9, False), (0.1, 0.9, False), (0.9, 0.1, False), (0.1, 0.1, True), (0.1, 0.0, True), (0.58, 0.1, False)],
)
def test_a_moment_is_strange_only_where_neither_its_step_nor_its_task_comes_near(
    step: float, task: float, *, is_strange: bool
) -> None:
    assert KNOWN.is_strange(step, task, 0.05) == is_strange


def test_a_task_without_words_does_not_make_a_strange_step_familiar() -> None:
    assert Familiar(0.6, 0.0).is_strange(0.1, 0.0, 0.05)


def test_nothing_is_strange_before_anything_was_stored() -> None:
    assert familiar_among([]) == EVERYTHING
    assert not EVERYTHING.is_strange(-1.0, -1.0, 0.0)


def test_all_but_the_strangest_hundredth_of_stored_decisions_are_familiar(made_examples: list[Example]) -> None:
    familiar = familiar_among(made_examples)
    strange = [familiar.is_strange(one.nearest_step, one.nearest_task, 0.0) for one in made_examples]
    assert sum(strange) <= len(made_examples) // 100 + 1

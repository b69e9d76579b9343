"""How far failures came, and when what led there is an example."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder, experience_of

from trajstore.progress import PARTIAL_WEIGHT, Progress, partial_weights, progress_of
from trajstore.schema import Candidate, Step, Task, Trajectory

OFFERED = (Candidate("press", {"key": "red"}), Candidate("press", {"key": "blue"}))


def presses(*rewards: float | None, family: str = "keys", **about) -> Trajectory:
    """A failure, unless it is said otherwise; each step in another state."""
    steps = tuple(
        Step(index=at, tool="press", state=f"moment {at}", args={"key": "red"}, reward=reward, candidates=OFFERED)
        for at, reward in enumerate(rewards)
    )
    return Trajectory(Task("play", family=family), steps, **{"success": False} | about)


def examples(*trajectories: Trajectory) -> list[float]:
    """How far each row is an example."""
    named = [replace(one, trajectory_id=f"t{number}") for number, one in enumerate(trajectories)]
    experience = experience_of(named, WordEmbedder("play"))
    return [round(float(one), 6) for one in experience.example_weights(np.arange(len(experience)))]


def test_progress_is_the_highest_return_and_the_steps_that_led_there():
    found = progress_of(presses(0.1, 0.2, -0.3, 0.1))
    assert (round(found.value, 9), found.steps) == (0.3, 2)
    assert progress_of(presses(None, None, reward=0.4)) == Progress(0.4, 2)
    assert math.isnan(progress_of(presses(None)).value)
    assert math.isnan(progress_of(presses()).value)


def test_a_return_that_is_reached_twice_was_reached_the_first_time():
    assert progress_of(presses(0.5, 0.0, 0.0)).steps == 1


def test_what_came_further_than_others_of_its_family_is_an_example_up_to_there():
    assert examples(presses(0.0, 0.4, 0.0), presses(0.0), presses(0.2)) == [0.5, 0.5, 0.0, 0.0, 0.0]


def test_beside_successes_failures_that_came_no_further_than_the_average_are_no_examples():
    wins = [presses(1.0, success=True)] * 3
    assert examples(*wins, presses(0.7)) == [1.0, 1.0, 1.0, 0.0]


def test_families_are_not_compared_with_each_other():
    assert examples(presses(0.1), presses(0.0), presses(0.9, family="locks"), presses(0.8, family="locks")) == [
        0.5,
        0.0,
        0.5,
        0.0,
    ]


def test_a_judge_who_is_not_believed_moves_no_one_elses_weight():
    honest = presses(0.4), presses(0.0)
    forged = presses(1000.0, judge="self")
    assert examples(*honest, forged)[:2] == examples(*honest)


def test_alone_or_all_alike_nothing_is_an_example():
    assert examples(presses(0.4)) == [0.0]
    assert examples(presses(0.4), presses(0.4)) == [0.0, 0.0]
    assert examples(presses(None), presses(None)) == [0.0, 0.0]


returns = st.lists(st.tuples(st.floats(-1, 1), st.booleans(), st.integers(0, 3)), max_size=12)


@given(returns, st.floats(0.1, 10), st.floats(-5, 5))
def test_weights_lie_in_their_range_grow_with_progress_and_know_no_scale(rows, scale, shift):
    progress, heard, family = (np.array([row[at] for row in rows], kind) for at, kind in enumerate((float, bool, int)))
    weights = partial_weights(progress, heard, family)
    assert ((weights >= 0.0) & (weights <= PARTIAL_WEIGHT)).all()
    for number in set(family.tolist()):
        mine = family == number
        order = np.argsort(progress[mine], kind="stable")
        assert (np.diff(weights[mine][order]) >= -1e-9).all()
    spans = [np.ptp(progress[(family == number) & heard]) for number in set(family[heard].tolist())]
    if min(spans, default=1.0) > 1e-3:
        assert partial_weights(scale * progress + shift, heard, family) == pytest.approx(weights, abs=1e-6)

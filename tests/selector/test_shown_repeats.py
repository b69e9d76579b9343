"""Loops are broken, but not where successes repeated as much."""

import numpy as np
import pytest

from selector.engine import Engine
from selector.learning import learn
from selector.records import SelectorConfig
from selector.situation import Situation
from trajstore.embedding import make_embedder
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

WAIT, TAKE = Candidate("wait", text="wait"), Candidate("take", text="take")
WAITED = PastStep("wait", "", "time passes", state="an egg")


def path(number: int, waits: int, *, success: bool = True) -> Trajectory:
    tools = ["look", *["wait"] * waits, "take"]
    steps = tuple(
        Step(index=at, tool=tool, state="an egg", observation="time passes", outcome="ok", candidates=(WAIT, TAKE))
        for at, tool in enumerate(tools)
    )
    task = Task(text=f"hatch egg {number}", family=f"egg {number}")
    return Trajectory(task=task, steps=steps, success=success, reward=float(success))


def pruned_after(waits: int, stored: list[Trajectory]) -> tuple[str, ...]:
    engine = Engine(learn(stored, make_embedder()), SelectorConfig(), np.random.default_rng(0))
    situation = Situation("hatch egg 9", "an egg", (PastStep("look", "", "an egg"), *[WAITED] * waits), (WAIT, TAKE))
    goals = engine.learned.knowledge.goal_similarities(situation)
    seen = engine.consider(situation, goals)
    return tuple(situation.candidates[place].tool for place in seen.reasons)


@pytest.mark.parametrize("waits", [4, 5, 7])
def test_what_successes_repeated_as_often_and_once_more_is_no_loop(waits):
    assert pruned_after(waits, [path(number, 8) for number in range(6)]) == ()


@pytest.mark.parametrize("waits", [8, 12])
def test_what_goes_on_for_longer_than_successes_did_is_a_loop(waits):
    assert pruned_after(waits, [path(number, 8) for number in range(6)]) == ("wait",)


def test_one_success_alone_does_not_make_repetition_usual():
    assert pruned_after(5, [path(0, 8), *(path(number, 1) for number in range(1, 6))]) == ("wait",)


def test_failures_do_not_make_repetition_usual():
    stored = [path(number, 8, success=False) for number in range(6)] + [path(number, 1) for number in range(6, 9)]
    assert pruned_after(5, stored) == ("wait",)

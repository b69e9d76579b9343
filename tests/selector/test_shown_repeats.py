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


LOOK, READ = Candidate("look", {"at": "pot"}, "look at pot"), Candidate("use", {"on": "pot"}, "use on pot")
STOP = Candidate("stop", {"at": "pot"}, "stop")
ROUND = (("look", "pot", "water"), ("use", "pot", "ten degrees"))


def measured(number: int, rounds: int) -> Trajectory:
    calls = [*[(LOOK, "water"), (READ, "ten degrees")] * rounds, (STOP, "done")]
    steps = tuple(
        Step(at, one.tool, "a pot", args=one.args, observation=seen, outcome="ok", candidates=(LOOK, READ, STOP))
        for at, (one, seen) in enumerate(calls)
    )
    task = Task(text=f"boil {number}", family=f"boil {number}")
    return Trajectory(task=task, steps=steps, success=True, reward=1.0)


def pruned_after_rounds(rounds: int, stored: list[Trajectory]) -> set[str]:
    engine = Engine(learn(stored, make_embedder()), SelectorConfig(), np.random.default_rng(0))
    history = tuple(PastStep(tool, args, seen, state="a pot") for tool, args, seen in ROUND * rounds)
    situation = Situation("boil 9", "a pot", history, (LOOK, READ, STOP))
    goals = engine.learned.knowledge.goal_similarities(situation)
    return {situation.candidates[place].tool for place in engine.consider(situation, goals).reasons}


@pytest.mark.parametrize("rounds", [2, 4])
def test_a_cycle_that_successes_went_through_as_often_and_once_more_is_no_loop(rounds):
    assert pruned_after_rounds(rounds, [measured(number, 6) for number in range(6)]) == set()


def test_a_cycle_that_successes_went_through_less_often_is_a_loop():
    assert "look" in pruned_after_rounds(4, [measured(number, 2) for number in range(6)])
    assert "look" in pruned_after_rounds(8, [measured(number, 6) for number in range(6)])


def test_one_success_alone_does_not_make_a_cycle_usual():
    assert "look" in pruned_after_rounds(4, [measured(0, 6), *(measured(number, 1) for number in range(1, 6))])


FILL, POUR = Candidate("fill", {"it": "jug"}, "fill jug"), Candidate("pour", {"it": "jug"}, "pour jug")


def watered(number: int) -> Trajectory:
    """The jug is filled eight times, and poured out after each."""
    steps = [
        Step(
            index=at,
            tool=call.tool,
            args=call.args,
            state=state,
            observation="done",
            outcome="ok",
            candidates=(FILL, POUR),
        )
        for at, (call, state) in enumerate([(FILL, "the jug is empty"), (POUR, "the jug is full")] * 8)
    ]
    return Trajectory(Task(f"water bed {number}", family=f"bed {number}"), tuple(steps), success=True, reward=1.0)


def test_what_successes_did_again_in_another_state_does_not_make_repetition_usual():
    engine = Engine(
        learn([watered(number) for number in range(6)], make_embedder()), SelectorConfig(), np.random.default_rng(0)
    )
    filled = PastStep("fill", "jug", "done", state="the jug is full")
    situation = Situation("water bed 9", "the jug is full", (filled, filled), (FILL, POUR))
    seen = engine.consider(situation, engine.learned.knowledge.goal_similarities(situation))
    assert set(seen.reasons) == {0}

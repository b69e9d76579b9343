"""What a wrong call can lose, and that it is weighed against what a right one is worth."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder, experience_of
from tiny_worlds import COLOURS, attempt, coloured_presses, knowledge_of, learned_from

from selector.danger import PRIOR_CALLS, Dangers, dangerous_here
from selector.engine import Engine
from selector.records import Decision, SelectorConfig
from selector.situation import CandidateSet, Situation
from trajstore.experience import Experience
from trajstore.schema import Candidate, Outcome, Trajectory

SHARES = st.floats(0.0, 1.0)
PAYING = "pay the bill"


def failures(
    tool: str,
    *rewards: float | None,
    count: int = 8,
    outcome: Outcome = "ok",
    task: str = PAYING,
    success: bool | None = False,
    gained: float = 1.0,
) -> list[Trajectory]:
    """Trajectories that gain something first, and then call one tool as often as there are rewards."""
    made = []
    for number in range(count):
        name = f"{task} {tool} {rewards} {outcome} {success} {number}"
        moves = [("green", "begin"), *[("red", tool)] * len(rewards)]
        one = attempt(*moves, task=task, success=success, outcome=outcome, trajectory_id=name)
        steps = zip(one.steps, (gained, *rewards), strict=True)
        made.append(replace(one, steps=tuple(replace(step, reward=reward) for step, reward in steps)))
    return made


def asked(trajectories: Sequence[Trajectory], trust: float = 1.0) -> tuple[Dangers, Experience]:
    experience = experience_of(trajectories, WordEmbedder("pay", "look", "bill", "sea"))
    return Dangers(experience, len(experience), lambda: np.full(len(experience), trust)), experience


def danger_of(trajectories: Sequence[Trajectory], tool: str, *, trust: float = 1.0, task: str = PAYING) -> float:
    dangers, experience = asked(trajectories, trust)
    goals = np.array([float(one == task) for one in experience.goal_names], np.float32)
    return float(dangers.near(task, goals)[experience.tools.known(tool)])


def test_a_tool_whose_wrong_calls_lose_all_is_dangerous_and_one_that_wastes_a_step_is_not() -> None:
    log = failures("pay", -0.5, count=40) + failures("look", 0.0, count=40)
    assert danger_of(log, "pay") > 0.9
    assert danger_of(log, "look") == 0.0


def test_what_was_right_and_what_was_refused_makes_a_tool_no_less_dangerous() -> None:
    lost = failures("pay", -0.5)
    right = failures("pay", 1.0, success=True)
    gained, refused = failures("pay", 0.2), failures("pay", 0.0, outcome="invalid_args")
    assert danger_of([*right, *gained, *refused, *lost], "pay") == pytest.approx(danger_of(lost, "pay"))


def test_where_little_can_be_lost_little_is_dangerous() -> None:
    lost = danger_of(failures("pay", -0.5), "pay")
    assert danger_of(failures("pay", -0.5, gained=0.25), "pay") == pytest.approx(0.25 * lost)
    assert danger_of(failures("pay", -0.5, gained=0.0), "pay") == 0.0
    wins = failures("pay", 0.0, gained=0.0, success=True)
    assert danger_of([*failures("pay", -0.5, gained=0.0), *wins], "pay") == pytest.approx(0.5 * lost)


def test_what_ended_a_task_once_among_many_is_an_accident() -> None:
    assert danger_of(failures("pay", -0.5, count=1) + failures("pay", 0.0, count=60), "pay") == 0.0


def test_where_nobody_is_believed_all_may_be_lost() -> None:
    told = [replace(one, judge="self") for one in failures("pay", -0.5, gained=0.0)]
    assert danger_of(told, "pay") == danger_of(failures("pay", -0.5), "pay")


def test_calls_in_vain_make_a_tool_less_dangerous() -> None:
    lost = failures("pay", -0.5)
    assert danger_of([*lost, *failures("pay", 0.0)], "pay") < 0.7 * danger_of(lost, "pay")


def test_what_is_lost_on_the_way_and_can_be_won_back_is_no_danger() -> None:
    assert danger_of(failures("pay", -0.5, 0.0), "pay") == 0.0
    assert danger_of(failures("pay", -0.5, success=True), "pay") == 0.0


def test_what_was_never_seen_or_is_not_trusted_has_no_known_danger() -> None:
    assert danger_of(failures("pay", -0.5), "fly") == 0.0
    assert danger_of(failures("pay", -0.5), "pay", trust=0.0) == 0.0


def test_tasks_like_this_one_count_for_more_than_others() -> None:
    """Looking ends tasks at sea, and nowhere else."""
    log = failures("look", -0.5, count=64, task="sail the sea") + failures("look", 0.0, count=64)
    assert danger_of(log, "look", task="sail the sea") > 0.9
    assert danger_of(log, "look") < 0.05


def test_what_is_left_out_says_nothing_of_tasks_like_it() -> None:
    dangers, experience = asked(failures("pay", -0.5) + failures("pay", 0.0, count=64, task="sail the sea"))
    goals, at = np.ones(len(experience.goals), np.float32), experience.tools.known("pay")
    excluded = experience.trajectory_column("goal") == experience.trajectory_column("goal")[0]
    assert dangers.near(PAYING, goals, excluded)[at] < dangers.near(PAYING, goals)[at]


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=6), st.floats(0.0, 3.0))
def test_those_are_feared_whose_expected_utility_is_below_zero(
    arms: list[tuple[float, float]], aversion: float
) -> None:
    means, danger = np.array(arms).T
    places = np.arange(len(arms))
    candidates = CandidateSet(tuple(map(str, places)), places, places, np.ones(len(arms)), places, places)
    feared = dangerous_here(means, candidates, np.append(danger, 0.0), aversion).tolist()
    utility = means - aversion * danger * (1.0 - means)
    rest = sorted(set(places.tolist()) - set(feared))
    assert all(utility[place] <= 1e-9 for place in feared)
    assert not feared or rest
    if feared or not (utility < 0.0).all():
        assert all(utility[place] >= -1e-9 for place in rest)


def pressed(state: str, aversion: float, *offered: str) -> Decision:
    """Among presses of which a wrong one of red has ended many tasks."""
    lost = failures("press_red", -1.0, count=20, task="press the button")
    learned = learned_from([*coloured_presses(24), *lost])
    config = SelectorConfig(exploration=1.0, following=False, loss_aversion=aversion)
    seen = Situation(
        "press the button", state, (), tuple(Candidate(f"press_{colour}") for colour in offered or COLOURS)
    )
    engine = Engine(learned, config, np.random.default_rng(0))
    return engine.decide(seen, learned.knowledge.goal_similarities(seen))


def test_a_dangerous_tool_is_not_chosen_unless_it_is_likely_to_be_right() -> None:
    """All others are explored."""
    places = [f"press_{colour}" for colour in COLOURS]
    red = places.index("press_red")
    assert pressed("the lamp is red", 1.0).probabilities[red] > 0.3
    assert pressed("the lamp is blue", 0.0).probabilities[red] > 0.3
    feared = pressed("the lamp is blue", 1.0)
    assert feared.probabilities[red] == 0.0
    assert feared.pruned == ()
    assert feared.feared == (Candidate("press_red"),)
    assert pressed("the lamp is red", 1.0).feared == ()


def test_where_all_is_dangerous_all_may_be_chosen() -> None:
    only = pressed("the lamp is blue", 1.0, "red")
    assert only.candidate == Candidate("press_red")


def test_danger_comes_with_what_is_learned_later() -> None:
    log, later = coloured_presses(4), failures("press_red", -0.5)
    knowledge = knowledge_of(log)
    seen = Situation("press the button", "", (), (Candidate("press_red"),))

    def danger() -> float:
        goals = knowledge.goal_similarities(seen)
        return float(knowledge.danger(seen, goals)[knowledge.experience.tools.known("press_red")])

    assert danger() == 0.0
    knowledge.experience.extend(later)
    knowledge.learn(later, first=len(log))
    assert danger() > 8 / (8 + PRIOR_CALLS)


def ending_danger(trajectories: Sequence[Trajectory], tool: str) -> float:
    dangers, experience = asked(trajectories)
    goals = np.ones(len(experience.goals), np.float32)
    return float(dangers.near(PAYING, goals, with_endings=True)[experience.tools.known(tool)])


def test_what_ended_successes_may_end_a_task_as_long_as_nothing_else_is_known() -> None:
    paid = failures("pay", 1.0, success=True)
    assert ending_danger(paid, "pay") == 1.0
    assert ending_danger(paid, "begin") == 0.0
    assert danger_of(paid, "pay") == 0.0
    looked_last = [
        replace(one, steps=(*one.steps[:-1], replace(one.steps[-1], tool="look")))
        for one in failures("pay", 1.0, 1.0, success=True)
    ]
    assert ending_danger([*paid, *looked_last], "pay") == 0.5


def test_one_failure_says_more_than_what_ended_successes() -> None:
    """Whoever learns from what it tries itself must not fear what it has to try."""
    paid = failures("pay", 1.0, success=True)
    assert ending_danger([*paid, *failures("pay", 0.0, count=1)], "pay") == 0.0
    lost = failures("pay", -0.5)
    assert ending_danger([*paid, *lost], "pay") == danger_of([*paid, *lost], "pay") > 0.0

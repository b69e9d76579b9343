"""BFCL's conversations behind the `Environment` protocol: what the reference does succeeds, anything else does not."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from selector.errors import SelectorUsageError
from trajstore.environment import Environment
from trajstore.schema import Candidate

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None, reason="bfcl-eval is not installed: its conversations are not here"
)


@pytest.fixture(scope="module")
def bfcl():
    """The benchmarks are scripts that find each other in their own folder."""
    sys.path.insert(0, BENCHMARKS)
    try:
        import environments.bfcl as module

        yield module
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.fixture
def environment(bfcl):
    environment = bfcl.BfclEnvironment()
    yield environment
    environment.close()


def task_of(environment, number, category="base"):
    tasks = [task for fold in ("train", "dev", "test") for task in environment.tasks(category, fold, 200)]
    return next(task for task in tasks if task.task_id == f"{category}/{number}")


def walk(environment, task, actions):
    """The transitions that the actions bring, each offered when its turn comes."""
    seen, transitions = environment.reset(task), []
    for action in actions:
        offered = {candidate.text: candidate for candidate in seen.candidates}
        assert action in offered
        seen = environment.step(offered[action])
        transitions.append(seen)
    return transitions


def test_it_is_an_environment(environment):
    assert isinstance(environment, Environment)


@pytest.mark.parametrize("category", ["base", "miss_func", "miss_param", "long_context"])
@pytest.mark.parametrize("number", [0, 53, 105, 170])
def test_the_reference_does_every_turn(environment, category, number):
    task = task_of(environment, number, category)
    transitions = walk(environment, task, environment.gold_path(task))
    assert transitions[-1].done
    assert transitions[-1].success is True
    assert sum(transition.reward for transition in transitions) == pytest.approx(1.0)
    assert not any(transition.done for transition in transitions[:-1])


def numbers_of(tasks):
    return {int(task.task_id.rpartition("/")[2]) for task in tasks}


@pytest.mark.parametrize("held_out", range(5))
def test_folds_share_no_number_and_make_up_the_whole_whatever_the_category(bfcl, held_out):
    environment = bfcl.BfclEnvironment(held_out)
    base, other = (
        [numbers_of(environment.tasks(category, fold, 200)) for fold in ("train", "dev", "test")]
        for category in ("base", "miss_func")
    )
    assert base == other
    assert [len(fold) for fold in base] == [120, 40, 40]
    assert set.union(*base) == set(range(200))


def test_every_conversation_is_held_out_once(bfcl):
    tests = [numbers_of(bfcl.BfclEnvironment(held_out).tasks("base", "test", 200)) for held_out in range(5)]
    assert sorted(number for test in tests for number in test) == list(range(200))


def test_no_more_tasks_come_than_are_asked_for(environment):
    assert environment.tasks("base", "dev", 3) == environment.tasks("base", "dev", 200)[:3]


def test_a_wrong_tool_is_not_carried_out_and_only_the_end_of_the_turn_is_left(environment, bfcl):
    seen = environment.reset(task_of(environment, 1))
    wrong = next(candidate for candidate in seen.candidates if candidate.tool == "cat")
    after = environment.step(wrong)
    assert (after.outcome, after.state, after.reward) == ("blocked", seen.state, 0.0)
    assert [candidate.tool for candidate in after.candidates] == [bfcl.END_OF_TURN]


def test_a_turn_that_failed_leaves_later_turns_as_the_reference_would(environment, bfcl):
    task = task_of(environment, 1)
    texts = environment.gold_path(task)
    straight = walk(environment, task, texts)
    end = bfcl.text_of(bfcl.END_OF_TURN)
    detour = walk(environment, task, [end, *texts[texts.index(end) + 1 :]])
    assert detour[1].observation == straight[texts.index(end) + 1].observation
    assert detour[-1].success is False
    turns = len(environment.turns_of(task))
    assert sum(transition.reward for transition in detour) == pytest.approx(1 - 1 / turns)


def test_ending_every_turn_at_once_succeeds_nowhere(environment, bfcl):
    task = task_of(environment, 79)
    transitions = walk(environment, task, [bfcl.text_of(bfcl.END_OF_TURN)] * len(environment.turns_of(task)))
    assert transitions[-1].success is False
    assert sum(transition.reward for transition in transitions) == 0.0


def test_tools_that_a_conversation_excludes_are_not_offered(environment):
    offered = [candidate.tool for candidate in environment.reset(task_of(environment, 0)).candidates]
    assert "cp" not in offered
    assert "mv" in offered


def test_tools_that_are_held_back_come_with_the_turn_that_names_them(environment, bfcl):
    task = task_of(environment, 1, "miss_func")
    tools = [tool for turn in environment.turns_of(task)[:2] for tool in (*turn, "end_turn")]
    transitions = walk(environment, task, [bfcl.text_of(tool) for tool in tools])
    before, after = transitions[-2], transitions[-1]
    assert "mv" not in {candidate.tool for candidate in before.candidates}
    assert "mv" in {candidate.tool for candidate in after.candidates}


def test_no_state_shows_what_the_reference_will_call(environment):
    task = task_of(environment, 27)
    turns = environment.turns_of(task)
    seen = environment.reset(task)
    assert not any(f"{tool}(" in seen.state for tool in turns[0])
    after = environment.step(seen.candidates[[one.tool for one in seen.candidates].index(turns[0][0])])
    assert f"{turns[0][0]}(" in after.state
    assert f"{turns[0][1]}(" not in after.state


def test_a_candidate_describes_itself(environment):
    candidates = environment.reset(task_of(environment, 0)).candidates
    assert all(candidate.text.startswith(f"{candidate.tool}: ") for candidate in candidates)
    assert [environment.as_candidate(candidate.text) for candidate in candidates] == list(candidates)


def test_nothing_of_an_episode_is_left_in_the_package(environment):
    import bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils as utils

    task = task_of(environment, 5)
    walk(environment, task, environment.gold_path(task))
    assert any(name.startswith("trajstore_") for name in vars(utils))
    environment.close()
    assert not any(name.startswith("trajstore_") for name in vars(utils))


def test_the_same_choices_bring_the_same_observations(environment):
    task = task_of(environment, 110)
    first, second = (walk(environment, task, environment.gold_path(task)) for _ in range(2))
    assert first == second


def test_a_step_without_an_episode_is_refused(environment):
    with pytest.raises(SelectorUsageError, match="no episode is open, got 'ls': call reset first"):
        environment.step(Candidate("ls"))


@pytest.mark.parametrize("task_id", ["base/200", "base/x"])
def test_a_number_that_no_conversation_has_is_refused(environment, task_id):
    from trajstore.schema import Task

    with pytest.raises(SelectorUsageError, match="task_id must be CATEGORY/NUMBER"):
        environment.reset(Task("anything", task_id))


def test_a_category_that_is_not_there_is_refused(environment):
    with pytest.raises(SelectorUsageError, match="category must be base, miss_func"):
        environment.tasks("composite", "test", 1)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_not_there_is_refused(bfcl, fold):
    with pytest.raises(SelectorUsageError, match=r"held_out must lie in \[0, 5\)"):
        bfcl.BfclEnvironment(fold)


@pytest.fixture(scope="module")
def table(bfcl):
    import environments_bfcl as module

    return module


def gold_of(environment, tasks):
    from selector.demo.collect import CollectSettings, collect

    return list(collect(environment, tasks, CollectSettings(detours=0, random=0, max_steps=80)))


def test_the_nearest_turn_does_what_it_was_learned_from(environment, table):
    tasks = environment.tasks("base", "test", 40)
    agent = table.nearest_turns(list(table.turns_of(gold_of(environment, tasks))), 1)
    done = [one for task in tasks for one in table.go_out(environment, agent, task).done]
    assert np.mean(done) > 0.95


def test_stored_turns_are_the_references(environment, table, bfcl):
    tasks = environment.tasks("base", "test", 10)
    expected = [(*turn, bfcl.END_OF_TURN) for task in tasks for turn in environment.turns_of(task)]
    assert [turn.tools for turn in table.turns_of(gold_of(environment, tasks))] == expected


def test_markov_votes_for_what_followed_the_last_two_tools_else_the_last(table):
    agent = table.markov([table.Turn("", ("a", "b", "c")), table.Turn("", ("x", "b", "d")), table.Turn("", ("b", "d"))])
    assert dict(agent._vote("", ("a", "b"))) == {"c": 1}
    assert dict(agent._vote("", ("q", "b"))) == {"c": 1, "d": 2}


def test_a_ratio_is_the_mean_over_all_values_within_its_interval(table):
    interval = table.ratio([[1.0, 0.0], [1.0], [0.0, 0.0, 1.0]], seed=0)
    assert interval.value == pytest.approx(0.5)
    assert interval.low <= interval.value <= interval.high

"""The core of all adapters: what is recommended and observed, how long it may take, and that it never raises."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector import Selector, SelectorConfig
from selector.adapters import Advisor, AdvisorSettings
from selector.adapters.plain import LEFT_OUT, MOST_ENTRIES, plain_json, plain_text
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools, experienced_store
from selector.adapters.testing import advised, last_trajectory
from selector.errors import SelectorUsageError
from selector.situation import Situation
from trajstore.codec import to_json
from trajstore.schema import Candidate, ToolSpec
from trajstore.store import TrajectoryStore

TOOLS = tuple(ToolSpec(name, function.__doc__ or "") for name, function in ScriptedTools().functions.items())
NAMES = tuple(tool.name for tool in TOOLS)
BUDGET_SECONDS = 0.05
SLOW_SECONDS = 1.5


@pytest.fixture
def slow() -> Iterator[Advisor]:
    """An advisor whose every decision takes far longer than its budget."""

    def thinks(_situation: Situation, _candidate: Candidate) -> str:
        time.sleep(SLOW_SECONDS / len(TOOLS))
        return ""

    with experienced_store() as store:
        selector = Selector(store, SelectorConfig(exploration=0.0), rules=[thinks])
        selector.room("default")
        yield Advisor(selector, AdvisorSettings(budget_seconds=BUDGET_SECONDS))


def test_suggest_offers_all_tools_and_hints_at_one():
    with advised("suggest") as advisor:
        advice = advisor.episode(TASK, TOOLS).recommend(TASK)
        advisor.flush()
    assert advice.tools == NAMES
    assert advice.forced is None
    assert not advice.refused
    assert "`search`" in advice.hint
    assert f"against `{FORBIDDEN}`" in advice.hint


@pytest.mark.parametrize("keeps_tools", [True, False])
def test_narrow_refuses_what_is_pruned_and_hides_it_only_where_the_list_may_change(*, keeps_tools: bool):
    with advised("narrow", keeps_tools=keeps_tools) as advisor:
        episode = advisor.episode(TASK, TOOLS)
        advice = episode.recommend(TASK)
        assert episode.refusal(FORBIDDEN) == "rule: it cannot be undone"
        assert episode.refusal("search") == ""
        advisor.flush()
    assert (FORBIDDEN in advice.tools) == keeps_tools
    assert advice.is_narrowed != keeps_tools
    assert f"Do not call `{FORBIDDEN}`" in advice.hint


def test_force_names_the_tool_that_was_chosen():
    with advised("force") as advisor:
        advice = advisor.episode(TASK, TOOLS).recommend(TASK)
        advisor.flush()
    assert advice.forced == advice.decision.tool == "search"


@pytest.mark.parametrize("keeps_tools", [True, False])
def test_a_tool_that_goes_round_in_circles_may_be_called_in_another_way(*, keeps_tools: bool):
    with advised("narrow", keeps_tools=keeps_tools) as advisor:
        episode = advisor.episode(TASK, TOOLS)
        for _ in range(5):
            episode.recommend(TASK)
            episode.observe("search", {"query": "x", "most": 1}, "ok", "found nothing")
        advice = episode.recommend(TASK)
    assert advice.refused["search"].startswith("loop: ")
    assert episode.refusal("search") == episode.refusal("search", '{"query": "x", "most": 1}') != ""
    assert episode.refusal("search", {"query": "y", "most": 1}) == ""
    assert "search" in advice.tools
    assert "Do not call `search` again as before" in advice.hint
    assert episode.refusal(FORBIDDEN, {"path": "/"}) == "rule: it cannot be undone"


def test_a_rule_that_forbids_everything_is_obeyed():
    with advised("narrow") as advisor:
        advice = advisor.episode(TASK, TOOLS[:1]).recommend(TASK)
        advisor.flush()
    assert advice.refused == {FORBIDDEN: "rule: it cannot be undone"}


def test_shadow_answers_without_waiting_and_logs_its_decisions():
    with advised("shadow") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        advice = episode.recommend(TASK)
        episode.observe("search", {"query": "x"}, "ok", "found x")
        episode.finish(success=True)
        (step,) = last_trajectory(advisor).steps
    assert advice.decision is None
    assert advice.tools == NAMES
    assert step.decision_id
    assert step.propensity is None


def test_what_is_observed_is_stored_as_it_was():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS, group="products")
        episode.recommend("the state")
        episode.observe("search", {"query": "x"}, "ok", "found x")
        episode.observe("fail", '{"amount": 1}', "tool_error", error=ValueError("cannot"))
        assert episode.finish(success=False, reward=0.25, kpis={"cost_usd": 0.1}) == episode.trajectory_id
        stored = advisor.selector.store.get(episode.trajectory_id)
    first, second = stored.steps
    assert (first.tool, first.state, dict(first.args), first.observation) == (
        "search",
        "the state",
        {"query": "x"},
        "found x",
    )
    assert (second.outcome, second.error, dict(second.args)) == ("tool_error", "cannot", {"amount": 1})
    assert (stored.success, stored.reward, stored.task.group) == (False, 0.25, "products")
    assert dict(stored.kpis) == {"cost_usd": 0.1}


def test_a_step_by_the_advised_tool_carries_its_propensity():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        decision = episode.recommend(TASK).decision
        episode.observe(decision.tool, {}, "ok")
        episode.finish()
        (step,) = last_trajectory(advisor).steps
    assert (step.propensity, step.decision_id) == (decision.propensity, decision.decision_id)


def test_a_decision_that_takes_too_long_is_no_opinion_and_no_step_answers_it(slow: Advisor, caplog):
    episode = slow.episode(TASK, TOOLS)
    started = time.monotonic()
    advices = [episode.recommend(TASK), episode.recommend(TASK)]
    waited = time.monotonic() - started
    episode.observe("search", {"query": "x"}, "ok")
    episode.finish(success=True)
    (step,) = last_trajectory(slow).steps
    assert [one.decision for one in advices] == [None, None]
    assert advices[0].tools == NAMES
    assert waited < SLOW_SECONDS
    assert step.propensity is None
    assert step.state == TASK
    assert sum("took too long" in record.message for record in caplog.records) == 1
    assert "raise budget_seconds" in caplog.text


async def test_the_event_loop_goes_on_while_a_decision_is_made(slow: Advisor):
    done: list[str] = []

    async def decide() -> None:
        advice = await slow.episode(TASK, TOOLS).arecommend(TASK)
        assert advice.decision is None
        done.append("decision")

    async def go_on() -> None:
        await asyncio.sleep(0)
        done.append("the rest")

    await asyncio.gather(decide(), go_on())
    assert done == ["the rest", "decision"]
    slow.flush()


async def test_an_asynchronous_episode_is_as_a_synchronous_one():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        advice = await episode.arecommend(TASK)
        await episode.aobserve("search", {"query": "x"}, "ok", "found x")
        trajectory_id = await episode.afinish(success=True)
        assert [step.tool for step in advisor.selector.store.get(trajectory_id).steps] == ["search"]
    assert "`search`" in advice.hint


def test_an_episode_that_nobody_judged_may_be_judged_later():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {"query": "x"}, "ok", "found x")
        stored = advisor.selector.store
        trajectory_id = episode.finish()
        assert stored.get(trajectory_id).success is None
        assert advisor.selector.report_episode(episode.episode_id, success=True) == "applied"
        assert stored.get(trajectory_id).success is True


def test_an_episode_may_be_finished_without_waiting():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {"query": "x"}, "ok", "found x")
        episode.finish_soon(success=True)
        assert last_trajectory(advisor).success is True


def test_closing_stores_what_has_not_ended_as_abandoned(tmp_path: Path):
    with Advisor.open(tmp_path / "agent.db", "suggest") as advisor:
        begun = advisor.episode(TASK, TOOLS)
        begun.observe("search", {"query": "x"}, "ok", "found x")
    with TrajectoryStore(tmp_path / "agent.db") as store:
        (stored,) = store.trajectories()
    assert (stored.stop_reason, [step.tool for step in stored.steps]) == ("censored", ["search"])


def test_an_abandoned_episode_is_censored():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {}, "ok")
        episode.abandon()
        episode.abandon()
        assert episode.finish(success=True) == ""
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


def test_with_a_store_that_is_closed_nothing_raises_and_one_sentence_is_logged_of_each_kind(caplog):
    caplog.set_level(logging.WARNING)
    with advised("narrow") as advisor:
        advisor.selector.store.close()
        for _ in range(2):
            episode = advisor.episode(TASK, TOOLS)
            assert episode.recommend(TASK).tools == NAMES
            episode.observe("search", {}, "ok")
            assert episode.finish(success=True) == ""
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages)) > 0
    assert all("the agent goes on without that" in message for message in messages)


class Unopened(Selector):
    """A selector that cannot open an episode, as where the experience is damaged."""

    def episode(self, *_: object, **__: object):
        raise RuntimeError("no room")


def test_what_was_observed_of_an_episode_that_could_not_be_opened_is_stored():
    with TrajectoryStore(":memory:") as store:
        advisor = Advisor(Unopened(store))
        episode = advisor.episode(TASK, TOOLS)
        episode.recommend("a state")
        episode.observe("search", {"query": "x"}, "ok", "found x")
        stored = store.get(episode.finish(success=True))
    assert (stored.task.text, stored.success, stored.steps[0].state) == (TASK, True, "a state")


@pytest.mark.parametrize("outcome", ["fine", "", "OK"])
def test_an_outcome_that_is_none_counts_as_unknown(outcome):
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK)
        episode.observe("search", {}, outcome)
        episode.finish()
        assert [step.outcome for step in last_trajectory(advisor).steps] == ["unknown"]


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(JSON_LIKE)
def test_anything_can_be_handed_over_as_arguments_and_as_an_observation(value: object):
    to_json(plain_json(value))
    assert isinstance(plain_text(value), str)
    plain_text(value).encode()


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("nobody can read this")


class Unreadable:
    def model_dump(self, mode: str) -> object:
        raise ValueError(f"nobody can read this as {mode}")


@pytest.mark.parametrize("value", [Unprintable(), Unreadable(), Unreadable, [10**5000], {"inner": [Unprintable()]}])
def test_a_step_whose_values_cannot_be_read_is_not_lost(value: object):
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.recommend(value)
        episode.observe("search", {"query": value}, "ok", value, error=value)
        episode.finish()
        assert [step.tool for step in last_trajectory(advisor).steps] == ["search"]


def test_a_task_that_cannot_be_read_begins_an_episode_all_the_same():
    with advised("suggest") as advisor:
        assert advisor.episode(Unprintable(), TOOLS).recommend("").tools == NAMES


def test_what_holds_itself_many_times_over_is_read_in_time():
    tree: list[object] = ["leaf"]
    for _ in range(60):
        tree = [tree, tree]
    assert LEFT_OUT in plain_text({"tree": tree})
    assert len(to_json(plain_json(list(range(10 * MOST_ENTRIES))))) < 10 * MOST_ENTRIES


@pytest.mark.parametrize("verdict", [{"reward": "much"}, {"success": "yes"}, {"kpis": {"cost_usd": float("nan")}}])
def test_a_verdict_that_cannot_be_stored_loses_no_step(verdict: dict[str, object], caplog):
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {"query": "x"}, "ok")
        stored = advisor.selector.store.get(episode.finish(**verdict))
    assert (stored.success, stored.stop_reason, len(stored.steps)) == (None, "censored", 1)
    assert "could not be stored" in caplog.text


def test_a_verdict_in_numbers_of_numpy_is_stored():
    with advised("suggest") as advisor:
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {"query": "x"}, "ok")
        kpis = {"cost_usd": np.float32(0.5)}
        stored = advisor.selector.store.get(episode.finish(np.bool_(True), np.float32(0.25), kpis))  # noqa: FBT003 - as a library gives it
    assert (stored.success, stored.reward, dict(stored.kpis)) == (True, 0.25, {"cost_usd": 0.5})


def test_an_episode_that_nobody_holds_any_more_is_stored_as_left():
    with experienced_store() as store:
        advisor = Advisor(Selector(store))
        advisor.episode(TASK, TOOLS).observe("search", {"query": "x"}, "ok")
        gc.collect()
        stored = last_trajectory(advisor)
    assert (stored.stop_reason, len(stored.steps)) == ("censored", 1)


AT_EXIT = """
import atexit, sys
from selector.adapters import Advisor
from trajstore.schema import ToolSpec
advisor = Advisor.open(sys.argv[1], "suggest")
begun = advisor.episode("a task", [ToolSpec("search")])
begun.observe("search", {"query": "x"}, "ok")
atexit.register(advisor.close)
atexit.register(lambda: advisor.episode("late", [ToolSpec("search")]).recommend("late"))
atexit.register(lambda: begun.observe("read", {}, "ok"))
"""


def test_closing_as_the_interpreter_ends_stores_what_has_not_ended(tmp_path: Path):
    path = tmp_path / "agent.db"
    ended = subprocess.run([sys.executable, "-c", AT_EXIT, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    with TrajectoryStore(path) as store:
        (stored,) = store.trajectories()
    assert [step.tool for step in stored.steps] == ["search", "read"]


def test_what_is_nested_without_end_becomes_text():
    deep: list[object] = []
    deep.append(deep)
    to_json(plain_json(deep))


def test_episodes_of_many_threads_keep_apart():
    with advised("suggest") as advisor, ExitStack() as stack:
        from concurrent.futures import ThreadPoolExecutor

        pool = stack.enter_context(ThreadPoolExecutor(8))

        def run(number: int) -> str:
            episode = advisor.episode(f"task {number}", TOOLS)
            for step in range(5):
                episode.recommend(f"state {number} {step}")
                episode.observe("search", {"query": f"{number} {step}"}, "ok")
            return episode.finish(success=True)

        stored = [advisor.selector.store.get(one) for one in pool.map(run, range(8))]
    for number, trajectory in enumerate(stored):
        assert trajectory.task.text == f"task {number}"
        assert [step.args["query"] for step in trajectory.steps] == [f"{number} {step}" for step in range(5)]


def test_a_forked_child_is_advised_by_a_thread_of_its_own():
    with advised("suggest") as advisor:
        advisor.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                future = advisor.submit(lambda: 7)
                code = 0 if future.result(10) == 7 else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0


def test_a_child_that_was_forked_while_a_decision_was_made_is_advised_and_stores(tmp_path: Path):
    at_work, go_on = threading.Event(), threading.Event()

    def waits(_situation: Situation, _candidate: Candidate) -> str:
        at_work.set()
        go_on.wait(60)
        return ""

    with TrajectoryStore(tmp_path / "agent.db") as store:
        advisor = Advisor(Selector(store, SelectorConfig(mode="narrow"), rules=[waits]), AdvisorSettings())
        before = advisor.episode(TASK, TOOLS)
        advisor.flush()
        before.recommend(TASK)
        assert at_work.wait(60)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(20)
                go_on.set()
                advisor.selector.choose(TASK, tools=NAMES)
                after = advisor.episode(TASK, TOOLS)
                for one in (before, after):
                    one.observe("search", {"query": "x"}, "ok")
                code = 0 if before.finish() and after.finish() else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        go_on.set()
        before.abandon()
        advisor.flush()


def test_an_advisor_opens_a_store_by_its_path(tmp_path):
    with Advisor.open(tmp_path / "agent.db", "narrow", AdvisorSettings(agent="me")) as advisor:
        assert advisor.mode == "narrow"
        episode = advisor.episode(TASK, TOOLS)
        episode.observe("search", {}, "ok")
        trajectory_id = episode.finish(success=True)
        assert advisor.selector.store.get(trajectory_id).agent == "me"


@pytest.mark.parametrize("name", ["budget_seconds", "finish_seconds"])
def test_a_budget_must_be_above_nothing(name: str):
    with pytest.raises(SelectorUsageError, match=f"{name} must be above 0, got 0"):
        AdvisorSettings(**{name: 0})

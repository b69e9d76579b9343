"""The middleware for LangChain's agents keeps the rules of every adapter, and its own."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolErrorMiddleware
from langchain.tools import ToolRuntime
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import Field

from selector.adapters.advisor import Advisor
from selector.adapters.langchain import Guidance
from selector.adapters.scripted_tools import TASK, ScriptedTools
from selector.adapters.testing import (
    Ability,
    Asked,
    Case,
    Play,
    Played,
    ScriptedCall,
    Turn,
    Way,
    advised,
    cases_of,
    last_trajectory,
    live,
    steps_of,
)


class ScriptedModel(BaseChatModel):
    """Says its turns, and notes what it was asked."""

    turns: list[Any]
    asked: list[Asked] = Field(default_factory=list)
    said: list[int] = Field(default_factory=list)
    refuses_force: bool = False

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **_: Any) -> Runnable[Any, Any]:
        return self.bind(offered=tuple(tool.name for tool in tools), forced=tool_choice)

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **given: Any) -> Any:
        text = "\n".join(str(message.text) for message in messages)
        self.asked.append(Asked(given["offered"], given["forced"], text))
        if given["forced"] and self.refuses_force:
            raise RuntimeError("tool choice is refused")
        self.said.append(1)
        return ChatResult(generations=[ChatGeneration(message=answer(self.turns[len(self.said) - 1], len(self.said)))])


def answer(turn: Turn, number: int) -> AIMessage:
    if isinstance(turn, str):
        return AIMessage(turn)
    calls = [{"name": one.tool, "args": dict(one.args), "id": f"{number}.{at}"} for at, one in enumerate(turn)]
    return AIMessage("", tool_calls=calls)


def tools_of(play: Play) -> list[StructuredTool]:
    return [
        StructuredTool.from_function(coroutine=function)
        if inspect.iscoroutinefunction(function)
        else StructuredTool.from_function(function)
        for function in play.tools.functions.values()
    ]


class LangChain:
    """An agent made by `create_agent`, whose tools' errors go to the model."""

    name = "langchain"
    ways: tuple[Way, ...] = ("sync", "async", "stream")
    lacks: Mapping[Ability, str] = {}
    others: tuple[AgentMiddleware, ...] = (ToolErrorMiddleware(lambda error, request: str(error)),)

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        model = ScriptedModel(turns=list(play.turns), refuses_force=play.refuses_force)
        guidance = [Guidance(advisor)] if advisor else []
        agent = create_agent(model, tools_of(play), middleware=[*guidance, *self.others])
        given = {"messages": [{"role": "user", "content": play.task}]}
        try:
            output = await self._run(agent, given, play.way)
        except Exception as error:  # noqa: BLE001 - whatever ends a run is its failure
            return Played("", tuple(model.asked), type(error).__name__)
        return Played(output, tuple(model.asked))

    async def _run(self, agent: Any, given: Any, way: Way) -> str:
        if way == "sync":
            return agent.invoke(given)["messages"][-1].text
        if way == "async":
            return (await agent.ainvoke(given))["messages"][-1].text
        states = [state async for state in agent.astream(given, stream_mode="values")]
        return states[-1]["messages"][-1].text


@pytest.mark.parametrize(("case", "way"), cases_of(LangChain()))
async def test_the_middleware_keeps_the_rules(case: Case, way: Way):
    await case(LangChain(), way)


SEARCH = [ScriptedCall("search", {"query": "x"})]


def agent_of(guidance: Guidance, *turns: Turn, tools: Sequence[Any] = (), **settings: Any) -> Any:
    tools = tools or tools_of(Play(ScriptedTools(), ()))
    others = settings.pop("others", ())
    return create_agent(ScriptedModel(turns=list(turns)), tools, middleware=[guidance, *others], **settings)


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


class Failing(LangChain):
    others = ()
    lacks: Mapping[Ability, str] = {"parallel": "the first tool that raises ends the run and its other calls"}


@pytest.mark.parametrize(("case", "way"), cases_of(Failing()))
async def test_an_agent_whose_tools_may_end_it_keeps_the_rules(case: Case, way: Way):
    await case(Failing(), way)


@pytest.mark.parametrize("way", LangChain.ways)
async def test_a_run_that_a_tool_ends_is_censored(way: Way):
    with advised("suggest") as advisor:
        played = await Failing().play(
            advisor, Play(ScriptedTools(), (SEARCH, [ScriptedCall("fail", {"amount": 1})]), way)
        )
        trajectory = last_trajectory(advisor)
    assert played.failure == "ValueError"
    assert [(one.tool, one.outcome) for one in trajectory.steps] == [("search", "ok"), ("fail", "tool_error")]
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


async def test_calls_beside_one_that_ends_the_run_are_recorded_before_it_ends():
    turn = [*SEARCH, ScriptedCall("pause", {"seconds": 3600}), ScriptedCall("fail", {"amount": 1})]
    with advised("suggest") as advisor:
        await Failing().play(advisor, Play(ScriptedTools(), (turn,)))
        trajectory = last_trajectory(advisor)
    assert {one.tool: one.outcome for one in trajectory.steps}["fail"] == "tool_error"
    assert {one.tool: one.outcome for one in trajectory.steps}["pause"] == "cancelled"


@pytest.mark.parametrize("way", LangChain.ways)
async def test_a_run_whose_model_fails_is_censored(way: Way):
    with advised("suggest") as advisor:
        played = await LangChain().play(advisor, Play(ScriptedTools(), (SEARCH,), way))
        trajectory = last_trajectory(advisor)
    assert played.failure == "IndexError"
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


async def test_a_run_that_goes_on_after_it_seemed_to_fail_is_still_guided():
    tools = tools_of(Play(ScriptedTools(), ()))
    with advised("suggest") as advisor:
        model = ScriptedModel(turns=[[ScriptedCall("fail", {"amount": 1})], SEARCH, "done"])
        outer = ToolErrorMiddleware(lambda error, request: str(error))
        await create_agent(model, tools, middleware=[outer, Guidance(advisor)]).ainvoke(said(TASK))
        found = [[(step.tool, step.outcome) for step in one.steps] for one in live(advisor)]
    assert found == [[("fail", "tool_error")], [("search", "ok")]]
    assert "`search`" in model.asked[1].text


def agents_of(guidance: Guidance) -> list[Any]:
    """Four agents, each of which searches for its own number."""
    return [agent_of(guidance, [ScriptedCall("search", {"query": str(number)})], "done") for number in range(4)]


async def test_runs_at_once_on_one_adapter_keep_apart():
    with advised("suggest") as advisor:
        agents = agents_of(Guidance(advisor))
        await asyncio.gather(*(agent.ainvoke(said(f"task {number}")) for number, agent in enumerate(agents)))
        found = {(one.task.text, step.observation) for one in live(advisor) for step in one.steps}
    assert found == {(f"task {number}", f"found {number}") for number in range(4)}


def test_runs_of_threads_at_once_on_one_adapter_keep_apart():
    with advised("suggest") as advisor, ThreadPoolExecutor(4) as pool:
        agents = agents_of(Guidance(advisor))
        list(pool.map(lambda number: agents[number].invoke(said(f"task {number}")), range(4)))
        found = {(one.task.text, step.observation) for one in live(advisor) for step in one.steps}
    assert found == {(f"task {number}", f"found {number}") for number in range(4)}


def test_a_synchronous_stream_is_guided():
    with advised("suggest") as advisor:
        list(agent_of(Guidance(advisor), SEARCH, "done").stream(said(TASK), stream_mode="messages"))
        assert [step.outcome for step in steps_of(advisor)] == ["ok"]


@pytest.mark.parametrize("word", [True, False, None])
def test_the_judge_sees_the_final_state_and_says_whether_the_task_was_done(word: Any):
    seen: list[str] = []
    with advised("suggest") as advisor:

        def judge(state: Mapping[str, Any]) -> bool | None:
            seen.append(state["messages"][-1].text)
            return word

        agent_of(Guidance(advisor, judge=judge), SEARCH, "42").invoke(said(TASK))
        assert last_trajectory(advisor).success is word
    assert seen == ["42"]


@pytest.mark.parametrize("judge", [lambda state: 1 / 0, lambda state: "yes"], ids=["raises", "says something else"])
async def test_a_judge_that_fails_says_nothing(judge: Any, caplog: pytest.LogCaptureFixture):
    with advised("suggest") as advisor:
        final = await agent_of(Guidance(advisor, judge=judge), SEARCH, "42").ainvoke(said(TASK))
        assert last_trajectory(advisor).success is None
    assert final["messages"][-1].text == "42"
    assert "the judge failed" in caplog.text


def test_success_may_be_told_later_by_the_id_in_the_final_state():
    with advised("suggest") as advisor:
        final = agent_of(Guidance(advisor), SEARCH, "42").invoke(said(TASK))
        assert advisor.selector.report_episode(final["trajstore_episode"], success=True) == "applied"
        assert last_trajectory(advisor).success is True
    assert set(final) == {"messages", "trajstore_episode"}


def test_hints_are_not_kept_in_the_conversation():
    with advised("suggest") as advisor:
        final = agent_of(Guidance(advisor), SEARCH, "42").invoke(said(TASK))
    assert [one.type for one in final["messages"]] == ["human", "ai", "tool", "ai"]


@StructuredTool.from_function
def ask(question: str) -> str:
    """Ask the user."""
    return f"the user says {interrupt(question)}"


@pytest.mark.parametrize(("other", "observed"), [(0, ["found x", "the user says yes"]), (1, ["the user says yes"])])
def test_an_interrupted_run_goes_on_and_elsewhere_begins_another_trajectory(other: int, observed: list[str]):
    turns = (SEARCH, [ScriptedCall("ask", {"question": "sure?"})], "42")
    tools = [*tools_of(Play(ScriptedTools(), ())), ask]
    with advised("suggest") as advisor:
        model, memory = ScriptedModel(turns=list(turns)), InMemorySaver()
        first, second = Guidance(advisor), Guidance(advisor)
        agents = [create_agent(model, tools, middleware=[one], checkpointer=memory) for one in (first, second)]
        thread = {"configurable": {"thread_id": "1"}}
        agents[0].invoke(said(TASK), thread)
        assert live(advisor) == []
        final = agents[other].invoke(Command(resume="yes"), thread)
        found = [(one.task.text, [step.observation for step in one.steps]) for one in live(advisor)]
    assert final["messages"][-1].text == "42"
    assert found == [(TASK, observed)]


def test_a_thread_that_turns_to_something_else_leaves_its_interrupted_run():
    tools = [*tools_of(Play(ScriptedTools(), ())), ask]
    with advised("suggest") as advisor:
        turns = (SEARCH, [ScriptedCall("ask", {"question": "sure?"})], "never mind")
        agent = agent_of(Guidance(advisor), *turns, tools=tools, checkpointer=InMemorySaver())
        thread = {"configurable": {"thread_id": "1"}}
        agent.invoke(said(TASK), thread)
        agent.invoke(said("Something else."), thread)
        assert [(one.stop_reason, [step.tool for step in one.steps]) for one in live(advisor)] == [
            ("censored", ["search"])
        ]


def test_what_middleware_writes_for_the_user_is_not_taken_for_the_user():
    with advised("suggest") as advisor:
        messages = [
            {"role": "user", "content": "a summary", "additional_kwargs": {"lc_source": "summarization"}},
            {"role": "user", "content": TASK},
        ]
        agent_of(Guidance(advisor), SEARCH, "42").invoke({"messages": messages})
        assert last_trajectory(advisor).task.text == TASK


def test_a_tool_that_takes_too_long_is_recorded_as_a_timeout():
    @StructuredTool.from_function
    def late(query: str) -> str:
        """Never in time."""
        raise TimeoutError("too late")

    with advised("suggest") as advisor:
        agent = agent_of(Guidance(advisor), [ScriptedCall("late", {"query": "x"})], tools=[late])
        with pytest.raises(TimeoutError):
            agent.invoke(said(TASK))
        assert [one.outcome for one in steps_of(advisor)] == ["timeout"]


def test_a_tool_that_handles_its_own_validation_is_recorded_as_called_wrongly():
    def count(amount: int) -> str:
        """Count."""
        return str(amount)

    tool = StructuredTool.from_function(count, handle_validation_error=True)
    with advised("suggest") as advisor:
        agent_of(Guidance(advisor), [ScriptedCall("count", {"amount": "many"})], "42", tools=[tool]).invoke(said(TASK))
        assert [one.outcome for one in steps_of(advisor)] == ["invalid_args"]


def test_a_tool_that_answers_by_a_command_is_recorded_with_its_answer():
    @tool
    def note(runtime: ToolRuntime) -> Command[Any]:
        """Note."""
        return Command(update={"messages": [ToolMessage("noted", tool_call_id=runtime.tool_call_id)]})

    with advised("suggest") as advisor:
        agent_of(Guidance(advisor), [ScriptedCall("note")], "42", tools=[note]).invoke(said(TASK))
        assert [(one.outcome, one.observation) for one in steps_of(advisor)] == [("ok", "noted")]


def test_tools_that_the_provider_runs_stay_offered():
    with advised("narrow", keeps_tools=False) as advisor:
        offered: list[Any] = []

        class Seen(AgentMiddleware):
            def wrap_model_call(self, request: Any, handler: Any) -> AIMessage:
                offered.extend(one if isinstance(one, dict) else one.name for one in request.tools)
                return AIMessage("done")

        tools = [*tools_of(Play(ScriptedTools(), ())), {"type": "web_search"}]
        agent_of(Guidance(advisor), tools=tools, others=[Seen()]).invoke(said(TASK))
    assert {"type": "web_search"} in offered
    assert "remove" not in offered


def test_of_runs_that_are_never_heard_of_again_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("selector.adapters.langchain.MOST_OPEN", 2)
    with advised("suggest") as advisor:
        for number, agent in enumerate(agents_of(Guidance(advisor))[:3]):
            updates = agent.stream(said(f"task {number}"))
            list(islice(updates, 3))
            updates.close()
        assert [(one.task.text, one.stop_reason) for one in live(advisor)] == [("task 0", "censored")]


def test_without_langchain_the_adapter_says_what_to_install():
    code = "import sys; sys.modules['langchain'] = None; import selector.adapters.langchain"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LangChain is not installed; install it: pip install 'trajstore[langchain]'" in done.stderr

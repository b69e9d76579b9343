"""The pydantic-ai adapter: the conformance suite, and what is special to this runtime."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, DeferredToolRequests, ModelRetry, Tool, ToolReturn
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from selector.adapters.advisor import Advisor
from selector.adapters.pydantic_ai import Guidance
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools
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
    only,
    steps_of,
)


class Script:
    """A model that answers turn by turn and remembers what it was asked."""

    def __init__(self, turns: Sequence[Turn], *, refuses_force: bool = False) -> None:
        self.turns, self.refuses_force = iter(turns), refuses_force
        self.asked: list[Asked] = []

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = self._next(messages, info)
        return ModelResponse([TextPart(turn)] if isinstance(turn, str) else [call_of(one) for one in turn])

    async def stream(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        turn = self._next(messages, info)
        if isinstance(turn, str):
            yield turn
        else:
            parts = [call_of(one) for one in turn]
            yield {place: DeltaToolCall(one.tool_name, one.args_as_json_str()) for place, one in enumerate(parts)}

    def _next(self, messages: list[ModelMessage], info: AgentInfo) -> Turn:
        choice = (info.model_settings or {}).get("tool_choice")
        forced = choice[0] if isinstance(choice, list) else None
        text = " ".join(str(getattr(part, "content", "")) for message in messages for part in message.parts)
        self.asked.append(Asked(tuple(one.name for one in info.function_tools), forced, text))
        if forced and self.refuses_force:
            raise ValueError("tool_choice is not supported while thinking")
        return next(self.turns)


def call_of(call: ScriptedCall) -> ToolCallPart:
    return ToolCallPart(call.tool, dict(call.args))


class PydanticAI:
    name = "pydantic-ai"
    ways: tuple[Way, ...] = ("sync", "async", "stream")
    lacks: Mapping[Ability, str] = {}

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        script = Script(play.turns, refuses_force=play.refuses_force)
        agent = agent_of(script, advisor, play.tools)
        try:
            output = await self._run(agent, play)
        except Exception as error:  # noqa: BLE001 - whatever ends a run is what the suite asks for
            return Played("", tuple(script.asked), type(error).__name__)
        return Played(output, tuple(script.asked))

    async def _run(self, agent: Agent, play: Play) -> str:
        if play.way == "sync":
            return (await asyncio.to_thread(agent.run_sync, play.task)).output
        if play.way == "async":
            return (await agent.run(play.task)).output
        async with agent.run_stream(play.task) as streamed:
            return await streamed.get_output()


def agent_of(script: Script, advisor: Advisor | None, tools: ScriptedTools | None = None, **guided) -> Agent:
    return Agent(
        FunctionModel(script.answer, stream_function=script.stream),
        tools=list((tools or ScriptedTools()).functions.values()),
        capabilities=[Guidance(advisor, **guided)] if advisor else [],
    )


@pytest.mark.parametrize(("case", "way"), cases_of(PydanticAI()))
async def test_the_adapter_keeps_the_rules(case: Case, way: Way):
    await case(PydanticAI(), way)


SEARCH: Turn = [ScriptedCall("search", {"query": "x"})]


async def test_runs_side_by_side_on_one_agent_keep_apart():
    def answer(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        task = str(messages[0].parts[0].content)
        return ModelResponse([ToolCallPart("search", {"query": task}) if len(messages) == 1 else TextPart("done")])

    tasks = [f"What is {number} times {number}?" for number in range(8)]
    with advised("suggest") as advisor:
        agent = agent_of(Script([]), advisor)
        with agent.override(model=FunctionModel(answer)):
            await asyncio.gather(*(agent.run(task) for task in tasks))
        advisor.flush()
        live = [one for one in advisor.selector.store.trajectories() if one.source == "live"]
    assert sorted(one.task.text for one in live) == tasks
    assert all([step.args["query"] for step in one.steps] == [one.task.text] for one in live)


async def test_a_run_whose_events_are_streamed_is_guided():
    async def read(_context, events):
        async for _ in events:
            pass

    script = Script([SEARCH, "done"])
    with advised("suggest") as advisor:
        await agent_of(script, advisor).run(TASK, event_stream_handler=read)
        assert [step.outcome for step in steps_of(advisor)] == ["ok"]
    assert "`search`" in script.asked[0].text


@pytest.mark.parametrize("way", PydanticAI.ways)
async def test_a_judge_is_asked_about_the_result_of_a_run_and_its_word_is_stored(way):
    def judge(result):
        return {"42": True, "43": False, "44": None}[result.output]

    with advised("suggest") as advisor:
        for answer in ("42", "43", "44"):
            agent = agent_of(Script([SEARCH, answer]), advisor, judge=judge)
            assert await PydanticAI()._run(agent, Play(ScriptedTools(), (), way)) == answer
        assert [one.success for one in stored(advisor) if one.source == "live"] == [True, False, None]


async def test_a_run_whose_stream_is_not_read_to_its_end_is_left_unfinished():
    with advised("suggest") as advisor:
        async with agent_of(Script([SEARCH, "42"]), advisor).run_stream(TASK) as streamed:
            async for _ in streamed.stream_text():
                break
        assert last_trajectory(advisor).stop_reason == "censored"


async def test_a_judge_that_raises_leaves_the_run_unjudged_and_is_said_once(caplog):
    def judge(_result):
        raise LookupError("no such ticket")

    with advised("suggest") as advisor:
        for _ in range(2):
            await agent_of(Script([SEARCH, "42"]), advisor, judge=judge).run(TASK)
        advisor.flush()
        words = [one.success for one in advisor.selector.store.trajectories() if one.source == "live"]
    assert words == [None, None]
    assert caplog.text.count("no such ticket") == 1


async def test_a_run_that_fails_is_left_unfinished():
    with advised("suggest") as advisor:
        with pytest.raises(ValueError, match="cannot do 1"):
            await agent_of(Script([SEARCH, [ScriptedCall("fail", {"amount": 1})]]), advisor).run(TASK)
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")
    assert [step.outcome for step in trajectory.steps] == ["ok", "tool_error"]


async def slow() -> str:
    """Take long."""
    await asyncio.sleep(3600)
    return "done"


def unsure() -> str:
    """Ask for another attempt."""
    raise ModelRetry("say it otherwise")


def wrapped() -> ToolReturn:
    """Return more than the model sees."""
    return ToolReturn("the model sees this", metadata={"kept": "back"})


@pytest.mark.parametrize(
    ("tool", "outcome", "observation"),
    [
        (Tool(slow, timeout=0.01), "timeout", ""),
        (Tool(unsure), "tool_error", ""),
        (Tool(wrapped), "ok", "the model sees this"),
    ],
)
async def test_a_call_is_recorded_by_how_it_ended(tool: Tool, outcome: str, observation: str):
    script = Script([[ScriptedCall(tool.name)], "done"])
    with advised("suggest") as advisor:
        agent = Agent(FunctionModel(script.answer), tools=[tool], capabilities=[Guidance(advisor)])
        await agent.run(TASK)
        step = only(steps_of(advisor), tool.name)
    assert (step.outcome, step.observation) == (outcome, observation)


async def test_a_run_that_waits_for_an_approval_is_left_and_the_approved_call_is_recorded_when_it_runs():
    tools = ScriptedTools()
    script = Script([SEARCH, "done"])
    with advised("suggest") as advisor:
        agent = Agent(
            FunctionModel(script.answer),
            tools=[Tool(tools.search, requires_approval=True)],
            capabilities=[Guidance(advisor)],
            output_type=[str, DeferredToolRequests],
        )
        waiting = await agent.run(TASK)
        assert isinstance(waiting.output, DeferredToolRequests)
        assert not any(one.source == "live" for one in stored(advisor))
        approved = waiting.output.build_results(approve_all=True)
        await agent.run(message_history=waiting.all_messages(), deferred_tool_results=approved)
        assert tools.ran == ["search"]
        trajectory = last_trajectory(advisor)
    assert trajectory.task.text == TASK


async def test_the_hint_is_not_kept_in_the_history_of_messages():
    with advised("suggest") as advisor:
        script = Script([SEARCH, "done"])
        result = await agent_of(script, advisor).run(TASK)
    assert "`search`" in script.asked[0].text
    assert "Past experience" not in str(result.all_messages())


async def test_the_task_is_the_first_of_a_conversation_and_the_state_the_newest():
    with advised("suggest") as advisor:
        first = await agent_of(Script(["which one?"]), None).run(TASK)
        agent = agent_of(Script([SEARCH, "42"]), advisor)
        await agent.run(["The", " first."], message_history=first.all_messages())
        trajectory = last_trajectory(advisor)
    assert trajectory.task.text == TASK
    assert trajectory.steps[0].state == "The\n first."


async def test_a_refused_tool_costs_no_retry_and_the_model_reads_why():
    again: Turn = [ScriptedCall(FORBIDDEN, {"path": "/"})]
    script = Script([again] * 5 + ["done"])
    with advised("narrow") as advisor:
        assert (await agent_of(script, advisor).run(TASK)).output == "done"
        assert [step.outcome for step in steps_of(advisor)] == ["blocked"] * 5
    assert "was not run: rule: it cannot be undone" in script.asked[-1].text


async def test_a_choice_of_tools_that_the_user_set_is_kept():
    script = Script(["42"])
    with advised("force") as advisor:
        await agent_of(script, advisor).run(TASK, model_settings={"tool_choice": "none"})
    assert script.asked[0].forced is None


async def test_a_provider_that_refuses_force_is_asked_with_force_once_a_run():
    script = Script([SEARCH, SEARCH, "42"], refuses_force=True)
    with advised("force") as advisor:
        await agent_of(script, advisor).run(TASK)
    assert [one.forced for one in script.asked] == ["search", None, None, None]


def stored(advisor: Advisor) -> list:
    advisor.flush()
    return list(advisor.selector.store.trajectories())

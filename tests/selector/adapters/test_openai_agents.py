"""Guidance for the OpenAI Agents SDK keeps the rules of every adapter, and its own."""

import asyncio
import copy
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

pytest.importorskip("agents")

import mcp
from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelProvider,
    RunConfig,
    RunHooks,
    Runner,
    RunResultStreaming,
    ToolGuardrailFunctionOutput,
    function_tool,
    tool_input_guardrail,
)
from agents.mcp import MCPServer
from agents.testing import ScriptedModel, assistant_message, function_call

from selector.adapters.advisor import Advisor
from selector.adapters.openai_agents import Guidance, episode_id
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
    live,
    steps_of,
)

QUIET = RunConfig(tracing_disabled=True)


class Scripted(ScriptedModel):
    """Says its turns; raises an error where it is asked with a forced tool, if it `refuses_force`."""

    def __init__(self, turns: Sequence[Turn], *, refuses_force: bool = False) -> None:
        super().__init__([answer(turn) for turn in turns])
        self.refuses_force = refuses_force
        self.asked: list[Asked] = []

    def note(self, given: Any, settings: Any, tools: Sequence[Any]) -> None:
        forced = settings.tool_choice
        self.asked.append(Asked(tuple(tool.name for tool in tools), forced, text_of(given)))
        if forced and self.refuses_force:
            raise RuntimeError("tool choice is refused")

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002 - the SDK's name
        model_settings: Any,
        tools: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        self.note(input, model_settings, tools)
        return await super().get_response(system_instructions, input, model_settings, tools, *rest, **named)

    async def stream_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002 - as above
        model_settings: Any,
        tools: Any,
        *rest: Any,
        **named: Any,
    ) -> AsyncIterator[Any]:
        self.note(input, model_settings, tools)
        async for event in super().stream_response(system_instructions, input, model_settings, tools, *rest, **named):
            yield event


def text_of(given: Any) -> str:
    items = [{"content": given}] if isinstance(given, str) else given
    return "\n".join(str(item.get("content") or item.get("output") or "") for item in items)


def answer(turn: Turn) -> Any:
    if isinstance(turn, str):
        return [assistant_message(turn)]
    return [function_call(one.tool, dict(one.args), call_id=uuid.uuid4().hex) for one in turn]


def tools_of(tools: ScriptedTools) -> list[FunctionTool]:
    return [function_tool(function) for function in tools.functions.values()]


class OpenAIAgents:
    name = "openai-agents"
    ways: tuple[Way, ...] = ("sync", "async", "stream")
    lacks: Mapping[Ability, str] = {}

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        model = Scripted(play.turns, refuses_force=play.refuses_force)
        agent = Agent(name="agent", model=model, tools=tools_of(play.tools))
        runner = Guidance(advisor) if advisor else Runner
        try:
            output = await run(runner, agent, play.task, play.way)
        except Exception as error:  # noqa: BLE001 - whatever ends a run is its failure
            return Played("", tuple(model.asked), type(error).__name__)
        return Played(output, tuple(model.asked))


async def run(runner: Any, agent: Agent[Any], task: str, way: Way) -> str:
    if way == "sync":
        return (await asyncio.to_thread(runner.run_sync, agent, task, run_config=QUIET)).final_output
    if way == "async":
        return (await runner.run(agent, task, run_config=QUIET)).final_output
    return await streamed(runner.run_streamed(agent, task, run_config=QUIET))


async def streamed(result: RunResultStreaming) -> str:
    try:
        async for _ in result.stream_events():
            pass
    except asyncio.CancelledError:
        result.cancel()
        await asyncio.wait([result.run_loop_task])
        raise
    return result.final_output


@pytest.mark.parametrize(("case", "way"), cases_of(OpenAIAgents()))
async def test_guidance_keeps_the_rules(case: Case, way: Way):
    await case(OpenAIAgents(), way)


SEARCH = [ScriptedCall("search", {"query": "x"})]
REMOVE = [ScriptedCall(FORBIDDEN, {"path": "/"})]


def agent_of(*turns: Turn, tools: Sequence[Any] = (), **settings: Any) -> Agent[Any]:
    return Agent(name="agent", model=Scripted(turns), tools=list(tools or tools_of(ScriptedTools())), **settings)


def call_of(tool: str, **args: Any) -> list[ScriptedCall]:
    return [ScriptedCall(tool, args)]


async def outcomes(*turns: Turn, tools: Sequence[Any], config: RunConfig = QUIET) -> list[str]:
    """How the calls of one run ended; the run may fail."""
    with advised("suggest") as advisor:
        await asyncio.gather(
            Guidance(advisor).run(agent_of(*turns, tools=tools), TASK, run_config=config), return_exceptions=True
        )
        return [step.outcome for step in steps_of(advisor)]


async def test_runs_at_once_on_one_adapter_keep_apart():
    with advised("suggest") as advisor:
        guidance, tools = Guidance(advisor), tools_of(ScriptedTools())
        agents = [agent_of(call_of("search", query=str(number)), "done", tools=tools) for number in range(4)]
        await asyncio.gather(
            *(guidance.run(agent, f"task {number}", run_config=QUIET) for number, agent in enumerate(agents))
        )
        found = {(one.task.text, step.observation) for one in live(advisor) for step in one.steps}
    assert found == {(f"task {number}", f"found {number}") for number in range(4)}


@pytest.mark.parametrize("way", OpenAIAgents.ways)
@pytest.mark.parametrize("word", [True, False, None])
async def test_the_judge_sees_the_result_and_says_whether_the_task_was_done(way: Way, word: Any):
    seen: list[Any] = []
    with advised("suggest") as advisor:
        guidance = Guidance(advisor, judge=lambda result: seen.append(result.final_output) or word)
        await run(guidance, agent_of(SEARCH, "42"), TASK, way)
        assert last_trajectory(advisor).success is word
    assert seen == ["42"]


@pytest.mark.parametrize("way", OpenAIAgents.ways)
async def test_a_judge_that_fails_says_nothing(way: Way, caplog: pytest.LogCaptureFixture):
    with advised("suggest") as advisor:
        assert await run(Guidance(advisor, judge=lambda result: 1 / 0), agent_of(SEARCH, "42"), TASK, way) == "42"
        assert last_trajectory(advisor).success is None
    assert "the judge failed" in caplog.text


async def test_success_may_be_told_later_by_the_episode_of_the_result():
    with advised("suggest") as advisor:
        result = await Guidance(advisor).run(agent_of(SEARCH, "42"), TASK, run_config=QUIET)
        assert advisor.selector.report_episode(episode_id(result), success=True) == "applied"
        assert last_trajectory(advisor).success is True


async def test_success_of_a_streamed_run_may_be_told_later():
    with advised("suggest") as advisor:
        result = Guidance(advisor).run_streamed(agent_of(SEARCH, "42"), TASK, run_config=QUIET)
        await streamed(result)
        advisor.flush()
        assert advisor.selector.report_episode(episode_id(result), success=True) == "applied"


async def test_a_result_without_guidance_has_no_episode():
    assert episode_id(await Runner.run(agent_of("42"), TASK, run_config=QUIET)) == ""


@pytest.mark.parametrize("way", OpenAIAgents.ways)
async def test_a_run_that_a_tool_ends_is_censored(way: Way):
    @function_tool(failure_error_function=None)
    def fatal(amount: int) -> str:
        """Never works."""
        raise ValueError("no")

    with advised("suggest") as advisor:
        agent = agent_of(SEARCH, call_of("fatal", amount=1), tools=[*tools_of(ScriptedTools()), fatal])
        with pytest.raises(Exception, match="no"):
            await run(Guidance(advisor), agent, TASK, way)
        trajectory = last_trajectory(advisor)
    assert [(one.tool, one.outcome) for one in trajectory.steps] == [("search", "ok"), ("fatal", "tool_error")]
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


@pytest.mark.parametrize("way", OpenAIAgents.ways)
async def test_a_run_whose_model_fails_is_censored(way: Way):
    with advised("suggest") as advisor:
        with pytest.raises(Exception, match="step"):
            await run(Guidance(advisor), agent_of(SEARCH), TASK, way)
        assert last_trajectory(advisor).stop_reason == "censored"


@pytest.mark.parametrize("way", OpenAIAgents.ways)
async def test_a_run_with_too_many_turns_is_censored(way: Way):
    with advised("suggest") as advisor:
        guidance, agent = Guidance(advisor), agent_of(SEARCH, SEARCH, "done")
        with pytest.raises(Exception, match="turns"):
            await run(Limited(guidance), agent, TASK, way)
        assert last_trajectory(advisor).stop_reason == "censored"


class Limited:
    """A runner of one turn."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: getattr(self._inner, name)(*args, max_turns=1, **options)


async def test_a_failure_in_the_words_of_a_tool_of_its_own_is_a_failure_and_keeps_its_words():
    @function_tool(failure_error_function=lambda context, error: f"sorry: {error}")
    def frail(amount: int) -> str:
        """Sometimes works."""
        raise ValueError("no")

    with advised("suggest") as advisor:
        await Guidance(advisor).run(agent_of(call_of("frail", amount=1), "42", tools=[frail]), TASK, run_config=QUIET)
        (step,) = steps_of(advisor)
    assert (step.outcome, step.observation, step.error) == ("tool_error", "sorry: no", "no")
    assert await outcomes(call_of("frail", amount="many"), "42", tools=[frail]) == ["invalid_args"]


@pytest.mark.parametrize("wording", [None, lambda context, error: "took too long"], ids=["the SDK's", "its own"])
async def test_a_call_that_takes_too_long_is_a_timeout(wording: Any):
    @function_tool(timeout=0.01, timeout_error_function=wording)
    async def slow(amount: int) -> str:
        """Never in time."""
        await asyncio.sleep(3600)
        return ""

    assert await outcomes(call_of("slow", amount=1), "42", tools=[slow]) == ["timeout"]


async def test_a_timeout_that_ends_the_run_is_a_timeout():
    @function_tool(timeout=0.01, timeout_behavior="raise_exception")
    async def slow(amount: int) -> str:
        """Never in time."""
        await asyncio.sleep(3600)
        return ""

    assert await outcomes(call_of("slow", amount=1), "42", tools=[slow]) == ["timeout"]


class Server(MCPServer):
    """Has one tool, whose results are errors where it is told so."""

    name = "server"

    async def connect(self) -> None:
        pass

    async def cleanup(self) -> None:
        pass

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Any]:
        schema = {"type": "object", "properties": {"fails": {"type": "boolean"}}}
        return [mcp.types.Tool(name="find", description="Find.", inputSchema=schema)]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> Any:
        text = mcp.types.TextContent(type="text", text="no such thing")
        return mcp.types.CallToolResult(content=[text], isError=arguments["fails"])

    async def list_prompts(self) -> Any:
        raise NotImplementedError

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        raise NotImplementedError


async def test_a_result_that_an_mcp_server_calls_an_error_is_a_failure():
    extracted: list[bool] = []
    server = Server(custom_data_extractor=lambda result: extracted.append(result.is_error))
    with advised("suggest") as advisor:
        agent = agent_of(call_of("find", fails=True), call_of("find", fails=False), "42", mcp_servers=[server])
        await Guidance(advisor).run(agent, TASK, run_config=QUIET)
        assert [(one.tool, one.outcome) for one in steps_of(advisor)] == [("find", "tool_error"), ("find", "ok")]
    assert extracted == [True, False]


async def test_an_unknown_tool_is_recorded_where_the_run_goes_on():
    config = RunConfig(tracing_disabled=True, tool_not_found_behavior="return_error_to_model")
    found = await outcomes(call_of("no_such_tool"), SEARCH, "42", tools=tools_of(ScriptedTools()), config=config)
    assert found == ["unknown_tool", "ok"]


async def test_hooks_and_run_config_of_the_users_own_stay_in_force():
    heard: list[str] = []

    class Own(RunHooks[Any]):
        async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
            heard.append(f"start {tool.name}")

        async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
            heard.append(f"end {tool.name}: {result}")

        async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
            heard.append(f"done: {output}")

    config = RunConfig(tracing_disabled=True, tool_error_formatter=lambda args: f"mended {args.tool_name}")
    with advised("suggest") as advisor:
        agent = agent_of(call_of("fail", amount=1), "42")
        await Guidance(advisor).run(agent, TASK, hooks=Own(), run_config=config)
        assert [one.outcome for one in steps_of(advisor)] == ["tool_error"]
    assert heard == ["start fail", "end fail: mended fail", "done: 42"]


async def test_hooks_that_are_none_are_complained_of_by_the_runner():
    with advised("suggest") as advisor, pytest.raises(TypeError, match="RunHooks"):
        await Guidance(advisor).run(agent_of("42"), TASK, hooks="none", run_config=QUIET)


async def test_who_calls_the_runner_is_guided_by_the_pieces():
    with advised("suggest") as advisor:
        agent = agent_of(SEARCH, "42")
        guided = Guidance(advisor).begin(agent, TASK, run_config=QUIET)
        result = await Runner.run(agent, TASK, hooks=guided.hooks, run_config=guided.run_config)
        await guided.afinish(result)
        assert [one.outcome for one in steps_of(advisor)] == ["ok"]
        assert guided.episode_id == episode_id(result) != ""
    assert "`search`" in agent.model.asked[0].text


class Named(ModelProvider):
    """Knows one model by its name."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def get_model(self, model_name: str | None) -> Model:
        assert model_name == "scripted"
        return self.model


@pytest.mark.parametrize("place", ["agent", "run config", "run config by name"])
async def test_a_model_is_guided_wherever_it_was_named(place: str):
    model = Scripted((SEARCH, "42"))
    own = {"agent": None, "run config": model, "run config by name": "scripted"}[place]
    config = RunConfig(tracing_disabled=True, model=own, model_provider=Named(model))
    agent = Agent(name="agent", model="scripted" if place == "agent" else "another", tools=tools_of(ScriptedTools()))
    with advised("suggest") as advisor:
        await Guidance(advisor).run(agent, TASK, run_config=config)
        assert [one.outcome for one in steps_of(advisor)] == ["ok"]
    assert "`search`" in model.asked[0].text
    assert config.model is own


def test_what_guides_a_run_may_be_copied():
    with advised("suggest") as advisor:
        guided = Guidance(advisor).begin(agent_of("42"), TASK, run_config=QUIET)
        assert copy.copy(guided.run_config.model).calls == ()
        assert copy.copy(guided.run_config.model_provider).openai_provider is QUIET.model_provider.openai_provider


async def test_a_run_config_may_be_given_as_a_dictionary():
    with advised("suggest") as advisor:
        agent = agent_of(SEARCH, "42")
        await Guidance(advisor).run(agent, TASK, run_config={"tracing_disabled": True})
        assert [one.outcome for one in steps_of(advisor)] == ["ok"]


async def test_an_agent_that_is_handed_to_is_guided_with_a_model_of_its_own():
    second = agent_of(SEARCH, "42")
    second.name = "second"
    first = agent_of(call_of("transfer_to_second"), handoffs=[second])
    with advised("suggest") as advisor:
        result = await Guidance(advisor).run(first, TASK, run_config=QUIET)
        assert [(one.tool, one.outcome) for one in last_trajectory(advisor).steps] == [("search", "ok")]
    assert result.final_output == "42"
    assert "`search`" in second.model.asked[0].text
    assert result.last_agent is second


async def test_an_agent_within_a_tool_is_one_call_and_runs_as_if_nobody_guided_it():
    scripted = ScriptedTools()
    inner = agent_of(REMOVE, call_of("fail", amount=1), "inner", tools=tools_of(scripted))
    tool = inner.as_tool("ask_inner", "Ask the other agent.")
    outer = agent_of(call_of("ask_inner", input="go"), "42", tools=[*tools_of(scripted), tool])
    with advised("narrow") as advisor:
        await Guidance(advisor).run(outer, TASK, run_config=QUIET)
        steps = [(one.tool, one.outcome, one.observation) for one in steps_of(advisor)]
    assert steps == [("ask_inner", "ok", "inner")]
    assert scripted.ran == [FORBIDDEN, "fail"]
    assert all("`" not in asked.text for asked in inner.model.asked)


async def test_an_agent_within_a_tool_that_fails_is_a_failed_call():
    tool = agent_of(SEARCH).as_tool("ask_inner", "Ask the other agent.")
    assert await outcomes(call_of("ask_inner", input="go"), "42", tools=[tool]) == ["tool_error"]


async def test_a_tool_that_was_guided_runs_as_ever_without_guidance():
    scripted = ScriptedTools()
    tools = tools_of(scripted)
    with advised("narrow") as advisor:
        for _ in range(2):
            await Guidance(advisor).run(agent_of(REMOVE, "42", tools=tools), TASK, run_config=QUIET)
    assert scripted.ran == []
    await Runner.run(agent_of(REMOVE, call_of("fail", amount=1), "42", tools=tools), TASK, run_config=QUIET)
    assert scripted.ran == [FORBIDDEN, "fail"]
    assert [len(tool.tool_input_guardrails) for tool in tools] == [1] * len(tools)


async def test_a_refused_tool_tells_the_model_why():
    with advised("narrow") as advisor:
        agent = agent_of(REMOVE, "42")
        await Guidance(advisor).run(agent, TASK, run_config=QUIET)
    assert "The tool `remove` was not run" in agent.model.asked[1].text


async def test_guardrails_of_the_users_own_stay_in_force():
    @tool_input_guardrail
    def never(data: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content("not today")

    scripted = ScriptedTools()
    tools = tools_of(scripted)
    tools[1].tool_input_guardrails = [never]
    with advised("suggest") as advisor:
        agent = agent_of(SEARCH, "42", tools=tools)
        await Guidance(advisor).run(agent, TASK, run_config=QUIET)
    assert scripted.ran == []
    assert "not today" in agent.model.asked[1].text


async def test_a_run_that_waits_for_an_approval_is_left_and_goes_on_as_another():
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    with advised("suggest") as advisor:
        guidance = Guidance(advisor)
        agent = agent_of(SEARCH, call_of("pay", amount=1), "42", tools=[*tools_of(ScriptedTools()), pay])
        waiting = await guidance.run(agent, TASK, run_config=QUIET)
        state = waiting.to_state()
        state.approve(waiting.interruptions[0])
        result = await guidance.run(agent, state, run_config=QUIET)
        found = [(one.task.text, [(step.tool, step.outcome) for step in one.steps]) for one in live(advisor)]
    assert result.final_output == "42"
    assert found == [(TASK, [("search", "ok")]), (TASK, [("pay", "ok")])]


async def test_a_streamed_run_that_is_cancelled_is_censored():
    with advised("suggest") as advisor:
        result = Guidance(advisor).run_streamed(agent_of(SEARCH, "42"), TASK, run_config=QUIET)
        async for event in result.stream_events():
            if event.type == "run_item_stream_event" and event.name == "tool_output":
                result.cancel()
        assert last_trajectory(advisor).stop_reason == "censored"


def test_without_the_sdk_the_adapter_says_what_to_install():
    code = "import sys; sys.modules['agents'] = None; import selector.adapters.openai_agents"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OpenAI Agents SDK is not installed; install it: pip install 'trajstore[openai-agents]'" in done.stderr

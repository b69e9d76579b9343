"""The Google ADK adapter: the conformance suite, and what is special to this runtime."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

pytest.importorskip("google.adk")

from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools import AgentTool, FunctionTool
from google.genai import types
from pydantic import BaseModel

from selector.adapters.advisor import Advisor
from selector.adapters.google_adk import Guidance
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
    only,
    steps_of,
)


class Script(BaseLlm):
    """A model that answers turn by turn and remembers what it was asked."""

    turns: list
    refuses_force: bool
    asked: list

    @classmethod
    def of(cls, turns: Sequence[Turn], *, refuses_force: bool = False) -> "Script":
        return cls(model="script", turns=list(turns), refuses_force=refuses_force, asked=[])

    async def generate_content_async(self, llm_request, stream=False) -> AsyncIterator[LlmResponse]:  # noqa: FBT002 - as the runtime asks
        config = llm_request.config
        names = [one.name for tool in config.tools or () for one in tool.function_declarations]
        forced = config.tool_config.function_calling_config.allowed_function_names[0] if config.tool_config else None
        parts = (part for content in llm_request.contents for part in content.parts)
        said = " ".join(part.text or str(part.function_response) for part in parts)
        self.asked.append(Asked(tuple(names), forced, said))
        if forced and self.refuses_force:
            raise ValueError("mode ANY is not supported")
        for response in answers(self.turns.pop(0), stream=stream):
            yield response


def answers(turn: Turn, *, stream: bool) -> list[LlmResponse]:
    if isinstance(turn, str):
        whole = LlmResponse(content=types.Content(role="model", parts=[types.Part(text=turn)]), partial=False)
        piece = LlmResponse(content=types.Content(role="model", parts=[types.Part(text=turn[:1])]), partial=True)
        return [piece, whole] if stream else [whole]
    parts = [types.Part.from_function_call(name=one.tool, args=dict(one.args)) for one in turn]
    return [LlmResponse(content=types.Content(role="model", parts=parts))]


class GoogleADK:
    name = "google adk"
    ways: tuple[Way, ...] = ("sync", "async", "stream")
    lacks: Mapping[Ability, str] = {"invalid_args": "functions are called with arguments of whatever type came"}

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        script = Script.of(play.turns, refuses_force=play.refuses_force)
        runner = runner_of(script, advisor, play.tools.functions.values())
        try:
            events = await run(runner, play.task, play.way)
        except Exception as error:  # noqa: BLE001 - whatever ends a run is what the suite asks for
            return Played("", tuple(script.asked), type(error).__name__)
        return Played(text_of(events), tuple(script.asked))


def runner_of(script: Script, advisor: Advisor | None, tools: Sequence[Callable] | None = None, **guided):
    functions = list(ScriptedTools().functions.values() if tools is None else tools)
    agent = LlmAgent(name="root", model=script, instruction="Be terse.", tools=functions)
    plugins = [Guidance(advisor, **guided)] if advisor else []
    return InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=plugins))


async def run(runner: InMemoryRunner, task: str, way: Way = "async", session_id: str = "") -> list[Event]:
    if not session_id:
        session_id = (await runner.session_service.create_session(app_name="scripted", user_id="u")).id
    message = types.Content(role="user", parts=[types.Part(text=task)])
    asked = {"user_id": "u", "session_id": session_id, "new_message": message}
    if way == "sync":
        return await asyncio.to_thread(lambda: list(runner.run(**asked)))
    config = RunConfig(streaming_mode=StreamingMode.SSE if way == "stream" else StreamingMode.NONE)
    return [event async for event in runner.run_async(**asked, run_config=config)]


def text_of(events: Sequence[Event]) -> str:
    finals = [event for event in events if event.is_final_response() and event.content]
    return "".join(part.text or "" for part in finals[-1].content.parts) if finals else ""


@pytest.mark.parametrize(("case", "way"), cases_of(GoogleADK()))
async def test_the_adapter_keeps_the_rules(case: Case, way: Way):
    await case(GoogleADK(), way)


SEARCH: Turn = [ScriptedCall("search", {"query": "x"})]


async def test_runs_side_by_side_of_one_plugin_keep_apart():
    tasks = [f"What is {number} times {number}?" for number in range(6)]
    with advised("suggest") as advisor:
        guidance = Guidance(advisor)
        runners = []
        for task in tasks:
            script = Script.of([[ScriptedCall("search", {"query": task})], "done"])
            agent = LlmAgent(name="root", model=script, tools=[ScriptedTools().search])
            runners.append(InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=[guidance])))
        await asyncio.gather(*(run(runner, task) for runner, task in zip(runners, tasks, strict=True)))
        assert sorted(one.task.text for one in live(advisor)) == tasks
        assert all([step.args["query"] for step in one.steps] == [one.task.text] for one in live(advisor))


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
async def test_a_judge_is_asked_about_the_last_event_and_its_word_is_stored(way):
    def judge(event):
        return {"42": True, "43": False, "44": None}[event.content.parts[0].text]

    with advised("suggest") as advisor:
        for answer in ("42", "43", "44"):
            await run(runner_of(Script.of([SEARCH, answer]), advisor, judge=judge), TASK, way)
        assert [one.success for one in live(advisor)] == [True, False, None]


async def test_a_judge_that_raises_leaves_the_run_unjudged_and_is_said_once(caplog):
    def judge(_event):
        raise LookupError("no such ticket")

    with advised("suggest") as advisor:
        for _ in range(2):
            await run(runner_of(Script.of([SEARCH, "42"]), advisor, judge=judge), TASK)
        assert [one.success for one in live(advisor)] == [None, None]
    assert caplog.text.count("no such ticket") == 1


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
async def test_a_run_that_fails_is_left_unfinished(way):
    with advised("suggest") as advisor:
        with pytest.raises(IndexError):
            await run(runner_of(Script.of([SEARCH]), advisor), TASK, way)
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


async def test_a_run_that_is_closed_before_it_has_answered_is_left_unfinished():
    with advised("suggest") as advisor:
        runner = runner_of(Script.of([SEARCH, "42"]), advisor)
        session = await runner.session_service.create_session(app_name="scripted", user_id="u")
        message = types.Content(role="user", parts=[types.Part(text=TASK)])
        events = runner.run_async(user_id="u", session_id=session.id, new_message=message)
        async for event in events:
            if event.get_function_responses():
                break
        await events.aclose()
        assert last_trajectory(advisor).stop_reason == "censored"


async def test_a_run_that_waits_for_a_confirmation_is_left_and_its_call_is_not_recorded():
    tools = ScriptedTools()
    with advised("suggest") as advisor:
        asking = [FunctionTool(tools.search, require_confirmation=True), tools.calculate]
        turns = [[ScriptedCall("calculate", {"expression": "1"})], SEARCH, "42"]
        await run(runner_of(Script.of(turns), advisor, asking), TASK)
        trajectory = last_trajectory(advisor)
    assert tools.ran == ["calculate"]
    assert trajectory.stop_reason == "censored"
    assert [step.tool for step in trajectory.steps] == ["calculate"]


async def test_the_task_is_the_first_of_a_session_and_the_state_the_newest_and_no_hint_is_kept():
    script = Script.of(["which one?", SEARCH, "42"])
    with advised("suggest") as advisor:
        runner = runner_of(script, advisor)
        session = await runner.session_service.create_session(app_name="scripted", user_id="u")
        await run(runner, TASK, session_id=session.id)
        await run(runner, "The first.", session_id=session.id)
        trajectory = last_trajectory(advisor)
    assert trajectory.task.text == TASK
    assert trajectory.steps[0].state == "The first."
    assert "Past experience" in script.asked[0].text
    assert "went on with the tool `search`" not in script.asked[1].text


async def test_the_model_reads_why_a_tool_is_refused():
    script = Script.of([[ScriptedCall(FORBIDDEN, {"path": "/"})], "done"])
    with advised("narrow") as advisor:
        await run(runner_of(script, advisor), TASK)
    assert "was not run: rule: it cannot be undone" in script.asked[1].text


async def test_a_provider_that_refuses_force_is_asked_with_force_once_a_run():
    script = Script.of([SEARCH, SEARCH, "42"], refuses_force=True)
    with advised("force") as advisor:
        await run(runner_of(script, advisor), TASK)
    assert [one.forced for one in script.asked] == ["search", None, None, None]


async def test_a_choice_of_tools_that_the_user_set_is_kept():
    script = Script.of(["42"])
    calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["count"])
    config = types.GenerateContentConfig(tool_config=types.ToolConfig(function_calling_config=calling))
    with advised("force") as advisor:
        functions = list(ScriptedTools().functions.values())
        agent = LlmAgent(name="root", model=script, tools=functions, generate_content_config=config)
        await run(InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=[Guidance(advisor)])), TASK)
    assert script.asked[0].forced == "count"


async def test_an_agent_that_is_called_as_a_tool_is_a_run_of_its_own():
    inner = LlmAgent(name="helper", description="Helps.", model=Script.of([SEARCH, "found"]), tools=[search])
    outer = Script.of([[ScriptedCall("helper", {"request": "look"})], "42"])
    with advised("suggest") as advisor:
        await run(runner_of(outer, advisor, [AgentTool(inner)]), TASK)
        assert [[step.tool for step in one.steps] for one in live(advisor)] == [["search"], ["helper"]]


class Sum(BaseModel):
    amount: int


async def test_the_tool_that_gives_an_answer_with_a_schema_is_no_step():
    script = Script.of([SEARCH, [ScriptedCall("set_model_response", {"amount": 42})]])
    with advised("narrow") as advisor:
        agent = LlmAgent(name="root", model=script, tools=[search], output_schema=Sum)
        events = await run(
            InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=[Guidance(advisor)])), TASK
        )
        assert [step.tool for step in steps_of(advisor)] == ["search"]
    assert "set_model_response" in script.asked[0].tools
    assert "42" in text_of(events)


async def test_an_agent_that_hands_over_to_another_goes_on_with_its_episode():
    other = LlmAgent(name="other", description="Searches.", model=Script.of([SEARCH, "42"]), tools=[search])
    script = Script.of([[ScriptedCall("transfer_to_agent", {"agent_name": "other"})]])
    with advised("suggest") as advisor:
        agent = LlmAgent(name="root", model=script, sub_agents=[other])
        await run(InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=[Guidance(advisor)])), TASK)
        assert [step.tool for step in steps_of(advisor)] == ["transfer_to_agent", "search"]


def search(query: str) -> str:
    """Find something by its name."""
    return f"found {query}"


def polite() -> dict:
    """Say what went wrong."""
    return {"status": "error", "error_message": "no such city"}


def late() -> str:
    """Take too long."""
    raise TimeoutError


def whole(amount: int) -> dict:
    """Give back a record."""
    return {"amount": amount}


@pytest.mark.parametrize(
    ("tool", "args", "outcome"),
    [(polite, {}, "tool_error"), (late, {}, "timeout"), (whole, {"amount": 1}, "ok"), (whole, {}, "invalid_args")],
)
async def test_a_call_is_recorded_by_how_it_ended(tool, args, outcome):
    with advised("suggest") as advisor:
        script = Script.of([[ScriptedCall(tool.__name__, args)], "done"])
        await asyncio.gather(run(runner_of(script, advisor, [tool]), TASK), return_exceptions=True)
        assert only(steps_of(advisor), tool.__name__).outcome == outcome

"""The Agent Framework adapter: the conformance suite, and what is special to this runtime."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

pytest.importorskip("agent_framework")

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    tool,
)

from selector.adapters.advisor import Advisor
from selector.adapters.agent_framework import Guidance
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


class Script(FunctionInvocationLayer, ChatMiddlewareLayer, BaseChatClient):
    """A model that answers turn by turn and remembers what it was asked."""

    def __init__(self, turns: Sequence[Turn], *, refuses_force: bool = False) -> None:
        super().__init__()
        self.turns, self.refuses_force = iter(turns), refuses_force
        self.asked: list[Asked] = []

    def _inner_get_response(self, *, messages, stream, options, **_):
        async def whole() -> ChatResponse:
            return ChatResponse(messages=[Message(role="assistant", contents=self._next(messages, options))])

        async def pieces():
            for content in self._next(messages, options):
                yield ChatResponseUpdate(role="assistant", contents=[content])

        return ResponseStream(pieces(), finalizer=ChatResponse.from_updates) if stream else whole()

    def _next(self, messages: Sequence[Message], options: Mapping) -> list[Content]:
        choice = options.get("tool_choice") or {}
        forced = choice.get("required_function_name") if isinstance(choice, Mapping) else None
        said = (one.text or one.result for message in messages for one in message.contents)
        tools = options.get("tools") or ()
        self.asked.append(Asked(tuple(one.name for one in tools), forced, " ".join(str(one) for one in said)))
        if forced and self.refuses_force:
            raise ValueError("tool_choice is not supported")
        turn = next(self.turns)
        if isinstance(turn, str):
            return [Content.from_text(turn)]
        return [
            Content.from_function_call(f"{len(self.asked)}.{place}", one.tool, arguments=dict(one.args))
            for place, one in enumerate(turn)
        ]


class AgentFramework:
    name = "agent framework"
    ways: tuple[Way, ...] = ("async", "stream")
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
        if play.way == "async":
            return (await agent.run(play.task)).text
        async with agent.run(play.task, stream=True) as stream:
            async for _ in stream:
                pass
            return (await stream.get_final_response()).text


def agent_of(script: Script, advisor: Advisor | None, tools: ScriptedTools | None = None, **guided) -> Agent:
    functions = (tools or ScriptedTools()).functions.values()
    made = [tool(one, approval_mode="never_require") for one in functions]
    return Agent(client=script, tools=made, middleware=[Guidance(advisor, **guided)] if advisor else None)


@pytest.mark.parametrize(("case", "way"), cases_of(AgentFramework()))
async def test_the_adapter_keeps_the_rules(case: Case, way: Way):
    await case(AgentFramework(), way)


SEARCH: Turn = [ScriptedCall("search", {"query": "x"})]


async def test_runs_side_by_side_under_one_guidance_keep_apart():
    tasks = [f"What is {number} times {number}?" for number in range(6)]
    with advised("suggest") as advisor:
        guidance = Guidance(advisor)
        search = tool(ScriptedTools().search, approval_mode="never_require")
        scripts = [Script([[ScriptedCall("search", {"query": task})], "done"]) for task in tasks]
        agents = [Agent(client=script, tools=[search], middleware=[guidance]) for script in scripts]
        await asyncio.gather(*(agent.run(task) for agent, task in zip(agents, tasks, strict=True)))
        assert sorted(one.task.text for one in live(advisor)) == tasks
        assert all([step.args["query"] for step in one.steps] == [one.task.text] for one in live(advisor))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_judge_is_asked_about_the_response_and_its_word_is_stored(stream):
    def judge(response):
        return {"42": True, "43": False, "44": None}[response.text]

    with advised("suggest") as advisor:
        for answer in ("42", "43", "44"):
            agent = agent_of(Script([SEARCH, answer]), advisor, judge=judge)
            if stream:
                await agent.run(TASK, stream=True).get_final_response()
            else:
                await agent.run(TASK)
        assert [one.success for one in live(advisor)] == [True, False, None]


async def test_a_judge_that_raises_leaves_the_run_unjudged_and_is_said_once(caplog):
    def judge(_response):
        raise LookupError("no such ticket")

    with advised("suggest") as advisor:
        for _ in range(2):
            await agent_of(Script([SEARCH, "42"]), advisor, judge=judge).run(TASK)
        assert [one.success for one in live(advisor)] == [None, None]
    assert caplog.text.count("no such ticket") == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_run_that_fails_is_left_unfinished(stream):
    with advised("suggest") as advisor:
        agent = agent_of(Script([SEARCH]), advisor)
        with pytest.raises((StopIteration, RuntimeError)):
            await (agent.run(TASK, stream=True).get_final_response() if stream else agent.run(TASK))
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


async def test_a_run_whose_stream_is_closed_early_is_left_unfinished():
    with advised("suggest") as advisor:
        async with agent_of(Script([SEARCH, "42"]), advisor).run(TASK, stream=True) as stream:
            async for update in stream:
                if any(content.type == "function_result" for content in update.contents):
                    break
        assert last_trajectory(advisor).stop_reason == "censored"


async def test_a_run_that_waits_for_an_approval_is_left_and_the_approved_call_is_recorded_when_it_runs():
    tools = ScriptedTools()
    with advised("suggest") as advisor:
        agent = Agent(
            client=Script([SEARCH, "42"]),
            tools=[tool(tools.search, approval_mode="always_require")],
            middleware=[Guidance(advisor)],
        )
        session = agent.create_session()
        waiting = await agent.run(TASK, session=session)
        assert not live(advisor)
        answers = [one.to_function_approval_response(approved=True) for one in waiting.user_input_requests]
        await agent.run(Message(role="user", contents=answers), session=session)
        assert tools.ran == ["search"]
        assert only(steps_of(advisor), "search").outcome == "ok"


async def test_the_task_is_the_first_of_a_session_and_the_state_the_newest_and_no_hint_is_kept():
    script = Script(["which one?", SEARCH, "42"])
    with advised("suggest") as advisor:
        agent = agent_of(script, advisor)
        session = agent.create_session()
        await agent.run(TASK, session=session)
        await agent.run("The first.", session=session)
        trajectory = last_trajectory(advisor)
    assert trajectory.task.text == TASK
    assert trajectory.steps[0].state == "The first."
    assert "Past experience" in script.asked[0].text
    assert "Past experience with similar tasks went on with the tool `search`" not in script.asked[1].text


async def test_the_model_reads_why_a_tool_is_refused():
    script = Script([[ScriptedCall(FORBIDDEN, {"path": "/"})], "done"])
    with advised("narrow") as advisor:
        await agent_of(script, advisor).run(TASK)
    assert "was not run: rule: it cannot be undone" in script.asked[1].text


@pytest.mark.parametrize("choice", ["none", {"mode": "required", "required_function_name": "count"}])
async def test_a_choice_of_tools_that_the_user_set_is_kept(choice):
    script = Script([SEARCH, "42"])
    with advised("force") as advisor:
        await agent_of(script, advisor).run(TASK, options={"tool_choice": choice})
    assert script.asked[0].forced == (None if choice == "none" else "count")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_refuses_force_is_asked_with_force_once_a_run(stream):
    script = Script([SEARCH, SEARCH, "42"], refuses_force=True)
    with advised("force") as advisor:
        agent = agent_of(script, advisor)
        await (agent.run(TASK, stream=True).get_final_response() if stream else agent.run(TASK))
    assert [one.forced for one in script.asked] == ["search", None, None, None]


async def test_a_timeout_within_a_tool_is_recorded_as_one():
    def search(query: str) -> str:
        """Find something by its name."""
        raise TimeoutError(query)

    with advised("suggest") as advisor:
        made = tool(search, approval_mode="never_require")
        await Agent(client=Script([SEARCH, "42"]), tools=[made], middleware=[Guidance(advisor)]).run(TASK)
        assert only(steps_of(advisor), "search").outcome == "timeout"

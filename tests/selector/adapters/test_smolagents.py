"""The smolagents adapter: the conformance suite, and what is special to this runtime."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence

import pytest

pytest.importorskip("smolagents")

from smolagents import CodeAgent, Tool, ToolCallingAgent
from smolagents.memory import FinalAnswerStep
from smolagents.models import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
    Model,
)

from selector.adapters.advisor import Advisor
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools
from selector.adapters.smolagents import Guidance
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

FINAL = "final_answer"
KINDS = {str: "string", int: "integer"}


class Script(Model):
    """A model that answers turn by turn and remembers what it was asked."""

    def __init__(self, turns: Sequence[Turn], *, refuses_force: bool = False) -> None:
        super().__init__(model_id="script")
        self.turns, self.refuses_force = iter(turns), refuses_force
        self.asked: list[Asked] = []

    def generate(self, messages, stop_sequences=None, tools_to_call_from=(), tool_choice=None, **_):
        made = [
            ChatMessageToolCall(one, id=f"{len(self.asked)}.{place}", type="function")
            for place, one in enumerate(self._next(messages, tools_to_call_from, tool_choice))
        ]
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=made)

    def generate_stream(self, messages, stop_sequences=None, tools_to_call_from=(), tool_choice=None, **_):
        for place, one in enumerate(self._next(messages, tools_to_call_from, tool_choice)):
            one.arguments = json.dumps(one.arguments)
            call = ChatMessageToolCallStreamDelta(place, f"{len(self.asked)}.{place}", "function", one)
            yield ChatMessageStreamDelta(tool_calls=[call])

    def _next(self, messages, tools, tool_choice) -> list[ChatMessageToolCallFunction]:
        forced = tool_choice["function"]["name"] if tool_choice else None
        text = " ".join(part["text"] for message in messages for part in message.content)
        self.asked.append(Asked(tuple(tool.name for tool in tools), forced, text))
        if forced and self.refuses_force:
            raise ValueError("tool_choice must be auto")
        turn = next(self.turns)
        calls = [ScriptedCall(FINAL, {"answer": turn})] if isinstance(turn, str) else turn
        return [ChatMessageToolCallFunction(arguments=dict(one.args), name=one.tool) for one in calls]


class FunctionTool(Tool):
    """A function as a tool."""

    skip_forward_signature_validation = True
    output_type = "string"

    def __init__(self, function: Callable[..., object]) -> None:
        self.name, self.description = function.__name__, function.__doc__ or ""
        self.inputs = {
            one.name: {"type": KINDS[one.annotation], "description": one.name}
            for one in inspect.signature(function).parameters.values()
        }
        self.function = function
        super().__init__()

    def forward(self, *args, **kwargs):
        made = self.function(*args, **kwargs)
        return asyncio.run(made) if inspect.isawaitable(made) else made


class Smolagents:
    name = "smolagents"
    ways: tuple[Way, ...] = ("sync", "stream")
    lacks: Mapping[Ability, str] = {"cancel": "a run is a plain call that cannot be cancelled from outside"}

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        script = Script(play.turns, refuses_force=play.refuses_force)
        agent = agent_of(script, advisor, play.tools, stream_outputs=play.way == "stream")
        try:
            output = await asyncio.to_thread(run, agent, play)
        except Exception as error:  # noqa: BLE001 - whatever ends a run is what the suite asks for
            return Played("", tuple(script.asked), type(error).__name__)
        return Played(str(output), tuple(script.asked))


def run(agent: ToolCallingAgent, play: Play) -> object:
    if play.way == "sync":
        return agent.run(play.task)
    return next(one.output for one in list(agent.run(play.task, stream=True)) if isinstance(one, FinalAnswerStep))


def agent_of(script: Script, advisor: Advisor | None, tools: ScriptedTools | None = None, **others) -> ToolCallingAgent:
    functions = (tools or ScriptedTools()).functions.values()
    agent = ToolCallingAgent([FunctionTool(one) for one in functions], script, verbosity_level=0, **others)
    return Guidance(advisor).guide(agent) if advisor else agent


@pytest.mark.parametrize(("case", "way"), cases_of(Smolagents()))
async def test_the_adapter_keeps_the_rules(case: Case, way: Way):
    await case(Smolagents(), way)


SEARCH: Turn = [ScriptedCall("search", {"query": "x"})]


async def test_agents_side_by_side_under_one_guidance_keep_apart():
    tasks = [f"What is {number} times {number}?" for number in range(6)]
    with advised("suggest") as advisor:
        agents = [agent_of(Script([[ScriptedCall("search", {"query": task})], "done"]), advisor) for task in tasks]
        await asyncio.gather(*(asyncio.to_thread(agent.run, task) for agent, task in zip(agents, tasks, strict=True)))
        assert sorted(one.task.text for one in live(advisor)) == tasks
        assert all([step.args["query"] for step in one.steps] == [one.task.text] for one in live(advisor))


@pytest.mark.parametrize("word", [True, False, None])
def test_a_judge_is_asked_about_the_answer(word):
    judged = []

    def judge(answer):
        judged.append(answer)
        return word

    with advised("suggest") as advisor:
        agent = ToolCallingAgent([], Script(["42", "42", "42"]), verbosity_level=0)
        Guidance(advisor, judge=judge).guide(agent)
        assert agent.run(TASK) == "42"
        assert agent.run(TASK, return_full_result=True).output == "42"
        list(agent.run(TASK, stream=True))
    assert judged == ["42"] * 3


def test_the_word_of_the_judge_is_stored_and_one_that_raises_leaves_the_run_unjudged(caplog):
    def judge(answer):
        return {"42": True, "43": False}[answer]

    with advised("suggest") as advisor:
        guidance = Guidance(advisor, judge=judge)
        for answer in ("42", "43", "44", "45"):
            tools = [FunctionTool(ScriptedTools().search)]
            guidance.guide(ToolCallingAgent(tools, Script([SEARCH, answer]), verbosity_level=0)).run(TASK)
        assert [one.success for one in live(advisor)] == [True, False, None, None]
    assert caplog.text.count("the judge failed") == 1


def test_a_run_that_fails_is_left_unfinished():
    with advised("suggest") as advisor:
        agent = agent_of(Script([SEARCH]), advisor)
        with pytest.raises(Exception, match="Error while generating"):
            agent.run(TASK)
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


def test_a_run_whose_stream_is_not_read_to_its_end_is_left_unfinished():
    with advised("suggest") as advisor:
        agent = agent_of(Script([SEARCH, "42"]), advisor)
        for event in agent.run(TASK, stream=True):
            if getattr(event, "observations", None):
                break
        agent.run(TASK)
        assert [one.stop_reason for one in live(advisor)] == ["censored"]


def test_the_task_is_the_first_of_a_conversation_and_the_state_the_newest():
    with advised("suggest") as advisor:
        agent = agent_of(Script(["which one?", SEARCH, "42"]), advisor)
        agent.run(TASK)
        agent.run("The first.", reset=False)
        trajectory = last_trajectory(advisor)
    assert trajectory.task.text == TASK
    assert trajectory.steps[0].state == "The first."


def test_plans_are_made_without_a_hint():
    class Planner(Script):
        def generate(self, messages, stop_sequences=None, tools_to_call_from=None, tool_choice=None, **others):
            if tools_to_call_from is None:
                plans.append(str(messages))
                return ChatMessage(role=MessageRole.ASSISTANT, content="first search")
            return super().generate(messages, stop_sequences, tools_to_call_from, tool_choice, **others)

    plans: list[str] = []
    script = Planner([SEARCH, "42"])
    with advised("suggest") as advisor:
        agent_of(script, advisor, planning_interval=5).run(TASK)
    assert "Past experience" in script.asked[0].text
    assert len(plans) == 1
    assert "Past experience" not in plans[0]


def test_a_managed_agent_is_a_tool_and_its_own_runs_are_guided_where_it_is_guided():
    with advised("suggest") as advisor:
        inner = agent_of(Script([SEARCH, "42"]), advisor, name="helper", description="Helps.")
        outer = ToolCallingAgent(
            [], Script([[ScriptedCall("helper", {"task": "look"})], "42"]), managed_agents=[inner], verbosity_level=0
        )
        Guidance(advisor).guide(outer).run(TASK)
        assert [[step.tool for step in one.steps] for one in live(advisor)] == [["search"], ["helper"]]


class Coder(Model):
    """Writes code block by block and remembers what it was asked."""

    def __init__(self, *blocks: str) -> None:
        super().__init__(model_id="coder")
        self.blocks, self.asked = iter(blocks), []

    def generate(self, messages, **_):
        self.asked.append(" ".join(part["text"] for message in messages for part in message.content))
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{next(self.blocks)}\n</code>")


def test_tools_that_an_agent_calls_in_code_are_recorded_and_refused():
    tools = ScriptedTools()
    coder = Coder("search('x')", "remove(path='/')\nsearch('y')", "fail(amount=1)", "final_answer('42')")
    with advised("narrow") as advisor:
        agent = CodeAgent([FunctionTool(one) for one in tools.functions.values()], coder, verbosity_level=0)
        assert Guidance(advisor).guide(agent).run(TASK) == "42"
        steps = steps_of(advisor)
    assert tools.ran == ["search", "fail"]
    assert [(one.tool, dict(one.args), one.outcome) for one in steps] == [
        ("search", {"query": "x"}, "ok"),
        (FORBIDDEN, {"path": "/"}, "blocked"),
        ("fail", {"amount": 1}, "tool_error"),
    ]
    assert "was not run: rule: it cannot be undone" in coder.asked[2]


def test_an_agent_that_writes_code_is_hinted_at_a_tool():
    coder = Coder("final_answer('42')")
    with advised("suggest") as advisor:
        agent = CodeAgent([FunctionTool(one) for one in ScriptedTools().functions.values()], coder, verbosity_level=0)
        Guidance(advisor).guide(agent).run(TASK)
    assert coder.asked[0].index(TASK) < coder.asked[0].index("Past experience with similar tasks")


def test_a_timeout_within_a_tool_is_recorded_as_one():
    def search(query: str) -> str:
        raise TimeoutError(query)

    with advised("suggest") as advisor:
        agent = ToolCallingAgent([FunctionTool(search)], Script([SEARCH, "42"]), verbosity_level=0)
        Guidance(advisor).guide(agent).run(TASK)
        assert only(steps_of(advisor), "search").outcome == "timeout"

"""The MCP proxy: what goes through it comes out as it was, and calls are observed as they went."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp.client import Client
from mcp.types import (
    ElicitResult,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp_example_server import example_server
from mcp_peers import MODES, SECONDS, connection, server_of, text_of, through

from selector.adapters.advisor import Advisor
from selector.adapters.episode_work import AdvisorSettings
from selector.adapters.mcp_messages import TASK
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.mcp_routes import ProxySettings
from selector.adapters.mcp_session import GuidedSession
from selector.adapters.scripted_tools import TASK as SCRIPTED_TASK
from selector.adapters.scripted_tools import ScriptedTools, experienced_store
from selector.adapters.testing import (
    Ability,
    Asked,
    Case,
    Play,
    Played,
    ScriptedCall,
    Way,
    advised,
    cases_of,
    last_trajectory,
    steps_of,
)
from selector.records import SelectorConfig
from selector.selector import Selector
from selector.situation import Situation
from trajstore.schema import Candidate


class Agent:
    """A runtime whose tools are an MCP server's: its model is a script, and is given every answer's text."""

    ways: tuple[Way, ...] = ("async",)
    lacks: Mapping[Ability, str] = {
        "hint": "the model's first message is the client's: a hint comes with the answer of the first call",
        "force": "whether a tool must be called is between the client and its model",
    }

    def __init__(self, mode: str) -> None:
        self.name, self.mode = f"MCP proxy ({mode})", mode

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        asked, text = [], play.task
        async with connection(advisor, server_of(play.tools), self.mode) as client:
            for turn in play.turns:
                tools = (await client.list_tools(meta={TASK: play.task})).tools
                asked.append(Asked(tuple(tool.name for tool in tools), None, text))
                if isinstance(turn, str):
                    return Played(turn, tuple(asked))
                answers = await asyncio.gather(*(self._call(client, play, call) for call in turn))
                text = "\n".join([text, *answers])
        return Played("", tuple(asked))

    async def _call(self, client: Client, play: Play, call: ScriptedCall) -> str:
        return text_of(await client.call_tool(call.tool, dict(call.args), meta={TASK: play.task}))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("case", "way"), cases_of(Agent("legacy")))
async def test_the_proxy_keeps_the_rules_of_adapters(case: Case, way: Way, mode: str):
    await case(Agent(mode), way)


def seen(result: Any) -> Any:
    """A result without what a program alone reads."""
    return result.model_copy(update={"meta": None})


@pytest.mark.parametrize("mode", MODES)
async def test_everything_that_a_server_has_comes_through_as_it_is(mode: str):
    with advised("shadow") as advisor:
        found = []
        for guide in (None, advisor):
            async with connection(guide, example_server(), mode) as client:
                read = [
                    client.instructions,
                    client.server_info,
                    client.protocol_version,
                    client.server_capabilities,
                    await client.list_tools(),
                    await client.list_resources(),
                    await client.list_prompts(),
                    await client.read_resource("example://plain"),
                    await client.get_prompt("ask", {"what": "this"}),
                ]
                called = [
                    await client.call_tool("look", {"place": "home"}),
                    await client.call_tool("add", {"one": 1, "other": 2}),
                    await client.call_tool("add", {"one": "many"}),
                    await client.call_tool("judge", {}),
                    await client.call_tool("no_such_tool", {}),
                ]
            found.append((read, [seen(one) for one in called], [(one.meta or {}).get("note") for one in called]))
        outcomes = [(step.tool, step.outcome) for step in steps_of(advisor)]
    assert found[0] == found[1]
    assert outcomes == [
        ("look", "ok"),
        ("add", "ok"),
        ("add", "invalid_args"),
        ("judge", "tool_error"),
        ("no_such_tool", "unknown_tool"),
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_call_shows_is_recorded(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode) as client:
            await client.list_tools()
            await client.call_tool("add", {"one": 1, "other": 2})
            await client.call_tool("judge", {})
        added, failed = steps_of(advisor)
    assert '"total": 3' in added.observation
    assert (failed.observation, failed.error) == ("it is\nwrong", "it is\nwrong")


@pytest.mark.parametrize("mode", MODES)
async def test_progress_and_changes_of_the_list_reach_the_client(mode: str):
    heard: list[Any] = []
    walked: list[tuple[float, float | None, str | None]] = []

    async def hear(message: Any) -> None:
        heard.append(getattr(message, "method", ""))

    async def walk(progress: float, total: float | None, message: str | None) -> None:
        walked.append((progress, total, message))

    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode, message_handler=hear) as client:
            await client.call_tool("march", {"steps": 2}, progress_callback=walk)
            await client.call_tool("grow", {})
            names = [tool.name for tool in (await client.list_tools()).tools]
            fresh = await client.call_tool("fresh", {})
        outcomes = {step.tool: step.outcome for step in steps_of(advisor)}
    assert sorted(walked) == [(1.0, 2.0, "step 1"), (2.0, 2.0, "step 2")]
    assert "fresh" in names
    assert text_of(fresh).startswith("new")
    assert outcomes == {"march": "ok", "grow": "ok", "fresh": "ok"}
    assert mode == "auto" or "notifications/tools/list_changed" in heard


async def test_a_failure_of_a_tool_that_came_later_is_its_own():
    with advised("suggest") as advisor:
        session = GuidedSession(advisor, ProxySettings())
        tools = JSONRPCResponse(jsonrpc="2.0", id=0, result={"tools": [{"name": "look"}]})
        await session.from_client(JSONRPCRequest(jsonrpc="2.0", id=0, method="tools/list"))
        await session.from_server(tools)
        for number in (1, 2):
            call = JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/call", params={"name": "fresh"})
            await session.from_client(call)
            await session.from_server(JSONRPCResponse(jsonrpc="2.0", id=number, result={"isError": True}))
            await session.from_server(JSONRPCNotification(jsonrpc="2.0", method="notifications/tools/list_changed"))
        session.close()
        assert [step.outcome for step in steps_of(advisor)] == ["unknown_tool", "tool_error"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_opens_without_a_word_still_learns_whose_tools_they_are(mode: str):
    pinned = "2026-07-28" if mode == "auto" else mode
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), pinned) as client:
            await client.call_tool("look", {"place": "home"})
        assert last_trajectory(advisor).task.text == "Use the tools of example."


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_may_ask_the_client_in_the_middle_of_a_call(mode: str):
    async def answer(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode, elicitation_callback=answer) as client:
            await client.list_tools()
            greeted = await client.call_tool("greet", {})
        outcomes = [(step.tool, step.outcome) for step in steps_of(advisor)]
    assert text_of(greeted).startswith("hello Ada")
    assert outcomes == [("greet", "ok")]


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(mode: str):
    tools = ScriptedTools()
    with advised("suggest") as advisor:
        async with connection(advisor, server_of(tools), mode) as client:
            await client.list_tools()
            calling = asyncio.ensure_future(client.call_tool("pause", {"seconds": 3600}))
            await asyncio.wait_for(tools.paused.wait(), SECONDS)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            after = await client.call_tool("search", {"query": "x"})
        outcomes = [(step.tool, step.outcome) for step in steps_of(advisor)]
    assert text_of(after).startswith("found x")
    assert outcomes == [("pause", "cancelled"), ("search", "ok")]


@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_by_evidence_in_an_order_that_stays(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, server_of(ScriptedTools()), mode) as client:
            orders = []
            for _ in range(3):
                tools = (await client.list_tools(meta={TASK: SCRIPTED_TASK})).tools
                orders.append([tool.name for tool in tools])
                await client.call_tool("search", {"query": "x"})
    assert orders[0][0] == "search"
    assert sorted(orders[0]) == sorted(ScriptedTools().functions)
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("mode", MODES)
async def test_the_hint_for_the_next_step_comes_at_the_end_of_an_answer(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, server_of(ScriptedTools()), mode) as client:
            await client.list_tools(meta={TASK: SCRIPTED_TASK})
            result = await client.call_tool("search", {"query": "x"})
    first, last = result.content
    assert first.text == "found x"
    assert last.text.startswith("Past experience with similar tasks went on with the tool `calculate` here")
    assert last.annotations.audience == ["assistant"]
    assert result.structured_content == {"result": "found x"}


async def test_hints_can_be_left_out():
    with advised("suggest") as advisor:
        proxy = GuidingProxy(advisor, ProxySettings(SCRIPTED_TASK, has_hints=False))
        async with Client(through(proxy, server_of(ScriptedTools()))) as client:
            await client.list_tools()
            result = await client.call_tool("search", {"query": "x"})
    assert text_of(result) == "found x"


@pytest.mark.parametrize("mode", MODES)
async def test_calls_made_at_once_share_a_decision_and_the_last_answer_carries_the_hint(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, server_of(ScriptedTools()), mode) as client:
            await client.list_tools(meta={TASK: SCRIPTED_TASK})
            results = await asyncio.gather(*(client.call_tool("search", {"query": str(one)}) for one in range(3)))
        decided = [step.decision_id for step in steps_of(advisor)]
    assert sum("Past experience" in text_of(result) for result in results) == 1
    assert len([one for one in decided if one]) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_refused_tool_does_not_run_for_a_client_that_never_lists(mode: str):
    tools = ScriptedTools()
    with advised("narrow") as advisor:
        async with connection(advisor, server_of(tools), mode) as client:
            refused, found = await asyncio.gather(
                client.session.call_tool("remove", {"path": "/"}), client.session.call_tool("search", {"query": "x"})
            )
        outcomes = sorted((step.tool, step.outcome) for step in steps_of(advisor))
    assert refused.is_error
    assert text_of(refused).startswith("The tool `remove` was not called: rule: it cannot be undone. Call another one.")
    assert text_of(found).startswith("found x")
    assert tools.ran == ["search"]
    assert outcomes == [("remove", "blocked"), ("search", "ok")]


def _once(situation: Situation, candidate: Candidate) -> str:
    is_again = any(step.tool == "search" for step in situation.history)
    return "once is enough" if is_again and candidate.tool == "search" else ""


async def test_a_list_that_narrows_says_that_it_has_changed():
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(getattr(message, "method", ""))

    with experienced_store() as store:
        selector = Selector(store, SelectorConfig(mode="narrow", exploration=0.0), rules=[_once], seed=0)
        advisor = Advisor(selector, AdvisorSettings(budget_seconds=SECONDS, keeps_tools=False))
        async with connection(advisor, server_of(ScriptedTools()), "legacy", message_handler=hear) as client:
            assert client.server_capabilities.tools is not None
            assert client.server_capabilities.tools.list_changed
            before = [tool.name for tool in (await client.list_tools(meta={TASK: SCRIPTED_TASK})).tools]
            await client.call_tool("search", {"query": "x"})
            after = [tool.name for tool in (await client.list_tools()).tools]
            again = await client.call_tool("search", {"query": "x"})
    assert "search" in before
    assert after == [name for name in before if name != "search"]
    assert heard.count("notifications/tools/list_changed") == 1
    assert again.is_error

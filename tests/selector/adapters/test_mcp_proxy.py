"""The MCP proxy: what goes through it comes out as it was, and calls are observed as they went."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import anyio
from command_line import ALONE, trajstore
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.types import (
    ElicitResult,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    Request,
    RequestParams,
    Result,
)
from mcp_example_server import example_server
from mcp_peers import MODES, SECONDS, answering, command, text_of

from selector.adapters.advisor import Advisor
from selector.adapters.episode_work import AdvisorSettings
from selector.adapters.mcp_messages import EPISODE, STATE, TASK
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.mcp_routes import FINISH, ProxySettings, Routed
from selector.adapters.mcp_session import GuidedSession
from selector.adapters.mcp_upstream import reached
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
from trajstore.schema import Candidate, Trajectory
from trajstore.store import TrajectoryStore


def server_of(tools: ScriptedTools) -> MCPServer:
    server = MCPServer("scripted", instructions="Use them well.", log_level="CRITICAL")
    for function in tools.functions.values():
        server.add_tool(function)
    return server


@asynccontextmanager
async def through(proxy: GuidingProxy, server: MCPServer) -> AsyncIterator[Any]:
    """Streams for a client whose server, in this process, stands behind a proxy."""
    async with before(proxy, InMemoryTransport(server)) as streams:
        yield streams


@asynccontextmanager
async def before(proxy: GuidingProxy, server: Any) -> AsyncIterator[Any]:
    """Streams for a client of a proxy before a server that is reached in any way."""
    async with (
        create_client_server_memory_streams() as (for_client, for_proxy),
        server as upstream,
        anyio.create_task_group() as running,
    ):
        running.start_soon(proxy.run, for_proxy, upstream)
        yield for_client
        await for_client[1].aclose()


def connection(advisor: Advisor | None, server: MCPServer, mode: str, **given: Any) -> Client:
    if advisor is None:
        return Client(InMemoryTransport(server), mode=mode, cache=None, **given)
    return Client(through(GuidingProxy(advisor), server), mode=mode, cache=None, **given)


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


EXAMPLE = str(Path(__file__).with_name("mcp_example_server.py"))


def seen(result: Any) -> Any:
    """A result without what a program alone reads."""
    return result.model_copy(update={"meta": None})


def live(advisor: Advisor) -> list[Trajectory]:
    advisor.flush()
    return [one for one in advisor.selector.store.trajectories() if one.source == "live"]


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


@pytest.mark.parametrize("mode", MODES)
async def test_without_a_word_of_the_client_the_task_is_named_after_the_server(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode) as client:
            await client.call_tool("look", {"place": "home"})
        stored = last_trajectory(advisor)
    assert (stored.task.text, stored.success, stored.stop_reason) == ("Use the tools of example.", None, "censored")


async def test_a_task_that_was_given_is_the_task_of_clients_that_tell_none():
    with advised("suggest") as advisor:
        proxy = GuidingProxy(advisor, ProxySettings("Keep the house."))
        async with Client(through(proxy, example_server())) as client:
            await client.call_tool("look", {"place": "home"})
        assert last_trajectory(advisor).task.text == "Keep the house."


@pytest.mark.parametrize("mode", MODES)
async def test_another_task_is_another_trajectory(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode) as client:
            await client.list_tools()
            for task, state in (("first", "a"), ("first", "b"), ("second", "")):
                await client.call_tool("look", {"place": "home"}, meta={TASK: task, STATE: state})
        stored = [(one.task.text, [step.state for step in one.steps]) for one in live(advisor)]
    assert stored == [("first", ["a", "b"]), ("second", ["second"])]


async def test_after_a_long_pause_another_trajectory_begins():
    moments = [0.0]
    call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "look", "arguments": {}}}
    with advised("suggest") as advisor:
        session = GuidedSession(advisor, ProxySettings(pause_seconds=60.0), clock=lambda: moments[-1])
        tools = JSONRPCResponse(jsonrpc="2.0", id=0, result={"tools": [{"name": "look"}]})
        await session.from_client(JSONRPCRequest(jsonrpc="2.0", id=0, method="tools/list"))
        await session.from_server(tools)
        for number, moment in enumerate((10.0, 70.0, 140.0), start=1):
            moments.append(moment)
            await session.from_client(JSONRPCRequest(id=number, **call))
            await session.from_server(JSONRPCResponse(jsonrpc="2.0", id=number, result={"content": []}))
        session.close()
        assert [len(one.steps) for one in live(advisor)] == [2, 1]


@pytest.mark.parametrize("mode", MODES)
async def test_what_the_client_tells_of_its_task_stays_with_the_proxy(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode) as client:
            result = await client.call_tool("reveal", {}, meta={TASK: "secret", STATE: "secret", "own": 1})
    keys = text_of(result).splitlines()[0].split(",")
    assert "own" in keys
    assert not [key for key in keys if key.startswith("trajstore")]


class Finish(RequestParams):
    success: object = None
    reward: object = None


class Finished(Result):
    trajectoryId: str


def finish(**params: object) -> Request[Finish, str]:
    return Request[Finish, str](method=FINISH, params=Finish(**params))


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_may_say_how_a_trajectory_ended(mode: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), mode) as client:
            await client.call_tool("look", {"place": "home"})
            ended = await client.session.send_request(finish(success=True, reward=0.5), Finished)
            await client.call_tool("look", {"place": "away"})
        stored = [(one.success, one.reward, len(one.steps)) for one in live(advisor)]
        assert advisor.selector.store.get(ended.trajectoryId).success is True
    assert stored == [(True, 0.5, 1), (None, None, 1)]


WRONG: list[tuple[dict[str, object], str]] = [
    ({"success": "yes"}, "success must be true, false or null, got 'yes'"),
    ({"reward": 2}, "reward must lie in [0, 1], got 2"),
]


@pytest.mark.parametrize(("params", "sentence"), WRONG)
async def test_a_wrong_word_about_the_end_is_said_in_one_sentence(params: Any, sentence: str):
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), "auto") as client:
            await client.call_tool("look", {"place": "home"})
            with pytest.raises(MCPError) as raised:
                await client.session.send_request(finish(**params), Finished)
    assert str(raised.value) == sentence


async def test_what_has_not_begun_cannot_be_finished():
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), "auto") as client:
            with pytest.raises(MCPError, match="no trajectory is open: it begins with the first list of tools"):
                await client.session.send_request(finish(), Finished)


async def test_success_can_be_reported_later_by_the_episode_that_results_name():
    with advised("suggest") as advisor:
        async with connection(advisor, example_server(), "auto") as client:
            await client.list_tools()
            result = await client.call_tool("look", {"place": "home"})
        advisor.flush()
        assert advisor.selector.report_episode((result.meta or {})[EPISODE], success=True) == "applied"
        assert last_trajectory(advisor).success is True


async def test_connections_of_one_proxy_keep_apart():
    with advised("suggest") as advisor:
        proxy = GuidingProxy(advisor)

        async def work(number: int) -> None:
            async with Client(through(proxy, example_server()), mode=MODES[number % 2]) as client:
                for step in range(3):
                    await client.call_tool("look", {"place": f"{number} {step}"}, meta={TASK: f"task {number}"})

        await asyncio.gather(*(work(number) for number in range(4)))
        stored = {one.task.text: [step.args["place"] for step in one.steps] for one in live(advisor)}
    assert stored == {f"task {number}": [f"{number} {step}" for step in range(3)] for number in range(4)}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), PLAIN, max_size=3)
PARAMS = st.none() | OBJECTS
METHODS = st.text().filter(lambda method: method not in ("tools/call", "tools/list", FINISH))
MESSAGES: st.SearchStrategy[JSONRPCMessage] = st.one_of(
    st.builds(JSONRPCRequest, jsonrpc=st.just("2.0"), id=st.integers() | st.text(), method=METHODS, params=PARAMS),
    st.builds(JSONRPCNotification, jsonrpc=st.just("2.0"), method=METHODS, params=PARAMS),
    st.builds(JSONRPCResponse, jsonrpc=st.just("2.0"), id=st.integers() | st.text(), result=OBJECTS),
)


@given(st.lists(st.tuples(st.booleans(), MESSAGES), max_size=5))
def test_what_is_no_business_of_the_proxy_goes_through_unchanged(messages: list[tuple[bool, JSONRPCMessage]]):
    async def pass_on() -> None:
        session = GuidedSession(advisor, ProxySettings())
        for is_clients, message in messages:
            routed = await (session.from_client(message) if is_clients else session.from_server(message))
            assert routed == (Routed(to_server=(message,)) if is_clients else Routed(to_client=(message,)))

    with TrajectoryStore(":memory:") as store:
        advisor = Advisor(Selector(store))
        asyncio.run(pass_on())


ODD = st.sampled_from(["tools/call", "tools/list", "initialize", "notifications/cancelled", FINISH])
IDS = st.sampled_from([1, 2, "1", "trajstore-tools"])
NAMED = st.fixed_dictionaries({}, optional={"name": PLAIN, "arguments": PLAIN, "_meta": PLAIN, "requestId": IDS})
LISTED = st.fixed_dictionaries({}, optional={"tools": PLAIN, "content": PLAIN, "isError": PLAIN, "_meta": PLAIN})
ODD_MESSAGES: st.SearchStrategy[JSONRPCMessage] = st.one_of(
    st.builds(JSONRPCRequest, jsonrpc=st.just("2.0"), id=IDS, method=ODD, params=st.none() | NAMED),
    st.builds(JSONRPCNotification, jsonrpc=st.just("2.0"), method=ODD, params=st.none() | NAMED),
    st.builds(JSONRPCResponse, jsonrpc=st.just("2.0"), id=IDS, result=LISTED),
)


@given(st.lists(st.tuples(st.booleans(), ODD_MESSAGES), max_size=6))
def test_no_message_however_odd_stops_the_proxy(messages: list[tuple[bool, JSONRPCMessage]]):
    async def pass_on() -> None:
        session = GuidedSession(advisor, ProxySettings(patience_seconds=0.01))
        for is_clients, message in messages:
            await (session.from_client(message) if is_clients else session.from_server(message))
        session.close()

    with TrajectoryStore(":memory:") as store:
        advisor = Advisor(Selector(store))
        asyncio.run(pass_on())
        advisor.flush()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_the_command_stands_between_a_client_and_a_server_that_it_starts(mode: str, tmp_path: Path):
    db = tmp_path / "agent.db"
    with TrajectoryStore(db) as store, experienced_store() as experience:
        store.add_many(experience.trajectories())
    words = ["mcp-proxy", "--db", db, "--task", "Walk home.", "--", sys.executable, EXAMPLE]
    async with Client(command(*words), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        looked = await client.call_tool("look", {"place": "home"})
        await client.call_tool("add", {"one": "many", "other": 2})
        shown = await client.call_tool("show", {"name": "PYTHONPATH"})
    assert "look" in names
    assert text_of(looked).startswith("looked at home")
    assert text_of(shown).startswith(os.environ.get("PYTHONPATH", ""))
    with TrajectoryStore(db) as store:
        (stored,) = [one for one in store.trajectories() if one.source == "live"]
    assert (stored.task.text, stored.stop_reason) == ("Walk home.", "censored")
    assert [(one.tool, one.outcome) for one in stored.steps] == [
        ("look", "ok"),
        ("add", "invalid_args"),
        ("show", "ok"),
    ]


@pytest.mark.slow
async def test_a_server_that_dies_ends_the_connection_and_its_call_failed(tmp_path: Path):
    db = tmp_path / "agent.db"
    async with Client(command("mcp-proxy", "--db", db, "--", sys.executable, EXAMPLE)) as client:
        await client.list_tools()
        with pytest.raises(MCPError, match="closed"):
            await asyncio.wait_for(client.call_tool("die", {}), SECONDS)
    with TrajectoryStore(db) as store:
        (stored,) = store.trajectories()
    assert [(one.tool, one.outcome) for one in stored.steps] == [("die", "tool_error")]


@pytest.mark.slow
def test_a_signal_ends_the_proxy_after_what_is_open_is_stored(tmp_path: Path):
    db = tmp_path / "agent.db"
    words = [*ALONE, "mcp-proxy", "--db", db, "--", sys.executable, EXAMPLE]
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    requests = [("initialize", opening), ("tools/list", {}), ("tools/call", {"name": "reveal", "arguments": {}})]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ran:
        assert ran.stdin
        assert ran.stdout
        for number, (method, params) in enumerate(requests):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            ran.stdin.write(json.dumps(request) + "\n")
            ran.stdin.flush()
            assert json.loads(ran.stdout.readline())["id"] == number
        ran.terminate()
        assert ran.wait(SECONDS) == -signal.SIGTERM
    with TrajectoryStore(db) as store:
        (stored,) = store.trajectories()
    assert (stored.stop_reason, [step.tool for step in stored.steps]) == ("censored", ["reveal"])


LOST: list[tuple[list[str], str]] = [
    (["--", "no-such-program"], "the MCP server behind the proxy is lost: [Errno 2] No such file or directory"),
    (["--url", "http://127.0.0.1:9/mcp"], "the MCP server behind the proxy is lost: All connection attempts failed"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "sentence"), LOST)
def test_a_server_that_cannot_be_had_is_said_in_one_sentence(words: list[str], sentence: str, tmp_path: Path):
    process = subprocess.Popen(
        [*ALONE, "mcp-proxy", "--db", tmp_path / "a.db", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process as ran:
        assert ran.stdin
        assert ran.stdout
        assert ran.stderr
        with contextlib.suppress(BrokenPipeError):
            ran.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}\n')
            ran.stdin.flush()
        assert ran.wait(SECONDS) == 1  # although its stdin is still open
        assert ran.stdout.read() == ""
        assert ran.stderr.read().startswith(sentence)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_a_server_over_http_is_guided_too(mode: str, tmp_path: Path):
    with advised("suggest") as advisor, answering("mcp", "--db", tmp_path / "upstream.db", "--http", "0") as url:
        async with Client(before(GuidingProxy(advisor), reached(url)), mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("search_trajectories", {"task": "anything", "limit": 1})
            wrong = await client.call_tool("search_trajectories", {"task": "anything", "limit": 0})
        stored = last_trajectory(advisor)
    assert "search_trajectories" in names
    assert result.structured_content == {"steps": []}
    assert wrong.is_error
    assert stored.task.text == "Use the tools of trajstore."
    assert [one.outcome for one in stored.steps] == ["ok", "invalid_args"]


WRONG_WORDS: list[tuple[list[str], str]] = [
    ([], "give either -- COMMAND ARGS... or --url URL, and not both"),
    (["--url", "http://127.0.0.1:9/mcp", "--", "server"], "give either -- COMMAND ARGS... or --url URL, and not both"),
    (["--header", "A=B", "--", "server"], "--header is for --url: a server that is started has no headers"),
    (
        ["--url", "http://127.0.0.1:9/mcp", "--header", "A=NO_SUCH_VARIABLE"],
        "--header A=NO_SUCH_VARIABLE must be NAME=VARIABLE of a variable that is set: export NO_SUCH_VARIABLE",
    ),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG_WORDS)
def test_wrong_words_make_no_store_and_are_said_in_one_sentence(words: list[str], sentence: str, tmp_path: Path):
    ran = trajstore("mcp-proxy", "--db", tmp_path / "agent.db", *words)
    assert (ran.exit_code, ran.sentence) == (2, sentence)
    assert not (tmp_path / "agent.db").exists()

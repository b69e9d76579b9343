"""Trajectories of the MCP proxy: what their task is, where they begin and end, and who says how."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import (
    JSONRPCRequest,
    JSONRPCResponse,
    Request,
    RequestParams,
    Result,
)
from mcp_example_server import example_server
from mcp_peers import MODES, connection, text_of, through

from selector.adapters.mcp_messages import EPISODE, STATE, TASK
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.mcp_routes import FINISH, ProxySettings
from selector.adapters.mcp_session import GuidedSession
from selector.adapters.testing import (
    advised,
    last_trajectory,
    live,
)


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

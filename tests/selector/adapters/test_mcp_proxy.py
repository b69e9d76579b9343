"""The MCP proxy: what goes through it comes out as it was, and calls are observed as they went."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcp")

import anyio
from mcp.client import Client
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.memory import create_client_server_memory_streams
from mcp.types import CallToolResult, TextContent

from selector.adapters.advisor import Advisor
from selector.adapters.mcp_messages import TASK
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.scripted_tools import ScriptedTools
from selector.adapters.testing import (
    Ability,
    Asked,
    Case,
    Play,
    Played,
    ScriptedCall,
    Way,
    cases_of,
)

MODES = ["legacy", "auto"]  # both versions of the protocol: with a handshake, and without


def server_of(tools: ScriptedTools) -> MCPServer:
    server = MCPServer("scripted", instructions="Use them well.", log_level="CRITICAL")
    for function in tools.functions.values():
        server.add_tool(function)
    return server


@asynccontextmanager
async def through(proxy: GuidingProxy, server: MCPServer) -> AsyncIterator[Any]:
    """Streams for a client whose server stands behind a proxy."""
    async with (
        create_client_server_memory_streams() as (for_client, for_proxy),
        InMemoryTransport(server) as upstream,
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


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("case", "way"), cases_of(Agent("legacy")))
async def test_the_proxy_keeps_the_rules_of_adapters(case: Case, way: Way, mode: str):
    await case(Agent(mode), way)

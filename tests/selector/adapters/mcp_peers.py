"""What the tests of MCP share: commands as processes, and clients that speak to them."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
from command_line import ALONE
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.memory import create_client_server_memory_streams
from mcp.types import CallToolResult, TextContent

from selector.adapters.advisor import Advisor
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.mcp_server import make_server
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools

MODES = ["legacy", "auto"]  # both versions of the protocol: with a handshake, and without
SECONDS = 60.0
TOOLS = [{"name": FORBIDDEN, "description": "Delete a file."}, "calculate", "search"]
Json = dict[str, Any]


def command(*words: str | Path) -> StdioServerParameters:
    """A command of trajstore as a server that a client starts."""
    program, *args = [*ALONE, *map(str, words)]
    return StdioServerParameters(command=program, args=args, env=dict(os.environ))


@contextmanager
def answering(*words: str | Path) -> Iterator[str]:
    """The address of a command that answers over HTTP; it is ended afterwards."""
    process = subprocess.Popen([*ALONE, *map(str, words)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield next(word.rstrip(";") for word in line.split() if word.startswith("http://"))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def text_of(result: CallToolResult) -> str:
    """All texts of a result, one a line."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def server_of(tools: ScriptedTools) -> MCPServer:
    """A server of the conformance suite's tools."""
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
    """A client of a server behind a proxy, or before it where there is no advisor."""
    if advisor is None:
        return Client(InMemoryTransport(server), mode=mode, cache=None, **given)
    return Client(through(GuidingProxy(advisor), server), mode=mode, cache=None, **given)


def client_of(advisor: Advisor, mode: str = "auto") -> Client:
    """A client of the server that advises."""
    return Client(make_server(advisor), mode=mode)


async def ask(client: Client, **given: Any) -> Json:
    """What to do next."""
    result = await client.call_tool("recommend", {"task": TASK, "tools": TOOLS, **given})
    assert not result.is_error, text_of(result)
    return dict(result.structured_content or {})


async def tell(client: Client, episode_id: str, tool: str, **given: Any) -> Json:
    """Record a step."""
    told = {"episode_id": episode_id, "tool": tool, "outcome": "ok", **given}
    return dict((await client.call_tool("record_step", told)).structured_content or {})

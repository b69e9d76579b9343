"""What the MCP proxy adds to a call, beside the decision itself: client, proxy and server in one process.

    python benchmarks/mcp_latency.py [--calls 300] [--json] [--quick]

Milliseconds of processor time a call on the thread that passes messages on, so that neither a busy machine nor the
decision, which is made on another thread, counts: without a proxy, and through one in shadow and in suggest mode.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
from mcp.client import Client
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.memory import create_client_server_memory_streams

from selector.adapters import Advisor
from selector.adapters.mcp_messages import TASK as TASK_KEY
from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.scripted_tools import TASK, ScriptedTools
from selector.adapters.testing import advised


def main() -> None:
    """Measure and print."""
    options = parse()
    milliseconds = asyncio.run(measure(60 if options.quick else options.calls))
    found = {way: summary(values) for way, values in milliseconds.items()}
    added = {way: row["median"] - found["direct"]["median"] for way, row in found.items() if way != "direct"}
    if options.json:
        print(json.dumps(found | {"added": added}))
        return
    for way, row in found.items():
        more = f"   added {added[way]:5.2f} ms" if way in added else ""
        print(f"{way:9} median {row['median']:6.2f} ms   95th percentile {row['p95']:6.2f} ms{more}")


async def measure(calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call by way, each way in turn."""
    with advised("shadow") as shadow, advised("suggest") as suggest:
        async with AsyncExitStack() as open_clients:
            clients = {
                "direct": await open_clients.enter_async_context(Client(InMemoryTransport(server()))),
                "shadow": await open_clients.enter_async_context(Client(proxied(shadow))),
                "suggest": await open_clients.enter_async_context(Client(proxied(suggest))),
            }
            found: dict[str, list[float]] = {way: [] for way in clients}
            for client in clients.values():
                await client.list_tools(meta={TASK_KEY: TASK})
            for _ in range(calls):
                for way, client in clients.items():
                    begun = time.thread_time()
                    await client.call_tool("search", {"query": "x"})
                    found[way].append(1000.0 * (time.thread_time() - begun))
            return found


def summary(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"median": statistics.median(values), "p95": statistics.quantiles(values, n=20)[-1]}


def server() -> MCPServer:
    """A server of the scripted tools."""
    made = MCPServer("scripted", log_level="CRITICAL")
    for function in ScriptedTools().functions.values():
        made.add_tool(function)
    return made


@asynccontextmanager
async def proxied(advisor: Advisor) -> AsyncIterator[Any]:  # Any: streams as the SDK has them
    """Streams for a client of such a server behind a proxy."""
    async with (
        create_client_server_memory_streams() as (for_client, for_proxy),
        InMemoryTransport(server()) as upstream,
        anyio.create_task_group() as running,
    ):
        running.start_soon(GuidingProxy(advisor).run, for_proxy, upstream)
        yield for_client
        await for_client[1].aclose()


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

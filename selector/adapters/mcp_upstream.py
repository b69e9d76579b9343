"""The ways to the MCP server behind a proxy: a process that is started, or an address."""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from selector.adapters.needs import needs

try:
    import httpx2
    from mcp.client import Transport
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.errors import SelectorUsageError

SECONDS = 30.0
SECONDS_BETWEEN_EVENTS = 300.0


def started(command: Sequence[str]) -> Transport:
    """A server that is started by a command, in this process's folder and with its environment, and ended with it."""
    program, *args = command
    return stdio_client(StdioServerParameters(command=program, args=args, env=dict(os.environ)), errlog=sys.stderr)


def reached(url: str, headers: Mapping[str, str] | None = None) -> Transport:
    """A server at an address of HTTP, asked with these headers."""
    return _reached(url, headers)


@asynccontextmanager
async def _reached(url: str, headers: Mapping[str, str] | None) -> AsyncIterator[Any]:  # Any: the SDK's own streams
    timeout = httpx2.Timeout(SECONDS, read=SECONDS_BETWEEN_EVENTS)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as asking,
        streamable_http_client(url, http_client=asking) as streams,
    ):
        yield streams


def headers_from(wanted: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Headers whose values stand in variables, where other users of the machine do not see them.

    >>> headers_from(["Authorization=TOKEN"], {"TOKEN": "Bearer 1"})
    {'Authorization': 'Bearer 1'}
    """
    named = [one.partition("=") for one in wanted]
    for name, _, variable in named:
        if not name or variable not in environment:
            raise SelectorUsageError(
                f"--header {name}={variable} must be NAME=VARIABLE of a variable that is set: export {variable or 'it'}"
            )
    return {name: environment[variable] for name, _, variable in named}

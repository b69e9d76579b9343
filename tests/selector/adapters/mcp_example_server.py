"""A server that does a little of everything the protocol has, as a process over stdio where it is run."""

import os
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel


class Sum(BaseModel):
    """A structured answer."""

    total: int


class Name(BaseModel):
    """What a person is asked for."""

    name: str


def look(place: str) -> str:
    """Look at a place."""
    return f"looked at {place}"


def add(one: int, other: int) -> Sum:
    """Add two numbers."""
    return Sum(total=one + other)


async def march(steps: int, context: Context) -> str:
    """Walk, and tell how far."""
    for step in range(steps):
        await context.report_progress(step + 1, steps, f"step {step + 1}")
    return "arrived"


async def grow(context: Context) -> str:
    """Get another tool."""
    context.mcp_server.add_tool(lambda: "new", name="fresh", description="New.")
    await context.session.send_tool_list_changed()
    return "grown"


def whom() -> Elicit[Name]:
    """Ask who is there."""
    return Elicit("Who is there?", Name)


async def greet(who: Annotated[Name, Resolve(whom)]) -> str:
    """Ask who is there, and greet them."""
    return f"hello {who.name}"


def reveal(context: Context) -> str:
    """Show what came with the request."""
    return ",".join(sorted(context.request_context.meta or {}))


def judge() -> CallToolResult:
    """Fail with two texts and a note."""
    texts = [TextContent(type="text", text=text) for text in ("it is", "wrong")]
    return CallToolResult(content=texts, is_error=True, _meta={"note": 1})


def show(name: str) -> str:
    """Show a variable of the environment."""
    return os.environ.get(name, "")


def die() -> str:
    """End the process at once."""
    os._exit(3)


def plain() -> str:
    """A text."""
    return "plain text"


def ask(what: str) -> str:
    """A question."""
    return f"What is {what}?"


def example_server() -> MCPServer:
    server = MCPServer("example", instructions="Look before you leap.", version="7", log_level="CRITICAL")
    for function in (look, add, march, grow, greet, reveal, judge, show, die):
        server.add_tool(function)
    server.resource("example://plain")(plain)
    server.prompt()(ask)
    return server


if __name__ == "__main__":
    example_server().run()

"""What the tests of MCP share: commands as processes, and clients that speak to them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line import ALONE
from mcp import StdioServerParameters
from mcp.types import CallToolResult, TextContent

MODES = ["legacy", "auto"]  # both versions of the protocol: with a handshake, and without
SECONDS = 60.0


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

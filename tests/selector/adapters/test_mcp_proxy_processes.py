"""The MCP proxy as a process: before servers that it starts, at an address, or that cannot be had."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from command_line import ALONE, trajstore
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_peers import MODES, SECONDS, answering, before, command, text_of

from selector.adapters.mcp_proxy import GuidingProxy
from selector.adapters.mcp_upstream import reached
from selector.adapters.scripted_tools import experienced_store
from selector.adapters.testing import (
    advised,
    last_trajectory,
)
from trajstore.store import TrajectoryStore

EXAMPLE = str(Path(__file__).with_name("mcp_example_server.py"))


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

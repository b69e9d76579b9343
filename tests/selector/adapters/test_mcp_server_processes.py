"""The MCP server as a process: over stdio, and over HTTP."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp")

import httpx2
from command_line import ALONE, trajstore, trajstore_alone
from mcp.client import Client
from mcp_peers import MODES, SECONDS, Json, answering, ask, command, tell

from selector.adapters.scripted_tools import TASK
from trajstore.store import TrajectoryStore


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_the_command_serves_a_client_that_starts_it(mode: str, tmp_path: Path):
    db = tmp_path / "agent.db"
    async with Client(command("mcp", "--db", db), mode=mode) as client:
        episode_id = (await ask(client))["episode_id"]
        await tell(client, episode_id, "search")
        await client.call_tool("finish_trajectory", {"episode_id": episode_id, "success": True})
        await tell(client, (await ask(client, task="left"))["episode_id"], "search")
    with TrajectoryStore(db) as store:
        assert [(one.task.text, one.success) for one in store.trajectories()] == [(TASK, True), ("left", None)]


REQUESTS: list[Json] = [
    {
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    },
    {"method": "tools/call", "params": {"name": "recommend", "arguments": {"task": TASK, "tools": ["search"]}}},
    {"method": "tools/call", "params": {"name": "recommend", "arguments": {}}},
    {"method": "no/such/method"},
]


def wire(number: int, request: Json) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, **request}) + "\n"


@pytest.mark.slow
def test_stdout_carries_nothing_but_the_protocol(tmp_path: Path):
    db = tmp_path / "agent.db"
    with subprocess.Popen([*ALONE, "mcp", "--db", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ran:
        assert ran.stdin
        assert ran.stdout
        ran.stdin.write("this is no message\n")
        answers = []
        for number, request in enumerate(REQUESTS):
            ran.stdin.write(wire(number, request))
            ran.stdin.flush()
            answers.append(json.loads(ran.stdout.readline()))
        ran.stdin.close()
        rest = ran.stdout.read()
        assert ran.wait(SECONDS) == 0
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert rest == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_after_what_is_open_is_stored(number: signal.Signals, tmp_path: Path):
    db = tmp_path / "agent.db"
    with subprocess.Popen([*ALONE, "mcp", "--db", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ran:
        assert ran.stdin
        assert ran.stdout

        def send(place: int, request: Json) -> Json:
            assert ran.stdin
            assert ran.stdout
            ran.stdin.write(wire(place, request))
            ran.stdin.flush()
            return dict(json.loads(ran.stdout.readline()))

        send(0, REQUESTS[0])
        found = send(1, REQUESTS[1])["result"]["structuredContent"]
        told = {"episode_id": found["episode_id"], "tool": "search", "outcome": "ok"}
        send(2, {"method": "tools/call", "params": {"name": "record_step", "arguments": told}})
        ran.send_signal(number)
        assert ran.wait(SECONDS) == -number
    with TrajectoryStore(db) as store:
        assert [(one.success, one.stop_reason) for one in store.trajectories()] == [(None, "censored")]


@pytest.mark.slow
async def test_over_http_every_client_has_its_own_episodes_and_only_the_right_names_are_answered(tmp_path: Path):
    db = tmp_path / "agent.db"
    with answering("mcp", "--db", db, "--http", "0") as url:
        for mode in MODES:
            async with Client(url, mode=mode) as client:
                episode_id = (await ask(client, task=mode))["episode_id"]
                await tell(client, episode_id, "search")
        statuses = [await _status(url, **headers) for headers in FOREIGN]
        assert await _stored(db) == ["legacy"]  # its session has ended; the newer protocol has none
    assert url.startswith("http://127.0.0.1:")
    assert statuses == [421, 403, 421, 421, 403, 403]
    with TrajectoryStore(db) as store:
        assert sorted((one.task.text, one.stop_reason) for one in store.trajectories()) == [
            ("auto", "censored"),
            ("legacy", "censored"),
        ]


@pytest.mark.slow
async def test_a_server_that_others_reach_answers_to_the_names_that_were_allowed_alone(tmp_path: Path):
    words = ["mcp", "--db", tmp_path / "agent.db", "--http", "0", "--host", "0.0.0.0", "--allow-host", "tools.example"]
    with answering(*words) as url:
        here = url.replace("0.0.0.0", "127.0.0.1")
        assert [await _status(here, **headers) for headers in FOREIGN] == [421, 403, 421, 421, 403, 403]
        assert await _status(here, host="tools.example:8000") == 200
        assert await _status(here, host="tools.example", origin="https://tools.example") == 200


async def _stored(db: Path) -> list[str]:
    """The tasks that are stored, once there are any."""
    with TrajectoryStore(db) as store:
        for _ in range(100):
            if tasks := [one.task.text for one in store.trajectories()]:
                return tasks
            await asyncio.sleep(0.1)
    return []


NEWER = {"mcp-protocol-version": "2026-07-28"}
FOREIGN: list[dict[str, str]] = [
    {"host": "evil.example", **NEWER},
    {"origin": "http://evil.example", **NEWER},
    {"host": "evil.example:8000"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"origin": "http://evil.example"},
    {"origin": "http://localhost.evil.example:80"},
]


async def _status(url: str, **headers: str) -> int:
    said = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    async with httpx2.AsyncClient(timeout=SECONDS) as client:
        answer = await client.post(url, content=wire(0, REQUESTS[0]), headers=said | headers)
    return answer.status_code


def test_a_server_that_others_reach_must_name_the_hosts_it_answers_to(tmp_path: Path):
    ran = trajstore("mcp", "--db", tmp_path / "agent.db", "--http", "0", "--host", "0.0.0.0")
    assert ran.exit_code == 2
    assert ran.sentence.startswith("host '0.0.0.0' can be reached by others: name each host")
    assert not (tmp_path / "agent.db").exists()


def test_names_are_for_http_alone(tmp_path: Path):
    ran = trajstore("mcp", "--db", tmp_path / "agent.db", "--allow-host", "tools.example")
    assert (ran.exit_code, ran.sentence) == (2, "--allow-host is for HTTP: give --http PORT too, or leave it out")


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path):
    with answering("mcp", "--db", tmp_path / "a.db", "--http", "0") as url:
        port = url.split(":")[2].split("/")[0]
        ran = trajstore_alone("mcp", "--db", tmp_path / "b.db", "--http", port)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.sentence.startswith(f"127.0.0.1:{port} cannot be had")


WITHOUT_THE_EXTRA = """
import importlib, sys
sys.modules.update(dict.fromkeys(["mcp", "pydantic", "jsonschema", "uvicorn", "httpx2"]))
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"selector.adapters.{name}")
    except ImportError as error:
        print(type(error).__name__, error)
"""
HELP = """
import sys
from trajstore.cli import run
for command in ("mcp", "mcp-proxy"):
    assert run([command, "--help"]) == 0
assert not sys.modules.keys() & {"mcp", "torch"}
"""


def alone(code: str, *words: str) -> list[str]:
    """The lines that a process of its own prints."""
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout.splitlines()


def test_without_the_extra_the_import_says_which_one_is_needed():
    names = ["mcp_server", "mcp_proxy", "mcp_serving", "mcp_upstream", "mcp_records", "mcp_tools"]
    sentence = "MissingDependency the MCP SDK is not installed; install it: pip install 'trajstore[mcp]'"
    assert alone(WITHOUT_THE_EXTRA, *names) == [sentence] * len(names)


def test_help_of_the_commands_loads_nothing_of_the_protocol():
    assert alone(HELP)

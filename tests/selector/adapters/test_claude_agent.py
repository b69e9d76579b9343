"""The Claude Agent SDK, guided through its hooks; a scripted command speaks its protocol instead of the real one."""

import asyncio
import inspect
import itertools
import json
import logging
import subprocess
import sys
import typing
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk")

from claude_agent_sdk import ClaudeAgentOptions, HookMatcher, ResultMessage, Transport, query

from selector.adapters import Advisor
from selector.adapters.claude_agent import Guidance
from selector.adapters.scripted_tools import TASK, ScriptedTools
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
)
from trajstore.schema import ToolSpec

TOOLS = tuple(ToolSpec(name, function.__doc__ or "") for name, function in ScriptedTools().functions.items())
UNKNOWN = "<tool_use_error>Error: No such tool available: {}</tool_use_error>"
INVALID = "<tool_use_error>InputValidationError: {} failed: the input does not validate</tool_use_error>"


class ScriptedCommand(Transport):
    """Plays a script as the SDK's command does: hooks are asked, tools run, messages are written."""

    def __init__(self, play: Play, *, subtype: str = "success") -> None:
        self._play, self._subtype = play, subtype
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._callbacks: dict[str, list[str]] = {}
        self._numbers = itertools.count()
        self._loop: asyncio.Task[None] | None = None
        self.asked: list[Asked] = []
        self._heard: list[str] = []

    async def connect(self) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None:
        pass

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self._messages.get()) is not None:
            yield message

    async def write(self, data: str) -> None:
        for line in data.splitlines():
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "control_request":
            hooks = message["request"].get("hooks") or {}
            self._callbacks = {
                event: [one for each in made for one in each["hookCallbackIds"]] for event, made in hooks.items()
            }
            answer = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            self._messages.put_nowait({"type": "control_response", "response": answer})
        elif message["type"] == "control_response":
            response = message["response"]
            self._answers.pop(response["request_id"]).set_result(response.get("response") or {})
        elif message["type"] == "user":
            self._loop = asyncio.ensure_future(self._run(message["message"]["content"]))

    async def _run(self, prompt: str) -> None:
        self._heard.append(prompt)
        await self._hook("UserPromptSubmit", prompt=prompt)
        output = ""
        for turn in self._play.turns:
            self.asked.append(Asked(tuple(self._play.tools.functions), None, "\n".join(self._heard)))
            if isinstance(turn, str):
                output = turn
                break
            await asyncio.gather(*(self._call(call, f"call-{next(self._numbers)}") for call in turn))
        self._say(
            "result",
            subtype=self._subtype,
            duration_ms=1,
            duration_api_ms=1,
            is_error=False,
            num_turns=1,
            result=output,
        )
        self._messages.put_nowait(None)

    async def _call(self, call: ScriptedCall, number: str) -> None:
        block = {"type": "tool_use", "id": number, "name": call.tool, "input": dict(call.args)}
        self._say("assistant", message={"role": "assistant", "model": "m", "content": [block]})
        text, is_error = await self._result(call, number)
        self._heard.append(text)
        result = {"type": "tool_result", "tool_use_id": number, "content": text, "is_error": is_error}
        self._say("user", message={"role": "user", "content": [result]})

    async def _result(self, call: ScriptedCall, number: str) -> tuple[str, bool]:
        function = self._play.tools.functions.get(call.tool)
        if function is None:
            return UNKNOWN.format(call.tool), True
        if not fits(function, call.args):
            return INVALID.format(call.tool), True
        told = {"tool_name": call.tool, "tool_input": dict(call.args), "tool_use_id": number}
        permitted = await self._hook("PreToolUse", **told)
        if permitted.get("permissionDecision") == "deny":
            return permitted["permissionDecisionReason"], True
        try:
            made = function(**call.args)
            observation = await made if inspect.isawaitable(made) else made
        except Exception as error:  # noqa: BLE001 - a tool may raise anything
            await self._hook("PostToolUseFailure", **told, error=str(error))
            return str(error), True
        await self._hook("PostToolUse", **told, tool_response=observation)
        return str(observation), False

    async def _hook(self, event: str, **told: Any) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for callback in self._callbacks.get(event, []):
            number = f"hook-{next(self._numbers)}"
            self._answers[number] = asyncio.get_running_loop().create_future()
            asked = {"session_id": "s", "transcript_path": "", "cwd": ".", "hook_event_name": event, **told}
            request = {"subtype": "hook_callback", "callback_id": callback, "input": asked, "tool_use_id": None}
            answered = self._answers[number]
            self._messages.put_nowait({"type": "control_request", "request_id": number, "request": request})
            said |= (await answered).get("hookSpecificOutput", {})
        if said.get("additionalContext"):
            self._heard.append(said["additionalContext"])
        return said

    def _say(self, kind: str, **fields: Any) -> None:
        self._messages.put_nowait({"type": kind, "session_id": "s", "parent_tool_use_id": None, **fields})


def fits(function: Any, args: Mapping[str, object]) -> bool:
    hints = typing.get_type_hints(function)
    return all(isinstance(value, hints[name]) for name, value in args.items())


class ClaudeAgents:
    """The SDK with a scripted command."""

    name = "Claude Agent SDK"
    ways: tuple[Way, ...] = ("async",)
    lacks: Mapping[Ability, str] = {
        "force": "no hook chooses the tool that the model must call",
        "hide": "the list of tools is given once, before the run begins",
    }

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        command, output = ScriptedCommand(play), ""
        run = Guidance(advisor, TOOLS).query if advisor else query
        async for message in run(prompt=play.task, transport=command):
            if isinstance(message, ResultMessage):
                output = message.result or ""
        return Played(output, tuple(command.asked))


@pytest.mark.parametrize(("case", "way"), cases_of(ClaudeAgents()))
async def test_the_sdk_keeps_the_rules_of_every_adapter(case: Case, way: Way):
    await case(ClaudeAgents(), way)


def searching(*more: str) -> Play:
    return Play(ScriptedTools(), ([ScriptedCall("search", {"query": "x"})], *more, "done"))


async def finished(guidance: Guidance, command: ScriptedCommand, task: str = TASK) -> None:
    async for _ in guidance.query(prompt=task, transport=command):
        pass


async def test_a_hint_is_given_with_the_prompt_and_after_every_call():
    with advised("suggest") as advisor:
        command = ScriptedCommand(searching())
        await finished(Guidance(advisor, TOOLS), command)
    first, second = (asked.text.splitlines() for asked in command.asked)
    assert first[0] == TASK
    assert "`search`" in first[1]
    assert second[: len(first)] == first
    assert len(second) == len(first) + 2  # the hint that came with what was found


async def test_the_judge_is_asked_for_its_word_on_the_result():
    with advised("suggest") as advisor:
        guidance = Guidance(advisor, TOOLS, judge=lambda result: result.result == "done")
        await finished(guidance, ScriptedCommand(searching()))
        assert last_trajectory(advisor).success is True


async def test_a_judge_that_fails_counts_as_nobody(caplog: pytest.LogCaptureFixture):
    def fails(_result: ResultMessage) -> bool:
        raise KeyError("verdict")

    with caplog.at_level(logging.WARNING), advised("suggest") as advisor:
        await finished(Guidance(advisor, TOOLS, judge=fails), ScriptedCommand(searching()))
        assert last_trajectory(advisor).success is None
    assert [record.message.split(";")[0] for record in caplog.records] == ["the judge failed"]


async def test_a_run_that_ends_without_success_is_abandoned():
    with advised("suggest") as advisor:
        guidance = Guidance(advisor, TOOLS, judge=lambda _: True)
        await finished(guidance, ScriptedCommand(searching(), subtype="error_max_turns"))
        trajectory = last_trajectory(advisor)
    assert (trajectory.success, trajectory.stop_reason) == (None, "censored")


async def test_concurrent_runs_of_one_adapter_keep_apart():
    with advised("suggest") as advisor:
        guidance, tasks = Guidance(advisor, TOOLS), [f"{TASK} {number}" for number in range(4)]
        plays = [Play(ScriptedTools(), ([ScriptedCall("search", {"query": task})], "done")) for task in tasks]
        await asyncio.gather(
            *(finished(guidance, ScriptedCommand(play), task) for play, task in zip(plays, tasks, strict=True))
        )
        advisor.flush()
        live = [one for one in advisor.selector.store.trajectories() if one.source == "live"]
    assert {one.task.text: [dict(step.args) for step in one.steps] for one in live} == {
        task: [{"query": task}] for task in tasks
    }


async def test_the_user_s_own_hooks_are_asked_as_well():
    seen: list[str] = []

    async def own(told: dict[str, Any], _id: str | None, _context: object) -> dict[str, Any]:
        seen.append(told["tool_name"])
        return {}

    with advised("suggest") as advisor:
        options = ClaudeAgentOptions(hooks={"PreToolUse": [HookMatcher(hooks=[own])]})
        async for _ in Guidance(advisor, TOOLS).query(
            prompt=TASK, options=options, transport=ScriptedCommand(searching())
        ):
            pass
        assert [step.tool for step in last_trajectory(advisor).steps] == ["search"]
    assert seen == ["search"]
    assert list(options.hooks or {}) == ["PreToolUse"]


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ({"is_error": True, "content": []}, "tool_error"),
        ({"stdout": "", "interrupted": True}, "cancelled"),
        ("x", "ok"),
    ],
)
async def test_an_answer_that_calls_itself_an_error_is_none_of_success(response: object, outcome: str):
    with advised("suggest") as advisor:
        run = Guidance(advisor, TOOLS).run()
        await hook_of(run.options(), "UserPromptSubmit")({"prompt": TASK}, None, {})
        call = {"tool_name": "search", "tool_input": {}, "tool_use_id": "1", "tool_response": response}
        await hook_of(run.options(), "PostToolUse")(call, None, {})
        async for _ in run.watch(results()):
            pass
        (step,) = last_trajectory(advisor).steps
    assert step.outcome == outcome


async def test_what_a_sub_agent_calls_is_not_the_agent_s_own():
    with advised("narrow") as advisor:
        run = Guidance(advisor, TOOLS).run()
        await hook_of(run.options(), "UserPromptSubmit")({"prompt": TASK}, None, {})
        call = {"tool_name": "remove", "tool_input": {}, "tool_use_id": "1", "agent_id": "sub"}
        assert await hook_of(run.options(), "PreToolUse")(call, None, {}) == {}
        await hook_of(run.options(), "PostToolUse")({**call, "tool_response": "x"}, None, {})
        async for _ in run.watch(results()):
            pass
        assert not [one for one in advisor.selector.store.trajectories() if one.source == "live"]


def hook_of(options: ClaudeAgentOptions, event: str) -> Any:
    matchers: Any = options.hooks
    return matchers[event][-1].hooks[0]


async def results() -> AsyncIterator[Any]:
    yield ResultMessage("success", 1, 1, is_error=False, num_turns=1, session_id="s", result="done")


def test_a_missing_extra_is_said_in_one_sentence():
    code = "import sys; sys.modules['claude_agent_sdk'] = None; import selector.adapters.claude_agent"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("the Claude Agent SDK is not installed; install it: pip install 'trajstore[claude-agent-sdk]'")

"""Claude Agent SDK: guidance through hooks.

    guidance = Guidance(Advisor.open("agent.db", "suggest"), [ToolSpec("Read"), ToolSpec("Grep")])
    async for message in guidance.query(prompt="Find the bug"):
        ...

The model's loop lives in the command that the SDK starts.  Its hooks tell of prompts and calls and take hints and
refusals; calls that no hook tells of (unknown tools, arguments that do not validate) are seen in the messages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.conversation import heard
from selector.adapters.hosting import judged
from selector.adapters.needs import needs
from selector.adapters.plain import plain_text
from trajstore.schema import Outcome, ToolSpec

try:
    from claude_agent_sdk import (
        AssistantMessage,
        ClaudeAgentOptions,
        HookMatcher,
        Message,
        ResultMessage,
        ToolResultBlock,
        ToolUseBlock,
        Transport,
        UserMessage,
        query,
    )
except ImportError as error:
    raise needs("claude-agent-sdk", "the Claude Agent SDK") from error

Json = dict[str, Any]  # Any: what hooks are given and give back
Judge = Callable[[ResultMessage], bool | None]
Answer = Callable[[Json], Awaitable[Json]]

_FAILURES: Mapping[str, Outcome] = {
    "No such tool available": "unknown_tool",
    "InputValidationError": "invalid_args",
    "timed out": "timeout",
}


class Guidance:
    """Guides any number of runs at once; each has its own hooks and its own state.

    `tools` are those that the agent may call, as the SDK names them; decisions are among them.  `judge` says of a run's
    result whether the task was done, None where nobody can tell.
    """

    def __init__(self, advisor: Advisor, tools: Sequence[ToolSpec], *, judge: Judge | None = None) -> None:
        self.advisor, self.tools, self.judge = advisor, tuple(tools), judge

    def run(self) -> "GuidedRun":
        """What one run, or one conversation of a `ClaudeSDKClient`, needs."""
        return GuidedRun(self)

    async def query(
        self, *, prompt: str, options: ClaudeAgentOptions | None = None, transport: Transport | None = None
    ) -> AsyncIterator[Message]:
        """`claude_agent_sdk.query`, guided."""
        run = self.run()
        messages = query(prompt=prompt, options=run.options(options), transport=transport)
        async for message in run.watch(messages):
            yield message


class GuidedRun:
    """One run, or the runs of one conversation one after the other.

    Give `options()` to the SDK and read its messages through `watch`: without that no run ends.  What sub-agents call
    is neither guided nor recorded.
    """

    def __init__(self, guidance: Guidance) -> None:
        self._guidance, self._advisor = guidance, guidance.advisor
        self._episode: AdvisedEpisode | None = None
        self._task = self._state = ""
        self._running: set[str] = set()
        self._recorded: set[str] = set()
        self._calls: dict[str, ToolUseBlock] = {}

    def options(self, options: ClaudeAgentOptions | None = None) -> ClaudeAgentOptions:
        """The options with this run's hooks behind their own."""
        given = options or ClaudeAgentOptions()
        hooks = dict(given.hooks or {})
        answers = {
            "UserPromptSubmit": self._prompted,
            "PreToolUse": self._calling,
            "PostToolUse": self._called,
            "PostToolUseFailure": self._failed,
        }
        for event, answer in answers.items():
            hooks[event] = [*hooks.get(event, []), HookMatcher(hooks=[self._hook(event, answer)])]
        return replace(given, hooks=hooks)

    async def watch(self, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """The messages as they come; a run that does not come to its result is abandoned."""
        try:
            async for message in messages:
                with self._advisor.complaints.instead_of_raising("a message could not be read"):
                    await self._read(message)
                yield message
        finally:
            if self._episode is not None:
                self._episode.abandon()

    def _hook(self, event: str, answer: Answer) -> Callable[[Json, str | None, object], Awaitable[Json]]:
        async def hook(told: Json, _tool_use_id: str | None, _context: object) -> Json:
            if told.get("agent_id"):
                return {}
            said: Json = {}
            with self._advisor.complaints.instead_of_raising("a hook could not be answered"):
                said = await answer(told)
            return {"hookSpecificOutput": {"hookEventName": event, **said}} if said else {}

        return hook

    async def _prompted(self, told: Json) -> Json:
        said = heard([self._task, plain_text(told.get("prompt"))])
        self._task, self._state = said.task, said.state
        if self._episode is not None:
            self._episode.abandon()
        self._running.clear()
        self._episode = self._advisor.episode(self._task, self._guidance.tools)
        return await self._hint()

    async def _calling(self, told: Json) -> Json:
        """Refuse a call, or let it go the way of permissions as if nobody had been asked."""
        refusal = self._episode.refusal(told["tool_name"], told.get("tool_input")) if self._episode else ""
        if not refusal:
            self._running.add(told["tool_use_id"])
            return {}
        self._observe(told, "blocked", error=refusal)
        return {
            "permissionDecision": "deny",
            "permissionDecisionReason": f"{told['tool_name']} was refused: {refusal}",
            **await self._hint(),
        }

    async def _called(self, told: Json) -> Json:
        response = told.get("tool_response")
        self._observe(told, _outcome_of(response), response)
        return await self._hint()

    async def _failed(self, told: Json) -> Json:
        error = plain_text(told.get("error"))
        self._observe(told, "cancelled" if told.get("is_interrupt") else _failure(error), error=error)
        return await self._hint()

    async def _hint(self) -> Json:
        """What to say before the model is asked again; nothing while other calls of its turn still run."""
        if self._episode is None or self._running:
            return {}
        advice = await self._episode.arecommend(self._state)
        return {"additionalContext": advice.hint} if advice.hint else {}

    def _observe(self, told: Json, outcome: Outcome, observation: object = "", *, error: str | None = None) -> None:
        self._running.discard(told["tool_use_id"])
        self._recorded.add(told["tool_use_id"])
        if self._episode is not None:
            self._episode.observe(told["tool_name"], told.get("tool_input"), outcome, observation, error=error)

    async def _read(self, message: Message) -> None:
        if isinstance(message, ResultMessage):
            await self._end(message)
        elif isinstance(message, AssistantMessage | UserMessage) and isinstance(message.content, list):
            for block in message.content if message.parent_tool_use_id is None else ():
                self._read_block(block)

    def _read_block(self, block: object) -> None:
        """A call that ended in an error without any hook is recorded from what the model reads of it."""
        if isinstance(block, ToolUseBlock):
            self._calls[block.id] = block
        elif isinstance(block, ToolResultBlock) and block.is_error and block.tool_use_id not in self._recorded:
            call, text = self._calls[block.tool_use_id], plain_text(block.content)
            told = {"tool_use_id": call.id, "tool_name": call.name, "tool_input": call.input}
            self._observe(told, _failure(text), error=text)

    async def _end(self, result: ResultMessage) -> None:
        episode, self._episode = self._episode, None
        self._running.clear()
        self._recorded.clear()
        self._calls.clear()
        if episode is None:
            return
        if result.is_error or result.subtype != "success":
            episode.abandon()
        else:
            await episode.afinish(judged(self._advisor.complaints, self._guidance.judge, result))


def _outcome_of(response: object) -> Outcome:
    """How a call ended that the runtime does not call failed: an answer may still say that it is an error."""
    if isinstance(response, Mapping):
        if response.get("is_error") is True or response.get("isError") is True:
            return "tool_error"
        if response.get("interrupted") is True:
            return "cancelled"
    return "ok"


def _failure(error: str) -> Outcome:
    return next((outcome for words, outcome in _FAILURES.items() if words in error), "tool_error")

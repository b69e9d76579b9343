"""pydantic-ai: `Agent(model, capabilities=[Guidance(Advisor.open("agent.db"))])`, a capability that guides its runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.conversation import heard
from selector.adapters.hosting import judged, observed_error, refused
from selector.adapters.needs import needs
from trajstore.schema import ToolSpec

try:
    from pydantic import ValidationError
    from pydantic_ai import DeferredToolRequests, RunContext, ToolReturn
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.exceptions import (
        ApprovalRequired,
        CallDeferred,
        ModelRetry,
        RetryModelRequest,
        SkipToolExecution,
        ToolFailed,
    )
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelResponse,
        TextContent,
        ToolCallPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestContext
    from pydantic_ai.run import AgentRunResult
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import ToolDefinition
except ImportError as error:
    raise needs("pydantic-ai", "pydantic-ai") from error

Context = RunContext[Any]
RunResult = AgentRunResult[Any]
Judge = Callable[[RunResult], bool | None]


@dataclass(eq=False)
class Guidance(AbstractCapability[Any]):
    """Guides every run of an agent by `advisor`, runs side by side included.

    `judge` says of the result of a run whether it succeeded, None where that is not known.
    """

    advisor: Advisor
    _: KW_ONLY
    judge: Judge | None = None

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """None: an advisor cannot be written in a file of settings."""
        return None

    async def for_run(self, ctx: Context) -> AbstractCapability[Any]:
        """What guides one run."""
        kind = ForcingRun if self.advisor.mode == "force" else GuidedRun
        return kind(self.advisor, judge=self.judge)


@dataclass(eq=False)
class GuidedRun(AbstractCapability[Any]):
    """Guides one run; its episode begins with the first request to the model, or call of a tool."""

    advisor: Advisor
    _: KW_ONLY
    judge: Judge | None = None
    episode: AdvisedEpisode | None = None
    names: frozenset[str] = frozenset()
    """The tools that exist at this step."""

    async def wrap_run(self, ctx: Context, *, handler: Callable[[], Any]) -> RunResult:
        """End the episode with the run: judged where it has a result, left where it fails or waits for someone."""
        try:
            result: RunResult = await handler()
        except BaseException:
            self._abandon()
            raise
        if isinstance(result.output, DeferredToolRequests):
            self._abandon()
        elif self.episode is not None:
            with self._no_failure("an episode could not be ended"):
                await self.episode.afinish(judged(self.advisor.complaints, self.judge, result))
        return result

    async def before_model_request(self, ctx: Context, request_context: ModelRequestContext) -> ModelRequestContext:
        """Ask for advice, once a step."""
        with self._no_failure("advice could not be asked for"):
            parameters = request_context.model_request_parameters
            functions = [one for one in parameters.function_tools if ctx.is_tool_available(one)]
            tools = [ToolSpec(one.name, one.description or "") for one in functions]
            self.names = frozenset(one.name for one in (*functions, *parameters.output_tools))
            said = heard(user_texts(ctx.messages))
            await self._begun(said.task).arecommend(said.state, tools)
        return request_context

    async def prepare_model_request(self, ctx: Context, request_context: ModelRequestContext) -> ModelRequestContext:
        """Give the model what was advised; none of it stays in the history of messages."""
        if self.episode is not None:
            with self._no_failure("advice could not be given"):
                return self.advised(request_context, self.episode.advice)
        return request_context

    def advised(self, request: ModelRequestContext, advice: Advice) -> ModelRequestContext:
        """The request with the hint at its end, less the tools that are hidden."""
        parameters, messages = request.model_request_parameters, request.messages
        if advice.is_narrowed:
            hidden = advice.refused.keys() - set(advice.tools)
            kept = [tool for tool in parameters.function_tools if tool.name not in hidden]
            parameters = replace(parameters, function_tools=kept)
        if advice.hint:
            messages = with_hint(messages, advice.hint)
        return replace(request, model_request_parameters=parameters, messages=messages)

    async def after_model_request(
        self, ctx: Context, *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Take in calls of tools that do not exist, which reach no hook of tools."""
        if self.episode is not None:
            with self._no_failure("a response could not be read"):
                for call in response.tool_calls:
                    if call.tool_name not in self.names:
                        self.episode.observe(call.tool_name, call.args, "unknown_tool")
        return response

    async def wrap_tool_validate(
        self, ctx: Context, *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, handler: Callable[[Any], Any]
    ) -> dict[str, Any]:
        """Refuse what must not run before anyone is asked to approve it; take in arguments that are no good."""
        episode = self._begun_by_call(ctx)
        if episode is None:
            return await handler(args)  # type: ignore[no-any-return]  # as the runtime's own default does
        if reason := episode.refusal(call.tool_name, call.args):
            episode.observe(call.tool_name, call.args, "blocked", error=reason)
            raise ToolFailed(refused(call.tool_name, reason))
        try:
            return await handler(args)  # type: ignore[no-any-return]
        except (ValidationError, ModelRetry, ToolFailed) as error:
            episode.observe(call.tool_name, call.args, "invalid_args", error=error)
            raise

    async def wrap_tool_execute(
        self,
        ctx: Context,
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Any],
    ) -> Any:
        """Take in what came of a call."""
        if self.episode is None:
            return await handler(args)
        try:
            result = await handler(args)
        except (CallDeferred, ApprovalRequired):
            raise  # it has not run
        except SkipToolExecution as skipped:
            self.episode.observe(call.tool_name, call.args, "unknown", skipped.result)
            raise
        except BaseException as error:
            observed_error(self.episode, call.tool_name, call.args, error)
            raise
        self.episode.observe(call.tool_name, call.args, "ok", shown(result))
        return result

    def _begun(self, task: str) -> AdvisedEpisode:
        self.episode = self.episode or self.advisor.episode(task)
        return self.episode

    def _begun_by_call(self, ctx: Context) -> AdvisedEpisode | None:
        """The episode, begun now in a run that goes on with calls that someone has approved."""
        if self.episode is None:
            with self._no_failure("no episode could be opened"):
                self._begun(heard(user_texts(ctx.messages)).task)
        return self.episode

    def _abandon(self) -> None:
        if self.episode is not None:
            with self._no_failure("an episode could not be ended"):
                self.episode.abandon()

    def _no_failure(self, what: str) -> AbstractContextManager[None]:
        return self.advisor.complaints.instead_of_raising(what)


@dataclass(eq=False)
class ForcingRun(GuidedRun):
    """Guides one run and forces tools, until the provider refuses that."""

    is_refused: bool = False
    is_forced: bool = False
    """Whether the newest request forces a tool."""

    def advised(self, request: ModelRequestContext, advice: Advice) -> ModelRequestContext:
        """The request with a forced tool, where the user has not set a choice of tools."""
        request, settings = super().advised(request, advice), request.model_settings or ModelSettings()
        self.is_forced = bool(advice.forced) and not self.is_refused and settings.get("tool_choice") in (None, "auto")
        if not self.is_forced or advice.forced is None:
            return request
        return replace(request, model_settings={**settings, "tool_choice": [advice.forced]})

    async def on_model_request_error(
        self, ctx: Context, *, request_context: ModelRequestContext, error: Exception
    ) -> ModelResponse:
        """Ask once more without force; this run is not forced again."""
        if not self.is_forced:
            raise error
        self.is_refused = True
        self.advisor.complaints.once("a forced tool was refused", f"{type(error).__name__}: {error}")
        raise RetryModelRequest from error


def user_texts(messages: Sequence[ModelMessage]) -> Iterator[str]:
    """What the user said, in the order of time."""
    for message in messages:
        if isinstance(message, ModelRequest):
            for part in message.parts:
                if isinstance(part, UserPromptPart):
                    yield text_of(part)


def text_of(prompt: UserPromptPart) -> str:
    r"""The text of a prompt, less what else it holds.

    >>> text_of(UserPromptPart(["Which bird", TextContent("is this?")]))
    'Which bird\nis this?'
    """
    if isinstance(prompt.content, str):
        return prompt.content
    texts = [one.content if isinstance(one, TextContent) else one for one in prompt.content]
    return "\n".join(one for one in texts if isinstance(one, str))


def with_hint(messages: list[ModelMessage], hint: str) -> list[ModelMessage]:
    """The messages with a hint at their end; those given stay as they are."""
    *before, last = messages
    if not isinstance(last, ModelRequest):
        return messages
    return [*before, replace(last, parts=[*last.parts, UserPromptPart(hint)])]


def shown(result: object) -> object:
    """What the model is shown of a tool's result."""
    return result.return_value if isinstance(result, ToolReturn) else result

"""Microsoft Agent Framework: `Agent(client, middleware=[Guidance(Advisor.open("agent.db"))])` guides every run.

The middleware of an agent gives each run its own middleware for requests to the model and for calls of functions, so
that nothing of a run is kept outside it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.conversation import Heard, heard
from selector.adapters.hosting import judged, observed_error, refused
from selector.adapters.needs import needs
from trajstore.schema import ToolSpec

try:
    from agent_framework import (
        AgentContext,
        AgentMiddleware,
        AgentResponse,
        ChatContext,
        ChatMiddleware,
        ChatResponse,
        Content,
        FunctionInvocationContext,
        FunctionMiddleware,
        FunctionTool,
        Message,
        MiddlewareTermination,
        ResponseStream,
    )
    from agent_framework.exceptions import UserInputRequiredException
except ImportError as error:
    raise needs("agent-framework", "Microsoft Agent Framework") from error

Response = AgentResponse[Any]
Judge = Callable[[Response], bool | None]
Next = Callable[[], Awaitable[None]]

INVALID_ARGUMENTS = "_FunctionArgumentValidationError"
"""What the runtime calls its error for arguments that do not validate; it has no public name."""


class Guidance(AgentMiddleware):
    """Guides the runs of agents by `advisor`; `judge` says of a response whether the run succeeded, None: unknown."""

    def __init__(self, advisor: Advisor, *, judge: Judge | None = None) -> None:
        self.advisor, self.judge = advisor, judge

    async def process(self, context: AgentContext, call_next: Next) -> None:
        """Guide one run."""
        run = GuidedRun(self.advisor, self.judge, context.messages)
        own = [RequestGuidance(run), CallGuidance(run)]
        context.client_kwargs["middleware"] = [*context.client_kwargs.get("middleware", ()), *own]
        try:
            await call_next()
        except MiddlewareTermination:
            await run.end(context.result)
            raise
        except BaseException:
            run.abandon()
            raise
        if isinstance(context.result, ResponseStream):
            context.result = run.streamed(context.result)
        else:
            await run.end(context.result)


class GuidedRun:
    """One run of an agent; its episode begins with the first request to the model, or call of a function."""

    def __init__(self, advisor: Advisor, judge: Judge | None, messages: Sequence[Message]) -> None:
        self.advisor, self.judge = advisor, judge
        self.said = Heard()
        with self.no_failure("a message could not be read"):
            self.said = heard(user_texts(messages))
        self.episode: AdvisedEpisode | None = None
        self.is_force_refused = False

    async def advise(self, messages: Sequence[Message], tools: Sequence[FunctionTool]) -> Advice | None:
        """What to do at this step; None where nothing could be asked."""
        with self.no_failure("advice could not be asked for"):
            said = heard(user_texts(messages))
            self.said = said if said.task else self.said  # a service that keeps the conversation gets what is new alone
            specs = [ToolSpec(tool.name, tool.description or "") for tool in tools]
            return await self.begun().arecommend(self.said.state, specs)
        return None

    def begun(self) -> AdvisedEpisode:
        """The episode."""
        self.episode = self.episode or self.advisor.episode(self.said.task)
        return self.episode

    async def end(self, result: object) -> None:
        """End the episode: judged where there is a response, left where it waits for someone."""
        if self.episode is None:
            return
        with self.no_failure("an episode could not be ended"):
            if not isinstance(result, AgentResponse) or result.user_input_requests:
                self.episode.abandon()
            else:
                await self.episode.afinish(judged(self.advisor.complaints, self.judge, result))

    def abandon(self) -> None:
        """Leave the episode unfinished."""
        if self.episode is not None:
            with self.no_failure("an episode could not be ended"):
                self.episode.abandon()

    def streamed(self, inner: ResponseStream[Any, Any]) -> ResponseStream[Any, Any]:
        """A run's stream; the episode ends with it, and is left where the stream fails or is not read to its end."""

        async def updates() -> AsyncIterator[Any]:
            try:
                async for update in inner:
                    yield update
                await self.end(await inner.get_final_response())
            finally:
                self.abandon()  # says nothing of an episode that has ended
                await inner.close()

        return ResponseStream(updates(), finalizer=lambda _: inner.get_final_response())

    def refuse_force(self, error: Exception) -> None:
        """Remember that the provider refuses a forced tool."""
        self.is_force_refused = True
        self.advisor.complaints.once("a forced tool was refused", f"{type(error).__name__}: {error}")

    def no_failure(self, what: str) -> AbstractContextManager[None]:
        """Say what fails inside instead of raising it."""
        return self.advisor.complaints.instead_of_raising(what)


class RequestGuidance(ChatMiddleware):
    """Sends each request of a run as advised."""

    def __init__(self, run: GuidedRun) -> None:
        self.run = run

    async def process(self, context: ChatContext, call_next: Next) -> None:
        """Send one request; where the provider refuses a forced tool, once more without force."""
        tools = [tool for tool in tools_of(context) if isinstance(tool, FunctionTool)]
        mode = choice_of(context.options)
        advice = await self.run.advise(context.messages, tools) if mode != "none" else None
        forced = None
        if advice is not None:
            with self.run.no_failure("advice could not be given"):
                forced = self._advised(context, advice, is_free=mode in (None, "auto"))
        names = {tool.name for tool in tools}
        if context.stream:
            context.stream_result_hooks.append(lambda response: self._observe_unknown(response, names))
        await self._send(context, call_next, forced)
        if isinstance(context.result, ChatResponse):
            self._observe_unknown(context.result, names)

    def _advised(self, context: ChatContext, advice: Advice, *, is_free: bool) -> dict[str, Any] | None:
        """Give the request its hint, and take out what is hidden; returns its options with a forced tool, if any."""
        if advice.hint:
            context.messages = [*context.messages, Message(role="user", contents=[advice.hint])]
        options = dict(context.options or {})
        if advice.is_narrowed:
            hidden = advice.refused.keys() - set(advice.tools)
            options["tools"] = [tool for tool in tools_of(context) if getattr(tool, "name", None) not in hidden]
            context.options = options
        if advice.forced is None or not is_free or self.run.is_force_refused:
            return None
        return {**options, "tool_choice": {"mode": "required", "required_function_name": advice.forced}}

    async def _send(self, context: ChatContext, call_next: Next, forced: dict[str, Any] | None) -> None:
        if forced is None:
            await call_next()
            return
        free, context.options = context.options, forced
        try:
            await call_next()
            if isinstance(context.result, ResponseStream):
                context.result = await begun(context.result)
        except Exception as error:  # noqa: BLE001 - each provider refuses in its own way; what else fails, fails again
            self.run.refuse_force(error)
            context.options = free
            await call_next()

    def _observe_unknown(self, response: ChatResponse[Any], names: set[str]) -> None:
        """Take in calls of functions that do not exist, which reach no middleware."""
        with self.run.no_failure("a response could not be read"):
            for content in (one for message in response.messages for one in message.contents):
                if content.type == "function_call" and content.name and content.name not in names:
                    self.run.begun().observe(content.name, content.arguments, "unknown_tool")


class CallGuidance(FunctionMiddleware):
    """Refuses calls of a run, and takes in what came of them."""

    def __init__(self, run: GuidedRun) -> None:
        self.run = run

    async def process(self, context: FunctionInvocationContext, call_next: Next) -> None:
        """Make one call."""
        with self.run.no_failure("no episode could be opened"):
            self.run.begun()
        episode, name, args = self.run.episode, context.function.name, context.arguments
        if episode is None:
            await call_next()
        elif reason := episode.refusal(name, args):
            episode.observe(name, args, "blocked", error=reason)
            context.result = refused(name, reason)
        else:
            await observed(episode, context, call_next)


async def observed(episode: AdvisedEpisode, context: FunctionInvocationContext, call_next: Next) -> None:
    """Make a call and take in what came of it."""
    name, args = context.function.name, context.arguments
    try:
        await call_next()
    except UserInputRequiredException:
        raise  # it waits for someone
    except BaseException as error:
        if type(error).__name__ == INVALID_ARGUMENTS:
            episode.observe(name, args, "invalid_args", error=error)
        else:
            observed_error(episode, name, args, error)
        raise
    episode.observe(name, args, "ok", shown(context.result))


async def begun(inner: ResponseStream[Any, Any]) -> ResponseStream[Any, Any]:
    """A stream whose first piece has come; raises where none comes, as where a provider refuses a request."""
    first = [update async for update in _first(inner)]

    async def updates() -> AsyncIterator[Any]:
        try:
            for update in first:
                yield update
            async for update in inner:
                yield update
        finally:
            await inner.close()

    return ResponseStream(updates(), finalizer=lambda _: inner.get_final_response())


async def _first(inner: ResponseStream[Any, Any]) -> AsyncIterator[Any]:
    async for update in inner:
        yield update
        return


def tools_of(context: ChatContext) -> Sequence[Any]:
    """The tools of a request: functions, and those that the service runs itself."""
    tools = (context.options or {}).get("tools") or ()
    return tools if isinstance(tools, Sequence) else [tools]


def choice_of(options: Mapping[str, Any] | None) -> str | None:
    """How free the model is in its choice of tools, as the user or the runtime set it.

    >>> choice_of({"tool_choice": {"mode": "required"}}), choice_of({"tool_choice": "auto"}), choice_of(None)
    ('required', 'auto', None)
    """
    choice = (options or {}).get("tool_choice")
    return choice.get("mode") if isinstance(choice, Mapping) else choice


def user_texts(messages: Iterable[Message]) -> Iterable[str]:
    """What the user said, in the order of time."""
    return (message.text for message in messages if message.role == "user")


def shown(result: object) -> object:
    r"""What the model is shown of a function's result.

    >>> shown([Content.from_text("found"), Content.from_text("two")]), shown(7)
    ('found\ntwo', 7)
    """
    if isinstance(result, list) and all(isinstance(one, Content) for one in result):
        return "\n".join(one.text if one.type == "text" and one.text else str(one) for one in result)
    return result

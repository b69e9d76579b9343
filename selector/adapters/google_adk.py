"""Google ADK: `App(name=..., root_agent=..., plugins=[Guidance(Advisor.open("agent.db"))])` guides an app's runs."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.conversation import heard
from selector.adapters.hosting import judged, observed_error, refused
from selector.adapters.needs import needs
from trajstore.schema import Outcome, ToolSpec

try:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.agents.invocation_context import InvocationContext
    from google.adk.events.event import Event
    from google.adk.events.event_actions import EventActions
    from google.adk.models.llm_request import LlmRequest
    from google.adk.models.llm_response import LlmResponse
    from google.adk.plugins.base_plugin import BasePlugin
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.tool_context import ToolContext
    from google.genai import types
except ImportError as error:
    raise needs("google-adk", "Google ADK") from error

Judge = Callable[[Event], bool | None]
Mode = types.FunctionCallingConfigMode

FINAL = "set_model_response"
"""The tool by which a model gives an answer that has a schema; it is neither recommended nor refused nor recorded."""


class GuidedRun:
    """One run of an app; its episode begins with the first request to a model, or call of a tool."""

    def __init__(self, advisor: Advisor) -> None:
        self.advisor = advisor
        self.episode: AdvisedEpisode | None = None
        self.names: set[str] = set()
        """The tools that exist at this step."""
        self.refused_calls: set[str | None] = set()
        self.forcing: set[str] = set()
        """The agents whose newest request forces a tool and has not been answered."""
        self.is_force_refused = False
        self.final: Event | None = None
        self._task: asyncio.Task[Any] | None = None
        self._when_left: Callable[[object], None] = self.abandon

    def watch(self, task: asyncio.Task[Any] | None, when_left: Callable[[object], None]) -> None:
        """Call `when_left` where the task that drives the run ends before the run has, as by cancellation."""
        self._task, self._when_left = task, when_left
        if task is not None:
            task.add_done_callback(when_left)

    def unwatch(self) -> None:
        """The run has ended."""
        if self._task is not None:
            self._task.remove_done_callback(self._when_left)

    def begun(self, events: Iterable[Event]) -> AdvisedEpisode:
        """The episode of a session."""
        self.episode = self.episode or self.advisor.episode(heard(user_texts(events)).task)
        return self.episode

    def abandon(self, _: object = None) -> None:
        """Leave the episode unfinished."""
        if self.episode is not None:
            with self.advisor.complaints.instead_of_raising("an episode could not be ended"):
                self.episode.abandon()


class Guidance(BasePlugin):
    """Guides runs by `advisor`; `judge` says of a run's last event whether it succeeded, None where that is unknown."""

    def __init__(self, advisor: Advisor, *, judge: Judge | None = None) -> None:
        super().__init__(name="trajstore_guidance")
        self.advisor, self.judge = advisor, judge
        self._runs: dict[str, GuidedRun] = {}

    async def before_run_callback(self, *, invocation_context: InvocationContext) -> None:
        """Begin a run; this runtime says nothing of one that is cancelled, so its task is watched."""
        run_id = invocation_context.invocation_id
        run = self._runs[run_id] = GuidedRun(self.advisor)
        run.watch(asyncio.current_task(), lambda _: self._leave(run_id))

    async def on_event_callback(self, *, invocation_context: InvocationContext, event: Event) -> None:
        """Keep the newest event that answers the user."""
        run = self._runs.get(invocation_context.invocation_id)
        if run is not None and event.is_final_response():
            run.final = event

    async def after_run_callback(self, *, invocation_context: InvocationContext) -> None:
        """End the episode: judged where the run has an answer, left where it has none or waits for someone."""
        run = self._ended(invocation_context.invocation_id)
        if run is None or run.episode is None:
            return
        with self._no_failure("an episode could not be ended"):
            if run.final is None or is_open(run.final) or getattr(invocation_context, "is_aborted", False):
                run.episode.abandon()
            else:
                await run.episode.afinish(judged(self.advisor.complaints, self.judge, run.final))

    async def on_run_error_callback(self, *, invocation_context: InvocationContext, error: Exception) -> None:
        """Leave a run that failed."""
        self._leave(invocation_context.invocation_id)

    async def before_model_callback(self, *, callback_context: CallbackContext, llm_request: LlmRequest) -> None:
        """Ask for advice, and give it with the request."""
        run = self._runs.get(callback_context.invocation_id)
        if run is None:
            return
        with self._no_failure("advice could not be given"):
            run.names = set(llm_request.tools_dict)
            offered = [tool for tool in llm_request.tools_dict.values() if tool.name != FINAL]
            tools = [ToolSpec(tool.name, tool.description or "") for tool in offered]
            events = callback_context.session.events
            advice = await run.begun(events).arecommend(heard(user_texts(events)).state, tools)
            give(llm_request, advice)
            if advice.forced and not run.is_force_refused and force(llm_request, advice.forced):
                run.forcing.add(callback_context.agent_name)

    async def after_model_callback(self, *, callback_context: CallbackContext, llm_response: LlmResponse) -> None:
        """A request that is answered was not refused."""
        run = self._runs.get(callback_context.invocation_id)
        if run is not None:
            run.forcing.discard(callback_context.agent_name)

    async def on_model_error_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest, error: Exception
    ) -> LlmResponse | None:
        """Where a forced tool was refused, ask once more without force; this run is not forced again."""
        run = self._runs.get(callback_context.invocation_id)
        if run is None or callback_context.agent_name not in run.forcing:
            return None
        run.forcing.discard(callback_context.agent_name)
        run.is_force_refused = True
        self.advisor.complaints.once("a forced tool was refused", f"{type(error).__name__}: {error}")
        with self._no_failure("a model could not be asked again"):
            llm_request.config.tool_config = None
            model = callback_context.get_invocation_context().agent.canonical_model  # type: ignore[union-attr]
            answers: list[LlmResponse] = [answer async for answer in model.generate_content_async(llm_request)]
            return answers[-1]
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        """Refuse a call that must not run."""
        run = self._runs.get(tool_context.invocation_id)
        if run is None:
            return None
        with self._no_failure("no episode could be opened"):
            episode = run.begun(tool_context.session.events)
            if reason := episode.refusal(tool.name, tool_args):
                run.refused_calls.add(tool_context.function_call_id)
                episode.observe(tool.name, tool_args, "blocked", error=reason)
                return {"error": refused(tool.name, reason)}
        return None

    async def after_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, result: Any
    ) -> None:
        """Take in what a tool gave back; a call that waits for someone has not been made."""
        run = self._runs.get(tool_context.invocation_id)
        if run is None or run.episode is None or tool.name == FINAL:
            return
        with self._no_failure("a step could not be taken in"):
            if tool_context.function_call_id not in run.refused_calls and not asks(tool_context.actions):
                run.episode.observe(tool.name, tool_args, outcome_of(tool.name, result, tool_context), shown(result))

    async def on_tool_error_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, error: BaseException
    ) -> None:
        """Take in a call that raised, was cancelled, or names a tool that does not exist."""
        run = self._runs.get(tool_context.invocation_id)
        if run is None or run.episode is None:
            return
        if run.names and tool.name not in run.names:
            run.episode.observe(tool.name, tool_args, "unknown_tool", error=error)
        else:
            observed_error(run.episode, tool.name, tool_args, error)

    def _ended(self, run_id: str) -> GuidedRun | None:
        run = self._runs.pop(run_id, None)
        if run is not None:
            run.unwatch()
        return run

    def _leave(self, run_id: str) -> None:
        run = self._ended(run_id)
        if run is not None:
            run.abandon()

    def _no_failure(self, what: str) -> AbstractContextManager[None]:
        return self.advisor.complaints.instead_of_raising(what)


def give(request: LlmRequest, advice: Advice) -> None:
    """Put the hint at the end of a request, and take out of it what is hidden."""
    if advice.hint:
        request.contents = [*request.contents, types.Content(role="user", parts=[types.Part(text=advice.hint)])]
    if advice.is_narrowed:
        hidden = advice.refused.keys() - set(advice.tools)
        request.config.tools = [without(one, hidden) for one in request.config.tools or ()]


def without(tool: Any, hidden: set[str]) -> Any:
    """A set of declared functions less those that are hidden.

    >>> one, two = types.FunctionDeclaration(name="look"), types.FunctionDeclaration(name="open")
    >>> [left.name for left in without(types.Tool(function_declarations=[one, two]), {"open"}).function_declarations]
    ['look']
    """
    if not isinstance(tool, types.Tool) or not tool.function_declarations:
        return tool
    kept = [one for one in tool.function_declarations if one.name not in hidden]
    return tool.model_copy(update={"function_declarations": kept})


def force(request: LlmRequest, name: str) -> bool:
    """Make a request force a tool; False where the user has set how tools are called."""
    if request.config.tool_config is not None:
        return False
    calling = types.FunctionCallingConfig(mode=Mode.ANY, allowed_function_names=[name])
    request.config.tool_config = types.ToolConfig(function_calling_config=calling)
    return True


def is_open(event: Event) -> bool:
    """Whether the last event of a run is an error, or asks for something that has to be answered first."""
    return bool(event.error_code or event.long_running_tool_ids or asks(event.actions))


def asks(actions: EventActions) -> bool:
    """Whether something has to be confirmed or a credential given."""
    return bool(actions.requested_tool_confirmations or actions.requested_auth_configs)


def outcome_of(name: str, result: object, context: ToolContext) -> Outcome:
    """How a call ended that gave something back: this runtime gives errors back as results, too."""
    if context.tool_confirmation is not None and not context.tool_confirmation.confirmed:
        return "blocked"
    if not isinstance(result, dict):
        return "ok"
    if str(result.get("error", "")).startswith(f"Invoking `{name}()` failed"):
        return "invalid_args"
    has_failed = result.get("error") or result.get("isError") or result.get("is_error")
    return "tool_error" if has_failed or result.get("status") == "error" else "ok"


def shown(result: object) -> object:
    """What the model is shown of a tool's result.

    >>> shown({"result": "found"}), shown({"found": 2})
    ('found', {'found': 2})
    """
    return result["result"] if isinstance(result, dict) and list(result) == ["result"] else result


def user_texts(events: Iterable[Event]) -> Iterator[str]:
    """What the user said, in the order of time."""
    for event in events:
        if event.author == "user" and event.content is not None:
            yield "\n".join(part.text for part in event.content.parts or () if part.text)

"""Guidance for agents of LangChain: a middleware for `create_agent`, in every way in which an agent may be run.

    agent = create_agent(model, tools, middleware=[Guidance(Advisor.open("agent.db", "suggest"))])

Put it first in the list: the middleware after it then works on each call before its end is recorded.
"""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, NotRequired

from selector.adapters.advice import Advice
from selector.adapters.advisor import Advisor
from selector.adapters.conversation import Heard, heard
from selector.adapters.guided_run import GuidedRun, tool_specs
from selector.adapters.hosting import Judge, judged, refused
from selector.adapters.needs import needs
from trajstore.schema import Outcome, ToolSpec

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState
    from langchain.agents.middleware.types import ModelRequest, ModelResponse, OmitFromInput, PrivateStateAttr
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import BaseTool
    from langgraph.errors import GraphBubbleUp
    from langgraph.prebuilt.tool_node import (
        INVALID_TOOL_NAME_ERROR_TEMPLATE,
        TOOL_INVOCATION_ERROR_TEMPLATE,
        ToolCallRequest,
    )
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as error:
    raise needs("langchain", "LangChain") from error

State = Mapping[str, Any]  # Any: an agent's state is what its middleware make it
Called = ToolMessage | Command[Any]

SOURCE = "lc_source"
"""By this key LangChain marks messages that no user wrote."""

MOST_OPEN = 1024
"""How many runs may be open at once: one that is never heard of again is at last taken for left."""


class GuidedState(AgentState[Any]):
    """What guidance adds to an agent's state: the run that it belongs to, and in the end the id to report it by."""

    trajstore_run: NotRequired[Annotated[str, PrivateStateAttr]]
    trajstore_episode: NotRequired[Annotated[str, OmitFromInput]]


class Guidance(AgentMiddleware[GuidedState, Any, Any]):
    """Guides every run of an agent; one object serves any number of agents and runs at once.

    `judge` is given the agent's final state (what `invoke` returns) and says whether the task was done.  The episode's
    id is in that state as "trajstore_episode", to report success by later (`Selector.report_episode`).
    """

    state_schema = GuidedState

    def __init__(self, advisor: Advisor, *, judge: Judge[State] | None = None) -> None:
        super().__init__()
        self.tools = []
        self._advisor, self._judge = advisor, judge
        self._open = OpenRuns(advisor)

    def before_agent(self, state: GuidedState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Begin a run."""
        with self._advisor.complaints.instead_of_raising("a run could not be begun"):
            self._open.leave(state.get("trajstore_run", ""))
            run_id = uuid.uuid4().hex
            self._open.begin(run_id, _heard(state).task)
            return {"trajstore_run": run_id, "trajstore_episode": ""}
        return None

    async def abefore_agent(self, state: GuidedState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Begin a run."""
        return self.before_agent(state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Ask the model with what is advised."""
        run = self._run_of(request.state)
        if run is None:
            return handler(request)
        with run.ending_where_it_fails():
            advice = run.advise(*self._question(request))
            if advice.forced and request.tool_choice is None:
                with run.trying_force():
                    return handler(_advised(request, advice).override(tool_choice=advice.forced))
            return handler(_advised(request, advice))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Ask the model with what is advised."""
        run = self._run_of(request.state)
        if run is None:
            return await handler(request)
        with run.ending_where_it_fails():
            advice = await run.aadvise(*self._question(request))
            if advice.forced and request.tool_choice is None:
                with run.trying_force():
                    return await handler(_advised(request, advice).override(tool_choice=advice.forced))
            return await handler(_advised(request, advice))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Called]) -> Called:
        """Call a tool that is not refused, and record what came of it."""
        run, call = self._run_of(request.state), request.tool_call
        if run is None:
            return handler(request)
        if reason := run.refused(call["name"], call["args"]):
            return _refused(request, reason)
        with run.calling(call["name"], call["args"]):
            result = handler(request)
            self._observe(run, request, result)
        return result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Called]]
    ) -> Called:
        """Call a tool that is not refused, and record what came of it."""
        run, call = self._run_of(request.state), request.tool_call
        if run is None:
            return await handler(request)
        if reason := run.refused(call["name"], call["args"]):
            return _refused(request, reason)
        with run.calling(call["name"], call["args"]):
            result = await handler(request)
            self._observe(run, request, result)
        return result

    def after_agent(self, state: GuidedState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run with the judge's word."""
        run = self._open.get(state.get("trajstore_run", ""))
        if run is None:
            return None
        run.finish(judged(self._advisor.complaints, self._judge, state))
        return {"trajstore_episode": run.episode.episode_id}

    async def aafter_agent(self, state: GuidedState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run with the judge's word."""
        run = self._open.get(state.get("trajstore_run", ""))
        if run is None:
            return None
        await run.afinish(judged(self._advisor.complaints, self._judge, state))
        return {"trajstore_episode": run.episode.episode_id}

    def _run_of(self, state: State) -> GuidedRun | None:
        """The run that a state belongs to; one taken up from a checkpoint, or after it failed, begins another."""
        with self._advisor.complaints.instead_of_raising("a run could not be found"):
            run_id = state.get("trajstore_run", "")
            if run_id:
                return self._open.get(run_id) or self._open.begin(run_id, _heard(state).task)
        return None

    def _question(self, request: ModelRequest[Any]) -> tuple[str, tuple[ToolSpec, ...]]:
        """State and tools to ask about: those that the agent itself runs."""
        with self._advisor.complaints.instead_of_raising("a request could not be read"):
            own = (tool for tool in request.tools if isinstance(tool, BaseTool))
            return _heard(request.state).state, tool_specs({tool.name: tool.description for tool in own})
        return "", ()

    def _observe(self, run: GuidedRun, request: ToolCallRequest, result: Called) -> None:
        with self._advisor.complaints.instead_of_raising("a call could not be recorded"):
            call, message = request.tool_call, _message(result, request.tool_call["id"])
            text = "" if message is None else message.text or message.content
            outcome: Outcome = "ok" if message is None or message.status != "error" else _failure(request, str(text))
            run.observe(call["name"], call["args"], outcome, text, error=None if outcome == "ok" else text)


class OpenRuns:
    """The runs that have not ended, by the id in the state of each; safe to share between threads."""

    def __init__(self, advisor: Advisor) -> None:
        self._advisor = advisor
        self._runs: OrderedDict[str, GuidedRun] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, run_id: str) -> GuidedRun | None:
        """An open run, None where there is none of this id."""
        return self._runs.get(run_id)

    def begin(self, run_id: str, task: str) -> GuidedRun:
        """Open a run; the oldest is left where too many are open."""
        run = GuidedRun(self._advisor, task, passing=(GraphBubbleUp,), on_end=lambda: self._runs.pop(run_id, None))
        with self._lock:
            self._runs[run_id] = run
            oldest = next(iter(self._runs)) if len(self._runs) > MOST_OPEN else ""
        self.leave(oldest)
        return run

    def leave(self, run_id: str) -> None:
        """End a run that goes on no more."""
        run = self._runs.get(run_id)
        if run is not None:
            run.abandon()


def _heard(state: State) -> Heard:
    return heard(_user_texts(state.get("messages", ())))


def _user_texts(messages: Iterable[object]) -> Iterator[str]:
    """What the user wrote; not what middleware wrote in the user's place, such as a summary."""
    for message in messages:
        if isinstance(message, HumanMessage) and SOURCE not in message.additional_kwargs:
            yield str(message.text)


def _advised(request: ModelRequest[Any], advice: Advice) -> ModelRequest[Any]:
    """The request with the tools and the hint of the advice; tools that the provider itself runs stay."""
    if advice.is_narrowed:
        kept = [tool for tool in request.tools if not isinstance(tool, BaseTool) or tool.name in advice.tools]
        request = request.override(tools=kept)
    if not advice.hint:
        return request
    hint = HumanMessage(advice.hint, additional_kwargs={SOURCE: "trajstore"})
    return request.override(messages=[*request.messages, hint])


def _refused(request: ToolCallRequest, reason: str) -> ToolMessage:
    name = request.tool_call["name"]
    return ToolMessage(refused(name, reason), name=name, tool_call_id=request.tool_call["id"], status="error")


def _message(result: object, call_id: str | None) -> ToolMessage | None:
    """The answer to a call among what its tool returned, None where it only commands."""
    if isinstance(result, Command):
        result = result.update.get("messages", ()) if isinstance(result.update, dict) else ()
    if isinstance(result, ToolMessage):
        return result
    found = (_message(one, call_id) for one in result) if isinstance(result, list | tuple) else ()
    return next((one for one in found if one is not None and one.tool_call_id == call_id), None)


def _failure(request: ToolCallRequest, text: str) -> Outcome:
    """What went wrong with a call, by the words in which LangGraph says so."""
    name = request.tool_call["name"]
    unknown = INVALID_TOOL_NAME_ERROR_TEMPLATE.partition("{available_tools}")[0].format(requested_tool=name)
    invalid = TOOL_INVOCATION_ERROR_TEMPLATE.partition("{tool_kwargs}")[0].format(tool_name=name)
    if request.tool is None and text.startswith(unknown):
        return "unknown_tool"
    own = getattr(request.tool, "handle_validation_error", False)
    is_invalid = text.startswith(invalid) or (own is True and text == "Tool input validation error") or text == own
    return "invalid_args" if is_invalid else "tool_error"

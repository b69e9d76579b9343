"""The tools' side of guidance in the OpenAI Agents SDK: what may not run, and how each call ended.

The SDK hands a failed call to its hooks as an ordinary text; what really happened is told only to the functions that
word that text.  Those are wrapped, and a guardrail that refuses is put on each tool, once; outside guided runs both do
nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any

from selector.adapters.complaints import Complaints
from selector.adapters.guided_run import GuidedRun
from selector.adapters.hosting import outcome_of, refused
from selector.adapters.needs import needs
from trajstore.schema import Outcome

try:
    from agents import (
        Agent,
        FunctionTool,
        ModelBehaviorError,
        RunConfig,
        RunContextWrapper,
        RunHooks,
        Tool,
        ToolGuardrailFunctionOutput,
        ToolInputGuardrail,
        ToolTimeoutError,
        default_tool_error_function,
    )
    from agents.run_config import ToolErrorFormatter, ToolErrorFormatterArgs
    from agents.tool import default_tool_timeout_error_message
    from agents.tool_context import ToolContext
    from agents.tool_guardrails import ToolInputGuardrailData
except ImportError as error:
    raise needs("openai-agents", "OpenAI Agents SDK") from error

INVALID_ARGS = "Invalid JSON input for tool"
"""How the SDK's error begins where arguments do not validate."""

OWN_WORDING = "_failure_error_function"
"""Where the SDK keeps a tool's own wording of its failures."""


class ToolCalls:
    """The calls of one guided run that have begun and not ended, and the errors that they met."""

    def __init__(self, run: GuidedRun, complaints: Complaints) -> None:
        self.run, self.complaints = run, complaints
        self._open: dict[str, ToolContext[Any]] = {}
        self._errors: dict[str, BaseException] = {}

    def begin(self, context: object) -> None:
        """A call begins; calls of other kinds than functions are not followed."""
        if isinstance(context, ToolContext):
            self._open[context.tool_call_id] = context

    def note(self, context: object, error: BaseException) -> None:
        """A call met an error; one of an agent within a tool is none of this run's calls."""
        if isinstance(context, ToolContext) and self._open.get(context.tool_call_id) is context:
            self._errors[context.tool_call_id] = error

    def end(self, context: object, tool: Tool, observation: object) -> None:
        """A call ended, with what the model is told of it."""
        if not isinstance(context, ToolContext) or self._open.pop(context.tool_call_id, None) is None:
            return
        error = self._errors.pop(context.tool_call_id, None)
        outcome = call_outcome(error) if error else _outcome_by_text(context, tool, observation)
        self.run.observe(
            tool.name,
            context.tool_arguments,
            outcome,
            observation,
            error=error or (None if outcome == "ok" else observation),
        )

    def leave(self, error: BaseException | None) -> None:
        """The run ended; a call that has not ended met its error, where there is but one."""
        for context in self._open.values():
            own = self._errors.get(context.tool_call_id) or (error if self._is_to_blame(error) else None)
            outcome: Outcome = call_outcome(own) if own else "unknown"
            self.run.observe(context.tool_name, context.tool_arguments, outcome, error=own)
        self._open.clear()

    def _is_to_blame(self, error: BaseException | None) -> bool:
        return len(self._open) == 1 or not isinstance(error, Exception)


class GuidedErrors:
    """Words the errors of tools as `own` does, and notes them.

    Every call carries it in its run config, by which the calls of a guided run are told from all others.  `inside` is
    the run config for agents within tools, None where a call is itself within one.
    """

    def __init__(self, calls: ToolCalls, own: ToolErrorFormatter | None, inside: RunConfig | None = None) -> None:
        self.calls, self.inside = calls, inside
        self._own = own

    def __call__(self, args: ToolErrorFormatterArgs[Any]) -> Any:
        """The words for the model, None for the SDK's own."""
        if args.error is not None:
            self.calls.note(args.run_context, args.error)
        return self._own(args) if self._own else None


class GuidedHooks(RunHooks[Any]):
    """Follows the calls of one run, and goes on to the hooks of the user's own."""

    def __init__(self, calls: ToolCalls, own: RunHooks[Any] | None, meet: Callable[[Agent[Any]], None]) -> None:
        self._calls, self._own, self._meet = calls, own or RunHooks[Any](), meet

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """An agent takes over."""
        self._meet(agent)
        await self._own.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """An agent has ended."""
        await self._own.on_agent_end(context, agent, output)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """An agent hands over to another."""
        await self._own.on_handoff(context, from_agent, to_agent)

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: str | None, input_items: Any) -> None:
        """The model is to be asked."""
        await self._own.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """The model has answered."""
        await self._own.on_llm_end(context, agent, response)

    async def on_tool_start(self, context: Any, agent: Any, tool: Tool) -> None:
        """A call begins."""
        self._calls.begin(context)
        await self._own.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Tool, result: object) -> None:
        """A call has ended."""
        with self._calls.complaints.instead_of_raising("a call could not be recorded"):
            self._calls.end(context, tool, result)
        await self._own.on_tool_end(context, agent, tool, result)


def follow(tools: Iterable[Tool]) -> None:
    """Put on each tool, once, what refuses its calls and notes their errors within guided runs."""
    for tool in tools:
        if not isinstance(tool, FunctionTool) or GUARDRAIL in (tool.tool_input_guardrails or ()):
            continue
        tool.tool_input_guardrails = [*(tool.tool_input_guardrails or ()), GUARDRAIL]
        tool.timeout_error_function = _noting(tool.timeout_error_function)
        # The SDK leaves details out of traces where it finds its own default here, so that must stay.
        wording = getattr(tool, OWN_WORDING, None)
        if wording is not None and wording is not default_tool_error_function:
            setattr(tool, OWN_WORDING, _noting(wording))


def follow_servers(servers: Iterable[Any]) -> None:
    """Note, within guided runs, which results of MCP servers are errors: the model is given both alike, as a text."""
    for server in servers:
        own = getattr(server, "custom_data_extractor", None)
        if not isinstance(own, ServerErrors):
            server.custom_data_extractor = ServerErrors(own)


class ServerErrors:
    """Notes which results of an MCP server are errors, and extracts from each what `own` does."""

    def __init__(self, own: Callable[[Any], Any] | None) -> None:
        self._own = own

    def __call__(self, result: Any) -> Any:
        """What the SDK is to keep of a result beside its text, None for nothing."""
        errors = _errors_of(result.run_context)
        if errors is not None and result.is_error:
            errors.calls.note(result.run_context, RuntimeError(f"the server says that {result.tool_name} failed"))
        return self._own(result) if self._own else None


def _refuse(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
    context, errors = data.context, _errors_of(data.context)
    if errors is None or errors.inside is None:
        return ToolGuardrailFunctionOutput.allow()
    with errors.calls.complaints.instead_of_raising("a call could not be checked"):
        context.run_config = errors.inside  # an agent within this tool runs as if nobody guided it
        reason = errors.calls.run.refused(context.tool_name, context.tool_arguments)
        if reason:
            return ToolGuardrailFunctionOutput.reject_content(refused(context.tool_name, reason))
    return ToolGuardrailFunctionOutput.allow()


GUARDRAIL: ToolInputGuardrail[Any] = ToolInputGuardrail(_refuse, name="trajstore")
"""Refuses what the advice of a call's run refuses; allows everything outside a guided run."""


def _noting(wording: Any) -> Any:
    """The wording of a tool's errors, which notes them first; None stays None: then errors are raised."""
    if wording is None:
        return None

    def worded(context: RunContextWrapper[Any], error: Exception) -> Any:
        errors = _errors_of(context)
        if errors is not None:
            errors.calls.note(context, error)
        return wording(context, error)

    return worded


def _errors_of(context: object) -> GuidedErrors | None:
    config = context.run_config if isinstance(context, ToolContext) else None
    found = config.tool_error_formatter if config else None
    return found if isinstance(found, GuidedErrors) else None


def call_outcome(error: BaseException) -> Outcome:
    """The outcome of a call that met an error.

    >>> call_outcome(ModelBehaviorError("Invalid JSON input for tool book: {")), call_outcome(ValueError("no"))
    ('invalid_args', 'tool_error')
    """
    if isinstance(error, ModelBehaviorError) and str(error).startswith(INVALID_ARGS):
        return "invalid_args"
    if isinstance(error, ToolTimeoutError):
        return "timeout"
    return outcome_of(getattr(error, "cancelled_error", error))


def _outcome_by_text(context: ToolContext[Any], tool: Tool, observation: object) -> Outcome:
    """The outcome by the texts that the SDK itself has for failures."""
    if observation == default_tool_error_function(context, Exception()):
        return "tool_error"
    seconds = getattr(tool, "timeout_seconds", None)
    if seconds and observation == default_tool_timeout_error_message(tool_name=tool.name, timeout_seconds=seconds):
        return "timeout"
    return "ok" if hasattr(tool, OWN_WORDING) else "unknown"  # where its words cannot be told from an observation

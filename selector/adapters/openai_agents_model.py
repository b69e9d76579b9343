"""The model's side of guidance in the OpenAI Agents SDK: a model that is asked with what is advised."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from selector.adapters.advice import Advice
from selector.adapters.complaints import Complaints
from selector.adapters.conversation import heard
from selector.adapters.guided_run import GuidedRun, tool_specs
from selector.adapters.needs import needs
from trajstore.schema import ToolSpec

try:
    from agents import FunctionTool, Handoff, Model, ModelProvider, ModelResponse, ModelSettings, Tool
    from agents.items import TResponseInputItem, TResponseStreamEvent
except ImportError as error:
    raise needs("openai-agents", "OpenAI Agents SDK") from error

from selector.adapters.openai_agents_tools import follow

Input = str | list[TResponseInputItem]


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked with, as far as guidance changes it."""

    input: Input
    settings: ModelSettings
    tools: list[Tool]

    def advised(self, advice: Advice) -> "Request":
        """With the tools and the hint of the advice; tools that the provider itself runs stay."""
        tools = self.tools
        if advice.is_narrowed:
            tools = [tool for tool in tools if not isinstance(tool, FunctionTool) or tool.name in advice.tools]
        if not advice.hint:
            return replace(self, tools=tools)
        said: list[TResponseInputItem] = [_by_user(self.input)] if isinstance(self.input, str) else self.input
        return replace(self, tools=tools, input=[*said, _by_user(advice.hint)])

    def forced(self, tool: str) -> "Request":
        """With a tool that must be called."""
        return replace(self, settings=replace(self.settings, tool_choice=tool))

    @property
    def is_free(self) -> bool:
        """Whether the model may call what it likes, so that nobody's own choice is overruled."""
        return self.settings.tool_choice in (None, "auto")


class GuidedModel(Model):
    """A model that is asked with what is advised in one run.

    What else the SDK wants of a model is left to `inner`.
    """

    def __init__(self, inner: Model, run: GuidedRun, complaints: Complaints) -> None:
        self._inner, self._run, self._complaints = inner, run, complaints
        self._state = ""

    def __getattr__(self, name: str) -> Any:
        return _of(self, name)

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self._inner._cleanup_on_run_end(owner)

    async def close(self) -> None:
        """Close the model."""
        await self._inner.close()

    def get_retry_advice(self, request: Any) -> Any:
        """What the model says of a request that failed."""
        return self._inner.get_retry_advice(request)

    async def get_response(
        self,
        system_instructions: str | None,
        input: Input,  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **named: Any,  # the SDK's interface grows; what guidance does not know is passed on
    ) -> ModelResponse:
        """Ask the model with what is advised."""
        plain = Request(input, model_settings, tools)
        advice = await self._run.aadvise(*self._question(plain))
        request, response = plain.advised(advice), None
        if advice.forced and plain.is_free:
            with self._run.trying_force():
                response = await self._ask(system_instructions, request.forced(advice.forced), *rest, **named)
        if response is None:
            response = await self._ask(system_instructions, request, *rest, **named)
        self._note_unknown(response.output, tools, _handoffs(rest, named))
        return response

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Input,  # noqa: A002 - as above
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **named: Any,  # as above
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Ask the model with what is advised, event by event; force is given up before the first event only."""
        plain = Request(input, model_settings, tools)
        advice = await self._run.aadvise(*self._question(plain))
        request, has_begun = plain.advised(advice), False
        if advice.forced and plain.is_free:
            forced = request.forced(advice.forced)
            async with aclosing(self._stream(system_instructions, forced, tools, *rest, **named)) as events:
                with self._run.trying_force():
                    first = await anext(events)
                    has_begun = True
                if has_begun:
                    yield first
                    async for event in events:
                        yield event
                    return
        async with aclosing(self._stream(system_instructions, request, tools, *rest, **named)) as events:
            async for event in events:
                yield event

    async def _ask(self, instructions: str | None, request: Request, *rest: Any, **named: Any) -> ModelResponse:
        return await self._inner.get_response(
            instructions, request.input, request.settings, request.tools, *rest, **named
        )

    async def _stream(
        self, instructions: str | None, request: Request, tools: Sequence[Tool], *rest: Any, **named: Any
    ) -> AsyncGenerator[TResponseStreamEvent, None]:
        """The events of one request; `tools` are all that exist, offered or not."""
        stream = self._inner.stream_response(
            instructions, request.input, request.settings, request.tools, *rest, **named
        )
        async with _closing(stream):
            async for event in stream:
                if event.type == "response.completed":
                    self._note_unknown(event.response.output, tools, _handoffs(rest, named))
                yield event

    def _question(self, request: Request) -> tuple[str, tuple[ToolSpec, ...]]:
        """State and tools to ask about; a request that continues one kept by the provider repeats no user's words."""
        with self._complaints.instead_of_raising("a request could not be read"):
            self._state = heard(user_texts(request.input)).state or self._state
            follow(request.tools)
            own = (tool for tool in request.tools if isinstance(tool, FunctionTool))
            return self._state, tool_specs({tool.name: tool.description for tool in own})
        return self._state, ()

    def _note_unknown(self, items: Iterable[Any], tools: Sequence[Tool], handoffs: Sequence[Handoff]) -> None:
        """Record the calls of tools that do not exist: the SDK tells no hook of them."""
        with self._complaints.instead_of_raising("a response could not be read"):
            known = {tool.name for tool in tools} | {handoff.tool_name for handoff in handoffs}
            for item in items:
                is_call = getattr(item, "type", "") == "function_call" and not getattr(item, "namespace", None)
                if is_call and item.name not in known:
                    problem = f"there is no tool {item.name!r}"
                    self._run.observe(item.name, item.arguments, "unknown_tool", error=problem)


class GuidedProvider(ModelProvider):
    """A provider whose models are asked with what is advised in one run."""

    def __init__(self, inner: ModelProvider, run: GuidedRun, complaints: Complaints) -> None:
        self._inner, self._run, self._complaints = inner, run, complaints
        self._models: dict[int, GuidedModel] = {}

    def __getattr__(self, name: str) -> Any:
        return _of(self, name)

    def get_model(self, model_name: str | None) -> Model:
        """A model by its name."""
        return self.guided(self._inner.get_model(model_name))

    def guided(self, model: Model) -> GuidedModel:
        """The model, guided; the same one each time."""
        return self._models.setdefault(id(model), GuidedModel(model, self._run, self._complaints))

    async def aclose(self) -> None:
        """Close the provider."""
        await self._inner.aclose()


def _of(wrapper: object, name: str) -> Any:
    """What a wrapper does not have itself; a copy that is being made has no inner object yet."""
    if "_inner" not in vars(wrapper):
        raise AttributeError(name)
    return getattr(vars(wrapper)["_inner"], name)


def user_texts(given: object) -> Iterator[str]:
    """What the user wrote, in the order of time.

    >>> list(user_texts([{"role": "user", "content": [{"type": "input_text", "text": "Go."}]}, {"role": "assistant"}]))
    ['Go.']
    """
    if isinstance(given, str):
        yield given
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and item.get("role") == "user":
            yield _text(item.get("content"))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _by_user(text: str) -> TResponseInputItem:
    return {"role": "user", "content": text}


def _handoffs(rest: Sequence[Any], named: dict[str, Any]) -> Sequence[Handoff]:
    """The agents to hand over to: the sixth argument of a model, or the one of this name."""
    handoffs: Sequence[Handoff] = named.get("handoffs") or (rest[1] if len(rest) > 1 else ())
    return handoffs


@asynccontextmanager
async def _closing(stream: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Close a stream that is left before its end, where it can be closed."""
    try:
        yield
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()

"""Agents of each runtime whose model follows a script and costs nothing: `adapter_cost.py` runs them.

Tools are coroutines where the runtime awaits them, so that a run stays on the thread that it was begun on.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from selector.adapters.advisor import Advisor

Run = Callable[[str], Awaitable[object]]
"""Runs an agent once, on a task."""
Make = Callable[[Any, "Script"], Run]
"""Makes an agent that plays a script, with guidance by its runtime's adapter, what stands in its place, or None."""

DESCRIPTION = "Look something up by its name."
DONE = "done"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool that the model makes."""

    tool: str
    args: Mapping[str, str]
    id: str


class Script:
    """The tools `names` in turn, each called on something else, until `steps` calls are made; then from the start."""

    def __init__(self, names: Sequence[str], steps: int) -> None:
        self.names, self.steps = tuple(names), steps
        self.tools = tuple(dict.fromkeys(self.names))
        self._asked = 0

    def next(self) -> Call | None:
        """The model's next call, None where it has its answer."""
        at = self._asked % (self.steps + 1)
        self._asked += 1
        return self.call(at) if at < self.steps else None

    def call(self, at: int) -> Call:
        """The call at one step."""
        return Call(self.names[at % len(self.names)], {"query": f"item {at}"}, f"call{at}")


def function_named(name: str) -> Callable[[str], Awaitable[str]]:
    """A tool of this name."""

    async def function(query: str) -> str:
        return f"found {query}"

    function.__name__, function.__doc__ = name, DESCRIPTION
    return function


def langchain_agent(guidance: Any, script: Script) -> Run:
    """An agent of LangChain."""
    from langchain.agents import create_agent  # noqa: PLC0415 - may not be installed, as all below
    from langchain_core.language_models import BaseChatModel  # noqa: PLC0415
    from langchain_core.messages import AIMessage  # noqa: PLC0415
    from langchain_core.outputs import ChatGeneration, ChatResult  # noqa: PLC0415

    class Scripted(BaseChatModel):
        _llm_type = "scripted"

        def bind_tools(self, tools: object, **_: object) -> Any:
            return self

        def _generate(self, *_: object, **__: object) -> ChatResult:
            call = script.next()
            made = [{"name": call.tool, "args": dict(call.args), "id": call.id}] if call else []
            return ChatResult(generations=[ChatGeneration(message=AIMessage("" if call else DONE, tool_calls=made))])

        async def _agenerate(self, *_: object, **__: object) -> ChatResult:
            return self._generate()

    tools, middleware = [function_named(name) for name in script.tools], [guidance] if guidance else []
    agent = create_agent(Scripted(), tools, middleware=middleware)
    return lambda task: agent.ainvoke({"messages": [{"role": "user", "content": task}]})


def openai_agents_agent(guidance: Any, script: Script) -> Run:
    """An agent of the OpenAI Agents SDK."""
    from agents import Agent, RunConfig, Runner, function_tool  # noqa: PLC0415
    from agents.testing import ScriptedModel, assistant_message, function_call  # noqa: PLC0415

    runner = guidance or Runner
    tools, config = [function_tool(function_named(name)) for name in script.tools], RunConfig(tracing_disabled=True)
    calls = [script.call(at) for at in range(script.steps)]

    def run(task: str) -> Any:
        asked = [[function_call(one.tool, dict(one.args), call_id=one.id)] for one in calls]
        model = ScriptedModel([*asked, [assistant_message(DONE)]])
        agent = Agent(name="agent", model=model, tools=[*tools])
        return runner.run(agent, task, run_config=config, max_turns=script.steps + 1)

    return run


def pydantic_ai_agent(guidance: Any, script: Script) -> Run:
    """An agent of pydantic-ai."""
    from pydantic_ai import Agent, UsageLimits  # noqa: PLC0415
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart  # noqa: PLC0415
    from pydantic_ai.models.function import FunctionModel  # noqa: PLC0415

    async def answer(*_: object) -> ModelResponse:
        call = script.next()
        return ModelResponse([ToolCallPart(call.tool, dict(call.args), call.id) if call else TextPart(DONE)])

    tools = [function_named(name) for name in script.tools]
    agent = Agent(FunctionModel(answer), tools=tools, capabilities=[guidance] if guidance else [])
    limits = UsageLimits(request_limit=None)
    return lambda task: agent.run(task, usage_limits=limits)


def smolagents_agent(guidance: Any, script: Script) -> Run:
    """An agent of smolagents, which is never awaited."""
    from smolagents import ChatMessage, Model, Tool, ToolCallingAgent  # noqa: PLC0415
    from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole  # noqa: PLC0415

    class Scripted(Model):
        def generate(self, *_: object, **__: object) -> ChatMessage:
            call = script.next() or Call("final_answer", {"answer": DONE}, "last")
            made = ChatMessageToolCallFunction(arguments=dict(call.args), name=call.tool)
            calls = [ChatMessageToolCall(made, id=call.id, type="function")]
            return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=calls)

    class Named(Tool):
        name, description, output_type = "named", DESCRIPTION, "string"
        inputs: Any = {"query": {"type": "string", "description": "name"}}  # noqa: RUF012 - as the runtime asks

        def forward(self, query: str) -> str:
            return f"found {query}"

    def tool_named(name: str) -> Tool:
        tool = Named()
        tool.name = name
        return tool

    tools = [tool_named(name) for name in script.tools]
    agent = ToolCallingAgent(tools, Scripted(model_id="scripted"), verbosity_level=0, max_steps=script.steps + 1)
    guided = guidance.guide(agent) if guidance else agent

    async def run(task: str) -> object:
        return guided.run(task)

    return run


def agent_framework_agent(guidance: Any, script: Script) -> Run:
    """An agent of Microsoft Agent Framework."""
    from agent_framework import (  # noqa: PLC0415
        Agent,
        BaseChatClient,
        ChatMiddlewareLayer,
        ChatResponse,
        Content,
        FunctionInvocationLayer,
        Message,
        tool,
    )

    class Scripted(FunctionInvocationLayer, ChatMiddlewareLayer, BaseChatClient):  # type: ignore[misc]  # as its guide says
        def _inner_get_response(self, **_: object) -> Any:
            async def answer() -> ChatResponse:
                call = script.next()
                made = Content.from_function_call(call.id, call.tool, arguments=dict(call.args)) if call else DONE
                return ChatResponse(messages=[Message(role="assistant", contents=[made])])

            return answer()

    client = Scripted()
    client.function_invocation_configuration["max_iterations"] = script.steps + 1
    tools = [tool(function_named(name), approval_mode="never_require") for name in script.tools]
    agent = Agent(client=client, tools=tools, middleware=[guidance] if guidance else None)
    return agent.run


def google_adk_agent(guidance: Any, script: Script) -> Run:
    """An app of Google ADK with one agent, asked in a new session each time."""
    from google.adk.agents import LlmAgent  # noqa: PLC0415
    from google.adk.apps import App  # noqa: PLC0415
    from google.adk.models import BaseLlm, LlmResponse  # noqa: PLC0415
    from google.adk.runners import InMemoryRunner  # noqa: PLC0415
    from google.genai import types  # noqa: PLC0415

    class Scripted(BaseLlm):
        async def generate_content_async(self, *_: object, **__: object) -> Any:
            call = script.next()
            part = (
                types.Part.from_function_call(name=call.tool, args=dict(call.args)) if call else types.Part(text=DONE)
            )
            yield LlmResponse(content=types.Content(role="model", parts=[part]))

    tools = [function_named(name) for name in script.tools]
    agent = LlmAgent(name="root", model=Scripted(model="scripted"), tools=[*tools])
    plugins = [guidance] if guidance else []
    runner = InMemoryRunner(app=App(name="scripted", root_agent=agent, plugins=[*plugins]))

    async def run(task: str) -> object:
        session = await runner.session_service.create_session(app_name="scripted", user_id="u")
        message = types.Content(role="user", parts=[types.Part(text=task)])
        return [one async for one in runner.run_async(user_id="u", session_id=session.id, new_message=message)]

    return run


def idle_langchain() -> object:
    """A middleware with the hooks of guidance that does nothing."""
    from langchain.agents.middleware import AgentMiddleware  # noqa: PLC0415

    class Idle(AgentMiddleware):
        async def abefore_agent(self, state: object, runtime: object) -> None:
            pass

        async def aafter_agent(self, state: object, runtime: object) -> None:
            pass

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(request)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(request)

    return Idle()


def idle_openai_agents() -> object:
    """A runner with the hooks of guidance that do nothing."""
    from agents import RunHooks, Runner, ToolGuardrailFunctionOutput, ToolInputGuardrail  # noqa: PLC0415

    guardrail = ToolInputGuardrail[Any](lambda _: ToolGuardrailFunctionOutput.allow(), name="idle")

    class Idle:
        def run(self, agent: Any, task: str, **options: Any) -> Any:
            for tool in agent.tools:
                tool.tool_input_guardrails = [guardrail]
            return Runner.run(agent, task, hooks=RunHooks[Any](), **options)

    return Idle()


def idle_pydantic_ai() -> object:
    """A capability with the hooks of guidance that does nothing."""
    from pydantic_ai.capabilities import AbstractCapability  # noqa: PLC0415

    class Idle(AbstractCapability[Any]):
        async def for_run(self, ctx: Any) -> Any:
            return Idle()

        async def wrap_run(self, ctx: Any, *, handler: Any) -> Any:
            return await handler()

        async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
            return request_context

        async def prepare_model_request(self, ctx: Any, request_context: Any) -> Any:
            return request_context

        async def after_model_request(self, ctx: Any, *, request_context: Any, response: Any) -> Any:
            return response

        async def wrap_tool_validate(self, ctx: Any, *, args: Any, handler: Any, **_: Any) -> Any:
            return await handler(args)

        async def wrap_tool_execute(self, ctx: Any, *, args: Any, handler: Any, **_: Any) -> Any:
            return await handler(args)

    return Idle()


def guidance_in(runtime: str) -> Callable[[Advisor], object]:
    """Makes guidance of an advisor for a runtime; raises MissingDependency where that is not installed."""
    adapter = import_module(f"selector.adapters.{runtime.replace('-', '_')}")
    return adapter.Guidance  # type: ignore[no-any-return]


IDLE: Mapping[str, Callable[[], object]] = {
    "langchain": idle_langchain,
    "openai-agents": idle_openai_agents,
    "pydantic-ai": idle_pydantic_ai,
}
"""What costs a runtime time before anything is done in it."""

RUNTIMES: Mapping[str, Make] = {
    "langchain": langchain_agent,
    "openai-agents": openai_agents_agent,
    "pydantic-ai": pydantic_ai_agent,
    "smolagents": smolagents_agent,
    "agent-framework": agent_framework_agent,
    "google-adk": google_adk_agent,
}

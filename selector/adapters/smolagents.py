"""smolagents: `agent = Guidance(Advisor.open("agent.db")).guide(ToolCallingAgent(tools, model))` guides what it runs.

An agent of smolagents keeps its run on itself, so it runs one task at a time; guidance keeps an episode for each agent.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.conversation import heard
from selector.adapters.hosting import judged, observed_error, refused
from selector.adapters.needs import needs
from trajstore.schema import ToolSpec

try:
    from smolagents import CodeAgent, LocalPythonExecutor, RunResult
    from smolagents.memory import FinalAnswerStep, TaskStep
    from smolagents.models import ChatMessage, MessageRole
    from smolagents.utils import AgentToolCallError
except ImportError as error:
    raise needs("smolagents", "smolagents") from error

GuidedAgent = TypeVar("GuidedAgent")
Judge = Callable[[Any], bool | None]
Asked = Callable[..., Any]

FINAL = "final_answer"
"""The tool that ends a run; it is neither recommended nor refused nor recorded."""
ACTION_STOP = "Observation:"
"""Where the model is to stop in a step of action, and in no other."""


class ToolRefused(Exception):
    """Raised within an agent's code where it calls a tool that must not run."""


class Guidance:
    """Guides agents by `advisor`; `judge` says of a run's answer whether it is right, None where that is not known."""

    def __init__(self, advisor: Advisor, *, judge: Judge | None = None) -> None:
        self.advisor, self.judge = advisor, judge

    def guide(self, agent: GuidedAgent) -> GuidedAgent:
        """Guide all runs of an agent from now on; returns the agent."""
        AgentRuns(agent, self.advisor, self.judge).take_over()
        return agent


class AgentRuns:
    """The runs of one agent, one after the other."""

    def __init__(self, agent: Any, advisor: Advisor, judge: Judge | None) -> None:
        self.agent, self.advisor, self.judge = agent, advisor, judge
        self.is_code = isinstance(agent, CodeAgent)
        self.episode: AdvisedEpisode | None = None
        self.is_force_refused = False

    def take_over(self) -> None:
        """Stand between the agent and its model, and between the agent and its tools."""
        agent, run = self.agent, self.agent.run
        agent.model = GuidedModel(agent.model, self)
        agent.run = lambda *args, **kwargs: self.guided_run(run, *args, **kwargs)
        if not self.is_code:
            execute = agent.execute_tool_call
            agent.execute_tool_call = lambda tool_name, arguments: self.called(execute, tool_name, arguments)
        elif isinstance(agent.python_executor, LocalPythonExecutor):
            send = agent.python_executor.send_tools
            agent.python_executor.send_tools = lambda tools: send(self.watched(tools))

    def guided_run(self, run: Asked, *args: Any, **kwargs: Any) -> Any:
        """What the agent's own `run` does, as one episode."""
        self.begin()
        try:
            result = run(*args, **kwargs)
        except BaseException:
            self.abandon()
            raise
        if inspect.isgenerator(result):
            return self.streamed(result)
        self.finish(result.output if isinstance(result, RunResult) else result)
        return result

    def streamed(self, events: Iterator[Any]) -> Iterator[Any]:
        """What a run streams; one that is not read to its end is left."""
        try:
            for event in events:
                if isinstance(event, FinalAnswerStep):
                    self.finish(event.output)
                yield event
        finally:
            self.abandon()

    def begin(self) -> None:
        """Forget the run before; the episode itself begins with the first step."""
        self.abandon()
        self.episode, self.is_force_refused = None, False

    def finish(self, answer: object) -> None:
        """End the episode with the judge's word."""
        if self.episode is not None:
            with self._no_failure("an episode could not be ended"):
                self.episode.finish(judged(self.advisor.complaints, self.judge, answer))

    def abandon(self) -> None:
        """Leave an episode that has not ended."""
        if self.episode is not None:
            with self._no_failure("an episode could not be ended"):
                self.episode.abandon()

    def advice(self) -> Advice | None:
        """What to do at this step, None where nothing could be asked."""
        with self._no_failure("advice could not be asked for"):
            tools = [ToolSpec(name, str(one.description or "")) for name, one in self.tools().items() if name != FINAL]
            said = heard(step.task for step in self.agent.memory.steps if isinstance(step, TaskStep))
            self.episode = self.episode or self.advisor.episode(said.task, tools)
            return self.episode.recommend(said.state, tools)
        return None

    def tools(self) -> dict[str, Any]:
        """The agent's tools and the agents that it manages, by name."""
        return {**self.agent.tools, **self.agent.managed_agents}

    def called(self, execute: Asked, tool: str, args: Any) -> Any:
        """Call a tool, or say why it must not run, and take in what came of it."""
        episode = self.episode
        if episode is None or tool == FINAL:
            return execute(tool, args)
        if tool in self.tools() and (reason := episode.refusal(tool, args)):
            episode.observe(tool, args, "blocked", error=reason)
            return refused(tool, reason)
        return self.observed(lambda: execute(tool, args), tool, args)

    def watched(self, tools: Mapping[str, Any]) -> dict[str, Any]:
        """Tools for an agent's code that refuse, and take in what came of them."""
        return {name: tool if name == FINAL else WatchedTool(name, tool, self) for name, tool in tools.items()}

    def observed(self, call: Callable[[], Any], tool: str, args: Any) -> Any:
        """Make a call and take in what came of it."""
        episode = self.episode
        if episode is None:
            return call()
        try:
            observation = call()
        except AgentToolCallError as error:
            episode.observe(tool, args, "invalid_args", error=error)
            raise
        except BaseException as error:
            if tool not in self.tools():
                episode.observe(tool, args, "unknown_tool", error=error)
            else:
                observed_error(episode, tool, args, error)
            raise
        episode.observe(tool, args, "ok", observation)
        return observation

    def refuse_force(self, error: Exception) -> None:
        """Remember that the provider refuses a forced tool."""
        self.is_force_refused = True
        self.advisor.complaints.once("a forced tool was refused", f"{type(error).__name__}: {error}")

    def _no_failure(self, what: str) -> AbstractContextManager[None]:
        return self.advisor.complaints.instead_of_raising(what)


class GuidedModel:
    """A model that is asked with the advice of each step; in all else it is the model behind it."""

    def __init__(self, inner: Any, runs: AgentRuns) -> None:
        self._inner, self._runs = inner, runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __call__(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        """As `generate`."""
        return self.generate(messages, *args, **kwargs)

    def generate(self, messages: list[Any], stop_sequences: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """The model's answer."""
        plain, forced = self._requests(messages, stop_sequences, kwargs)
        if forced is not None:
            try:
                return self._inner.generate(**forced)
            except Exception as error:  # noqa: BLE001 - each provider refuses in its own way; what else fails, fails again
                self._runs.refuse_force(error)
        return self._inner.generate(**plain)

    def generate_stream(
        self, messages: list[Any], stop_sequences: Sequence[str] | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """The model's answer in pieces; a refusal is known with the first of them."""
        plain, forced = self._requests(messages, stop_sequences, kwargs)
        if forced is not None:
            try:
                pieces = iter(self._inner.generate_stream(**forced))
                begun = [piece for piece in [next(pieces, None)] if piece is not None]
            except Exception as error:  # noqa: BLE001 - as above
                self._runs.refuse_force(error)
            else:
                yield from begun
                yield from pieces
                return
        yield from self._inner.generate_stream(**plain)

    def _requests(
        self, messages: list[Any], stop_sequences: Sequence[str] | None, others: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The request as advised but without force, and the one with force, None where nothing is forced."""
        plain = {"messages": messages, "stop_sequences": stop_sequences, **others}
        advice = self._runs.advice() if ACTION_STOP in (stop_sequences or ()) else None
        if advice is None:
            return plain, None
        plain["messages"] = with_hint(messages, advice.hint)
        offered = others.get("tools_to_call_from")
        if offered is None:  # the tools of an agent that writes code stand in its system prompt
            return plain, None
        plain["tools_to_call_from"] = offered_of(offered, advice)
        if advice.forced is None or self._runs.is_force_refused:
            return plain, None
        return plain, {**plain, "tool_choice": {"type": "function", "function": {"name": advice.forced}}}


class WatchedTool:
    """A tool as an agent's code calls it; in all else it is the tool behind it."""

    def __init__(self, name: str, inner: Any, runs: AgentRuns) -> None:
        self._name, self._inner, self._runs = name, inner, runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the tool; raises ToolRefused where it must not run, so that no code goes on with the refusal as data."""
        named = {**dict(zip(self._inner.inputs, args, strict=False)), **kwargs}
        episode = self._runs.episode
        if episode is not None and (reason := episode.refusal(self._name, named)):
            episode.observe(self._name, named, "blocked", error=reason)
            raise ToolRefused(refused(self._name, reason))
        return self._runs.observed(lambda: self._inner(*args, **kwargs), self._name, named)


def with_hint(messages: list[Any], hint: str) -> list[Any]:
    """The messages with a hint at their end."""
    if not hint:
        return messages
    return [*messages, ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": hint}])]


def offered_of(tools: Sequence[Any], advice: Advice) -> list[Any]:
    """The tools less those that are hidden."""
    hidden = advice.refused.keys() - set(advice.tools)
    return [tool for tool in tools if tool.name not in hidden]

"""Guidance for agents of the OpenAI Agents SDK, run as usual: `run`, `run_sync` or `run_streamed`.

    result = await Guidance(Advisor.open("agent.db", "suggest")).run(agent, "Book a flight to Oslo.")

Who calls `Runner` with hooks and a run config of their own gives them to `begin`, and runs with what comes back.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from selector.adapters.advisor import Advisor
from selector.adapters.conversation import heard
from selector.adapters.guided_run import GuidedRun
from selector.adapters.hosting import Judge, judged
from selector.adapters.needs import needs

try:
    from agents import Agent, Model, RunConfig, RunHooks, Runner, RunResult, RunResultStreaming
    from agents.lifecycle import RunHooksBase
except ImportError as error:
    raise needs("openai-agents", "OpenAI Agents SDK") from error

from selector.adapters.openai_agents_model import GuidedProvider, user_texts
from selector.adapters.openai_agents_tools import GuidedErrors, GuidedHooks, ToolCalls, follow_servers

Finished = RunResult | RunResultStreaming

EPISODE = "trajstore_episode"
"""Under this name a result keeps its episode."""


class Guidance:
    """Guides runs of agents; one object serves any number of agents and runs at once.

    `judge` is given the run's result and says whether the task was done.  `episode_id` names the episode of a result,
    to report success by later (`Selector.report_episode`).
    """

    def __init__(self, advisor: Advisor, *, judge: Judge[Finished] | None = None) -> None:
        self._advisor, self._judge = advisor, judge

    async def run(self, agent: Agent[Any], input: Any, **options: Any) -> RunResult:  # noqa: A002 - the SDK's name
        """`Runner.run`, guided; takes its options."""
        guided = self._begin(agent, input, options)
        with guided.left_where_it_fails():
            result = await Runner.run(agent, input, **guided.options(options))
        await guided.afinish(result)
        return result

    def run_sync(self, agent: Agent[Any], input: Any, **options: Any) -> RunResult:  # noqa: A002 - as above
        """`Runner.run_sync`, guided; takes its options."""
        guided = self._begin(agent, input, options)
        with guided.left_where_it_fails():
            result = Runner.run_sync(agent, input, **guided.options(options))
        guided.finish(result)
        return result

    def run_streamed(self, agent: Agent[Any], input: Any, **options: Any) -> RunResultStreaming:  # noqa: A002 - as above
        """`Runner.run_streamed`, guided; takes its options.  The episode ends when the run has."""
        guided = self._begin(agent, input, options)
        with guided.left_where_it_fails():
            result = Runner.run_streamed(agent, input, **guided.options(options))
        guided.finish_when_done(result)
        return result

    def begin(
        self,
        agent: Agent[Any],
        input: Any,  # noqa: A002 - as above
        *,
        hooks: RunHooks[Any] | None = None,
        run_config: RunConfig | None = None,
    ) -> "GuidedAgent":
        """A guided run, to be run by `Runner` with the hooks and the run config of what is returned, and then ended.

        The user's own `hooks` and `run_config` stay in force.
        """
        return GuidedAgent(self._advisor, self._judge, agent, input, hooks, run_config)

    def _begin(self, agent: Agent[Any], given: Any, options: Mapping[str, Any]) -> "GuidedAgent":
        config = options.get("run_config")
        return self.begin(
            agent,
            given,
            hooks=options.get("hooks"),
            run_config=RunConfig(**config) if isinstance(config, dict) else config,
        )


class GuidedAgent:
    """One guided run: its `hooks` and `run_config` are for `Runner`; end it by `finish`, `afinish` or `abandon`."""

    def __init__(
        self,
        advisor: Advisor,
        judge: Judge[Finished] | None,
        agent: Agent[Any],
        given: Any,
        hooks: RunHooks[Any] | None,
        config: RunConfig | None,
    ) -> None:
        self._complaints, self._judge = advisor.complaints, judge
        self._own = config or RunConfig()
        self._run = GuidedRun(advisor, self._task(given))
        self._calls = ToolCalls(self._run, self._complaints)
        self._provider = GuidedProvider(self._own.model_provider, self._run, self._complaints)
        inside = replace(self._own, tool_error_formatter=GuidedErrors(self._calls, self._own.tool_error_formatter))
        errors = GuidedErrors(self._calls, self._own.tool_error_formatter, inside)
        self.run_config = replace(self._own, model_provider=self._provider, tool_error_formatter=errors)
        self._meet(agent)
        is_usable = hooks is None or isinstance(hooks, RunHooksBase)  # what is not, the runner itself complains of
        self.hooks: RunHooks[Any] | None = GuidedHooks(self._calls, hooks, self._meet) if is_usable else hooks

    @property
    def episode_id(self) -> str:
        """The id to report by (`Selector.report_episode`)."""
        return self._run.episode.episode_id

    def options(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The runner's options, with what guides the run."""
        return {**own, "hooks": self.hooks, "run_config": self.run_config}

    def finish(self, result: Finished) -> None:
        """End the run with the judge's word; waits until it is stored."""
        if self._has_ended(result):
            self._run.finish(judged(self._complaints, self._judge, result))

    async def afinish(self, result: Finished) -> None:
        """`finish` without holding up the event loop."""
        if self._has_ended(result):
            await self._run.afinish(judged(self._complaints, self._judge, result))

    def finish_when_done(self, result: RunResultStreaming) -> None:
        """`finish` once a streamed run is done; does not wait."""
        setattr(result, EPISODE, self._run.episode)
        task = result.run_loop_task
        if task is None:
            self.abandon()
        else:
            task.add_done_callback(lambda done: self._streamed(result, done))

    def abandon(self, error: BaseException | None = None) -> None:
        """End the run as one that failed or was left; does not wait."""
        with self._complaints.instead_of_raising("a run could not be ended"):
            self._calls.leave(error)
            self._run.abandon()

    @contextmanager
    def left_where_it_fails(self) -> Iterator[None]:
        """Whatever is raised inside ends the run."""
        try:
            yield
        except BaseException as error:
            self.abandon(error)
            raise

    def _has_ended(self, result: Finished) -> bool:
        """Whether a run came to an output; one that waits for an approval is left, and goes on as another."""
        setattr(result, EPISODE, self._run.episode)
        if result.final_output is not None:
            return True
        self.abandon()
        return False

    def _streamed(self, result: RunResultStreaming, done: "asyncio.Task[Any]") -> None:
        with self._complaints.instead_of_raising("a run could not be ended"):
            error = asyncio.CancelledError() if done.cancelled() else result.run_loop_exception
            if error is not None:
                self.abandon(error)
            elif self._has_ended(result):
                self._run.finish_soon(judged(self._complaints, self._judge, result))

    def _meet(self, agent: Agent[Any]) -> None:
        """Guide the model of an agent that takes over: the provider makes those that it knows by name."""
        with self._complaints.instead_of_raising("an agent could not be guided"):
            own = self._own.model or agent.model
            self.run_config.model = self._provider.guided(own) if isinstance(own, Model) else self._own.model
            follow_servers(agent.mcp_servers)

    def _task(self, given: Any) -> str:
        with self._complaints.instead_of_raising("a task could not be read"):
            return heard(user_texts(getattr(given, "_original_input", given))).task
        return ""


def episode_id(result: Finished) -> str:
    """The id to report a run's success by (`Selector.report_episode`), "" for one that was not guided."""
    return str(getattr(getattr(result, EPISODE, None), "episode_id", ""))

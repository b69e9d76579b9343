"""An MCP server that advises agents: what to call next, what was called, how it ended, and what is stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from selector.adapters.needs import needs

try:
    from anyio import CancelScope
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types.version import MODERN_PROTOCOL_VERSIONS
    from pydantic import Field, ValidationError
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.advice import Advice
from selector.adapters.advisor import Advisor
from selector.adapters.mcp_episodes import IDLE_SECONDS, Observed, OpenEpisodes
from selector.adapters.mcp_records import (
    FinishedTrajectory,
    FoundStep,
    FoundSteps,
    OfferedTool,
    PrunedTool,
    PrunedTools,
    RankedTool,
    Recommendation,
    RecordedStep,
    RefusedTool,
    Statistics,
)
from selector.adapters.ranking import by_evidence, has_opinion
from trajstore import __version__
from trajstore.errors import TrajstoreError
from trajstore.filters import Wanted
from trajstore.recalled import Recollection
from trajstore.render import PastStep
from trajstore.schema import Outcome, ToolSpec
from trajstore.searching import search

Result = TypeVar("Result")

STATISTICS = "trajstore://statistics"
PRUNED = "trajstore://pruned"
MOST_FOUND = 100
INSTRUCTIONS = (
    "Experience with tools. Before each step call recommend with the task, what you know now and the tools you may "
    "call. After it tell record_step what you called and what came of it, whether or not it was recommended. At the "
    "end call finish_trajectory, with success only where it was checked."
)

Text = Annotated[str, Field(min_length=1)]
EpisodeId = Annotated[str, Field(min_length=1, description="As recommend gave it.")]
Reward = Annotated[float, Field(ge=0.0, le=1.0)]


class ExperienceServer(MCPServer[OpenEpisodes]):
    """A server on an advisor's store, whose errors are one sentence in the tool's result."""

    def __init__(self, advisor: Advisor, idle_seconds: float) -> None:
        self._advisor, self._idle_seconds = advisor, idle_seconds
        self._served: list[OpenEpisodes] = []
        super().__init__(
            "trajstore",
            instructions=INSTRUCTIONS,
            version=__version__,
            log_level="WARNING",
            lifespan=lambda _: self._serving(),
        )

    def close(self) -> None:
        """Abandon every episode that is open, store everything, and close the store; again it does nothing."""
        for episodes in self._served:
            self._advisor.submit(episodes.abandon_all)
        self._advisor.close()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[OpenEpisodes]:
        episodes = OpenEpisodes(self._advisor, idle_seconds=self._idle_seconds)
        self._served.append(episodes)
        try:
            yield episodes
        finally:
            self._served.remove(episodes)
            with CancelScope(shield=True):  # whoever serves may be ended by a signal right after this
                await asyncio.wrap_future(self._advisor.submit(episodes.abandon_all))

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[OpenEpisodes, Any] | None = None
    ) -> Any:  # Any: as the SDK declares arguments and results
        """Call a tool, as the SDK does."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, TrajstoreError):
                raise ToolError(str(error.__cause__)) from error.__cause__
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_sentence(name, error.__cause__)) from error.__cause__
            raise


class Guide:
    """What the server's tools do; everything that touches the store happens on the advisor's thread."""

    def __init__(self, advisor: Advisor) -> None:
        self._advisor = advisor

    async def recommend(
        self,
        context: Context[OpenEpisodes, Any],
        task: Annotated[Text, Field(description="What the agent is asked to do, as the user said it.")],
        tools: Annotated[list[OfferedTool | Text], Field(min_length=1, description="What may be called now.")],
        state: Annotated[str, Field(description="What the agent knows now: the user's newest words.")] = "",
        episode_id: Annotated[str, Field(description="Empty at the first step of a task, then as it was given.")] = "",
    ) -> Recommendation:
        """Say which tool to call next, and which not to, from what became of similar steps."""
        episodes = context.request_context.lifespan_context
        offered = [_spec(tool) for tool in tools]
        if not episode_id:
            episode_id = await self._do(lambda: episodes.begin(task))
            self._abandon_with(context, episode_id)
        advice = await self._do(lambda: episodes.recommend(episode_id, state, offered))
        return recommendation(episode_id, advice)

    async def record_step(
        self,
        context: Context[OpenEpisodes, Any],
        episode_id: EpisodeId,
        tool: Text,
        outcome: Annotated[Outcome, Field(description="ok only where the call worked.")],
        args: dict[str, Any] | None = None,  # Any: what an agent writes
        observation: Annotated[str, Field(description="What came back.")] = "",
        error: str = "",
    ) -> RecordedStep:
        """Tell what was called and what came of it, whether or not it was recommended."""
        episodes = context.request_context.lifespan_context
        observed = Observed(tool, args, outcome, observation, error)
        step = await self._do(lambda: episodes.record(episode_id, observed))
        return RecordedStep(episode_id=episode_id, step=step.index, outcome=step.outcome)

    async def finish_trajectory(
        self,
        context: Context[OpenEpisodes, Any],
        episode_id: EpisodeId,
        success: Annotated[bool | None, Field(description="Whether the task was done; null: nobody checked.")] = None,
        reward: Reward | None = None,
    ) -> FinishedTrajectory:
        """End an episode: its trajectory is stored, and the next recommendations learn from it."""
        episodes = context.request_context.lifespan_context
        trajectory_id = await self._do(lambda: episodes.finish(episode_id, success, reward))
        return FinishedTrajectory(episode_id=episode_id, trajectory_id=trajectory_id, success=success)

    async def search_trajectories(
        self,
        task: Text,
        state: str = "",
        history: Annotated[list[Text] | None, Field(description="Tools called so far.")] = None,
        limit: Annotated[int, Field(ge=1, le=MOST_FOUND)] = 5,
        sources: Annotated[list[Text] | None, Field(description="Only steps that one of these supplied.")] = None,
        tools: Annotated[list[Text] | None, Field(description="Only calls of one of these tools.")] = None,
    ) -> FoundSteps:
        """Find the stored steps that are nearest to a situation."""
        past = tuple(PastStep(name) for name in history or ())
        wanted = Wanted(tuple(sources or ()), tuple(tools or ()))
        return await self._do(lambda: self._search(task, state, past, limit, wanted))

    async def statistics(self) -> str:
        """How much is stored, as JSON."""
        stats = await self._do(self._advisor.selector.store.stats)
        return Statistics(**{name: getattr(stats, name) for name in Statistics.model_fields}).model_dump_json()

    async def pruned(self) -> str:
        """Which tools are left out in which kinds of state, and why, as JSON."""
        return (await self._do(self._pruned)).model_dump_json()

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.shield(asyncio.wrap_future(self._advisor.submit(work)))

    def _search(self, task: str, state: str, past: tuple[PastStep, ...], limit: int, wanted: Wanted) -> FoundSteps:
        store, room = self._advisor.selector.store, self._advisor.selector.room(self._advisor.settings.namespace)
        room.keep_up()
        known = room.knowledge
        if not len(known.experience):
            return FoundSteps(steps=[])
        loaded = Recollection(store.mark, (), known.experience, known.retriever, tuple)
        hits = search(loaded, task, state, past, k=limit, wanted=wanted)
        found = {hit.trajectory: store.get(hit.trajectory) for hit in hits}
        return FoundSteps(
            steps=[
                FoundStep(
                    trajectory_id=hit.trajectory,
                    step=hit.step,
                    tool=hit.tool,
                    similarity=hit.similarity,
                    success=hit.success,
                    task=found[hit.trajectory].task.text,
                    outcome=found[hit.trajectory].steps[hit.step].outcome,
                )
                for hit in hits
            ]
        )

    def _pruned(self) -> PrunedTools:
        room = self._advisor.selector.room(self._advisor.settings.namespace)
        return PrunedTools(
            pruned=[
                PrunedTool(
                    tool=row.tool,
                    state=room.cluster_label(row.cluster),
                    status=row.status,
                    reason=row.reason,
                    until=row.until,
                )
                for row in room.prunings()
                if row.is_pruned
            ]
        )

    def _abandon_with(self, context: Context[OpenEpisodes, Any], episode_id: str) -> None:
        """Abandon the episode when its client's connection ends; one of protocol 2026 is a single request's."""
        if context.request_context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return
        connection = context.request_context.session._connection  # the SDK has no public way to its clean-up
        episodes = context.request_context.lifespan_context
        connection.exit_stack.callback(self._advisor.submit, lambda: episodes.abandon(episode_id))


def make_server(advisor: Advisor, *, idle_seconds: float = IDLE_SECONDS) -> ExperienceServer:
    """The server on an advisor's store.

    An episode is abandoned (censored: it counts neither as done nor as failed) when its client's connection ends, when
    it was not used for `idle_seconds`, and when the server ends.
    """
    guide = Guide(advisor)
    server = ExperienceServer(advisor, idle_seconds)
    for tool in (guide.recommend, guide.record_step, guide.finish_trajectory, guide.search_trajectories):
        server.add_tool(tool)
    server.resource(STATISTICS, mime_type="application/json")(guide.statistics)
    server.resource(PRUNED, mime_type="application/json")(guide.pruned)
    return server


def recommendation(episode_id: str, advice: Advice) -> Recommendation:
    """Advice as a client reads it."""
    decision = advice.decision
    is_shown = has_opinion(decision)
    known = {one.candidate.tool: one.probability for one in decision.ranked} if decision and is_shown else {}
    return Recommendation(
        episode_id=episode_id,
        decision_id=decision.decision_id if decision else "",
        ranked=[RankedTool(tool=name, probability=known.get(name)) for name in by_evidence(advice)],
        refused=[RefusedTool(tool=name, reason=reason) for name, reason in advice.refused.items()],
        hint=advice.hint,
        suggested=decision.tool if decision and is_shown else None,
        forced=advice.forced,
    )


def _spec(tool: OfferedTool | str) -> ToolSpec:
    return ToolSpec(tool) if isinstance(tool, str) else ToolSpec(tool.name, tool.description)


def _sentence(tool: str, error: ValidationError) -> str:
    """What is wrong with arguments, without their values."""
    wrong = {".".join(map(str, one["loc"])): one["msg"][:1].lower() + one["msg"][1:] for one in error.errors()}
    return f"{tool} was called wrongly: {'; '.join(f'{where}: {what}' for where, what in wrong.items())}"

"""One pass of a live agent through a task: choose, record, finish."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from selector.errors import EpisodeFinished, SelectorUsageError
from selector.feedback import Plan
from selector.records import Decision
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate, Outcome, Step, StepKind, Task, ToolSpec, Trajectory


@dataclass(frozen=True, slots=True)
class EpisodeReport:
    """A finished or abandoned episode: its record, how it was treated, and decisions that no step followed."""

    episode_id: str
    trajectory: Trajectory
    plan: Plan
    decisions: tuple[tuple[int, Decision], ...]


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step that was taken, and the decision before it (None: nobody asked)."""

    episode_id: str
    step: Step
    decision: Decision | None


class Host(Protocol):
    """What an episode needs of its selector."""

    def goal_similarities(self, task: str) -> NDArray[np.float32]:
        """Similarity of the task with every stored one."""
        ...

    def plan(self, episode_id: str) -> Plan:
        """How a new episode is to be treated."""
        ...

    def decide(self, situation: Situation, goals: NDArray[np.float32], plan: Plan | None = None) -> Decision:
        """One decision."""
        ...

    def remembered(self, step: Step) -> PastStep:
        """A step as the decisions after it see it."""
        ...

    def take_step(self, report: StepReport) -> None:
        """Take in a step as soon as its outcome is known."""
        ...

    def close_episode(self, report: EpisodeReport) -> str:
        """Take in what happened; returns the trajectory's id, empty where it is not stored."""
        ...


class Episode:
    """Made by `Selector.episode`.  Leaving it without `finish` censors it: it never counts as failed.

    `plan` says whether this episode is guided, and how.
    """

    def __init__(
        self, host: Host, task: Task, tools: Sequence[ToolSpec], *, agent: str = "", source: str = "live"
    ) -> None:
        self.episode_id = uuid.uuid4().hex
        self.task = task
        self.trajectory_id = ""
        self._host = host
        self._tools = tuple(Candidate(tool.name, text=tool.description) for tool in tools)
        self._agent, self._source = agent, source
        self._history: list[PastStep] = []
        self._steps: list[Step] = []
        self._unanswered: list[tuple[int, Decision]] = []
        self._pending: Decision | None = None
        self._offered: tuple[Candidate, ...] = ()
        self._state = ""
        self._goals = host.goal_similarities(task.text)
        self.plan = host.plan(self.episode_id)
        self._is_open = True

    def choose(self, state: str = "", candidates: Sequence[Candidate] | None = None) -> Decision:
        """Choose among `candidates`, or among the episode's tools where none are given."""
        self._require_open()
        offered = tuple(candidates) if candidates is not None else self._tools
        if not offered:
            raise SelectorUsageError("nothing to choose from: give candidates, or tools when the episode is opened")
        self.withdraw()
        situation = Situation(self.task.text, state, tuple(self._history), offered)
        decision = self._host.decide(situation, self._goals, self.plan)
        self._pending, self._offered, self._state = decision, offered, state
        return decision

    def withdraw(self) -> None:
        """The last decision came too late or was never shown: it is logged, and no step counts as its answer."""
        if self._pending is not None:
            self._unanswered.append((len(self._steps), self._pending))
            self._pending = None

    def record(  # noqa: PLR0913 - one argument for one field of the step
        self,
        tool: str,
        args: Mapping[str, Any] | None = None,
        observation: str = "",
        outcome: Outcome = "unknown",
        reward: float | None = None,
        *,
        state: str | None = None,
        kind: StepKind = "tool",
        error: str | None = None,
    ) -> Step:
        """Record what was really called, whether or not it was what `choose` named, and what came back."""
        self._require_open()
        followed = self._pending if self._pending is not None and _is_call(self._pending, tool, args or {}) else None
        step = Step(
            index=len(self._steps),
            tool=tool,
            state=self._state if state is None else state,
            args=dict(args or {}),
            observation=observation,
            outcome=outcome,
            error=error,
            reward=reward,
            kind=kind,
            candidates=self._offered if self._pending is not None else (),
            propensity=followed.propensity if followed else None,
            decision_id=self._pending.decision_id if self._pending else None,
        )
        self._steps.append(step)
        self._history.append(self._host.remembered(step))
        decision, self._pending = self._pending, None
        self._host.take_step(StepReport(self.episode_id, step, decision))
        return step

    def finish(
        self,
        success: bool | None = None,  # noqa: FBT001 - None, nobody judged it, is a third value
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> str:
        """End the episode; returns the id of the stored trajectory (empty where episodes are not recorded)."""
        self._require_open()
        return self._close(success, reward, dict(kpis or {}), "finished")

    async def achoose(self, state: str = "", candidates: Sequence[Candidate] | None = None) -> Decision:
        """`choose`, off the event loop."""
        return await asyncio.to_thread(self.choose, state, candidates)

    async def arecord(
        self,
        tool: str,
        args: Mapping[str, Any] | None = None,
        observation: str = "",
        outcome: Outcome = "unknown",
        reward: float | None = None,
    ) -> Step:
        """`record`, off the event loop."""
        return await asyncio.to_thread(self.record, tool, args, observation, outcome, reward)

    async def afinish(
        self,
        success: bool | None = None,  # noqa: FBT001 - None, nobody judged it, is a third value
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> str:
        """`finish`, off the event loop."""
        return await asyncio.to_thread(self.finish, success, reward, kpis)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self._close(None, None, {}, "censored")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            await asyncio.to_thread(self._close, None, None, {}, "censored")

    def _close(
        self,
        success: bool | None,  # noqa: FBT001 - as above
        reward: float | None,
        kpis: Mapping[str, float],
        stop_reason: str,
    ) -> str:
        trajectory = Trajectory(
            task=self.task,
            steps=tuple(self._steps),
            success=success,
            reward=reward,
            kpis=kpis,
            agent=self._agent,
            source=self._source,
            stop_reason=stop_reason,
            metadata={"episode": self.episode_id},
        )
        self._is_open = False
        self.withdraw()
        self.trajectory_id = self._host.close_episode(
            EpisodeReport(self.episode_id, trajectory, self.plan, tuple(self._unanswered))
        )
        return self.trajectory_id

    def _require_open(self) -> None:
        if not self._is_open:
            raise EpisodeFinished(f"episode {self.episode_id} has ended; open a new one with Selector.episode")


def _is_call(decision: Decision, tool: str, args: Mapping[str, Any]) -> bool:
    """Whether a call is the one that was decided on; a bare tool leaves its arguments open."""
    candidate = decision.candidate
    return candidate is not None and candidate.tool == tool and (not candidate.args or candidate.args == args)

"""The open episodes of an MCP server's clients, by id: abandoned where their client has gone or said nothing for long.

An episode's id is the key to it; nobody who was not given it can guess it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from selector.adapters.advice import Advice, advice_of, candidates_of
from selector.adapters.advisor import Advisor
from selector.adapters.plain import plain_json, plain_text
from selector.episode import Episode
from selector.errors import SelectorUsageError
from trajstore.schema import Outcome, Step, ToolSpec

IDLE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A call as its agent tells of it."""

    tool: str
    args: object
    outcome: Outcome
    observation: str = ""
    error: str = ""


class OpenEpisodes:
    """Episodes that have begun and not ended; used on the advisor's thread alone.

    Those that were not used for `idle_seconds` are abandoned when the next one is looked at.
    """

    def __init__(
        self, advisor: Advisor, *, idle_seconds: float = IDLE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._advisor, self._idle_seconds, self._clock = advisor, idle_seconds, clock
        self._open: dict[str, Episode] = {}
        self._used: dict[str, float] = {}

    def begin(self, task: str) -> str:
        """Open an episode; returns its id."""
        self._abandon_idle()
        if not task.strip():
            raise SelectorUsageError("task must not be empty: say what the agent is asked to do")
        named = self._advisor.settings
        episode = self._advisor.selector.episode(
            plain_text(task), namespace=named.namespace, agent=named.agent, source=named.source
        )
        self._open[episode.episode_id] = episode
        self._used[episode.episode_id] = self._clock()
        return episode.episode_id

    def recommend(self, episode_id: str, state: str, tools: list[ToolSpec]) -> Advice:
        """What to do next in an episode."""
        episode = self._find(episode_id)
        if not tools:
            raise SelectorUsageError("tools must not be empty: name the tools that the agent may call now")
        decision = episode.choose(plain_text(state) or episode.task.text, candidates_of(tools))
        return advice_of(decision, tools, keeps_tools=False)

    def record(self, episode_id: str, observed: Observed) -> Step:
        """Record a step of an episode."""
        episode = self._find(episode_id)
        return episode.record(
            plain_text(observed.tool),
            plain_json(observed.args),
            plain_text(observed.observation),
            observed.outcome,
            error=plain_text(observed.error) or None,
        )

    def finish(self, episode_id: str, success: bool | None, reward: float | None) -> str:  # noqa: FBT001 - None is a third value
        """End an episode; returns the id of its trajectory."""
        trajectory_id = self._find(episode_id).finish(success, reward)
        self._forget(episode_id)
        return trajectory_id

    def abandon(self, episode_id: str) -> None:
        """End an episode that was left; one that has ended stays as it is."""
        episode = self._forget(episode_id)
        if episode is not None:
            with self._advisor.complaints.instead_of_raising("an episode could not be stored"), episode:
                pass

    def abandon_all(self) -> None:
        """End all of them as left."""
        for episode_id in list(self._open):
            self.abandon(episode_id)

    def _abandon_idle(self) -> None:
        for episode_id, used in list(self._used.items()):
            if self._clock() - used > self._idle_seconds:
                self.abandon(episode_id)

    def _find(self, episode_id: str) -> Episode:
        self._abandon_idle()
        if episode_id not in self._open:
            raise SelectorUsageError(
                f"no episode {episode_id!r} is open: call recommend without episode_id to begin one"
            )
        self._used[episode_id] = self._clock()
        return self._open[episode_id]

    def _forget(self, episode_id: str) -> Episode | None:
        self._used.pop(episode_id, None)
        return self._open.pop(episode_id, None)

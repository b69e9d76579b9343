"""The engine as an agent of the demo: it chooses among grounded actions; where it abstains, it acts at random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from selector.demo.agents import choose_at_random
from selector.demo.collect import rng_for
from selector.episode import Episode
from selector.errors import EpisodeFinished
from selector.records import Decision
from trajstore.environment import Observation, Transition
from trajstore.schema import Candidate, Task

OpenEpisode = Callable[[Task], Episode]


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step with the decision behind it; `chosen` is not the decision's candidate where that abstained."""

    state: str
    decision: Decision
    chosen: Candidate
    after: Transition


class EngineAgent:
    """Asks an episode of the engine for each step.

    `open_episode` opens one for a task, e.g. `lambda task: selector.episode(task=task.text)`.  Whether what happens in
    it is stored is the selector's own setting: a comparison must not learn from its test tasks.  `steps` are those of
    the newest episode, `abstentions` are counted over all.
    """

    def __init__(self, open_episode: OpenEpisode, *, seed: int = 0, name: str = "engine") -> None:
        self.name = name
        self.steps: list[ExplainedStep] = []
        self.abstentions = 0
        self._open_episode = open_episode
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._episode: Episode | None = None
        self._pending: tuple[str, Decision, Candidate] | None = None

    def begin(self, task: Task) -> None:
        """Open an episode of the engine."""
        self._rng = rng_for(self._seed, task.task_id)
        self._episode = self._open_episode(task)
        self._pending = None
        self.steps = []

    def choose(self, seen: Observation | Transition) -> Candidate:
        """The engine's candidate; where it abstains, any that it neither prunes nor fears."""
        decision = self._open().choose(seen.state, seen.candidates)
        self.abstentions += decision.candidate is None
        chosen = decision.candidate or choose_at_random(harmless(decision, seen.candidates), self._rng)
        self._pending = (seen.state, decision, chosen)
        return chosen

    def observe(self, after: Transition) -> None:
        """Tell the engine what came back."""
        if self._pending is None:
            raise EpisodeFinished("observe must follow choose, and nothing was chosen since the last step")
        state, decision, chosen = self._pending
        self._open().record(chosen.tool, chosen.args, after.observation, after.outcome, after.reward)
        self.steps.append(ExplainedStep(state, decision, chosen, after))
        self._pending = None

    def end(self, *, success: bool, reward: float) -> None:
        """Finish the engine's episode."""
        self._open().finish(success, reward)
        self._episode = None

    def _open(self) -> Episode:
        if self._episode is None:
            raise EpisodeFinished("no episode is open: call begin(task) first")
        return self._episode


def harmless(decision: Decision, offered: Sequence[Candidate]) -> Sequence[Candidate]:
    """What a decision neither prunes nor fears; all that is offered where that is nothing."""
    left_out = {id(one) for one in (*decision.feared, *(pruned.candidate for pruned in decision.pruned))}
    return [one for one in offered if id(one) not in left_out] or offered

"""What an advised episode does on its advisor's own thread: begin, choose, record, close."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selector.adapters.advice import Advice, advice_of, candidates_of, no_opinion
from selector.adapters.complaints import Complaints
from selector.episode import Episode
from selector.errors import SelectorUsageError
from selector.selector import Selector
from trajstore.schema import Step, Task, ToolSpec, Trajectory


@dataclass(frozen=True, slots=True)
class AdvisorSettings:
    """How an advisor guides.

    `budget_seconds` > 0 is how long a step may wait for a decision, `finish_seconds` > 0 how long the end of an episode
    waits until it is stored (storing goes on after that).  `keeps_tools` says whether refused tools are still offered,
    which keeps cached prompts valid.  `namespace`, `agent` and `source` name what is stored.
    """

    namespace: str = "default"
    agent: str = ""
    source: str = "live"
    budget_seconds: float = 0.02
    finish_seconds: float = 10.0
    keeps_tools: bool = True

    def __post_init__(self) -> None:
        for name in ("budget_seconds", "finish_seconds"):
            if not getattr(self, name) > 0:
                raise SelectorUsageError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Ending:
    """How an episode ended; one that was left is censored: it never counts as failed, and may be judged later."""

    success: bool | None = None
    reward: float | None = None
    kpis: Mapping[str, float] | None = None
    was_left: bool = False

    @property
    def is_censored(self) -> bool:
        """Whether it was left, or nobody has judged it yet."""
        return self.was_left or (self.success is None and self.reward is None and not self.kpis)

    def storable(self) -> "Ending":
        """The same in plain numbers, whatever library they come from; an error where they are none.

        >>> Ending(success=True, reward=1).storable()
        Ending(success=True, reward=1.0, kpis=None, was_left=False)
        """
        if self.success not in (None, True, False):
            raise SelectorUsageError(f"success must be True, False or None, got {self.success!r}")
        return Ending(
            None if self.success is None else bool(self.success),
            None if self.reward is None else float(self.reward),
            None if self.kpis is None else {name: float(value) for name, value in self.kpis.items()},
            self.was_left,
        )


class Question:
    """A question on its way: it is either answered, or given up by whoever asked, whichever comes first."""

    def __init__(self, state: str, tools: Sequence[ToolSpec]) -> None:
        self.state, self.tools = state, tuple(tools)
        self.is_given_up = False
        self._is_answered = False
        self._lock = threading.Lock()

    def answer(self) -> bool:
        """Say that there is an answer; whether anybody still waits for it."""
        with self._lock:
            self._is_answered = not self.is_given_up
            return self._is_answered

    def give_up(self) -> bool:
        """Say that nobody waits any more; whether that was before there was an answer.

        >>> answered, left = Question("", ()), Question("", ())
        >>> answered.answer(), answered.give_up(), left.give_up(), left.answer()
        (True, False, True, False)
        """
        with self._lock:
            self.is_given_up = not self._is_answered
            return self.is_given_up


class EpisodeWork:
    """One episode on the advisor's thread; nothing here raises, and what is recorded is stored even if none opened.

    Where how it ended cannot be stored (a reward that is none), it is stored as left.
    """

    def __init__(self, selector: Selector, settings: AdvisorSettings, complaints: Complaints, task: Task) -> None:
        self._selector, self._settings, self._complaints = selector, settings, complaints
        self._task = task
        self._alone: list[Step] = []
        self._episode: Episode | None = None

    @property
    def episode_id(self) -> str:
        """The id to report by, "" where nothing was begun yet or nothing could be."""
        return self._episode.episode_id if self._episode else ""

    def begin(self) -> None:
        """Open the episode."""
        named, task = self._settings, self._task
        with self._complaints.instead_of_raising("no episode could be opened"):
            self._episode = self._selector.episode(
                task.text, namespace=task.namespace, agent=named.agent, source=named.source, group=task.group
            )

    def choose(self, question: Question) -> Advice:
        """The advice; an answer that nobody waits for any more counts as never given."""
        if self._episode is None or question.is_given_up:
            return no_opinion(question.tools)
        with self._complaints.instead_of_raising("no decision could be made"):
            decision = self._episode.choose(question.state, candidates_of(question.tools))
            if question.answer():
                return advice_of(decision, question.tools, keeps_tools=self._settings.keeps_tools)
            self._episode.withdraw()
        return no_opinion(question.tools)

    def record(self, step: Step) -> None:
        """Record a step."""
        if self._episode is None:
            self._alone.append(step)
            return
        with self._complaints.instead_of_raising("a step could not be recorded"):
            self._episode.record(
                step.tool, step.args, step.observation, step.outcome, state=step.state, error=step.error
            )

    def close(self, ending: Ending) -> str:
        """Store the trajectory; returns its id, "" where it is not stored."""
        if not ending.is_censored:
            with self._complaints.instead_of_raising("what an episode came to could not be stored"):
                return self._store(ending)
        with self._complaints.instead_of_raising("an episode could not be stored"):
            return self._store(Ending(was_left=True))
        return ""

    def _store(self, ending: Ending) -> str:
        ending = ending.storable()
        if self._episode is None:
            return self._store_alone(ending)
        if not ending.is_censored:
            return self._episode.finish(ending.success, ending.reward, ending.kpis)
        with self._episode:  # left without `finish`
            pass
        return self._episode.trajectory_id

    def _store_alone(self, ending: Ending) -> str:
        """Store what was observed of an episode that could not be opened."""
        if not self._alone:
            return ""
        trajectory = Trajectory(
            task=self._task,
            steps=tuple(replace(step, index=place) for place, step in enumerate(self._alone)),
            success=ending.success,
            reward=ending.reward,
            kpis=ending.kpis or {},
            agent=self._settings.agent,
            source=self._settings.source,
            stop_reason="censored" if ending.is_censored else "finished",
        )
        return self._selector.store.add(trajectory)

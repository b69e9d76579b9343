"""An advisor that says how long its runtime waits, for `adapter_cost.py`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selector.adapters.advice import Advice, no_opinion
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.episode_work import Ending, EpisodeWork, Question
from selector.adapters.plain import plain_text
from selector.guard import Mode
from selector.records import SelectorConfig
from selector.selector import Selector
from trajstore.schema import Step, Task, ToolSpec
from trajstore.store import TrajectoryStore


class Waits:
    """Seconds that one run has waited, by the wall, and those of the processor that the advisor's thread took for it.

    `deciding` and `storing` are waits; `decision`, `recording` and `closing` are what was done meanwhile, or later.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Another run begins."""
        self.deciding = self.storing = self.decision = self.recording = self.closing = 0.0
        self.asked = self.answered = 0

    @contextmanager
    def added_to(self, name: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[None]:
        """Add the time inside to one of the sums."""
        begun = clock()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + clock() - begun)

    def told(self, advice: Advice) -> Advice:
        """Count an answer."""
        self.asked += 1
        self.answered += advice.decision is not None
        return advice


class WatchedWork(EpisodeWork):
    """The work of an episode, which says how much of the processor each part of it takes."""

    waits: Waits

    def choose(self, question: Question) -> Advice:
        """As it is, timed."""
        with self.waits.added_to("decision", time.thread_time):
            return super().choose(question)

    def record(self, step: Step) -> None:
        """As it is, timed."""
        with self.waits.added_to("recording", time.thread_time):
            super().record(step)

    def close(self, ending: Ending) -> str:
        """As it is, timed."""
        with self.waits.added_to("closing", time.thread_time):
            return super().close(ending)


class WatchedEpisode(AdvisedEpisode):
    """An episode that says how long its runtime waits."""

    def __init__(self, advisor: "WatchedAdvisor", task: Task, tools: Sequence[ToolSpec]) -> None:
        super().__init__(advisor, task, tools)
        self._waits = advisor.waits

    def recommend(self, state: str = "", tools: Sequence[ToolSpec] | None = None) -> Advice:
        """As it is, timed."""
        with self._waits.added_to("deciding"):
            return self._waits.told(super().recommend(state, tools))

    async def arecommend(self, state: str = "", tools: Sequence[ToolSpec] | None = None) -> Advice:
        """As it is, timed."""
        with self._waits.added_to("deciding"):
            return self._waits.told(await super().arecommend(state, tools))

    def finish(self, *args: Any, **kwargs: Any) -> str:
        """As it is, timed."""
        with self._waits.added_to("storing"):
            return super().finish(*args, **kwargs)

    async def afinish(self, *args: Any, **kwargs: Any) -> str:
        """As it is, timed."""
        with self._waits.added_to("storing"):
            return await super().afinish(*args, **kwargs)


class WatchedAdvisor(Advisor):
    """An advisor whose episodes say how long they are waited for."""

    def __init__(self, selector: Selector, waits: Waits) -> None:
        super().__init__(selector)
        self.waits = waits

    def episode(self, task: str, tools: Sequence[ToolSpec] = (), *, group: str = "") -> AdvisedEpisode:
        """Begin an episode."""
        return WatchedEpisode(self, Task(plain_text(task), group=group, namespace=self.settings.namespace), tools)

    def work_of(self, task: Task) -> EpisodeWork:
        """What an episode of this task does on the advisor's thread."""
        work = WatchedWork(self.selector, self.settings, self.complaints, task)
        work.waits = self.waits
        return work


class NoWork(EpisodeWork):
    """The work of an episode, left undone."""

    def begin(self) -> None:
        """Do nothing."""

    def choose(self, question: Question) -> Advice:
        """Have no opinion."""
        return no_opinion(question.tools)

    def record(self, step: Step) -> None:
        """Do nothing."""

    def close(self, ending: Ending) -> str:
        """Do nothing."""
        return ""


class IdleAdvisor(Advisor):
    """An advisor that is asked and told as any other, and does nothing."""

    def work_of(self, task: Task) -> EpisodeWork:
        """What an episode of this task does on the advisor's thread."""
        return NoWork(self.selector, self.settings, self.complaints, task)


@contextmanager
def watched(path: Path, mode: Mode, decisions: int) -> Iterator[WatchedAdvisor]:
    """An advisor in a mode on the store at `path`; it has learned from up to so many decisions, and guides always."""
    with TrajectoryStore(path) as store:
        selector = Selector(store, SelectorConfig(mode=mode, held_out=0.0, decisions=decisions))
        advisor = WatchedAdvisor(selector, Waits())
        selector.room(advisor.settings.namespace)
        yield advisor
        advisor.flush()

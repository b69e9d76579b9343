"""Guidance for a runtime of agents: `recommend` before a step, `observe` after it, and no failure that reaches it.

Everything that touches the store happens on one thread of the advisor's own, in the order in which it was asked for, so
that a runtime waits for a decision alone and for no longer than the time budget.  Whatever goes wrong there is "no
opinion", said once in the log.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from weakref import WeakSet, finalize

from selector.adapters.advice import Advice, is_for_repeats, no_opinion
from selector.adapters.complaints import Complaints
from selector.adapters.episode_work import AdvisorSettings, Ending, EpisodeWork, Question
from selector.adapters.plain import plain_json, plain_text, printed
from selector.forks import resumed_in_children
from selector.guard import Mode
from selector.selector import Selector
from selector.tuned import tuned_config
from trajstore.schema import OUTCOMES, Outcome, Step, Task, ToolSpec
from trajstore.store import TrajectoryStore

Result = TypeVar("Result")


class Advisor:
    """Guides any number of episodes, of any threads and event loops, from one `Selector`."""

    def __init__(self, selector: Selector, settings: AdvisorSettings | None = None) -> None:
        self.selector = selector
        self.settings = settings or AdvisorSettings()
        self.complaints = Complaints()
        self._lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None  # Any: whatever was asked for last
        self._begun: WeakSet[AdvisedEpisode] = WeakSet()
        self.dropped: deque[EpisodeWork] = deque()
        _ADVISORS.add(self)

    @classmethod
    def open(cls, db: str | Path, mode: Mode | None = None, settings: AdvisorSettings | None = None) -> Self:
        """An advisor on the store at `db`, in `mode` (None: that of the store's tuned settings, else suggest).

        Its experience is learned at once in the background: until then there is no opinion.
        """
        store = TrajectoryStore(db)
        config = tuned_config(store)
        advisor = cls(Selector(store, replace(config, mode=mode) if mode else config), settings)
        advisor.submit(advisor._learn)
        return advisor

    @property
    def mode(self) -> Mode:
        """How much of a decision an agent sees."""
        return self.selector.config.mode

    def episode(self, task: str, tools: Sequence[ToolSpec] = (), *, group: str = "") -> "AdvisedEpisode":
        """Begin an episode; never fails, and does not wait.

        One that nobody refers to any more without having ended it is stored as abandoned, here or by `flush`.
        """
        self._end_dropped()
        begun = AdvisedEpisode(self, Task(plain_text(task), group=group, namespace=self.settings.namespace), tools)
        with self._lock:
            self._begun.add(begun)
        return begun

    def work_of(self, task: Task) -> EpisodeWork:
        """What an episode of this task does on the advisor's thread."""
        return EpisodeWork(self.selector, self.settings, self.complaints, task)

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Do some work after all that was submitted before; a forked child begins with a thread of its own."""
        with self._lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "trajstore-advisor")
            future = self._worker.submit(work)
            self._last = future
            return future

    def hand_over(self, work: Callable[[], Result]) -> "Future[Result]":
        """`submit`, or do it here and now after the rest, where threads take nothing more: as the interpreter ends."""
        try:
            return self.submit(work)
        except RuntimeError:
            return self._done_here(work)

    def flush(self) -> None:
        """Wait until everything that was observed is stored."""
        self._end_dropped()
        self.hand_over(lambda: None).result()

    def close(self) -> None:
        """Store everything, episodes that have not ended as abandoned, and close the store."""
        with self._lock:
            begun = list(self._begun)
        for episode in begun:
            episode.abandon()
        self.flush()
        self.selector.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done_here(self, work: Callable[[], Result]) -> "Future[Result]":
        with self._lock:
            if self._last is not None:
                wait([self._last])
            done: Future[Result] = Future()
            done.set_result(work())
            return done

    def _end_dropped(self) -> None:
        while self.dropped:
            work = self.dropped.popleft()
            self.hand_over(partial(work.close, Ending(was_left=True)))

    def resume_in_child(self) -> None:
        """After a fork, in the child: what another thread held at that moment is not held here."""
        self._lock, self._worker, self._last = threading.Lock(), None, None

    def _learn(self) -> None:
        with self.complaints.instead_of_raising("the store's experience could not be learned"):
            self.selector.room(self.settings.namespace)


class AdvisedEpisode:
    """One pass of an agent through a task, made by `Advisor.episode`; its calls never raise.

    `trajectory_id` is that of the stored trajectory once `finish` knows it, "" until then.
    """

    def __init__(self, advisor: Advisor, task: Task, tools: Sequence[ToolSpec] = ()) -> None:
        self._advisor, self._tools = advisor, tuple(tools)
        self._work = advisor.work_of(task)
        self._state = ""
        self._called: set[tuple[str, str]] = set()
        self._is_open = True
        self.advice = no_opinion(self._tools)
        self.trajectory_id = ""
        self._unended = finalize(self, advisor.dropped.append, self._work)  # may come at any moment, within a lock too
        self._unended.atexit = False
        advisor.hand_over(self._work.begin)

    @property
    def episode_id(self) -> str:
        """The id to report by (`Selector.report_episode`), "" where nothing was begun yet or nothing could be."""
        return self._work.episode_id

    def recommend(self, state: str = "", tools: Sequence[ToolSpec] | None = None) -> Advice:
        """What to do next, within the time budget; `tools` default to the episode's."""
        question, future = self._ask(state, tools)
        if future is not None:
            try:
                self.advice = future.result(self._advisor.settings.budget_seconds)
            except TimeoutError:
                self._give_up(question, future)
        return self.advice

    async def arecommend(self, state: str = "", tools: Sequence[ToolSpec] | None = None) -> Advice:
        """`recommend` without holding up the event loop."""
        question, future = self._ask(state, tools)
        if future is not None:
            try:
                self.advice = await asyncio.wait_for(asyncio.wrap_future(future), self._advisor.settings.budget_seconds)
            except TimeoutError:
                self._give_up(question, future)
            except asyncio.CancelledError:
                question.give_up()
                raise
        return self.advice

    def refusal(self, tool: str, args: object = None) -> str:
        """Why a call of this tool must not run now, empty where it may.

        A tool that goes round in circles may be called with arguments (None: not known) of which no call is observed.
        """
        reason = self.advice.refused.get(tool, "")
        if args is None or not is_for_repeats(reason):
            return reason
        return reason if (tool, plain_text(plain_json(args))) in self._called else ""

    def observe(
        self,
        tool: str,
        args: object = None,
        outcome: Outcome = "unknown",
        observation: object = "",
        *,
        error: object = None,
    ) -> None:
        """Take in what was called and what came of it; does not wait.

        What is no JSON is kept as text.  An outcome that is none of `Outcome` counts as "unknown", never as a success.
        """
        known: Outcome = outcome if outcome in OUTCOMES else "unknown"
        with self._advisor.complaints.instead_of_raising("a step could not be taken in"):
            called = plain_json(args)
            self._called.add((tool, plain_text(called)))
            step = Step(
                index=0,
                tool=plain_text(tool) or "unnamed",
                state=self._state,
                args=called,
                observation=plain_text(observation),
                outcome=known,
                error=None if error is None else plain_text(printed(error)),
            )
            self._advisor.hand_over(partial(self._work.record, step))

    async def aobserve(
        self,
        tool: str,
        args: object = None,
        outcome: Outcome = "unknown",
        observation: object = "",
        *,
        error: object = None,
    ) -> None:
        """`observe`, for those who await everything."""
        self.observe(tool, args, outcome, observation, error=error)

    def finish(
        self,
        success: bool | None = None,  # noqa: FBT001 - None, nobody judged it, is a third value
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> str:
        """End the episode and wait until it is stored; returns the trajectory's id, "" where it is not stored yet.

        One that nobody judged is censored, so that `Selector.report_episode` may still say how it ended.
        """
        future = self._end(Ending(success, reward, kpis))
        if future is not None:
            try:
                self.trajectory_id = future.result(self._advisor.settings.finish_seconds)
            except TimeoutError:
                self._tell_of_delay()
        return self.trajectory_id

    async def afinish(
        self,
        success: bool | None = None,  # noqa: FBT001 - as above
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> str:
        """`finish` without holding up the event loop; nothing is lost if whoever awaits it is cancelled."""
        future = self._end(Ending(success, reward, kpis))
        if future is not None:
            stored, seconds = asyncio.shield(asyncio.wrap_future(future)), self._advisor.settings.finish_seconds
            try:
                self.trajectory_id = await asyncio.wait_for(stored, seconds)
            except TimeoutError:
                self._tell_of_delay()
        return self.trajectory_id

    def finish_soon(
        self,
        success: bool | None = None,  # noqa: FBT001 - as above
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> None:
        """`finish` that does not wait, for where a runtime can neither wait nor await."""
        self._end(Ending(success, reward, kpis))

    def abandon(self) -> None:
        """End the episode unfinished, as one that was cancelled or failed outside its tools; does not wait."""
        self._end(Ending(was_left=True))

    def _ask(self, state: str, tools: Sequence[ToolSpec] | None) -> tuple[Question, "Future[Advice] | None"]:
        """A question on its way; no future where nothing can be asked, or the answer would not be shown."""
        self._state = plain_text(state)
        question = Question(self._state, self._tools if tools is None else tools)
        self.advice = no_opinion(question.tools)
        if not question.tools or not self._is_open:
            return question, None
        with self._advisor.complaints.instead_of_raising("no decision could be asked for"):
            future = self._advisor.submit(partial(self._work.choose, question))
            return question, None if self._advisor.mode == "shadow" else future
        return question, None

    def _give_up(self, question: Question, future: "Future[Advice]") -> None:
        future.cancel()
        if not question.give_up():
            self.advice = future.result()  # it was answered at that very moment
            return
        seconds = self._advisor.settings.budget_seconds
        remedy = "raise budget_seconds, or open the advisor well before its first episode"
        self._advisor.complaints.once("a decision took too long", f"none came within {seconds:g} s; {remedy}")

    def _tell_of_delay(self) -> None:
        seconds = self._advisor.settings.finish_seconds
        self._advisor.complaints.once("storing takes long", f"an episode waits for over {seconds:g} s and goes on")

    def _end(self, ending: Ending) -> "Future[str] | None":
        if not self._is_open:
            return None
        self._is_open = False
        self._unended.detach()
        return self._advisor.hand_over(partial(self._work.close, ending))


_ADVISORS: WeakSet[Advisor] = resumed_in_children()

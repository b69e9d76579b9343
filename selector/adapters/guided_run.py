"""One guided run of an agent in a runtime that calls a model and then tools: what its adapter does in any runtime."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from selector.adapters.advice import Advice, no_opinion
from selector.adapters.advisor import Advisor
from selector.adapters.complaints import named
from selector.adapters.hosting import outcome_of
from trajstore.schema import Outcome, ToolSpec


class GuidedRun:
    """Advice, refusals, observations and the end of one run; nothing here raises an error of its own.

    `passing` are exceptions by which the runtime itself leaves a call without ending it; `on_end` is called when
    the run ends.
    """

    def __init__(
        self,
        advisor: Advisor,
        task: str,
        *,
        passing: tuple[type[BaseException], ...] = (),
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._complaints, self._passing, self._on_end = advisor.complaints, passing, on_end
        self.episode = advisor.episode(task)
        self._takes_force = True
        self._has_failed = False
        self._calls = 0
        self._lock = threading.Lock()

    def advise(self, state: str, tools: Sequence[ToolSpec]) -> Advice:
        """What to do next, without the force that this run's provider has refused."""
        with self._complaints.instead_of_raising("no advice could be had"):
            return self._without_refused_force(self.episode.recommend(state, tools))
        return no_opinion(tools)

    async def aadvise(self, state: str, tools: Sequence[ToolSpec]) -> Advice:
        """`advise` without holding up the event loop."""
        with self._complaints.instead_of_raising("no advice could be had"):
            return self._without_refused_force(await self.episode.arecommend(state, tools))
        return no_opinion(tools)

    def observe(
        self, tool: str, args: object, outcome: Outcome, observation: object = "", *, error: object = None
    ) -> None:
        """Take in what was called and what came of it; does not wait."""
        self.episode.observe(tool, args, outcome, observation, error=error)

    @contextmanager
    def trying_force(self) -> Iterator[None]:
        """Ask the model with a forced tool inside; where that raises, ask it again after this, without force."""
        try:
            yield
        except self._passing:
            raise
        except Exception as error:  # noqa: BLE001 - each provider refuses a forced tool with an error of its own
            self._takes_force = False
            self._complaints.once("a forced tool was refused and only hinted at", named(error))

    @contextmanager
    def ending_where_it_fails(self) -> Iterator[None]:
        """Whatever is raised inside ends the run, once all its calls have ended."""
        try:
            yield
        except self._passing:
            raise
        except BaseException:
            self._fail()
            raise

    def refused(self, tool: str, args: object) -> str:
        """Why a call must not run, recorded as blocked; empty where it may run."""
        reason = self.episode.refusal(tool, args)
        if reason:
            self.observe(tool, args, "blocked", reason)
        return reason

    @contextmanager
    def calling(self, tool: str, args: object) -> Iterator[None]:
        """Record a call that raises inside, and end the run, once all its calls have ended."""
        self._count(1)
        try:
            yield
        except self._passing:
            raise
        except BaseException as error:
            self.observe(tool, args, outcome_of(error), error=named(error))
            self._has_failed = True
            raise
        finally:
            self._count(-1)

    def finish(self, success: bool | None) -> None:  # noqa: FBT001 - None, nobody judged it, is a third value
        """End the run; waits until it is stored."""
        with self._ending():
            self.episode.finish(success)

    async def afinish(self, success: bool | None) -> None:  # noqa: FBT001 - as above
        """`finish` without holding up the event loop."""
        with self._ending():
            await self.episode.afinish(success)

    def finish_soon(self, success: bool | None) -> None:  # noqa: FBT001 - as above
        """`finish` that does not wait."""
        with self._ending():
            self.episode.finish_soon(success)

    def abandon(self) -> None:
        """End the run as one that failed or was left; does not wait."""
        with self._ending():
            self.episode.abandon()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            with self._complaints.instead_of_raising("a run could not be ended"):
                yield
        finally:
            self._on_end()

    def _without_refused_force(self, advice: Advice) -> Advice:
        return advice if self._takes_force else replace(advice, forced=None)

    def _fail(self) -> None:
        self._has_failed = True
        self._count(0)

    def _count(self, change: int) -> None:
        with self._lock:
            self._calls += change
            is_over = self._has_failed and self._calls == 0
        if is_over:
            self.abandon()


def tool_specs(described: Mapping[str, str | None]) -> tuple[ToolSpec, ...]:
    """Tools by their names and descriptions.

    >>> tool_specs({"look": None})
    (ToolSpec(name='look', description=''),)
    """
    return tuple(ToolSpec(name, text or "") for name, text in described.items())

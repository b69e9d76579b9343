"""An advisor that says how long its runtime waits, for `adapter_cost.py`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.plain import plain_text
from selector.guard import Mode
from selector.records import SelectorConfig
from selector.selector import Selector
from trajstore.embedding import Embedder, Vectors
from trajstore.recollection import stored_embedder
from trajstore.schema import Task, ToolSpec
from trajstore.store import TrajectoryStore


class Waits:
    """Seconds that one run has waited, and how many of its steps were told something in time."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Another run begins."""
        self.deciding = self.storing = self.embedding = 0.0
        self.asked = self.answered = 0

    @contextmanager
    def added_to(self, name: str) -> Iterator[None]:
        """Add the time inside to one of the sums."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - begun)

    def told(self, advice: Advice) -> Advice:
        """Count an answer."""
        self.asked += 1
        self.answered += advice.decision is not None
        return advice


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


class TimedEmbedder:
    """An embedder that says how long it takes."""

    def __init__(self, inner: Embedder, waits: Waits) -> None:
        self._inner, self._waits = inner, waits
        self.identity = inner.identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As it is, timed."""
        with self._waits.added_to("embedding"):
            return self._inner.embed(texts)


@contextmanager
def watched(path: Path, mode: Mode) -> Iterator[WatchedAdvisor]:
    """An advisor in a mode on the store at `path`, which knows its experience already; every episode is guided."""
    waits = Waits()
    with TrajectoryStore(path) as store:
        embedder = TimedEmbedder(stored_embedder(store), waits)
        selector = Selector(store, SelectorConfig(mode=mode, held_out=0.0), embedder=embedder)
        advisor = WatchedAdvisor(selector, waits)
        selector.room(advisor.settings.namespace)
        yield advisor
        advisor.flush()

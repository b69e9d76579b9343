"""The engine on a store: episodes for live agents, single decisions for scripts."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from weakref import WeakSet

import numpy as np

from selector.episode import Episode
from selector.errors import SelectorUsageError
from selector.forks import resumed_in_children
from selector.memory import Memory, MemorySettings
from selector.prior_policy import PriorPolicy
from selector.records import Decision, SelectorConfig
from selector.room import Room, RoomSettings
from selector.rules import Rule
from selector.situation import Situation
from selector.tuned import tuned_config
from trajstore.embedding import Embedder
from trajstore.logbook import Reported
from trajstore.recollection import OnProgress, stored_embedder
from trajstore.render import PastStep
from trajstore.schema import Candidate, Task, ToolSpec
from trajstore.store import TrajectoryStore


class Selector:
    """Chooses tools from what a `TrajectoryStore` holds; safe to share between threads.

    `seed` makes its choices repeatable.  `embedder` defaults to the one that the store's vectors were made by, else to
    the hashed one, `config` to what `trajstore tune` has found for the store.  `rules` are the user's own: functions of
    a situation and a candidate that return why it must not be chosen, or "".  What is learned is kept for each
    namespace, and kept up with the store when an episode is opened or a single decision asked for.  `policy`, such as
    `grpo.ToolPolicy.load(path)`, is the prior of its choices.
    """

    def __init__(  # noqa: PLR0913 - all but the store are optional
        self,
        store: TrajectoryStore,
        config: SelectorConfig | None = None,
        *,
        seed: int = 0,
        embedder: Embedder | None = None,
        rules: Sequence[Rule] = (),
        policy: PriorPolicy | None = None,
        clock: Callable[[], float] = time.time,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.store = store
        self.config = config or tuned_config(store)
        self._embedder = embedder or stored_embedder(store)
        self._seed = seed
        self._on_progress = on_progress
        self._rooms: dict[str, Room] = {}
        self._lock = threading.RLock()
        self._shared = RoomSettings(self.config, tuple(rules), np.random.default_rng(seed), self._lock, clock, policy)
        _SELECTORS.add(self)

    def episode(
        self,
        task: str,
        tools: Sequence[ToolSpec] = (),
        *,
        namespace: str = "default",
        agent: str = "",
        source: str = "live",
        group: str = "",
        family: str = "",
    ) -> Episode:
        """Open an episode; use it as a context manager, sync or async.

        `group` names the task where it is tried again, `family` the tasks whose rewards can be compared with its own.
        """
        room = self.room(namespace)
        room.keep_up()
        asked = Task(task, group=group, family=family, namespace=namespace)
        return Episode(room, asked, tools, agent=agent, source=source)

    def choose(
        self,
        task: str,
        state: str = "",
        *,
        tools: Sequence[str] = (),
        history: Sequence[str] = (),
        namespace: str = "default",
    ) -> Decision:
        """One decision outside any episode, logged; every known tool is offered where none are named."""
        room = self.room(namespace)
        room.keep_up()
        offered = tuple(Candidate(name) for name in tools) or room.known_tools
        past = tuple(PastStep(name) for name in history)
        return room.decide_once(Situation(task, state, past, offered))

    def report(self, decision_id: str, reward: float, *, kind: str = "reward") -> Reported:
        """Take in a reward in [0, 1] for one decision, however late; each `kind` counts once for a decision.

        "duplicate" where it was reported before, "unknown" where no such decision was logged; both are counted and
        change nothing.  It stands as the outcome of the decision's step when the namespace is next loaded.
        """
        if not 0.0 <= reward <= 1.0:
            raise SelectorUsageError(f"reward must lie in [0, 1], got {reward}")
        return self.store.logbook.report(decision_id, kind, reward, self._shared.clock())

    def report_episode(
        self,
        episode_id: str,
        success: bool | None = None,  # noqa: FBT001 - None, nobody judged it, is a third value
        reward: float | None = None,
        kpis: Mapping[str, float] | None = None,
    ) -> Reported:
        """Say how an episode ended that was left without `finish`; once, and only where it was censored."""
        ended = self.store.logbook.episode(episode_id)
        if ended is None:
            self.store.logbook.count("", "episodes unknown")
            return "unknown"
        ended = replace(ended, success=success, reward=reward)
        return self.room(ended.namespace).report_episode(ended, dict(kpis or {}))

    def room(self, namespace: str) -> Room:
        """What the selector knows of one namespace."""
        with self._lock:
            if namespace not in self._rooms:
                settings = MemorySettings(
                    self._embedder, self.config, namespace, self._seed, self._on_progress, in_background=True
                )
                memory = Memory(self.store, settings)
                self._rooms[namespace] = Room(self.store, memory, self._shared)
            return self._rooms[namespace]

    def resume_in_child(self) -> None:
        """After a fork, in the child: where another thread was learning or deciding, everything is learned anew.

        That thread is not there to end its work; only episodes that were open then go on with what it left.
        """
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        for room in self._rooms.values():
            room.resume_in_child(self._lock)
        self._rooms = {}
        self._shared = replace(self._shared, lock=self._lock)


_SELECTORS: WeakSet[Selector] = resumed_in_children()

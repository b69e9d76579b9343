"""What came in since experience was stored, for one namespace: calls, ended episodes, prunings; all of it in the store.

Nothing here is kept in memory only: every process that shares the file sees the same, and a restart changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selector.choice import Guidance
from selector.guard import Assignment, Guard, Mode, assign
from selector.guidance import GuidanceRecord
from selector.health import HealthBook
from selector.knowledge import Knowledge
from selector.prune_book import PruneBook, PrunedPair
from selector.records import SelectorConfig
from trajstore.filters import Scope
from trajstore.logbook import Logbook, PruningRow

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one episode is treated: the mode in force, its arm, and why guidance is withheld (empty: it is not)."""

    mode: Mode
    assignment: Assignment
    withheld: str = ""


GUIDED = Plan("suggest", Assignment("guided", 1.0))


class LiveFeedback:
    """Reads what is new in the log (`refresh`), and answers an engine (`selector.live.Feedback`)."""

    def __init__(self, logbook: Logbook, namespace: str, config: SelectorConfig, clock: Callable[[], float]) -> None:
        self._logbook = logbook
        self._namespace = namespace
        self._scope = Scope(namespace, config.sources)
        self._config = config
        self._clock = clock
        self.health = HealthBook(config.health)
        self.changes: dict[str, float] = {}
        self._last_call = 0
        self._record = GuidanceRecord(config, namespace)
        self.refresh()

    @property
    def guard(self) -> Guard:
        """How guided and unaided episodes compare, and whether guidance was stopped."""
        return self._record.guard

    def refresh(self) -> None:
        """Take in what any process has logged since."""
        self.book = PruneBook(self._config.pruning, map(_pair, self._logbook.prunings(self._scope.name)))
        self.refresh_calls()
        ended = self._logbook.ended_after(self._namespace, self._record.newest)
        if self._scope.sources is not None:  # the log's state clusters are those of the whole namespace
            ended = [replace(one, clusters=()) for one in ended]
        self._record.take(ended)

    def refresh_calls(self) -> None:
        """Take in new calls; a tool whose failures changed has its pruned pairs opened again."""
        for call in self._logbook.calls(self._namespace, self._last_call):
            self._last_call = call.seq
            alarm = self.health.observe(call.tool, call.failed, call.called_at)
            if alarm is not None:
                self.changes[alarm.tool] = alarm.at
                self._save(self.book.reopen(alarm.tool, alarm.at) if alarm.direction == "better" else ())

    def plan(self, episode_id: str) -> Plan:
        """How a new episode is to be treated."""
        assignment = assign(episode_id, 1.0 - self._record.guided_share(), self._namespace)
        if self.guard.fallback:
            return Plan("shadow", assignment, f"guidance is stopped: {self.guard.fallback}")
        if self.guard.mode == "shadow":
            return Plan("shadow", assignment, "shadow: decisions are logged, not shown")
        if not self._record.may_guide():
            return Plan("shadow", assignment, "guidance could cost more than the allowance: the agent goes on alone")
        if assignment.arm == "held_out":
            return Plan(self.guard.mode, assignment, "held out: this episode measures how the agent does alone")
        return Plan(self.guard.mode, assignment)

    def learn(self, knowledge: Knowledge) -> None:
        """Judge every (state cluster, tool) pair anew; what was known of a tool before it changed counts little."""
        knowledge.outcomes.use_changes(self.changes)
        self._save(self.book.apply(knowledge.outcomes.judged(self._config.pruning), self._clock()))

    def restore(self, cluster: int, tool: str) -> None:
        """A person's word: the pair is used again, until new evidence speaks against it more strongly."""
        self._save([self.book.restore(cluster, tool, self._clock())])

    def log_health(self, tools: Sequence[str]) -> Floats | None:
        """ln of each tool's health beside that of one never called, ≤ 0; None where no call failed yet."""
        if not self.health.has_failures:
            return None
        now = self._clock()
        usual = float(self.health.health([""], now)[0])
        return np.asarray(np.log(np.minimum(self.health.health(tools, now) / usual, 1.0)), np.float64)

    def pruned(self, cluster: int, tools: Sequence[str]) -> Mapping[str, str]:
        """The reason by tool of each that does not work now, or is quarantined in a state cluster."""
        now = self._clock()
        broken = self.health.broken(tools, now) if self.health.has_failures else {}
        return {**self.book.pruned(cluster, tools, now), **broken}

    def guidance(self, cluster: int) -> Guidance | None:
        """What episodes are worth with and without guidance there; None before enough unaided ones ended."""
        return self._record.guidance(cluster)

    def _save(self, changed: Sequence[PrunedPair]) -> None:
        if changed:
            self._logbook.put_prunings([_row(self._scope.name, pair) for pair in changed])


def _pair(row: PruningRow) -> PrunedPair:
    return PrunedPair(**{name: getattr(row, name) for name in PrunedPair.__dataclass_fields__})


def _row(namespace: str, pair: PrunedPair) -> PruningRow:
    return PruningRow(namespace, **{name: getattr(pair, name) for name in PrunedPair.__dataclass_fields__})

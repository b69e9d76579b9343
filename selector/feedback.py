"""What came in since experience was stored, for one namespace: calls, ended episodes, prunings; all of it in the store.

Nothing here is kept in memory only: every process that shares the file sees the same, and a restart changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.choice import Guidance, Normal
from selector.guard import Arm, ArmRewards, Assignment, ConservativeLedger, Guard, Mode
from selector.health import HealthBook
from selector.knowledge import Knowledge
from selector.prune_book import PruneBook, PrunedPair
from selector.records import SelectorConfig
from trajstore.logbook import EpisodeRow, Logbook, PruningRow

Floats = NDArray[np.float64]

ENOUGH_UNAIDED = 5
CLUSTER_STRENGTH = 4.0
LOWER_DEVIATIONS = 1.645


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
        self._config = config
        self._clock = clock
        self.health = HealthBook(config.health)
        self.changes: dict[str, float] = {}
        self._last_call = 0
        self.refresh()

    def refresh(self) -> None:
        """Take in what any process has logged since."""
        self.book = PruneBook(self._config.pruning, map(_pair, self._logbook.prunings(self._namespace)))
        self.refresh_calls()
        self._refresh_episodes()

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
        assignment = self.guard.assign(episode_id)
        if self.guard.fallback:
            return Plan("shadow", assignment, f"guidance is stopped: {self.guard.fallback}")
        if assignment.arm == "held_out":
            return Plan(self.guard.mode, assignment, "held out: this episode measures how the agent does alone")
        if self.guard.mode == "shadow":
            return Plan("shadow", assignment, "shadow: decisions are logged, not shown")
        if not self._may_guide():
            return Plan("shadow", assignment, "guidance could cost more than the allowance: the agent goes on alone")
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
        unaided = self.guard.held_out
        if unaided.episodes < ENOUGH_UNAIDED:
            return None
        here = self._by_cluster
        return Guidance(
            _belief(self.guard.guided, here.get((cluster, "guided"))), _belief(unaided, here.get((cluster, "held_out")))
        )

    def _refresh_episodes(self) -> None:
        config = self._config
        episodes = self._logbook.episodes(self._namespace)
        self.guard = Guard(config.mode, config.held_out, self._namespace, config.margin, config.confidence)
        for episode in episodes:
            if episode.combined is not None and (episode.arm == "held_out" or episode.mode != "shadow"):
                self.guard = self.guard.record(_arm(episode), min(max(episode.combined, 0.0), 1.0))
        self._ledger = self._replayed(episodes)
        self._by_cluster = {
            (row.cluster, row.arm): ArmRewards(row.episodes, row.total)
            for row in self._logbook.rewards_by_cluster(self._namespace)
        }

    def _may_guide(self) -> bool:
        if self._config.allowance is None:
            return True
        return self._ledger.may_guide(_lower(self.guard.guided), _mean(self.guard.held_out))

    def _replayed(self, episodes: Sequence[EpisodeRow]) -> ConservativeLedger:
        """The conservative ledger after these episodes, each judged by what was known before it."""
        ledger, guided, unaided = ConservativeLedger(self._config.allowance or 0.0), ArmRewards(), ArmRewards()
        for episode in episodes:
            if episode.combined is None:
                continue
            reward = min(max(episode.combined, 0.0), 1.0)
            if episode.arm == "guided" and episode.mode != "shadow":
                ledger = ledger.record_guided(_lower(guided), _mean(unaided))
                guided = guided.add(reward)
            else:
                ledger, unaided = ledger.record_baseline(_mean(unaided)), unaided.add(reward)
        return ledger

    def _save(self, changed: Sequence[PrunedPair]) -> None:
        if changed:
            self._logbook.put_prunings([_row(self._namespace, pair) for pair in changed])


def _arm(episode: EpisodeRow) -> Arm:
    return "guided" if episode.arm == "guided" else "held_out"


def _mean(rewards: ArmRewards) -> float:
    """Mean reward under a Beta(½, ½) prior."""
    return (rewards.total + 0.5) / (rewards.episodes + 1.0)


def _lower(rewards: ArmRewards) -> float:
    """A lower bound of the mean reward, at least 0."""
    mean = _mean(rewards)
    return max(0.0, mean - LOWER_DEVIATIONS * float(np.sqrt(mean * (1.0 - mean) / (rewards.episodes + 2.0))))


def _belief(everywhere: ArmRewards, here: ArmRewards | None) -> Normal:
    """Mean reward in a cluster, drawn toward that of the namespace."""
    here = here or ArmRewards()
    mean = (CLUSTER_STRENGTH * _mean(everywhere) + here.total) / (CLUSTER_STRENGTH + here.episodes)
    weight = min(CLUSTER_STRENGTH, everywhere.episodes + 1.0) + here.episodes
    return Normal(mean, float(np.sqrt(max(mean * (1.0 - mean), 1e-4) / (weight + 1.0))))


def _pair(row: PruningRow) -> PrunedPair:
    return PrunedPair(**{name: getattr(row, name) for name in PrunedPair.__dataclass_fields__})


def _row(namespace: str, pair: PrunedPair) -> PruningRow:
    return PruningRow(namespace, **{name: getattr(pair, name) for name in PrunedPair.__dataclass_fields__})

"""What came of the stored steps: credit, by tool and state cluster, and the records of paths."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.clusters import StateClusters
from selector.corroboration import Claims, CorroborationConfig, balanced
from selector.credit import Credit, credit
from selector.danger import Dangers
from selector.follow import Records
from selector.hierarchy import build_hierarchy, tool_families
from selector.prune_book import PruneConfig, Verdict, judge, low_value
from selector.values import ActionValues, ValueConfig, final_reward_run
from trajstore.columns import Column
from trajstore.experience import Experience
from trajstore.schema import Trajectory

Floats = NDArray[np.float64]
RewardOf = Callable[[Trajectory], float | None]

BEFORE_CHANGE = 0.1


def success_of(trajectory: Trajectory) -> float | None:
    """The plainest final reward: 1 for success, 0 for failure, None where nobody judged."""
    return None if trajectory.success is None else float(trajectory.success)


def claims_of(
    experience: Experience, owners: NDArray[np.integer], weights: NDArray[np.floating], arms: NDArray[np.integer]
) -> Claims:
    """Evidence with who vouches for it: `owners` (N,) are the trajectories that it comes from."""
    sources, believed = (experience.trajectory_column(name)[owners] for name in ("source", "believed"))
    return Claims(weights.astype(np.float64), arms.astype(np.int64), sources.astype(np.int64), believed)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store knows beside its steps: the final reward of each trajectory (NaN: not judged), rewards by decision.

    `clusters` tell its states apart.
    """

    finals: Floats
    rewards: Mapping[str, float]
    clusters: StateClusters


class Outcomes:
    """Of all rows of an experience: `credit`, and what follows from it.

    `successes_CT` and `counts_CT` are credited successes and their weights by state cluster and tool; no trajectory
    weighs more than 1 in any cell.  `hierarchy` gives the prior of a tool, `dangers` what a wrong call of it can lose,
    `records` how each sequence of tools ended.  There is one cluster of all states until `use_clusters`.

    `reward_of` gives a trajectory's final reward in [0, 1].  With `values`, a step is credited with its λ-return under
    values learned as the trajectories came, so that a good step of a failed trajectory is not blamed wholly; without,
    with the final reward itself.  `corroboration` says how far outcomes count by who reports them, None that all count
    alike.
    """

    def __init__(
        self,
        experience: Experience,
        reward_of: RewardOf = success_of,
        values: ValueConfig | None = None,
        corroboration: CorroborationConfig | None = None,
    ) -> None:
        self.clusters = StateClusters(np.zeros((0, experience.dimension), np.float32), 0)
        self._experience = experience
        self._reward_of = reward_of
        self._corroboration = corroboration
        self._finals = Column(np.float64)
        self._row_clusters = Column(np.int64)
        self._immediate: dict[int, float] = {}
        self._changes: dict[str, float] = {}
        self._value_config = values
        self._values, self._returns = ActionValues(values), Column(np.float64)
        self._recount()

    def learn(self, trajectories: Iterable[Trajectory], states: NDArray[np.float32]) -> None:
        """Take in trajectories that the experience has got since; `states` are the vectors of all its rows."""
        finals = (self._reward_of(trajectory) for trajectory in trajectories)
        self._finals.extend([np.nan if final is None else final for final in finals])
        self._row_clusters.extend(self.clusters.assign(states[len(self._row_clusters) : self._rows]))
        self._value_new_rows()
        self._recount()

    def learn_all(self, about: "Stored", states: NDArray[np.float32]) -> None:
        """Take in all trajectories of the experience at once, with what else is known of them."""
        self._finals, self.clusters = Column(np.float64), about.clusters
        self._finals.extend(about.finals)
        self._immediate = self._by_row(about.rewards)
        self._value_all(states)

    @property
    def _rows(self) -> int:
        """How many rows belong to the trajectories learned so far."""
        return int(self._experience.trajectory_column("end")[len(self._finals) - 1]) if len(self._finals) else 0

    def use_clusters(self, clusters: StateClusters, states: NDArray[np.float32]) -> None:
        """Tell states apart by these clusters from now on."""
        self.clusters = clusters
        self._value_all(states)

    def _value_all(self, states: NDArray[np.float32]) -> None:
        self._row_clusters, known = Column(np.int64), self.clusters.members_N[: self._rows]
        self._row_clusters.extend(known)
        self._row_clusters.extend(self.clusters.assign(states[len(known) : self._rows]))
        self._values, self._returns = ActionValues(self._value_config), Column(np.float64)
        self._value_new_rows()
        self._recount()

    def use_reports(self, rewards: Mapping[str, float]) -> None:
        """Take rewards reported for single decisions, by decision id, as the outcome of their steps."""
        self._immediate = self._by_row(rewards)
        self._recount()

    def _by_row(self, rewards: Mapping[str, float]) -> dict[int, float]:
        rows = self._experience.decisions
        return {rows[decision]: reward for decision, reward in rewards.items() if decision in rows}

    def use_changes(self, changes: Mapping[str, float]) -> None:
        """Count little of what tools did before they changed; `changes` are times (seconds since 1970) by tool."""
        if dict(changes) != self._changes:
            self._changes = dict(changes)
            self._recount()

    def judged(self, config: PruneConfig) -> tuple[Verdict, ...]:
        """Every (state cluster, tool) pair that is credibly bad."""
        names = self._experience.tools.names
        return judge(self.successes_CT, self.counts_CT, self.hierarchy.clusters_CT, names, config)

    def _recount(self) -> None:
        experience = self._experience
        self.credit = self._credited()
        self.successes_CT, self.counts_CT = self._by_cluster()
        families = tool_families(experience.tools.names)
        self.hierarchy = build_hierarchy(self.successes_CT, self.counts_CT, families)
        rows = len(self._row_clusters)
        self.dangers = Dangers(experience, rows, lambda: self._trust_of_rows(experience.column("tool")[:rows]))
        finals = np.asarray(self._finals.values, np.float64)
        templates = experience.trajectory_column("template")[: len(finals)]
        trust = experience.trajectory_column("trust")[: len(finals)].astype(np.float64)
        trust = self.corroborated(np.arange(len(finals)), trust, templates)
        wins, attempts = (_sums(templates, trust * values, len(experience.templates)) for values in _judged(finals))
        self.records = Records(wins, attempts, low_value(wins, attempts, PruneConfig()))

    def _trust_of_rows(self, arms: NDArray[np.integer]) -> Floats:
        """How far each of the first rows counts as a report of what came of its arm; shape of `arms`."""
        owners = self._experience.column("trajectory")[: len(arms)]
        trust = self._experience.trajectory_column("trust")[owners].astype(np.float64)
        return self.corroborated(owners, trust, arms)

    def _credited(self) -> Credit:
        """Rows whose trajectory was not learned yet get none."""
        experience, finals = self._experience, np.asarray(self._finals.values, np.float64)
        rows = len(self._row_clusters)
        owners = experience.column("trajectory")[:rows]
        immediate = np.where(experience.column("failed")[:rows], 0.0, np.nan)
        for row, reward in self._immediate.items():
            immediate[row] = reward
        left = experience.trajectory_column("end")[owners] - 1 - np.arange(rows)
        wasted = experience.column("wasted")[:rows]
        if self._value_config is None:
            credited = credit(finals[owners], immediate, left, wasted)
        else:
            credited = credit(self._returns.values, immediate, left, wasted, trace=1.0)
        if not self._changes:
            return credited
        kept = self._kept(experience.column("tool")[:rows], experience.trajectory_column("created")[owners])
        return Credit(kept * credited.successes_N, kept * credited.weights_N)

    def _value_new_rows(self) -> None:
        """Learn values from trajectories in the order in which they came, and value their steps; NaN if not judged."""
        if self._value_config is None:
            return
        ends = self._experience.trajectory_column("end")[: len(self._finals)]
        tools, states = self._experience.column("tool"), np.asarray(self._row_clusters.values, np.int64)
        for number in range(int(np.searchsorted(ends, len(self._returns), side="right")), len(ends)):
            rows, final = slice(len(self._returns), int(ends[number])), float(self._finals.values[number])
            run = final_reward_run(states[rows], tools[rows].astype(np.int64), 0.0 if np.isnan(final) else final)
            if np.isnan(final) or not len(run):
                self._returns.extend(np.full(len(run), np.nan))
            else:
                self._values.learn(run)
                self._returns.extend(np.clip(self._values.returns([run])[0], 0.0, 1.0))

    def _kept(self, tools: NDArray[np.integer], created: Floats) -> Floats:
        """How much of each row counts: little where its tool changed after it was stored."""
        changed_T = np.array([self._changes.get(name, -np.inf) for name in self._experience.tools.names])
        return np.where(created < changed_T[tools], BEFORE_CHANGE, 1.0)

    def _by_cluster(self) -> tuple[Floats, Floats]:
        """Sums by cluster and tool; the steps of one trajectory in a cell share a weight of at most 1."""
        experience, rows = self._experience, len(self._row_clusters)
        tools, clusters = len(experience.tools), max(len(self.clusters), 1)
        owners = experience.column("trajectory")[:rows]
        numbers = np.maximum(np.asarray(self._row_clusters.values, np.int64), 0)
        cells = numbers * tools + experience.column("tool")[:rows]
        keys, group = np.unique(cells * (len(self._finals) + 1) + owners, return_inverse=True)
        trust = self._trust_of_rows(cells)
        totals = np.bincount(group, trust * self.credit.weights_N, len(keys))
        share = trust / np.maximum(totals, 1.0)[group] if len(keys) else trust
        successes, counts = (
            _sums(cells, share * values, clusters * tools).reshape(clusters, tools)
            for values in (self.credit.successes_N, self.credit.weights_N)
        )
        return successes, counts

    def corroborated(
        self, owners: NDArray[np.integer], weights: NDArray[np.floating], arms: NDArray[np.integer]
    ) -> Floats:
        """Weights as far as sources vouch for what became of each arm, by trajectory (`owners`); one shape for all."""
        experience = self._experience
        if self._corroboration is None or not experience.is_contested or not len(weights):
            return np.asarray(weights, np.float64)
        claims = claims_of(experience, owners, weights, arms)
        return balanced(claims, experience.unbelieved_ratio, self._corroboration)


def _judged(finals: Floats) -> tuple[Floats, Floats]:
    """Final rewards with 0 where there is none, and 1 for each that there is."""
    return np.nan_to_num(finals), np.isfinite(finals).astype(np.float64)


def _sums(numbers: NDArray[np.integer], values: Floats, length: int) -> Floats:
    return np.asarray(np.bincount(numbers, values, length), np.float64)

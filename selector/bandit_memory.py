"""What a tool bandit remembers: reported decisions, prototypes of their states, and the evidence for each tool there.

Letters: K tools offered, T tools known, P prototypes, N rows, D vector entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError
from selector.kernel_values import (
    Bandwidth,
    Floats,
    Numbers,
    Posterior,
    Report,
    Vectors,
    bandwidth_of,
    failure_alarm,
    kernel_weights,
    settle_prototypes,
    sibling_strength,
    tool_means,
)
from selector.linear_values import LinearLayer, Rows

FIRST_REFRESH = 60
GROWTH = 1.5
KEPT_SHARE = 0.75
FIRST_STRENGTH = 2.0
FIRST_ROOM = 64
COLD_BANDWIDTH = Bandwidth(0.4, 0.8)
BACK = 0.5
NONE: Numbers = np.zeros(0, np.int64)


def require(holds: bool, rule: str) -> None:  # noqa: FBT001 - a condition, not a flag
    """Raise `SelectorUsageError` with the rule where it does not hold."""
    if not holds:
        raise SelectorUsageError(rule)


@dataclass(frozen=True, slots=True)
class BanditConfig:
    """Settings of a tool bandit; the defaults were chosen on simulated worlds that no published table reports.

    `sharpening` η > 0 divides the variance of the draws; `noise` > 0 is the variance of one reward; `exploration` ε in
    [0, 1] is the chance of a uniform choice; `kernel_power` > 0; `prior_strength` > 0 is how many observations a tool's
    overall mean is worth in one state (None: learned by `sibling_strength`), `tool_strength` > 0 the same of the mean
    of all tools for one tool; `use_forgetting` in [0, 1] is the share of the older evidence kept at each further use of
    a tool in a kind of state.  `alarm_level` > 0 is the CUSUM level at which success is held to have fallen to
    `alarm_drop` of itself, whereupon the evidence keeps the share `alarm_kept`; such a suspect beats the best tool with
    chance `revisit_chance` (0: no visits) over 1 + its failures since, and its first success clears it: older evidence
    keeps `alarm_kept` again.  A tool first offered after `settled_reports` reports is a newcomer until it has
    `newcomer_reports` of its own; all newcomers together beat the incumbent with chance `newcomer_chance` (0: the bound
    is off).  A state whose match with every prototype is below `novelty` in [0, 1] founds its own, up to
    `most_prototypes`; `most_rows` bounds the memory.  `fixed_bandwidth` puts (background, match) similarities in place
    of the learned ones.
    """

    sharpening: float = 24.0
    noise: float = 0.18
    exploration: float = 0.005
    kernel_power: float = 3.0
    prior_strength: float | None = 2.0
    tool_strength: float = 8.0
    use_forgetting: float = 0.98
    alarm_level: float = 4.0
    alarm_drop: float = 0.4
    alarm_kept: float = 0.15
    revisit_chance: float = 0.05
    newcomer_chance: float = 0.1
    newcomer_reports: int = 5
    settled_reports: int = 200
    novelty: float = 0.5
    most_prototypes: int = 64
    most_rows: int = 4096
    fixed_bandwidth: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("sharpening", "noise", "kernel_power", "tool_strength", "alarm_level"):
            require(getattr(self, name) > 0.0, f"{name} must be above 0, got {getattr(self, name)}")
        require(self.prior_strength is None or self.prior_strength > 0.0, "prior_strength must be above 0, or None")
        for name in ("exploration", "use_forgetting", "alarm_kept", "novelty"):
            require(0.0 <= getattr(self, name) <= 1.0, f"{name} must lie in [0, 1], got {getattr(self, name)}")
        require(0.0 < self.alarm_drop < 1.0, f"alarm_drop must lie in (0, 1), got {self.alarm_drop}")
        for name in ("newcomer_chance", "revisit_chance"):
            require(0.0 <= getattr(self, name) < 1.0, f"{name} must lie in [0, 1), got {getattr(self, name)}")
        require(self.most_prototypes > 0, f"most_prototypes must be 1 or more, got {self.most_prototypes}")
        require(self.most_rows >= FIRST_REFRESH, f"most_rows must be {FIRST_REFRESH} or more, got {self.most_rows}")


@dataclass(slots=True)
class Remembered:
    """The arrays of a memory.

    Rows, oldest first, with room to grow: `states_ND`, `columns_N`, `rewards_N`, `weights_N` (what is left of the
    weight), `kinds_N` (the prototype).  Prototypes: `centres_PD`, `sums_PD`, `evidence_2PT` (successes, counts),
    `alarms_PT` (CUSUM levels), `suspicions_PT`.  Tools: `priors_T`, `reports_T`, `is_late_T`.
    """

    states_ND: Vectors
    columns_N: Numbers
    rewards_N: Floats
    weights_N: Floats
    kinds_N: Numbers
    centres_PD: Vectors
    sums_PD: Vectors
    evidence_2PT: Floats
    alarms_PT: Floats
    suspicions_PT: Floats
    priors_T: Floats
    reports_T: Numbers
    is_late_T: NDArray[np.bool_]


ROWS = ("states_ND", "columns_N", "rewards_N", "weights_N", "kinds_N")


@dataclass(frozen=True, slots=True)
class Scalars:
    """What a memory knows beside its arrays."""

    size: int = 0
    applied: int = 0
    strength: float = FIRST_STRENGTH
    next_refresh: int = FIRST_REFRESH
    background: float = COLD_BANDWIDTH.background
    match: float = COLD_BANDWIDTH.match


class BanditMemory:
    """Evidence that grows report by report; what is asked of it costs the same however much was reported."""

    def __init__(self, dimension: int, config: BanditConfig) -> None:
        self._config = config
        self._held = _nothing(dimension)
        self._linear = LinearLayer(dimension)
        self._size, self._applied, self._next_refresh = 0, 0, FIRST_REFRESH
        self._strength = config.prior_strength or FIRST_STRENGTH
        self._bandwidth = Bandwidth(*config.fixed_bandwidth) if config.fixed_bandwidth else COLD_BANDWIDTH
        self._mark_newcomers()

    def __len__(self) -> int:
        """How many rows are held."""
        return self._size

    def widen(self, more: int) -> None:
        """Make room for more tools, which start from the mean of all; late where much was reported before."""
        held = self._held
        is_late = self._applied >= self._config.settled_reports
        held.evidence_2PT = np.pad(held.evidence_2PT, ((0, 0), (0, 0), (0, more)))
        held.alarms_PT = np.pad(held.alarms_PT, ((0, 0), (0, more)))
        held.suspicions_PT = np.pad(held.suspicions_PT, ((0, 0), (0, more)))
        held.reports_T = np.pad(held.reports_T, (0, more))
        held.is_late_T = np.pad(held.is_late_T, (0, more), constant_values=is_late)
        self._linear.widen(more)
        self._center()
        self._mark_newcomers()

    def posterior(self, state_D: Vectors, columns_K: Numbers) -> Posterior:
        """Means of K tools in a state, by the kernel and the linear layer."""
        return self._linear.blended(self._by_kernel(state_D, columns_K), state_D, columns_K)

    def _by_kernel(self, state_D: Vectors, columns_K: Numbers) -> Posterior:
        """Means of K tools in a state: (s·prior + Σ w S) / (s + Σ w N) over the prototypes."""
        held, strength = self._held, self._strength
        priors_K = held.priors_T[columns_K]
        if not len(held.centres_PD):
            return Posterior(priors_K, np.full(len(columns_K), strength), np.zeros(len(columns_K)))
        weights_P = kernel_weights(held.centres_PD @ state_D, self._bandwidth, self._config.kernel_power)
        successes_K, counts_K = (weights_P @ held.evidence_2PT)[:, columns_K]
        counts_K = counts_K + strength
        suspicions_K = held.suspicions_PT[weights_P.argmax(), columns_K]
        return Posterior((strength * priors_K + successes_K) / counts_K, counts_K, suspicions_K)

    def newcomers(self, columns_K: Numbers) -> Numbers:
        """Places of the tools that came late and have few reports of their own."""
        return np.flatnonzero(self._is_new_T[columns_K]) if self._has_new else NONE

    def learn(self, report: Report) -> None:
        """Add one row, and its evidence to the kind of its state; settle everything anew where that is due."""
        foretold = float(self._by_kernel(report.state_D, np.array([report.column])).means_K[0])
        self._linear.learn(report, foretold)
        kind, column = self._kind_of(report.state_D), report.column
        self._fade(kind, column, self._kept(kind, report))
        self._append(report, kind)
        held = self._held
        held.evidence_2PT[:, kind, column] += (report.weight * report.reward, report.weight)
        held.reports_T[column] += 1
        self._applied += 1
        if self._is_new_T[column]:
            self._mark_newcomers()
        if self._size >= self._next_refresh:
            self.refresh()

    def refresh(self) -> None:
        """Settle prototypes, bandwidth, priors and their strength anew; a full memory drops its oldest quarter."""
        if not self._size:
            return
        if self._size >= self._config.most_rows:
            self._drop_oldest(self._size - int(self._size * KEPT_SHARE))
        held, states_ND = self._held, self._held.states_ND[: self._size]
        settled = settle_prototypes(states_ND, held.centres_PD, self._config.most_prototypes)
        held.suspicions_PT = held.suspicions_PT[(settled.centres_PD @ held.centres_PD.T).argmax(axis=1)]
        held.kinds_N[: self._size] = settled.kinds_N
        held.centres_PD, held.sums_PD = settled.centres_PD, settled.sums_PD
        self._recount()
        self._center()
        self._linear.turn(held.centres_PD)
        self._relearn()
        if self._config.prior_strength is None:
            successes_PT, counts_PT = held.evidence_2PT
            self._strength = sibling_strength(successes_PT, counts_PT, held.priors_T)
        if self._config.fixed_bandwidth is None:
            self._bandwidth = bandwidth_of(states_ND, held.centres_PD)
        self._next_refresh = min(int(self._size * GROWTH) + 1, self._config.most_rows)

    def scalars(self) -> Scalars:
        """What `arrays` leaves out."""
        band = self._bandwidth
        return Scalars(self._size, self._applied, self._strength, self._next_refresh, band.background, band.match)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, rows cut to those held."""
        named = {one.name: getattr(self._held, one.name) for one in fields(Remembered)}
        kept = {name: value[: self._size] if name in ROWS else value for name, value in named.items()}
        return kept | self._linear.arrays()

    def restore(self, arrays: Mapping[str, NDArray[np.generic]], scalars: Scalars) -> None:
        """Become the memory that gave these arrays and scalars."""
        self._held = Remembered(**{one.name: arrays[one.name].copy() for one in fields(Remembered)})  # type: ignore[arg-type]
        self._linear.restore(arrays)
        self._size, self._applied = scalars.size, scalars.applied
        self._strength, self._next_refresh = scalars.strength, scalars.next_refresh
        self._bandwidth = Bandwidth(scalars.background, scalars.match)
        self._mark_newcomers()

    def _mark_newcomers(self) -> None:
        """Which tools came late and have few reports: derived once, because every decision asks."""
        held = self._held
        self._is_new_T = held.is_late_T & (held.reports_T < self._config.newcomer_reports)
        self._has_new = bool(self._is_new_T.any())

    def _center(self) -> None:
        """The prior mean of every tool: its mean over all kinds of states, drawn to the mean of all tools."""
        successes_T, counts_T = self._held.evidence_2PT.sum(axis=1)
        self._held.priors_T = tool_means(successes_T, counts_T, self._config.tool_strength)

    def _kind_of(self, state_D: Vectors) -> int:
        """The prototype nearest to a state, which moves toward it, or a new one."""
        held, band = self._held, self._bandwidth
        similarities_P = held.centres_PD @ state_D
        kinds = len(similarities_P)
        kind = int(similarities_P.argmax()) if kinds else 0
        far = band.background + self._config.novelty * (band.match - band.background)
        if not kinds or (similarities_P[kind] < far and kinds < self._config.most_prototypes):
            self._found(state_D)
            return kinds
        sum_D = held.sums_PD[kind]
        sum_D += state_D
        held.centres_PD[kind] = sum_D / np.sqrt(sum_D @ sum_D)
        return kind

    def _found(self, state_D: Vectors) -> None:
        """A prototype of one state, without evidence."""
        held = self._held
        held.centres_PD = np.concatenate([held.centres_PD, state_D[None]])
        held.sums_PD = np.concatenate([held.sums_PD, state_D[None]])
        held.evidence_2PT = np.pad(held.evidence_2PT, ((0, 0), (0, 1), (0, 0)))
        held.alarms_PT = np.pad(held.alarms_PT, ((0, 1), (0, 0)))
        held.suspicions_PT = np.pad(held.suspicions_PT, ((0, 1), (0, 0)))

    def _kept(self, kind: int, report: Report) -> float:
        """The share of the older evidence that this report leaves standing: less where success fell, or came back."""
        config, place = self._config, (kind, report.column)
        alarms_PT, suspicions_PT = self._held.alarms_PT, self._held.suspicions_PT
        level = failure_alarm(float(alarms_PT[place]), report.reward, report.expected, config.alarm_drop)
        is_alarm = level > config.alarm_level
        is_back = suspicions_PT[place] > 0.0 and report.reward >= BACK
        alarms_PT[place] = 0.0 if is_alarm else level
        if is_back:
            suspicions_PT[place] = 0.0
        elif is_alarm or suspicions_PT[place] > 0.0:
            suspicions_PT[place] += 1.0
        return config.use_forgetting * (config.alarm_kept if is_alarm or is_back else 1.0)

    def _fade(self, kind: int, column: int, share: float) -> None:
        """Keep a share of what is held of one tool in one kind of state."""
        if share == 1.0:
            return
        held = self._held
        held.evidence_2PT[:, kind, column] *= share
        rows = np.flatnonzero(held.kinds_N[: self._size] == kind)
        held.weights_N[rows[held.columns_N[rows] == column]] *= share

    def _append(self, report: Report, kind: int) -> None:
        """One more row; room doubles where it runs out."""
        held, row = self._held, self._size
        if row == len(held.rewards_N):
            for name in ROWS:
                rows = getattr(held, name)
                more = np.zeros_like(rows, shape=(max(row, FIRST_ROOM), *rows.shape[1:]))
                setattr(held, name, np.concatenate([rows, more]))
        held.states_ND[row], held.columns_N[row], held.kinds_N[row] = report.state_D, report.column, kind
        held.rewards_N[row], held.weights_N[row] = report.reward, report.weight
        self._size += 1

    def _drop_oldest(self, count: int) -> None:
        """Forget the oldest rows."""
        for name in ROWS:
            setattr(self._held, name, getattr(self._held, name)[count : self._size].copy())
        self._size -= count

    def _relearn(self) -> None:
        """The linear layer from the rows, with what is left of their weights."""
        held, size = self._held, self._size
        rows = Rows(held.states_ND[:size], held.columns_N[:size], held.rewards_N[:size], held.weights_N[:size])
        self._linear.relearn(rows)

    def _recount(self) -> None:
        """Evidence of every prototype from the rows; alarms start anew."""
        held, size = self._held, self._size
        kinds, tools = len(held.centres_PD), len(held.priors_T)
        cells_N = held.kinds_N[:size] * tools + held.columns_N[:size]
        weights_N = held.weights_N[:size]
        sums = [np.bincount(cells_N, part, kinds * tools) for part in (weights_N * held.rewards_N[:size], weights_N)]
        held.evidence_2PT = np.asarray(sums, np.float64).reshape(2, kinds, tools)
        held.alarms_PT = np.zeros((kinds, tools))


def _nothing(dimension: int) -> Remembered:
    """No rows, no prototypes, no tools."""
    vectors_0D, numbers_0, floats_0 = np.zeros((0, dimension), np.float32), np.zeros(0, np.int64), np.zeros(0)
    return Remembered(
        states_ND=vectors_0D, columns_N=numbers_0, rewards_N=floats_0, weights_N=floats_0, kinds_N=numbers_0,
        centres_PD=vectors_0D, sums_PD=vectors_0D, evidence_2PT=np.zeros((2, 0, 0)), alarms_PT=np.zeros((0, 0)),
        suspicions_PT=np.zeros((0, 0)),
        priors_T=floats_0, reports_T=numbers_0, is_late_T=np.zeros(0, np.bool_),
    )  # fmt: skip

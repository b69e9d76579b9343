"""Values of (state cluster, tool): the success to expect after using a tool in a kind of state, learned run by run.

Every method updates its table once a run, toward returns that were computed with the table as it stood before the run
(off-line updating, Sutton & Barto 2018, ch. 12).  The same runs in the same order give the same table; to forget a run,
learn the others anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Method = Literal["sarsa", "q_learning", "monte_carlo"]
Trace = Literal["accumulating", "replacing"]

METHODS: frozenset[str] = frozenset({"sarsa", "q_learning", "monte_carlo"})
TRACES: frozenset[str] = frozenset({"accumulating", "replacing"})
NO_STATE = -1


@dataclass(frozen=True)
class StepRun:
    """One judged trajectory of T > 0 steps as numbers, shape (T,) each.

    `states_T` are state clusters (−1: none), `tools_T` tools from 0, `rewards_T` in [0, 1].  Where `is_terminal` is
    False the log was cut: its last step then only says what the one before it led to.  `looping_T` marks steps that
    lie inside a loop (None: no step does).  A trajectory that nobody judged is no run.
    """

    states_T: Numbers
    tools_T: Numbers
    rewards_T: Floats
    is_terminal: bool = True
    looping_T: Flags | None = None

    def __post_init__(self) -> None:
        shapes = {np.shape(self.states_T), np.shape(self.tools_T), np.shape(self.rewards_T)}
        if len(shapes) > 1 or len(min(shapes)) != 1 or not len(self.rewards_T):
            raise SelectorUsageError(
                f"states, tools and rewards of a run must have one shape (T,), T > 0, got {sorted(shapes)}"
            )
        if self.looping_T is not None and np.shape(self.looping_T) not in shapes:
            raise SelectorUsageError(f"looping_T must have the shape of the rewards, got {np.shape(self.looping_T)}")
        if np.min(self.states_T) < NO_STATE or np.min(self.tools_T) < 0:
            raise SelectorUsageError("states must be −1 (none) or more and tools 0 or more: number them first")
        if not ((self.rewards_T >= 0.0) & (self.rewards_T <= 1.0)).all():
            raise SelectorUsageError("rewards must lie in [0, 1]; leave out a trajectory that nobody judged")

    def __len__(self) -> int:
        return len(self.rewards_T)

    @property
    def learned_steps(self) -> int:
        """How many steps have a return: all, or all but the last where the log was cut."""
        return len(self) if self.is_terminal else len(self) - 1


@dataclass(frozen=True, slots=True)
class ValueConfig:
    """How values are learned.

    `method` is SARSA(λ) (Rummery & Niranjan 1994), Q-learning (Watkins 1989) or the mean of every-visit Monte Carlo
    returns.  `step_size` in (0, 1] is the share by which a visit moves a value, None for 1 / visits; a pair that one
    run visits k times is moved by at most 1 / k a visit, so that it stays within the range of its returns.
    `discount` γ and `trace` λ in [0, 1]; `trace_kind` says what a second visit does to the trace of the first
    (Singh & Sutton 1996).  Values rest on their tool's mean, that on the mean of all, and that on `prior_value` in
    [0, 1], each with the weight of `prior_weight` ≥ 0 visits.
    """

    method: Method = "sarsa"
    step_size: float | None = None
    discount: float = 0.99
    trace: float = 0.9
    trace_kind: Trace = "accumulating"
    prior_value: float = 0.5
    prior_weight: float = 4.0

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.trace_kind not in TRACES:
            raise SelectorUsageError(
                f"method must be one of {sorted(METHODS)} and trace_kind one of {sorted(TRACES)}, "
                f"got {self.method!r} and {self.trace_kind!r}"
            )
        for name in ("discount", "trace", "prior_value"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SelectorUsageError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.step_size is not None and not 0.0 < self.step_size <= 1.0:
            raise SelectorUsageError(f"step_size must lie in (0, 1] or be None for 1 / visits, got {self.step_size}")
        if not 0.0 <= self.prior_weight < np.inf:
            raise SelectorUsageError(f"prior_weight must be finite and 0 or more, got {self.prior_weight}")

    @property
    def method_trace(self) -> float:
        """λ as the method uses it: Q-learning looks one step ahead, Monte Carlo to the end."""
        return {"sarsa": self.trace, "q_learning": 0.0, "monte_carlo": 1.0}[self.method]


def final_reward_run(states_T: Numbers, tools_T: Numbers, success: float) -> StepRun:
    """A run whose only reward is its success, in [0, 1], at the last step.

    >>> final_reward_run(np.array([0, 1]), np.array([0, 0]), True).rewards_T.tolist()
    [0.0, 1.0]
    """
    rewards_T = np.zeros(len(tools_T))
    rewards_T[-1:] = success
    return StepRun(states_T, tools_T, rewards_T)


def lambda_returns(rewards_T: Floats, following_T: Floats, is_last_T: Flags, discount: float, trace: float) -> Floats:
    """G_t = r_t + γ [(1 − λ) v_t + λ G_{t+1}], and G_t = r_t at the last step of a run; shape (T,).

    The forward view of TD(λ) (Sutton & Barto 2018, eq. 12.18), one run after the other in one array.  `following_T` is
    v_t, the value of what comes after step t.  All returns together solve one bidiagonal system.

    >>> lambda_returns(np.array([0.0, 1.0]), np.array([0.5, 0.0]), np.array([False, True]), 1.0, 0.5).tolist()
    [0.75, 1.0]
    """
    goes_on = np.where(is_last_T, 0.0, discount)
    known = rewards_T + goes_on * (1.0 - trace) * following_T
    bands = np.vstack([np.append(0.0, -trace * goes_on[:-1]), np.ones(len(rewards_T))])
    return np.asarray(solve_banded((0, 1), bands, known), np.float64)


def replaced_returns(returns_T: Floats, values_T: Floats, keys_T: Numbers, decay: float) -> Floats:
    """Returns as a replacing trace sees them: cut where the same pair (`keys_T`) comes again; shape (T,).

    G_t − (γλ)^(u − t) (G_u − v_u) with u the next visit of the pair: what follows u is credited to that visit alone
    (Singh & Sutton 1996).  `decay` is γλ, `values_T` is v.

    >>> replaced_returns(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([7, 7]), 0.5).tolist()
    [0.75, 1.0]
    """
    order = np.argsort(keys_T, kind="stable")
    same = keys_T[order[1:]] == keys_T[order[:-1]]
    first, again = order[:-1][same], order[1:][same]
    cut = np.array(returns_T, np.float64)
    cut[first] -= decay ** (again - first) * (returns_T[again] - values_T[again])
    return cut


def pair_keys(run: StepRun) -> Numbers:
    """One number for each step: equal where state and tool are; shape (T,)."""
    return np.asarray((run.states_T + 1) * (int(np.max(run.tools_T)) + 1) + run.tools_T, np.int64)


@dataclass(frozen=True)
class ValueTable:
    """Values and visits of each pair, shape (S, A); row 0 stands for "no state cluster", row c + 1 for cluster c."""

    values_SA: Floats
    counts_SA: Floats
    prior_value: float
    prior_weight: float

    @cached_property
    def overall(self) -> float:
        """Mean value of all visits, drawn toward the prior."""
        total = np.array([(self.counts_SA * self.values_SA).sum()])
        return float(_shrunk(total, self.counts_SA.sum(keepdims=True)[0], self.prior_value, self.prior_weight)[0])

    @cached_property
    def tool_means(self) -> Floats:
        """Mean value of each tool's visits, drawn toward the mean of all; shape (A,)."""
        totals = (self.counts_SA * self.values_SA).sum(axis=0)
        return _shrunk(totals, self.counts_SA.sum(axis=0), self.overall, self.prior_weight)

    @cached_property
    def shrunk(self) -> Floats:
        """Value of each pair, drawn toward its tool's mean; shape (S, A)."""
        return _shrunk(self.counts_SA * self.values_SA, self.counts_SA, self.tool_means, self.prior_weight)

    @cached_property
    def greedy(self) -> Floats:
        """The best value in each state among the tools that were used there; −∞ where none was; shape (S,)."""
        return np.asarray(np.where(self.counts_SA > 0, self.shrunk, -np.inf).max(axis=1, initial=-np.inf))

    def look_up(self, states: Numbers, tools: Numbers) -> Floats:
        """Shrunk values of pairs; a state never seen gets its tool's mean, a tool never seen the mean of all."""
        rows, known = states + 1, (states + 1 < len(self.counts_SA)) & (states >= NO_STATE)
        tool_known = (tools >= 0) & (tools < self.counts_SA.shape[1])
        by_tool = np.append(self.tool_means, self.overall)[np.where(tool_known, tools, -1)]
        both = known & tool_known
        if not both.any():
            return by_tool
        return np.where(both, self.shrunk[np.where(both, rows, 0), np.where(both, tools, 0)], by_tool)


class ActionValues:
    """A table of values that learns from runs as they arrive."""

    def __init__(self, config: ValueConfig | None = None) -> None:
        self.config = config or ValueConfig()
        self._table = self._make(np.zeros((1, 0)), np.zeros((1, 0)))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float64]], config: ValueConfig) -> "ActionValues":
        """The values that `to_arrays` wrote; learning goes on as if it had never stopped."""
        if not {"values_SA", "counts_SA"} <= set(arrays):
            raise SelectorUsageError(
                f"stored values need values_SA and counts_SA, got {sorted(arrays)}; learn them anew"
            )
        values_SA, counts_SA = (np.array(arrays[name], np.float64) for name in ("values_SA", "counts_SA"))
        is_table = values_SA.ndim == 2 and values_SA.shape == counts_SA.shape and len(values_SA) > 0
        if not (is_table and np.isfinite(values_SA).all() and (counts_SA >= 0.0).all()):
            raise SelectorUsageError("stored values must be two finite tables (S, A) of one shape; learn them anew")
        made = cls(config)
        made._table = made._make(values_SA, counts_SA)
        return made

    def to_arrays(self) -> dict[str, Floats]:
        """`values_SA` and `counts_SA`, as copies."""
        return {"values_SA": self._table.values_SA.copy(), "counts_SA": self._table.counts_SA.copy()}

    @property
    def counts(self) -> Floats:
        """Visits of each pair, shape (S, A); row c + 1 is cluster c, row 0 the steps without one."""
        return self._table.counts_SA.copy()

    def value(self, states: Numbers, tools: Numbers) -> Floats:
        """Values of pairs of one shape (or that broadcast), shrunk by how rarely each was visited.

        A state never seen gets its tool's mean, a tool never seen (or −1) the mean of all.
        """
        states, tools = np.broadcast_arrays(np.asarray(states, np.int64), np.asarray(tools, np.int64))
        return self._table.look_up(states, tools)

    def learn(self, run: StepRun) -> None:
        """Move the pairs of one run toward its returns."""
        steps = run.learned_steps
        if not steps:
            return
        values_SA, counts_SA = self._grown(run)
        pairs = (run.states_T[:steps] + 1, run.tools_T[:steps])
        visits = np.zeros_like(counts_SA)
        np.add.at(visits, pairs, 1.0)
        counts_SA += visits
        size = np.minimum(1.0 / np.maximum(visits, 1.0), self.config.step_size or 1.0 / np.maximum(counts_SA, 1.0))
        np.add.at(values_SA, pairs, size[pairs] * (self._targets(run) - values_SA[pairs]))
        self._table = self._make(values_SA, counts_SA)

    def returns(self, runs: Sequence[StepRun]) -> tuple[Floats, ...]:
        """The λ-return of every step under the present table, shape (T,) for each run, in one pass over all of them.

        The last step of a run that was cut has the value of its own pair.
        """
        if not runs:
            return ()
        ends = np.cumsum([len(run) for run in runs])
        is_last = np.zeros(ends[-1], np.bool_)
        is_last[ends - 1] = True
        rewards, following = (np.concatenate(parts) for parts in zip(*map(self._seen, runs), strict=True))
        gained = lambda_returns(rewards, following, is_last, self.config.discount, self.config.method_trace)
        return tuple(np.split(gained, ends[:-1]))

    def _targets(self, run: StepRun) -> Floats:
        """What each learned step of a run is moved toward."""
        steps = run.learned_steps
        returns_T = self.returns([run])[0]
        if self.config.trace_kind == "accumulating":
            return returns_T[:steps]
        decay = self.config.discount * self.config.method_trace
        return replaced_returns(returns_T, self._table.look_up(run.states_T, run.tools_T), pair_keys(run), decay)[
            :steps
        ]

    def _seen(self, run: StepRun) -> tuple[Floats, Floats]:
        """Rewards of a run, and what the table expects after each step: of the next pair, or the best tool there."""
        own = self._table.look_up(run.states_T, run.tools_T)
        rewards = np.asarray(run.rewards_T, np.float64).copy()
        if not run.is_terminal:
            rewards[-1] = own[-1]
        if self.config.method == "q_learning":
            rows = np.minimum(run.states_T + 1, len(self._table.greedy))
            own = np.maximum(own, np.append(self._table.greedy, -np.inf)[rows])
        return rewards, np.append(own[1:], 0.0)

    def _grown(self, run: StepRun) -> tuple[Floats, Floats]:
        """Copies of the table, large enough for a run."""
        old = self._table.counts_SA.shape
        shape = (max(old[0], int(run.states_T.max()) + 2), max(old[1], int(run.tools_T.max()) + 1))
        values_SA, counts_SA = np.full(shape, self.config.prior_value), np.zeros(shape)
        values_SA[: old[0], : old[1]] = self._table.values_SA
        counts_SA[: old[0], : old[1]] = self._table.counts_SA
        return values_SA, counts_SA

    def _make(self, values_SA: Floats, counts_SA: Floats) -> ValueTable:
        return ValueTable(values_SA, counts_SA, self.config.prior_value, self.config.prior_weight)


def credited_outcomes(runs: Sequence[StepRun], config: ValueConfig | None = None) -> tuple[Floats, ...]:
    """What each step earned, in [0, 1]: its λ-return under the values that all runs taught; shape (T,) for each run.

    A step of a failed trajectory that usually leads to success elsewhere is blamed in part only, and the rest of the
    blame falls on the steps after which success is rare.  A step inside a loop earns 0.
    """
    values = ActionValues(config)
    for run in runs:
        values.learn(run)
    return tuple(
        np.where(False if run.looping_T is None else run.looping_T, 0.0, np.clip(returns_T, 0.0, 1.0))
        for run, returns_T in zip(runs, values.returns(runs), strict=True)
    )


def _shrunk(totals: Floats, counts: Floats, parents: Floats | float, weight: float) -> Floats:
    """(w · parent + Σ) / (w + n); the parent where both w and n are 0."""
    mass = weight + counts
    return np.asarray(
        np.where(mass > 0, (weight * parents + totals) / np.where(mass > 0, mass, 1.0), parents), np.float64
    )

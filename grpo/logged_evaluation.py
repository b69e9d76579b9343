"""What a policy is worth on logged decisions of held-out tasks: it names what successes did, and would earn more."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grpo.logged_data import LoggedData
from selector.intervals import Interval

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

LARGEST_WEIGHT = 10.0
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class LoggedScores:
    """Scores of one policy on a panel, each with a 95 % interval over groups of tasks.

    `at1` and `at3` in [0, 1]: how often what a successful trajectory did next was the policy's first choice, or among
    its first three; `log_loss` in nats a decision.  `value` estimates the mean reward of a trajectory had the policy
    made one decision of it (self-normalised importance weights, cut at 10), `logged_value` is that of the log;
    `effective_sample_size` relative to the log's, in (0, 1].
    """

    at1: Interval
    at3: Interval
    log_loss: Interval
    value: Interval
    logged_value: float
    effective_sample_size: float


@dataclass(frozen=True, slots=True)
class LoggedGain:
    """How much better one policy is than another on the same panel: paired differences with 95 % intervals."""

    at1: Interval
    at3: Interval
    log_loss: Interval
    value: Interval


class LoggedPanel:
    """The decisions of one panel of trajectories, and what they earned."""

    def __init__(self, data: LoggedData, is_panel_R: NDArray[np.bool_], rewards_R: Floats, *, seed: int = 0) -> None:
        rollouts = data.rollouts
        owners = rollouts.rollouts_N
        self._examples = np.flatnonzero(is_panel_R[owners] & (data.imitate_N > 0.0))
        self._valued = np.flatnonzero(is_panel_R[owners] & ~np.isnan(rewards_R[owners]))
        lengths = np.bincount(owners[self._valued], minlength=len(is_panel_R))
        self._shares = 1.0 / lengths[owners[self._valued]]
        self._rewards = rewards_R[owners[self._valued]]
        self._chosen, self._behaviour = rollouts.chosen_N, data.behaviour_N
        _, self._example_groups = np.unique(rollouts.groups_R[owners[self._examples]], return_inverse=True)
        _, self._valued_groups = np.unique(rollouts.groups_R[owners[self._valued]], return_inverse=True)
        self._seed = seed

    @property
    def decisions(self) -> int:
        """Decisions of successful trajectories, on which accuracy is measured."""
        return len(self._examples)

    def scores(self, log_probs_NK: Floats) -> LoggedScores:
        """Scores of the policy that gives these log-probabilities to the candidates of every decision."""
        at1, at3, loss = self._hits(log_probs_NK)
        weights = self._weights(log_probs_NK)
        logged = float(self._shares @ self._rewards / self._shares.sum())
        size = weights.sum() ** 2 / (weights @ weights) / (self._shares.sum() ** 2 / (self._shares @ self._shares))
        return LoggedScores(
            self._mean(at1), self._mean(at3), self._mean(loss), self._value(weights), logged, float(size)
        )

    def gain(self, before_NK: Floats, after_NK: Floats) -> LoggedGain:
        """What the second policy is better by."""
        pairs = zip(self._hits(before_NK), self._hits(after_NK), strict=True)
        at1, at3, loss = (self._mean(after - before) for before, after in pairs)
        return LoggedGain(at1, at3, loss, self._value(self._weights(after_NK), less=self._weights(before_NK)))

    def _hits(self, log_probs_NK: Floats) -> tuple[Floats, Floats, Floats]:
        """Whether each example was named first, among three (ties shared), and its loss."""
        rows = log_probs_NK[self._examples]
        own = rows[np.arange(len(rows)), self._chosen[self._examples]]
        above, equal = (rows > own[:, None]).sum(axis=1), (rows == own[:, None]).sum(axis=1)
        hits = [np.clip((most - above) / equal, 0.0, 1.0) for most in (1, 3)]
        return hits[0], hits[1], -own

    def _weights(self, log_probs_NK: Floats) -> Floats:
        """Importance weight of each valued decision, times its share of its trajectory."""
        own = log_probs_NK[self._valued, self._chosen[self._valued]]
        return np.asarray(self._shares * np.minimum(np.exp(own - self._behaviour[self._valued]), LARGEST_WEIGHT))

    def _mean(self, values: Floats) -> Interval:
        sums, counts = np.bincount(self._example_groups, values), np.bincount(self._example_groups).astype(np.float64)
        return self._interval(len(sums), lambda drawn: sums[drawn].sum(axis=-1) / counts[drawn].sum(axis=-1))

    def _value(self, weights: Floats, less: Floats | None = None) -> Interval:
        def ratios(some: Floats) -> Callable[[Numbers], Floats]:
            earned = np.bincount(self._valued_groups, some * self._rewards)
            total = np.bincount(self._valued_groups, some)
            return lambda drawn: earned[drawn].sum(axis=-1) / np.maximum(total[drawn].sum(axis=-1), 1e-12)

        after, before = ratios(weights), ratios(less) if less is not None else None
        groups = int(self._valued_groups.max(initial=-1)) + 1
        return self._interval(groups, lambda drawn: after(drawn) - (before(drawn) if before else 0.0))

    def _interval(self, groups: int, statistic: Callable[[Numbers], Floats]) -> Interval:
        """The statistic on all groups, and its 2.5 and 97.5 percentiles over resampled groups."""
        if groups == 0:
            return Interval(*[float("nan")] * 4)
        drawn = statistic(np.random.default_rng(self._seed).integers(groups, size=(RESAMPLES, groups)))
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        return Interval(float(statistic(np.arange(groups))), float(drawn.std()), low, high)

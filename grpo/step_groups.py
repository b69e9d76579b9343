"""Steps compared with steps in equal states, and in near ones that the vector index finds."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from grpo.errors import TrainingUsageError
from trajstore.index import VectorIndex

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Names = NDArray[Any]  # Any: tasks, trajectories and states are named by numbers or by texts
Scope = Literal["group", "anywhere", "other_groups"]


@dataclass(frozen=True, slots=True, eq=False)
class StepReturns:
    """N steps: the return of each, its trajectory, and its task group; shape (N,) each, returns finite."""

    returns_N: Floats
    trajectories_N: Names
    groups_N: Names

    def __post_init__(self) -> None:
        shapes = {np.shape(self.returns_N), np.shape(self.trajectories_N), np.shape(self.groups_N)}
        if len(shapes) > 1 or len(min(shapes)) != 1:
            raise TrainingUsageError(f"returns, trajectories and groups must have one shape (N,), got {sorted(shapes)}")
        if not np.isfinite(self.returns_N).all():
            raise TrainingUsageError("returns must be finite: leave out trajectories that nobody judged")


@dataclass(frozen=True, slots=True)
class NearConfig:
    """Which steps count as near: cosine of at least `least_similarity` in [−1, 1], at most `neighbours` > 0 of them.

    `scope` says where they are sought: in the same task group, anywhere, or in the other groups only.
    """

    least_similarity: float = 0.9
    neighbours: int = 32
    scope: Scope = "group"

    def __post_init__(self) -> None:
        if self.scope not in get_args(Scope):
            raise TrainingUsageError(f"scope must be one of {get_args(Scope)}, got {self.scope!r}")
        if not -1.0 <= self.least_similarity <= 1.0:
            raise TrainingUsageError(f"least similarity must lie in [-1, 1], got {self.least_similarity}")
        if self.neighbours < 1:
            raise TrainingUsageError(f"neighbours must be above 0, got {self.neighbours}")


@dataclass(frozen=True, slots=True, eq=False)
class StepAdvantages:
    """Advantages of N steps, 0 where a step had nothing to be compared with (`compared_N` 0); shape (N,) each.

    `baselines_N` is NaN there; `compared_N` counts the other steps behind each baseline.
    """

    advantages_N: Floats
    baselines_N: Floats
    compared_N: Integers

    @property
    def singleton_fraction(self) -> float:
        """Share of steps without another to compare with, in [0, 1]; 0 where there are no steps."""
        return float(np.mean(self.compared_N == 0)) if len(self.compared_N) else 0.0


def equal_state_advantages(steps: StepReturns, states_N: Names, *, leave_one_out: bool = False) -> StepAdvantages:
    """Return less the mean return of the steps in the same state of the same task group (GiGPO, arXiv 2505.10978).

    With `leave_one_out` the mean is of the other trajectories' steps alone, else of all, the step itself included.
    Nothing is divided by a deviation.  A step whose state no other step saw has advantage 0.

    >>> steps = StepReturns(np.array([1.0, 0.0, 1.0]), np.array([0, 1, 2]), np.array([0, 0, 0]))
    >>> equal_state_advantages(steps, np.array(["a", "a", "b"])).advantages_N.tolist()
    [0.5, -0.5, 0.0]
    """
    if np.shape(states_N) != np.shape(steps.returns_N):
        raise TrainingUsageError(f"states must have shape {np.shape(steps.returns_N)}, got {np.shape(states_N)}")
    cells_N = _numbered(_numbers(steps.groups_N), _numbers(states_N))
    counts_N, sums_N = _totals(cells_N, steps.returns_N)
    compared_N = counts_N - 1.0
    if leave_one_out:
        own_counts_N, own_sums_N = _totals(_numbered(cells_N, _numbers(steps.trajectories_N)), steps.returns_N)
        counts_N, sums_N = counts_N - own_counts_N, sums_N - own_sums_N
        compared_N = counts_N
    return _advantages(steps.returns_N, sums_N, np.where(compared_N > 0, counts_N, 0.0), compared_N)


def near_state_advantages(
    steps: StepReturns, vectors_ND: NDArray[np.float32], config: NearConfig | None = None
) -> StepAdvantages:
    """Return less the mean return of steps in near states, weighted by similarity; shape (N,).

    `vectors_ND` are unit vectors of the states.  Steps of the own trajectory never count, similarities of 0 and less
    weigh nothing, and nothing is divided by the neighbours' deviation.
    """
    config = config or NearConfig()
    if vectors_ND.ndim != 2 or len(vectors_ND) != len(steps.returns_N):
        raise TrainingUsageError(f"vectors must be {len(steps.returns_N)} rows, got shape {vectors_ND.shape}")
    totals_N3 = np.zeros((len(vectors_ND), 3))
    for rows in _scopes(steps, config.scope):
        _search(steps, vectors_ND, rows, config, totals_N3)
    sums_N, weights_N, compared_N = totals_N3.T
    return _advantages(steps.returns_N, sums_N, weights_N, compared_N)


def combined_advantages(episode_N: Floats, step_N: Floats, *, weight: float = 1.0) -> Floats:
    """A = A_episode + ω A_step (GiGPO, eq. 8); shape (N,).

    >>> combined_advantages(np.array([0.5]), np.array([-0.25])).tolist()
    [0.25]
    """
    return np.asarray(episode_N + weight * step_N, np.float64)


def _advantages(returns_N: Floats, sums_N: Floats, weights_N: Floats, compared_N: Floats) -> StepAdvantages:
    has_any_N = weights_N > 0
    baselines_N = np.where(has_any_N, sums_N / np.where(has_any_N, weights_N, 1.0), np.nan)
    advantages_N = np.where(has_any_N, returns_N - np.where(has_any_N, baselines_N, 0.0), 0.0)
    return StepAdvantages(advantages_N, baselines_N, np.where(has_any_N, compared_N, 0).astype(np.int64))


def _search(
    steps: StepReturns, vectors_ND: NDArray[np.float32], rows: Integers, config: NearConfig, totals_N3: Floats
) -> None:
    """Add up similarity × return, similarity and count over what is near each of `rows`, sought among `rows`."""
    own_N = steps.groups_N if config.scope == "other_groups" else steps.trajectories_N
    own = _numbers(own_N)[rows]
    most = config.neighbours + int(np.bincount(own).max())
    index = VectorIndex.build(np.ascontiguousarray(vectors_ND[rows], np.float32), "flat")
    for place, row in enumerate(rows):
        found = index.search(vectors_ND[row], most)
        is_near = (own[found.rows] != own[place]) & (found.similarities >= config.least_similarity)
        is_near &= found.similarities > 0
        near, weights = found.rows[is_near][: config.neighbours], found.similarities[is_near][: config.neighbours]
        totals_N3[row] = weights @ steps.returns_N[rows[near]], weights.sum(dtype=np.float64), len(near)


def _scopes(steps: StepReturns, scope: Scope) -> list[Integers]:
    """Rows that are sought among each other."""
    if scope != "group":
        return [np.arange(len(steps.returns_N))] if len(steps.returns_N) else []
    groups_N = _numbers(steps.groups_N)
    return [np.flatnonzero(groups_N == group) for group in np.unique(groups_N)]


def _numbers(names_N: Names) -> Integers:
    return np.asarray(np.unique(names_N, return_inverse=True)[1], np.int64)


def _numbered(first_N: Integers, second_N: Integers) -> Integers:
    """One number for each pair."""
    return _numbers(first_N * (int(second_N.max(initial=0)) + 1) + second_N)


def _totals(cells_N: Integers, returns_N: Floats) -> tuple[Floats, Floats]:
    """Size of each step's cell, and the sum of its returns; shape (N,) each."""
    sizes, sums = np.bincount(cells_N).astype(np.float64), np.bincount(cells_N, returns_N).astype(np.float64)
    return sizes[cells_N], sums[cells_N]

"""What a call that is not right can lose: most tools only waste a step, some commit, spend or end the task.

Of the trajectories with wrong calls of a tool, its danger is the share that such a call ended: it was the last of a
failure, and lost reward; times what is at stake, which is what such tasks come to on average (where all fail anyway,
there is nothing to lose).  Paths that all succeeded do not show what a wrong last step costs: as long as no failure is
known, a grounded tool is taken to end what it ended in successes.  A candidate with the probability p of being right,
of a tool with danger d, is worth p − a · d · (1 − p), its expected utility where being right is worth 1 and a loss
costs a.  Where that is below 0, to do anything else is better.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.near_tasks import asking, nearest_by_task
from selector.newest import Newest
from selector.situation import CandidateSet
from trajstore.experience import Experience

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PRIOR_CALLS = 2.0
MOST_NEAR = 24
MOST_TASKS = 16
LEAST_DANGER = 0.1


class Dangers:
    """How dangerous each tool is in tasks like this one; remembers the tasks that asked last.

    `trust` gives how far each of the first `rows` rows of the experience counts, shape (rows,); it is asked once, and
    only where something was lost.
    """

    def __init__(self, experience: Experience, rows: int, trust: Callable[[], Floats]) -> None:
        self._experience = experience
        self._rows = rows
        self._ask_trust = trust
        self._known = Newest[Floats](MOST_TASKS)

    @cached_property
    def _trust(self) -> Floats:
        return self._ask_trust()

    @cached_property
    def _lost(self) -> Flags:
        """Which rows lost reward as the last of a failure."""
        rewards, owners = self._column("reward"), self._column("trajectory")
        return np.asarray((rewards < 0.0) & self._is_last & self._has_failed[owners], np.bool_)

    @cached_property
    def _vain(self) -> Flags:
        """Which rows were wrong and lost nothing: of no example, without a gain, and carried out."""
        was_right = (self._experience.example_weights(np.arange(self._rows)) > 0.0) | (self._column("reward") > 0.0)
        return np.asarray(~(self._lost | was_right | self._column("failed")), np.bool_)

    @cached_property
    def _shown(self) -> Floats:
        """The share of each tool in all trajectories."""
        return self._shares(np.arange(self._rows), np.zeros(len(self._experience.tools) + 1))

    @cached_property
    def _shown_with_endings(self) -> Floats:
        """The same, drawn toward how often the tool ended successes."""
        return self._shares(np.arange(self._rows), self._ended_successes)

    @property
    def _ended_successes(self) -> Floats:
        """The share of the successes that called each tool that it ended, where no failure is known; shape (T + 1,)."""
        owners, size = self._column("trajectory"), len(self._experience.tools) + 1
        if self._has_failed.any():
            return np.zeros(size)
        has_won = self._experience.weights[owners] > 0.0
        called, ended = (self._callers(np.flatnonzero(has_won & kept), size) for kept in (True, self._is_last))
        return np.asarray(np.bincount(ended[0], minlength=size) / np.maximum(np.bincount(called[0], minlength=size), 1))

    @property
    def _is_last(self) -> Flags:
        """Which rows are the last of their trajectory."""
        owners = self._column("trajectory")
        return np.asarray(self._experience.trajectory_column("end")[owners] == np.arange(len(owners)) + 1)

    @property
    def _has_failed(self) -> Flags:
        return np.asarray(self._experience.trajectory_column("success") == 0.0, np.bool_)

    def _column(self, name: str) -> NDArray[Any]:  # Any: each column has a type of its own
        return self._experience.column(name)[: self._rows]

    def near(
        self,
        task: str,
        goals: NDArray[np.float32],
        excluded: NDArray[np.bool_] | None = None,
        *,
        with_endings: bool = False,
    ) -> Floats:
        """The danger of each known tool in tasks like `task`, in [0, 1]; shape (T + 1,), the last for unknown tools.

        Of the MOST_NEAR failures whose tasks are most similar, drawn toward that of all failures where anything was
        lost, else that of all; a share below LEAST_DANGER is none.  `goals` are the similarities of `task` with the
        stored ones, `excluded` marks trajectories that are left out.  `with_endings` takes what ended successes for
        dangerous, where no failure is known.
        """
        key = (*asking(task, excluded), with_endings)
        return self._known.get(
            key, lambda: self._near(goals, excluded, self._shown_with_endings if with_endings else self._shown)
        )

    def _near(self, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None, shares: Floats) -> Floats:
        nearest = nearest_by_task(self._experience, goals, self._has_failed & self._lost.any(), excluded, MOST_NEAR)
        stakes = self._experience.stakes
        if len(nearest):
            shares = self._shares(np.flatnonzero(np.isin(self._column("trajectory"), nearest)), shares)
            stakes = stakes[nearest]
        known = np.where(shares >= LEAST_DANGER, shares, 0.0)
        return np.asarray(known * (stakes.mean() if len(stakes) else 0.0), np.float64)

    def _shares(self, rows: NDArray[np.integer], prior: Floats) -> Floats:
        losses, others = (self._counts(rows[kept[rows]], len(prior)) for kept in (self._lost, self._vain))
        return np.asarray((losses + PRIOR_CALLS * prior) / (losses + others + PRIOR_CALLS), np.float64)

    def _counts(self, rows: NDArray[np.integer], tools: int) -> Floats:
        """In how many trajectories each tool was called in these rows, as far as they are trusted; shape (T + 1,)."""
        called, first = self._callers(rows, tools)
        return np.asarray(np.bincount(called, self._trust[rows[first]], tools), np.float64)

    def _callers(self, rows: NDArray[np.integer], tools: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """The tool of each different pair of a trajectory and a tool among the rows, and where in them it stands."""
        pairs = self._column("trajectory")[rows].astype(np.int64) * tools + self._column("tool")[rows]
        once, first = np.unique(pairs, return_index=True)
        return once % tools, first


def dangerous_here(means: Floats, candidates: CandidateSet, danger: Floats, aversion: float) -> NDArray[np.int64]:
    """Places of the candidates whose expected utility is below 0; none where it is for all.

    `means` are the probabilities of being right, shape (K,), `danger` those of `Dangers.near`.  They are not chosen;
    they are not pruned either: whoever is guided may know better what is right.
    """
    danger_K = np.where(candidates.is_known, danger[candidates.tools], 0.0)[candidates.tool_of]
    feared: NDArray[np.int64] = np.flatnonzero(means < aversion * danger_K * (1.0 - means))
    return feared if len(feared) < len(means) else feared[:0]

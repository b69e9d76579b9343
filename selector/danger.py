"""What a call that is not right can lose: most tools only waste a step, some commit, spend or end the task.

Of the trajectories with wrong calls of a tool, its danger is the share that such a call ended: it was the last of a
failure, and lost reward; times what is at stake, which is what such tasks come to on average (where all fail anyway,
there is nothing to lose).  A candidate with the probability p of being right, of a tool with danger d, is worth
p − a · d · (1 − p), its expected utility where being right is worth 1 and a loss costs a.  Where that is below 0, to do
anything else is better.
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
        is_last = self._experience.trajectory_column("end")[owners] == np.arange(len(owners)) + 1
        return np.asarray((rewards < 0.0) & is_last & self._has_failed[owners], np.bool_)

    @cached_property
    def _vain(self) -> Flags:
        """Which rows were wrong and lost nothing: of no example, without a gain, and carried out."""
        was_right = (self._experience.example_weights(np.arange(self._rows)) > 0.0) | (self._column("reward") > 0.0)
        return np.asarray(~(self._lost | was_right | self._column("failed")), np.bool_)

    @cached_property
    def _overall(self) -> Floats:
        return self._shares(np.arange(self._rows), np.zeros(len(self._experience.tools) + 1))

    @property
    def _has_failed(self) -> Flags:
        return np.asarray(self._experience.trajectory_column("success") == 0.0, np.bool_)

    def _column(self, name: str) -> NDArray[Any]:  # Any: each column has a type of its own
        return self._experience.column(name)[: self._rows]

    def near(self, task: str, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None = None) -> Floats:
        """The danger of each known tool in tasks like `task`, in [0, 1]; shape (T + 1,), the last for unknown tools.

        Of the MOST_NEAR failures whose tasks are most similar, drawn toward that of all failures; a share below
        LEAST_DANGER is none.  `goals` are the similarities of `task` with the stored ones, `excluded` marks
        trajectories that are left out.
        """
        return self._known.get(asking(task, excluded), lambda: self._near(goals, excluded))

    def _near(self, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None) -> Floats:
        nearest = nearest_by_task(self._experience, goals, self._has_failed & self._lost.any(), excluded, MOST_NEAR)
        if not len(nearest):
            return np.zeros(len(self._experience.tools) + 1)
        shares = self._shares(np.flatnonzero(np.isin(self._column("trajectory"), nearest)), self._overall)
        known = np.where(shares >= LEAST_DANGER, shares, 0.0)
        return np.asarray(known * self._experience.stakes[nearest].mean(), np.float64)

    def _shares(self, rows: NDArray[np.integer], prior: Floats) -> Floats:
        losses, others = (self._counts(rows[kept[rows]], len(prior)) for kept in (self._lost, self._vain))
        return np.asarray((losses + PRIOR_CALLS * prior) / (losses + others + PRIOR_CALLS), np.float64)

    def _counts(self, rows: NDArray[np.integer], tools: int) -> Floats:
        """In how many trajectories each tool was called in these rows; shape (T + 1,)."""
        pairs = self._column("trajectory")[rows].astype(np.int64) * tools + self._column("tool")[rows]
        once, first = np.unique(pairs, return_index=True)
        return np.asarray(np.bincount(once % tools, self._trust[rows[first]], tools), np.float64)


def dangerous_here(means: Floats, candidates: CandidateSet, danger: Floats, aversion: float) -> NDArray[np.int64]:
    """Places of the candidates whose expected utility is below 0; none where it is for all.

    `means` are the probabilities of being right, shape (K,), `danger` those of `Dangers.near`.  They are not chosen;
    they are not pruned either: whoever is guided may know better what is right.
    """
    danger_K = np.where(candidates.is_known, danger[candidates.tools], 0.0)[candidates.tool_of]
    feared: NDArray[np.int64] = np.flatnonzero(means < aversion * danger_K * (1.0 - means))
    return feared if len(feared) < len(means) else feared[:0]

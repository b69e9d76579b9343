"""Aligning the steps done with stored paths, as strings are (Needleman & Wunsch 1970), one step done at a time.

Either may have steps that the other lacks.  What the steps before have cost is kept, so that one step more costs one
row of each path's table.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SKIP_STORED = 0.15
SKIP_DONE = 0.1
ROUNDING = 1e-9


def skipping_costs(weights_PL: Floats) -> Floats:
    """What it costs to skip the first j stored steps, of which each tells so much; shape (P, L + 1)."""
    passed_PL = np.cumsum(weights_PL, axis=1)
    return SKIP_STORED * np.concatenate([np.zeros((len(weights_PL), 1)), passed_PL], axis=1)


def next_scores(scores_PL: Floats, match_PL: Floats, costs_PL: Floats, skip_P: Floats) -> Floats:
    """Scores (P, L + 1) of aligning one step more with the first j stored ones, from those before it.

    `match_PL` (P, L) is how well the step done matches each stored one, −∞ where it cannot be it; `costs_PL` (P, L + 1)
    are those of `skipping_costs`, and `skip_P` is what it costs that a path lacks the step done.

        s'(j) = max( s(j) − skip,  s(j−1) + match(j),  s'(j−1) − SKIP_STORED · weight(j) )
    """
    best = scores_PL - skip_P[:, None]
    np.maximum(best[:, 1:], scores_PL[:, :-1] + match_PL, out=best[:, 1:])
    return np.asarray(np.maximum.accumulate(best + costs_PL, axis=1) - costs_PL, np.float64)


class Alignment:
    """The steps done so far, aligned with P paths of at most L steps, of which each tells so much (`weights_PL`)."""

    def __init__(self, weights_PL: Floats) -> None:
        self._costs_PL = skipping_costs(weights_PL)
        self._done: list[Hashable] = []
        self._scores = [-self._costs_PL]
        self._matches: list[Floats] = []
        self._skips: list[Floats] = []

    @property
    def scores(self) -> Floats:
        """Best score of aligning all that was done with the first j steps of each path; shape (P, L + 1)."""
        return self._scores[-1]

    def keep(self, done: Sequence[Hashable]) -> int:
        """Forget what was aligned beyond the steps that `done` begins with; says how many those are."""
        same = 0
        while same < min(len(done), len(self._done)) and done[same] == self._done[same]:
            same += 1
        del self._done[same:], self._matches[same:], self._skips[same:], self._scores[same + 1 :]
        return same

    def add(self, done: Hashable, match_PL: Floats, weights_P: Floats) -> None:
        """Align one step more, which tells as much of each path as `weights_P` says."""
        skip_P = SKIP_DONE * weights_P
        self._done.append(done)
        self._scores.append(next_scores(self._scores[-1], match_PL, self._costs_PL, skip_P))
        self._matches.append(match_PL)
        self._skips.append(skip_P)

    def pairs(self, path: int, place: int) -> list[tuple[int, int]]:
        """Which steps done are aligned with which of the path's first `place` steps, in order."""
        found, done = [], len(self._done)
        while done and place:
            here, before = self._scores[done][path, place], self._scores[done - 1][path]
            if abs(here - before[place - 1] - self._matches[done - 1][path, place - 1]) < ROUNDING:
                done, place = done - 1, place - 1
                found.append((done, place))
            elif abs(here - before[place] + self._skips[done - 1][path]) < ROUNDING:
                done -= 1
            else:
                place -= 1
        return found[::-1]

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


def first_scores(weights_PL: Floats) -> Floats:
    """Scores before any step was done: each stored step before the present place was skipped; shape (P, L + 1).

    `weights_PL` says how much each stored step tells.
    """
    return -SKIP_STORED * _passed(weights_PL)


def next_scores(scores_PL: Floats, match_PL: Floats, weights_PL: Floats, skip_P: Floats) -> Floats:
    """Scores (P, L + 1) of aligning one step more with the first j stored ones, from those before it.

    `match_PL` (P, L) is how well the step done matches each stored one, −∞ where it cannot be it; `weights_PL` how much
    each stored step tells, and `skip_P` what it costs that a path lacks the step done.

        s'(j) = max( s(j) − skip,  s(j−1) + match(j),  s'(j−1) − SKIP_STORED · weight(j) )
    """
    slope = SKIP_STORED * _passed(weights_PL)
    best = scores_PL - skip_P[:, None]
    np.maximum(best[:, 1:], scores_PL[:, :-1] + match_PL, out=best[:, 1:])
    return np.asarray(np.maximum.accumulate(best + slope, axis=1) - slope, np.float64)


def _passed(weights_PL: Floats) -> Floats:
    return np.concatenate([np.zeros((len(weights_PL), 1)), np.cumsum(weights_PL, axis=1)], axis=1)


class Alignment:
    """The steps done so far, aligned with P paths of at most L steps, of which each tells so much (`weights_PL`)."""

    def __init__(self, weights_PL: Floats) -> None:
        self._weights_PL = weights_PL
        self._done: list[Hashable] = []
        self._scores = [first_scores(weights_PL)]
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
        self._scores.append(next_scores(self._scores[-1], match_PL, self._weights_PL, skip_P))
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

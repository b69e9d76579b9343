"""What followed each suffix of many step sequences, counted at once and kept in sorted arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START = -1
Suffix = tuple[int, ...]
Counts = dict[int, float]
Numbers = NDArray[np.integer]
Weights = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class _Length:
    """The suffixes of one length, numbered by `codes`, and what followed each.

    A code, rising, stands for the oldest token and the number of the suffix that is one step shorter.  The followers
    of suffix n are those from `begins[n]` to `begins[n + 1]`.
    """

    codes: NDArray[np.int64]
    begins: NDArray[np.int64]
    tools: NDArray[np.int64]
    totals: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SortedCounts:
    """Followers of all suffixes from the empty one up to a depth; `tokens` are the steps that there are, rising."""

    tokens: NDArray[np.int64]
    lengths: tuple[_Length, ...]

    @classmethod
    def of(
        cls, tokens_N: Numbers, tools_N: Numbers, weights_N: Weights, ends_M: Numbers, *, depth: int
    ) -> "SortedCounts":
        """Count M sequences one after the other: `tools_N[i]` came after the steps before i in its sequence.

        >>> two = np.array([4, 6]), np.array([2, 3]), np.array([1.0, 0.5]), np.array([2])
        >>> SortedCounts.of(*two, depth=2).get((4,)), SortedCounts.of(*two, depth=2).get((START, 4))
        ({3: 0.5}, {3: 0.5})
        """
        tokens, dense = np.unique(np.append(tokens_N, START), return_inverse=True)
        position = np.arange(len(tokens_N)) - np.repeat(np.append(0, ends_M[:-1]), np.diff(ends_M, prepend=0))
        steps = np.flatnonzero(np.asarray(weights_N) > 0.0)
        codes = numbers = np.zeros(len(steps), np.int64)
        lengths = list[_Length]()
        for length in range(depth + 1):
            if length:
                reaches = position[steps] + 1 >= length
                steps = steps[reaches]
                before = np.where(position[steps] + 1 == length, dense[-1], dense[steps - length])
                codes = before * len(lengths[-1].codes) + numbers[reaches]
            known, numbers = np.unique(codes, return_inverse=True)
            lengths.append(_counted(known, numbers, np.asarray(tools_N)[steps], np.asarray(weights_N)[steps]))
        return cls(tokens, tuple(lengths))

    def get(self, suffix: Suffix) -> Counts:
        """The weights of the tools that followed a suffix; nothing where it was never seen."""
        if len(suffix) >= len(self.lengths):
            return {}
        number = _place(self.lengths[0].codes, 0)
        for shorter, length, token in zip(self.lengths, self.lengths[1:], reversed(suffix), strict=False):
            place = _place(self.tokens, token)
            number = -1 if min(place, number) < 0 else _place(length.codes, place * len(shorter.codes) + number)
        if number < 0:
            return {}
        found = self.lengths[len(suffix)]
        own = slice(found.begins[number], found.begins[number + 1])
        return dict(zip(found.tools[own].tolist(), found.totals[own].tolist(), strict=True))


def _counted(codes: NDArray[np.int64], numbers: Numbers, tools: Numbers, weights: Weights) -> _Length:
    width = int(tools.max(initial=0)) + 1
    pairs, place = np.unique(numbers * width + tools, return_inverse=True)
    begins = np.searchsorted(pairs // width, np.arange(len(codes) + 1))
    totals = np.asarray(np.bincount(place, weights, len(pairs)), np.float64)
    return _Length(codes, begins.astype(np.int64), (pairs % width).astype(np.int64), totals)


def _place(numbers: NDArray[np.int64], wanted: int) -> int:
    """Where a number stands among rising ones; −1 where it is not there."""
    place = int(numbers.searchsorted(wanted))
    return place if place < len(numbers) and numbers[place] == wanted else -1

"""Which tool comes next, from the order of tools alone: a variable-order Markov model with back-off.

Every suffix of up to `depth` steps keeps the weights of the tools that followed it.  A prediction starts from the
uniform distribution and mixes in longer and longer suffixes,

    p_k(t) = λ_k · c_k(t) / n_k + (1 − λ_k) · p_{k−1}(t),    λ_k = n_k / (n_k + u_k),

with n_k the suffix's total weight and u_k the number of different tools seen after it (Witten & Bell 1991, method C, in
the interpolated form of Cleary & Witten's PPM, 1984).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.sorted_counts import START, Counts, Numbers, SortedCounts, Suffix, Weights

MOST_MIXTURES = 1 << 12


@dataclass(frozen=True, slots=True)
class Followers:
    """Numbers that followed a suffix, rising, and their weights; shape (n,) each."""

    numbers: NDArray[np.int64]
    weights: NDArray[np.float64]

    def weight_of(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """The weight of each of `numbers`, 0 where it never followed."""
        if not len(self.numbers):
            return np.zeros(len(numbers))
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[places] == numbers, self.weights[places], 0.0)


@dataclass(frozen=True, slots=True)
class _Mixture:
    """How a suffix changes a prediction: all is scaled by `kept`, then each of the numbers `seen` gains something."""

    kept: float
    seen: NDArray[np.intp]
    gains: NDArray[np.float64]


def step_token(tool: int, *, failed: bool) -> int:
    """One step as the order model sees it: the tool's number and whether the call failed.

    >>> step_token(3, failed=True)
    7
    """
    return 2 * tool + failed


class OrderModel:
    """Suffix counts of tool sequences; additive, so that trajectories can be put in and taken out."""

    def __init__(self, depth: int = 4) -> None:
        self.depth = depth
        self._counts: dict[Suffix, Counts] = {}
        self._sorted: SortedCounts | None = None
        self._mixtures: dict[Suffix, _Mixture | None] = {}  # of suffixes asked for lately: agents take the same ways

    def add(self, tokens: Sequence[int], tools: Sequence[int], weights: Sequence[float]) -> None:
        """Count one trajectory: `tools[i]` was called after the steps `tokens[:i]`, and counts `weights[i]`."""
        padded = (START, *tokens)
        for position, (tool, weight) in enumerate(zip(tools, weights, strict=True)):
            if weight <= 0.0:
                continue
            for suffix in _suffixes(padded[: position + 1], self.depth):
                self._mixtures.pop(suffix, None)
                followers = self._counts_of(suffix) or self._counts.setdefault(suffix, {})
                followers[tool] = followers.get(tool, 0.0) + weight

    def add_all(self, tokens_N: Numbers, tools_N: Numbers, weights_N: Weights, ends_M: Numbers) -> None:
        """Count M trajectories one after the other, the steps of each up to `ends_M`, as `add` would.

        Only for a model that has counted nothing yet.  What is counted stays in arrays; a suffix's counts become a
        dictionary when they are first asked for.
        """
        if self._sorted is not None or self._counts or not len(tokens_N):
            raise ValueError(f"add_all takes a model without counts and steps to count, got {len(tokens_N)} steps")
        self._sorted = SortedCounts.of(tokens_N, tools_N, weights_N, ends_M, depth=self.depth)
        self._mixtures.clear()

    def predict(self, tokens: Sequence[int], tools: int, *, without: "OrderModel | None" = None) -> NDArray[np.float64]:
        """Probability of each of `tools` numbered tools after the steps `tokens`; shape (tools,), sums to 1.

        `without` holds counts to leave out, e.g. those of the trajectory that asks.
        """
        probabilities = np.full(tools, 1.0 / max(tools, 1))
        recent = (START, *tokens)[-self.depth - 1 :]
        for suffix in _suffixes(recent, self.depth):
            mixture = self._mixture(suffix) if without is None else _mixture(self._followers(suffix, without))
            if mixture is None:
                break
            probabilities *= mixture.kept
            probabilities[mixture.seen] += mixture.gains
        return probabilities

    def followers(self, tokens: Sequence[int], *, without: "OrderModel | None" = None) -> Followers:
        """What came after the whole suffix `tokens`, in rising order of number; empty where it was never seen."""
        counts = self._followers(tuple(tokens), without)
        numbers = np.fromiter(sorted(counts), np.int64, len(counts))
        return Followers(numbers, np.array([counts[number] for number in numbers.tolist()], np.float64))

    def support(self, tokens: Sequence[int]) -> float:
        """Weight of the longest stored suffix of `tokens`: how much experience stands behind a prediction."""
        recent = (START, *tokens)[-self.depth - 1 :]
        longest_first = reversed([*_suffixes(recent, self.depth)])
        totals = (sum(self._counts_of(suffix).values()) for suffix in longest_first)
        return next((total for total in totals if total > 0.0), 0.0)

    def _mixture(self, suffix: Suffix) -> _Mixture | None:
        if suffix not in self._mixtures:
            if len(self._mixtures) >= MOST_MIXTURES:
                self._mixtures.clear()
            self._mixtures[suffix] = _mixture(self._counts_of(suffix))
        return self._mixtures[suffix]

    def _followers(self, suffix: Suffix, without: "OrderModel | None") -> Counts:
        followers = self._counts_of(suffix)
        left_out = without._counts_of(suffix) if without is not None else None
        if not left_out:
            return followers
        kept = {tool: weight - left_out.get(tool, 0.0) for tool, weight in followers.items()}
        return {tool: weight for tool, weight in kept.items() if weight > 1e-9}

    def _counts_of(self, suffix: Suffix) -> Counts:
        known = self._counts.get(suffix)
        if known is None and self._sorted is not None and (known := self._sorted.get(suffix)):
            self._counts[suffix] = known
        return known or {}


def _mixture(followers: Counts) -> _Mixture | None:
    """How a suffix with these followers changes a prediction; None where nothing followed it."""
    total = sum(followers.values())
    if total <= 0.0:
        return None
    trusted = total / (total + len(followers))
    weights = np.fromiter(followers.values(), np.float64, len(followers))
    return _Mixture(1.0 - trusted, np.fromiter(followers, np.intp, len(followers)), trusted * weights / total)


def _suffixes(padded: Sequence[int], depth: int) -> Iterable[Suffix]:
    """The suffixes of a sequence from the empty one up to `depth` steps (the start counts as one)."""
    longest = min(depth, len(padded))
    return (tuple(padded[len(padded) - length :]) for length in range(longest + 1))

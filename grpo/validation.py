"""What a trainer asks between updates and at the end: how good a policy is on tasks that do not train it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from grpo.tool_policy import ToolPolicy


class Validation(Protocol):
    """Scores policies on held-out tasks; a higher score is better."""

    def score(self, policy: ToolPolicy) -> float:
        """One number, to choose the best policy by."""
        ...

    def monotonicity(self, scores: Sequence[float]) -> float:
        """Share of scores that are not below the best one before by more than the interval, in [0, 1]."""
        ...

    def final(self, first: ToolPolicy, best: ToolPolicy) -> Mapping[str, object]:
        """Scores on tasks that were not even validated on, as plain data."""
        ...


def share_not_below(scores: Sequence[float], reach: float) -> float:
    """Share of scores, from the second on, that are at most `reach` below the best one before.

    >>> share_not_below([0.1, 0.3, 0.2, 0.4], 0.05)
    0.6666666666666666
    """
    best, kept = float("-inf"), 0
    for score in scores:
        kept += score >= best - reach
        best = max(best, score)
    return (kept - 1) / (len(scores) - 1) if len(scores) > 1 else 1.0

"""Change in a stream of failures: CUSUM on the likelihood ratio of a changed rate to the usual one."""

import math
from dataclasses import dataclass

SMALLEST_RATE = 0.01
THRESHOLD = 7.0


@dataclass(frozen=True, slots=True)
class Cusum:
    """Evidence of a change so far, ≥ 0; it is reported once it passes a threshold h.

    `calls` and `failures` are those since the evidence was last 0: where the change began, if there is one.  Without
    one, the mean number of observations until a false alarm is at least e^h (Page 1954; Lorden 1971).
    """

    evidence: float = 0.0
    calls: int = 0
    failures: int = 0

    def observe(self, *, failed: bool, usual: float, changed: float) -> "Cusum":
        """g ← max(0, g + ln P(x | changed) / P(x | usual)) for one Bernoulli observation; rates within (0, 1).

        >>> Cusum().observe(failed=True, usual=0.1, changed=0.5).evidence.__round__(2)
        1.61
        """
        before, after = (rate if failed else 1.0 - rate for rate in (usual, changed))
        evidence = self.evidence + math.log(after / before)
        return Cusum(evidence, self.calls + 1, self.failures + failed) if evidence > 0.0 else Cusum()

    def has_alarm(self, threshold: float = THRESHOLD) -> bool:
        """Whether the evidence passes the threshold."""
        return self.evidence >= threshold


def worse_rate(usual: float) -> float:
    """The failure rate looked for above a usual one: half the way to 1."""
    return (1.0 + bounded(usual)) / 2.0


def better_rate(usual: float) -> float:
    """The failure rate looked for below a usual one: a quarter of it."""
    return bounded(usual) / 4.0


def bounded(rate: float) -> float:
    """A rate kept off 0 and 1, where a single observation would prove everything."""
    return min(max(rate, SMALLEST_RATE), 1.0 - SMALLEST_RATE)

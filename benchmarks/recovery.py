"""How soon a broken tool is left, and a recovered one found again: health beside Thompson samplers that forget.

    python benchmarks/recovery.py [--quick] [--json] [--figure recovery.png] [--seeds 30]

Six tools in one state, one decision in ten seconds.  The best one works 95 times in 100; it breaks at decision 300 (it
then fails always, or 6 times in 10) and recovers at 600; a newcomer (0.99) comes at 900; the end is at 1200.  The
baseline always calls a good tool (0.80).  Shown are medians and 90 % intervals over seeds 0, 1, …: decisions until at
most 2 of the newest 10 call the broken tool, until at least 5 of 10 call the recovered one (at most 300 each: never),
regret paid for the newcomer in 300 decisions, and the share of windows of 50 decisions below the baseline.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.health import HealthBook, HealthConfig
from selector.posteriors import BetaPosterior
from selector.thompson import draw

Floats = NDArray[np.float64]
TOOLS = tuple("abcdef")
USUAL = np.array([0.95, 0.80, 0.70, 0.60, 0.50, 0.05])
NEWCOMER = 5
PHASE, SECONDS, BASELINE = 300, 10.0, 0.80


class Learner(Protocol):
    """Beliefs of the six tools."""

    def posterior(self, now: int) -> BetaPosterior:
        """What is believed before decision `now`."""
        ...

    def learn(self, tool: int, *, success: bool, now: int) -> None:
        """Take in a call."""
        ...


class Forgetting:
    """Beta posteriors; γ = 1 is plain Thompson sampling.

    With `everywhere` all tools are forgotten at each call (discounted TS, arXiv 2305.10718), else only the one called
    (plain exponential forgetting by own calls).
    """

    def __init__(self, gamma: float = 1.0, *, everywhere: bool = True) -> None:
        self._gamma, self._everywhere = gamma, everywhere
        self._weights = np.zeros((2, len(TOOLS)))

    def posterior(self, now: int) -> BetaPosterior:
        """Beta(1 + successes, 1 + failures)."""
        return BetaPosterior(1.0 + self._weights[0], 1.0 + self._weights[1])

    def learn(self, tool: int, *, success: bool, now: int) -> None:
        """Forget, then count."""
        forgotten = slice(None) if self._everywhere else tool
        self._weights[:, forgotten] *= self._gamma
        self._weights[0 if success else 1, tool] += 1.0


class SlidingWindow:
    """Thompson sampling from the newest calls only (arXiv 2409.05181)."""

    def __init__(self, length: int = 100) -> None:
        self._calls: list[tuple[int, bool]] = []
        self._length = length

    def posterior(self, now: int) -> BetaPosterior:
        """Beta(1 + successes, 1 + failures) in the window."""
        weights = np.zeros((2, len(TOOLS)))
        for tool, success in self._calls[-self._length :]:
            weights[0 if success else 1, tool] += 1.0
        return BetaPosterior(1.0 + weights[0], 1.0 + weights[1])

    def learn(self, tool: int, *, success: bool, now: int) -> None:
        """Remember the call."""
        self._calls.append((tool, success))


class Healthy:
    """The health of each tool as its only posterior, moment for moment."""

    def __init__(self) -> None:
        self._book = HealthBook(HealthConfig())

    def posterior(self, now: int) -> BetaPosterior:
        """The Beta with the health's mean and deviation."""
        mean, spread = self._book.health(TOOLS, now * SECONDS), self._book.deviations(TOOLS, now * SECONDS)
        weight = mean * (1.0 - mean) / spread**2 - 1.0
        return BetaPosterior(mean * weight, (1.0 - mean) * weight)

    def learn(self, tool: int, *, success: bool, now: int) -> None:
        """Take in a call."""
        self._book.observe(TOOLS[tool], failed=not success, now=now * SECONDS)


LEARNERS: dict[str, Callable[[], Learner]] = {
    "health": Healthy,
    "plain TS": Forgetting,
    "discounted TS 0.99": lambda: Forgetting(0.99),
    "sliding window 100": SlidingWindow,
    "exponential forgetting 0.977": lambda: Forgetting(0.977, everywhere=False),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """One learner and one break: (5 %, median, 95 %) over seeds of each measure."""

    learner: str
    failure_rate: float
    left_after: tuple[float, ...]
    found_after: tuple[float, ...]
    newcomer_regret: tuple[float, ...]
    below_baseline: tuple[float, ...]


def rates(failure_rate: float) -> Floats:
    """Success rate of each tool at each decision, shape (T, K)."""
    table = np.tile(USUAL, (4 * PHASE, 1))
    table[PHASE : 2 * PHASE, 0] = 1.0 - failure_rate
    table[3 * PHASE :, NEWCOMER] = 0.99
    return table


def play(learner: Learner, rates_TK: Floats, seed: int) -> NDArray[np.int64]:
    """The tool called at each decision, shape (T,)."""
    rng = np.random.default_rng(seed)
    allowed, chosen = np.ones(len(TOOLS), np.bool_), np.zeros(len(rates_TK), np.int64)
    for now, rates_K in enumerate(rates_TK):
        chosen[now] = draw(learner.posterior(now), allowed, rng, exploration=0.02).arm
        learner.learn(int(chosen[now]), success=bool(rng.random() < rates_K[chosen[now]]), now=now)
    return chosen


def measures(chosen: NDArray[np.int64], rates_TK: Floats) -> tuple[float, ...]:
    """Decisions until left, until found, regret after the newcomer, share of windows below the baseline."""
    broken = np.convolve(chosen[PHASE : 2 * PHASE] == 0, np.ones(10))[9:PHASE]
    recovered = np.convolve(chosen[2 * PHASE : 3 * PHASE] == 0, np.ones(10))[9:PHASE]
    got = rates_TK[np.arange(len(chosen)), chosen]
    regret = (rates_TK.max(axis=1) - got)[3 * PHASE :].sum()
    windows = got.reshape(-1, 50).mean(axis=1)
    return _first(broken <= 2), _first(recovered >= 5), float(regret), float((windows < BASELINE).mean())


def _first(reached: NDArray[np.bool_]) -> float:
    return float(np.argmax(reached) + 10) if reached.any() else float(PHASE)


def summarise(name: str, failure_rate: float, seeds: int) -> Summary:
    """One row of the table."""
    table = rates(failure_rate)
    found = [measures(play(LEARNERS[name](), table, seed), table) for seed in range(seeds)]
    spread = np.quantile(np.array(found), [0.05, 0.5, 0.95], axis=0).round(3)
    return Summary(name, failure_rate, *(tuple(column) for column in spread.T.tolist()))


def show(rows: list[Summary]) -> None:
    """The table."""
    print(f"{'learner':30}{'fails':>6}{'left after':>22}{'found after':>22}{'regret':>26}{'below baseline':>24}")
    for row in rows:
        cells = (row.left_after, row.found_after, row.newcomer_regret, row.below_baseline)
        texts = [f"{middle:g} [{low:g}, {high:g}]" for low, middle, high in cells]
        print(f"{row.learner:30}{row.failure_rate:>6}{texts[0]:>22}{texts[1]:>22}{texts[2]:>26}{texts[3]:>24}")


def draw_figure(rows: list[Summary], path: Path) -> None:
    """Decisions until the broken tool is left and the recovered one found."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    names = [f"{row.learner} ({row.failure_rate:g})" for row in rows]
    for panel, field in zip(axes, ("left_after", "found_after"), strict=True):
        spread = np.array([getattr(row, field) for row in rows])
        reach = np.abs(spread[:, [0, 2]] - spread[:, [1]]).T
        panel.errorbar(spread[:, 1], np.arange(len(rows)), xerr=reach, fmt="o")
        panel.set(xlabel=f"decisions: {field.replace('_', ' ')}", yticks=np.arange(len(rows)), yticklabels=names)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 seeds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    options = parser.parse_args()
    seeds = 3 if options.quick else options.seeds
    rows = [summarise(name, rate, seeds) for rate in (1.0, 0.6) for name in LEARNERS]
    print(json.dumps([asdict(row) for row in rows], indent=1)) if options.json else show(rows)
    if options.figure:
        draw_figure(rows, options.figure)


if __name__ == "__main__":
    main()

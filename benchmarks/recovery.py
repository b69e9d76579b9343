"""How soon a broken tool is left, and a recovered one used again: quality × health beside samplers that forget.

    python benchmarks/recovery.py [--quick] [--json] [--figure recovery.png] [--seeds 30] [--first-seed 0]

Six tools in one state; the best one does its task 95 times in 100, a good one 80 times, and a working tool errs in 2
calls of 100.  At decision 300 the best one breaks: it errs always, or 6 times in 10.  It recovers after 100 to 400
decisions, as its seed says.  300 decisions later a better newcomer (0.99) is offered, and 300 after that all ends.  A
decision takes 1 s or 60 s.

The product's way: a Beta posterior of what became of tasks, times health (`selector.health`); an alarm makes earlier
outcomes count a tenth; what health calls broken is pruned.  All learners draw from Gaussians that stand for Betas with
the same prior, Beta(1, 1), and see the same random numbers.  Shown are medians and 90 % intervals over seeds of: calls
of the broken tool until it is left (at most 3 calls in 20 decisions), calls of it in 100 decisions while broken,
decisions and calls of the recovered tool until it is used again (7 calls in 10 decisions; 300: never), regret in the
newcomer's 300 decisions, share of windows of 50 decisions worse than always the good tool, and regret in all.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.health import Alarm, Direction, HealthBook, HealthConfig
from selector.records import SelectorConfig

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

TOOLS = tuple("abcdef")
QUALITY = np.array([0.95, 0.80, 0.70, 0.60, 0.50, 0.99])
BEST, GOOD, NEWCOMER = 0, 1, 5
ERRORS, KEPT = 0.02, 0.1
PHASE, SHORTEST, LONGEST, WINDOW = 300, 100, 400, 50
FAILURE_RATES, PACES = (1.0, 0.6), (1.0, 60.0)


@dataclass(frozen=True, slots=True)
class World:
    """S seeds of T decisions on K tools: their working, what is offered, and the random numbers of each seed."""

    working_STK: Floats
    offered_STK: Flags
    recovery_S: Numbers
    noise_STK: Floats
    chance_ST3: Floats

    @property
    def rates(self) -> Floats:
        """P(success), shape (S, T, K); 0 where a tool is not offered."""
        return np.asarray(self.working_STK * QUALITY * self.offered_STK, np.float64)


def world(failure_rate: float, seeds: range) -> World:
    """The world of each seed; the same seed is the same whatever the failure rate."""
    decisions, tools = 3 * PHASE + LONGEST, len(TOOLS)
    sources = [np.random.default_rng(seed) for seed in seeds]
    recovery_S = np.array([PHASE + rng.integers(SHORTEST, LONGEST + 1) for rng in sources])
    at_T = np.arange(decisions)
    working = np.full((len(seeds), decisions, tools), 1.0 - ERRORS)
    working[:, :, BEST][(at_T >= PHASE) & (at_T < recovery_S[:, None])] = 1.0 - failure_rate
    offered = np.ones(working.shape, np.bool_)
    offered[:, :, NEWCOMER] = at_T >= recovery_S[:, None] + PHASE
    noise = np.stack([rng.standard_normal((decisions, tools)) for rng in sources])
    return World(working, offered, recovery_S, noise, np.stack([rng.random((decisions, 3)) for rng in sources]))


@dataclass(frozen=True, slots=True)
class Belief:
    """Mean and deviation of each tool's draw, and what may be chosen; shape (S, K) each."""

    means_SK: Floats
    deviations_SK: Floats
    open_SK: Flags | None = None


class Learner(Protocol):
    """Beliefs of the K tools for S seeds at once."""

    def belief(self, now: float) -> Belief:
        """What is believed at `now` (seconds)."""
        ...

    def learn(self, tool_S: Numbers, failed_S: Flags, success_S: Flags, now: float) -> None:
        """Take in one call of each seed: whether the tool failed, and whether the task succeeded."""
        ...


def beta_belief(evidence: Floats, sharpening: float = 1.0) -> Belief:
    """Moments of Beta(1 + S, 1 + F) from both weights (2, S, K), the variance divided by about `sharpening`."""
    weight = 2.0 + evidence.sum(axis=0)
    means = (1.0 + evidence[0]) / weight
    return Belief(means, np.sqrt(means * (1.0 - means) / (sharpening * weight + 1.0)))


class Forgetting:
    """Beta posteriors; γ = 1 is plain Thompson sampling.

    With `everywhere` all tools are forgotten at each call (discounted TS, arXiv 2305.10718), else only the one called
    (plain exponential forgetting by own calls).
    """

    def __init__(self, seeds: int, gamma: float = 1.0, *, everywhere: bool = True) -> None:
        self._gamma, self._everywhere, self._seeds = gamma, everywhere, np.arange(seeds)
        self._weights = np.zeros((2, seeds, len(TOOLS)))

    def belief(self, now: float) -> Belief:
        """Moments of the Beta."""
        return beta_belief(self._weights)

    def learn(self, tool_S: Numbers, failed_S: Flags, success_S: Flags, now: float) -> None:
        """Forget, then count."""
        if self._everywhere:
            self._weights *= self._gamma
        else:
            self._weights[:, self._seeds, tool_S] *= self._gamma
        self._weights[np.where(success_S, 0, 1), self._seeds, tool_S] += 1.0


class SlidingWindow:
    """Thompson sampling from the newest calls only (arXiv 2409.05181)."""

    def __init__(self, seeds: int, length: int) -> None:
        self._calls: list[tuple[Numbers, Numbers]] = []
        self._length, self._seeds = length, np.arange(seeds)
        self._weights = np.zeros((2, seeds, len(TOOLS)))

    def belief(self, now: float) -> Belief:
        """Moments of the Beta of the window."""
        return beta_belief(self._weights)

    def learn(self, tool_S: Numbers, failed_S: Flags, success_S: Flags, now: float) -> None:
        """The newest call comes in, the oldest goes out."""
        kind_S = np.where(success_S, 0, 1)
        self._calls.append((kind_S, tool_S))
        self._weights[kind_S, self._seeds, tool_S] += 1.0
        if len(self._calls) > self._length:
            old_kind, old_tool = self._calls[-self._length - 1]
            self._weights[old_kind, self._seeds, old_tool] -= 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of the product's way are at work."""

    health: bool = True
    breaker: bool = True
    alarms: tuple[Direction, ...] = ("better",)


class Product:
    """Quality × health: outcomes before a tool's newest alarm count a tenth, what is broken is pruned."""

    def __init__(self, seeds: int, config: HealthConfig, parts: Parts) -> None:
        self._books = [HealthBook(config) for _ in range(seeds)]
        self._parts, self._seeds = parts, np.arange(seeds)
        self._newer, self._older = np.zeros((2, 2, seeds, len(TOOLS)))

    def belief(self, now: float) -> Belief:
        """Moments of the quality's Beta, its mean times health beside a tool never called."""
        quality = self._newer + KEPT * self._older
        plain = beta_belief(quality, SelectorConfig().sharpening)
        if not self._parts.health:
            return plain
        health_SK = np.stack([book.health((*TOOLS, ""), now) for book in self._books])
        means = plain.means_SK * np.minimum(health_SK[:, :-1] / health_SK[:, -1:], 1.0)
        weight = SelectorConfig().sharpening * (2.0 + quality.sum(axis=0))
        return Belief(means, np.sqrt(means * (1.0 - means) / (weight + 1.0)), self._open(now))

    def learn(self, tool_S: Numbers, failed_S: Flags, success_S: Flags, now: float) -> None:
        """The book takes in the call; quality takes in the outcome."""
        calls = zip(self._books, tool_S.tolist(), failed_S.tolist(), strict=True)
        alarms_S = np.array([self._counts(book.observe(TOOLS[tool], failed, now)) for book, tool, failed in calls])
        self._newer[np.where(success_S, 0, 1), self._seeds, tool_S] += 1.0
        changed = (slice(None), self._seeds[alarms_S], tool_S[alarms_S])
        self._older[changed] += self._newer[changed]
        self._newer[changed] = 0.0

    def _counts(self, alarm: Alarm | None) -> bool:
        return alarm is not None and alarm.direction in self._parts.alarms

    def _open(self, now: float) -> Flags | None:
        if not self._parts.breaker:
            return None
        broken = [book.broken(TOOLS, now) for book in self._books]
        return np.array([[tool not in names for tool in TOOLS] for names in broken])


def product(seeds: int) -> Learner:
    """All parts at work."""
    return Product(seeds, HealthConfig(), Parts())


LEARNERS: dict[str, Callable[[int], Learner]] = {
    "quality x health": product,
    "  without pruning": lambda seeds: Product(seeds, HealthConfig(), Parts(breaker=False)),
    "  alarms of both kinds": lambda seeds: Product(seeds, HealthConfig(), Parts(alarms=("worse", "better"))),
    "  without alarms": lambda seeds: Product(seeds, HealthConfig(), Parts(alarms=())),
    "  without health": lambda seeds: Product(seeds, HealthConfig(), Parts(health=False, alarms=())),
    "plain TS": Forgetting,
    "discounted TS 0.99": lambda seeds: Forgetting(seeds, 0.99),
    "discounted TS 0.98": lambda seeds: Forgetting(seeds, 0.98),
    "sliding window 100": lambda seeds: SlidingWindow(seeds, 100),
    "sliding window 50": lambda seeds: SlidingWindow(seeds, 50),
    "forgetting by own calls 0.977": lambda seeds: Forgetting(seeds, 0.977, everywhere=False),
}
RIVALS = tuple(name for name in LEARNERS if name[0] not in " q")


@dataclass(frozen=True, slots=True)
class Summary:
    """One learner, one break, one pace: (5 %, median, 95 %) over seeds of each measure."""

    learner: str
    failure_rate: float
    seconds: float
    left_calls: tuple[float, ...]
    broken_calls: tuple[float, ...]
    found_decisions: tuple[float, ...]
    found_calls: tuple[float, ...]
    newcomer_regret: tuple[float, ...]
    below_good: tuple[float, ...]
    regret: tuple[float, ...]


def play(learner: Learner, found: World, seconds: float) -> Numbers:
    """The tool called at each decision, shape (S, T)."""
    exploration, seeds = SelectorConfig().exploration, np.arange(len(found.recovery_S))
    chosen_ST = np.zeros(found.noise_STK.shape[:2], np.int64)
    for at in range(found.noise_STK.shape[1]):
        belief, offered_SK = learner.belief(at * seconds), found.offered_STK[:, at]
        open_SK = offered_SK if belief.open_SK is None else offered_SK & belief.open_SK
        draws = belief.means_SK + belief.deviations_SK * found.noise_STK[:, at]
        # The same random number, stretched, says whether to explore and what.
        explores, chance = found.chance_ST3[:, at, 0] < exploration, found.chance_ST3[:, at]
        draws = np.where(explores[:, None], found.noise_STK[:, at], draws)
        tool_S = np.argmax(np.where(open_SK, draws, -np.inf), axis=1)
        failed_S = chance[:, 1] >= found.working_STK[seeds, at, tool_S]
        learner.learn(tool_S, failed_S, ~failed_S & (chance[:, 2] < QUALITY[tool_S]), at * seconds)
        chosen_ST[:, at] = tool_S
    return chosen_ST


def measures(chosen_T: Numbers, rates_TK: Floats, recovery: int) -> tuple[float, ...]:
    """The measures of one seed, in the order of `Summary`."""
    newcomer, end = recovery + PHASE, recovery + 2 * PHASE
    is_best = chosen_T == BEST
    left = PHASE + _first(_ahead(is_best[PHASE:recovery], 20) <= 3, recovery - PHASE)
    found = _first(_ahead(is_best[recovery:newcomer], 10) >= 7, PHASE)
    lost_T = rates_TK.max(axis=1) - rates_TK[np.arange(len(chosen_T)), chosen_T]
    below_T = QUALITY[GOOD] * (1.0 - ERRORS) - rates_TK[np.arange(end), chosen_T[:end]]
    windows = below_T[: end - end % WINDOW].reshape(-1, WINDOW).mean(axis=1)
    return (
        is_best[PHASE:left].sum(),
        100.0 * is_best[PHASE:recovery].mean(),
        found,
        is_best[recovery : recovery + found].sum(),
        lost_T[newcomer:end].sum(),
        (windows > 0.0).mean(),
        lost_T[:end].sum(),
    )


def _ahead(flags: Flags, length: int) -> Floats:
    """How many of the next `length` flags are set, from each place where so many are left."""
    return np.convolve(flags, np.ones(length), mode="valid")


def _first(reached: Flags, otherwise: int) -> int:
    return int(np.argmax(reached)) if reached.any() else otherwise


def summarise(name: str, found: World, failure_rate: float, seconds: float) -> Summary:
    """One row of the table."""
    chosen_ST = play(LEARNERS[name](len(found.recovery_S)), found, seconds)
    recoveries = found.recovery_S.tolist()
    rows = [measures(*row) for row in zip(chosen_ST, found.rates, recoveries, strict=True)]
    spread = np.quantile(np.array(rows, np.float64), [0.05, 0.5, 0.95], axis=0).round(3)
    return Summary(name, failure_rate, seconds, *(tuple(column) for column in spread.T.tolist()))


def run(seeds: range) -> list[Summary]:
    """Every learner in every world; the rivals have no clock, so that one pace shows them."""
    rows = []
    for failure_rate in FAILURE_RATES:
        found = world(failure_rate, seeds)
        for name in LEARNERS:
            paces = PACES[:1] if name in RIVALS else PACES
            rows += [summarise(name, found, failure_rate, seconds) for seconds in paces]
    return rows


def show(rows: list[Summary]) -> None:
    """The table."""
    fields = [field for field in Summary.__dataclass_fields__ if field not in ("learner", "failure_rate", "seconds")]
    print(f"{'learner':31}{'fails':>6}{'pace':>5}" + "".join(f"{field.replace('_', ' '):>20}" for field in fields))
    for row in rows:
        spreads = [getattr(row, field) for field in fields]
        texts = [f"{middle:.3g} [{low:.3g}, {high:.3g}]" for low, middle, high in spreads]
        pace = "any" if row.learner in RIVALS else f"{row.seconds:g}"
        print(f"{row.learner:31}{row.failure_rate:>6}{pace:>5}" + "".join(f"{text:>20}" for text in texts))


def draw_figure(rows: list[Summary], path: Path) -> None:
    """Calls until the broken tool is left, and decisions until the recovered one is used again."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(1, 2, figsize=(11, 7), sharey=True, layout="constrained")
    names = [f"{row.learner.strip()} (errs {row.failure_rate:g}, {row.seconds:g} s)" for row in rows]
    labels = {"left_calls": "calls until left", "found_decisions": "decisions until used again"}
    for panel, (field, label) in zip(axes, labels.items(), strict=True):
        spread = np.array([getattr(row, field) for row in rows])
        reach = np.abs(spread[:, [0, 2]] - spread[:, [1]]).T
        panel.errorbar(spread[:, 1], np.arange(len(rows)), xerr=reach, fmt="o")
        panel.set(xlabel=label, yticks=np.arange(len(rows)), yticklabels=names)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 seeds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    seeds = 5 if options.quick else options.seeds
    rows = run(range(options.first_seed, options.first_seed + seeds))
    print(json.dumps([asdict(row) for row in rows], indent=1)) if options.json else show(rows)
    if options.figure:
        draw_figure(rows, options.figure)


if __name__ == "__main__":
    main()

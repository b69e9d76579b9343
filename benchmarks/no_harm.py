"""Does guidance do harm where experience misleads?  A guided agent beside its unguided self, on the same tasks.

    python benchmarks/no_harm.py [--quick] [--json] [--figure PATH]

The agent repairs machines: the words of the state name a fault, one of twelve tools mends it, five faults make a task,
seven calls are all it has.  Alone it knows the right tool three times in four.  Experience is 60 trajectories of such
agents: true ones; with outcomes shuffled; with outcomes inverted; from another workshop, whose tools mend other faults;
forged, each a "success" of wrong tools.  The selector suggests, at least a fifth of the episodes is held out, and all
that happens is stored.  What is compared is the success of all episodes with a selector (held-out ones included) with
that of the same agent alone, in pairs by seed; "late" is the last third.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector import Selector, SelectorConfig, ToolSpec
from trajstore.output import print_table, progress_bars
from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore

FAULTS = (
    "the belt squeals", "oil drips below", "the fuse is black", "a gear grinds", "the valve hisses", "a lamp flickers",
    "the pump stutters", "dust clogs the filter", "a bolt rattles", "the screen is dark", "it overheats", "a door jams",
)  # fmt: skip
TOOLS = tuple(f"tool_{letter}" for letter in "abcdefghijkl")
LENGTH, CALLS, SKILL = 5, 7, 0.75
STORED = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """Success of episodes with a selector and of the same agent alone, by seed (rows) and episode; and the guard."""

    guided: NDArray[np.float64]
    alone: NDArray[np.float64]
    fallbacks: int


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of experience: success alone and with a selector, and the paired difference with its 95 % interval."""

    experience: str
    alone: float
    guided: float
    difference: float
    low: float
    high: float
    late_difference: float
    late_low: float
    late_high: float
    fallbacks: int


class Workshop:
    """Which tool mends which fault, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(TOOLS))
        self.right = {fault: TOOLS[number] for fault, number in zip(FAULTS, order.tolist(), strict=True)}

    def run(
        self, rng: np.random.Generator, ask: Callable[[str], str | None], told: Callable[[str, str, str], None]
    ) -> bool:
        """One episode: `ask` may name a tool for a state, `told` hears what was called; says whether it succeeded."""
        faults = [FAULTS[number] for number in rng.permutation(len(FAULTS))[:LENGTH].tolist()]
        for _ in range(CALLS):
            state = f"machine {int(rng.integers(100))}: {faults[0]}"
            wild, own = rng.random(), TOOLS[int(rng.integers(len(TOOLS)))]
            tool = ask(state) or (self.right[faults[0]] if wild < SKILL else own)
            mended = tool == self.right[faults[0]]
            told(state, tool, "mended" if mended else "no change")
            faults = faults[mended:]
            if not faults:
                return True
        return False

    def trajectory(self, rng: np.random.Generator, number: int) -> Trajectory:
        """What an agent without guidance did."""
        steps: list[Step] = []

        def told(state: str, tool: str, observation: str) -> None:
            steps.append(Step(index=len(steps), state=state, tool=tool, observation=observation, outcome="ok"))

        success = self.run(rng, lambda state: None, told)
        return Trajectory(Task("repair the machines", family=f"f{number}"), tuple(steps), success, source="old logs")


def stored(kind: str, workshop: Workshop, seed: int) -> list[Trajectory]:
    """Sixty trajectories of one kind of experience."""
    rng = np.random.default_rng([seed, 1])
    maker = Workshop(seed + 10_000) if kind == "another workshop" else workshop
    made = [maker.trajectory(rng, number) for number in range(STORED)]
    if kind == "outcomes shuffled":
        outcomes = rng.permutation([one.success for one in made]).tolist()
        return [replace(one, success=bool(success)) for one, success in zip(made, outcomes, strict=True)]
    if kind == "outcomes inverted":
        return [replace(one, success=not one.success) for one in made]
    if kind == "forged":
        wrong = dict(zip(TOOLS, (*TOOLS[1:], TOOLS[0]), strict=True))
        return [
            replace(one, success=True, steps=tuple(replace(step, tool=wrong[step.tool]) for step in one.steps))
            for one in made
        ]
    return made


KINDS = ("true", "outcomes shuffled", "outcomes inverted", "another workshop", "forged")


def play(kind: str, seed: int, episodes: int, config: SelectorConfig) -> tuple[list[bool], list[bool], bool]:
    """Success of each episode with a selector and alone, and whether the guard stopped guidance."""
    workshop = Workshop(seed)
    with TrajectoryStore(":memory:") as store:
        store.add_many(stored(kind, workshop, seed))
        clock = iter(range(10**9, 2 * 10**9, 10))
        selector = Selector(store, config, seed=seed, clock=lambda: float(next(clock)))
        guided, alone = [], []
        for number in range(episodes):
            with selector.episode("repair the machines", [ToolSpec(tool) for tool in TOOLS]) as episode:

                def ask(state: str, episode=episode) -> str | None:  # noqa: ANN001 - bound to this round
                    return episode.choose(state).tool

                def told(state: str, tool: str, seen: str, episode=episode) -> None:  # noqa: ANN001 - as above
                    episode.record(tool, {}, seen, "ok", state=state)

                guided.append(workshop.run(np.random.default_rng([seed, 2, number]), ask, told))
                episode.finish(success=guided[-1])
            alone.append(workshop.run(np.random.default_rng([seed, 2, number]), lambda state: None, lambda *told: None))
        return guided, alone, bool(selector.room("default").feedback.guard.fallback)


def summarise(kind: str, outcome: Outcome) -> Row:
    """Means over seeds, with Student intervals of the paired differences."""
    late = outcome.guided.shape[1] * 2 // 3
    whole = interval((outcome.guided - outcome.alone).mean(axis=1))
    last = interval((outcome.guided - outcome.alone)[:, late:].mean(axis=1))
    return Row(kind, float(outcome.alone.mean()), float(outcome.guided.mean()), *whole, *last, outcome.fallbacks)


def interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean with its 95 % interval over seeds."""
    from scipy.stats import t  # noqa: PLC0415 - only here

    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
    reach = float(t.ppf(0.975, len(differences) - 1)) * error
    return mean, mean - reach, mean + reach


def draw(outcomes: dict[str, Outcome], path: Path) -> None:
    """Difference of success against episodes, smoothed over 20."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the figure needs it

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for kind, outcome in outcomes.items():
        difference = (outcome.guided - outcome.alone).mean(axis=0)
        axes.plot(np.convolve(difference, np.ones(20) / 20, mode="valid"), label=kind)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set(xlabel="episode", ylabel="success with a selector less alone")
    axes.legend()
    figure.savefig(path)


def main(arguments: Sequence[str]) -> None:
    """Run, print, draw."""
    options = parse(arguments)
    seeds, episodes = (3, 60) if options.quick else (options.seeds, options.episodes)
    config = SelectorConfig(held_out=options.held_out)
    outcomes = {}
    with progress_bars() as tell:
        for kind in KINDS:
            played = []
            for seed in range(seeds):
                played.append(play(kind, seed, episodes, config))
                tell(kind, seed + 1, seeds)
            guided, alone, fallbacks = zip(*played, strict=True)
            outcomes[kind] = Outcome(np.array(guided, float), np.array(alone, float), sum(fallbacks))
    rows = [summarise(kind, outcome) for kind, outcome in outcomes.items()]
    if options.figure:
        draw(outcomes, Path(options.figure))
    if options.json:
        sys.stdout.write(
            json.dumps({"seeds": seeds, "episodes": episodes, "rows": [asdict(row) for row in rows]}) + "\n"
        )
        return
    print_table(
        ["experience", "alone", "with selector", "difference", "95 %", "late difference", "95 %", "stopped"],
        [
            [
                row.experience, f"{row.alone:.3f}", f"{row.guided:.3f}", f"{row.difference:+.3f}",
                f"{row.low:+.3f} to {row.high:+.3f}", f"{row.late_difference:+.3f}",
                f"{row.late_low:+.3f} to {row.late_high:+.3f}", f"{row.fallbacks} of {seeds}",
            ]
            for row in rows
        ],
        title=f"{seeds} seeds × {episodes} episodes",
    )  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 seeds of 60 episodes")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=150)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", default="")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

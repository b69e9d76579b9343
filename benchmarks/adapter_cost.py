"""How much guidance adds to one step of an agent, in each runtime, with a model that costs nothing.

    python benchmarks/adapter_cost.py [--runtimes langchain,openai-agents,...] [--steps 10] [--runs 20] [--db agent.db]
                                      [--quick] [--json]

A scripted model calls the tools of one successful trajectory, `--steps` calls a run; each run is one sample.  The store
is one of `synthetic_store.py` with 1,000 steps and hashed embeddings, or a copy of `--db`; each mode has its own, which
grows by what is run.  Runs without guidance and in each mode alternate in one process, in an order drawn anew each
round, so that a busy machine shows in all of them; what a run leaves for the advisor's thread is done before the next.
With more than 250 steps in a mode the choice model is fitted anew at the end of a run, which its 99th percentile shows.

"unguided" is the milliseconds of a step, median and 99th percentile over runs; each other row is what is added to both:
by the wall, and of the processor in the thread that runs the agent.  "idle" is with hooks like those of guidance that
do nothing, for runtimes in which these alone cost time; "alone" is the adapter with an advisor that is asked and told
as ever and does nothing.  In the modes the advisor's thread competes with the agent's for caches and the interpreter.
Within the wall's time, "deciding" is how long the agent's thread waits for decisions, "storing" how long the end of a
run waits until all of it is stored, spread over its steps.  In shadow mode no step waits: there the end waits for the
run's decisions, which a model that takes time would have hidden.  A decision waits in turn until the step before is
recorded; "decision", "recording" and "closing" are the processor's time of the advisor's thread for each of these,
whoever waits for it.  The same texts are asked about in each run, so that their embeddings are remembered: none of this
is embedding.  "advised" is the share of steps that had a decision within the time budget.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from adapter_fakes import IDLE, RUNTIMES, Run, Script, guidance_in
from adapter_waits import IdleAdvisor, WatchedAdvisor, watched
from numpy.typing import NDArray
from synthetic_store import make_store

from selector.guard import Mode
from trajstore.backup import backup
from trajstore.errors import MissingDependency
from trajstore.filters import TrajectoryFilter
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

STORED_STEPS = 1000
UNGUIDED, IDLE_HOOKS, ALONE = "unguided", "idle", "alone"
MODES: tuple[Mode, ...] = ("shadow", "suggest", "narrow", "force")
FIRST = 50
ADDED = ("wall", "processor")
WAITED = ("deciding", "storing")
WORKED = ("decision", "recording", "closing")
TIMES = (*ADDED, *WAITED, *WORKED)


@dataclass(frozen=True, slots=True)
class Sample:
    """Milliseconds a step of one run by TIMES, and the share of its steps that had a decision in time."""

    times: tuple[float, ...]
    advised: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One runtime in one way: quantiles over its runs in milliseconds a step, a mode's less those unguided."""

    runtime: str
    way: str
    p50: Mapping[str, float]
    p99: Mapping[str, float]
    advised: float


def main() -> None:
    """Measure and print."""
    options = parse()
    logging.disable(logging.WARNING)  # what runtimes miss in the scripted model; late decisions are counted
    with tempfile.TemporaryDirectory() as folder:
        stored = prepared(Path(folder), options.db)
        with TrajectoryStore(stored) as store:
            shown = example(store)
        for runtime in options.runtimes:
            try:
                for cost in costs_of(runtime, stored, shown, options):
                    print(json.dumps(asdict(cost)) if options.json else line(cost), flush=True)
            except MissingDependency as missing:
                print(f"{runtime} is left out: {missing}", file=sys.stderr)
    if not options.json:
        print("load average {:.1f} {:.1f} {:.1f} at the end".format(*os.getloadavg()))


def prepared(folder: Path, db: str) -> Path:
    """A store that may be written to."""
    path = folder / "stored.db"
    if not db:
        make_store(path, STORED_STEPS)
        return path
    with TrajectoryStore(db) as store:
        backup(store, path)
    return path


def example(store: TrajectoryStore) -> Trajectory:
    """The trajectory whose task is given and whose tools are called: of the first, that with the most tools."""
    first = list(islice(store.trajectories(TrajectoryFilter(success=True)), FIRST))
    best = max(first, key=lambda one: len(set(tools_called(one))), default=None)
    if best is None or not tools_called(best):
        sys.exit("the store has no successful trajectory whose tools have plain names: give another one by --db")
    return best


def tools_called(trajectory: Trajectory) -> list[str]:
    """Names of tools in their order, of those that every runtime takes for a name."""
    return [step.tool for step in trajectory.steps if step.tool.isidentifier()]


def costs_of(runtime: str, stored: Path, shown: Trajectory, options: argparse.Namespace) -> Iterator[Cost]:
    """What guidance costs in one runtime: the unguided run first."""
    guidance, names, steps = guidance_in(runtime), tools_called(shown), options.steps
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        advisors = {
            mode: opened.enter_context(watched(copied(stored, folder, mode), mode, options.learn)) for mode in MODES
        }
        hooks = {UNGUIDED: None} | ({IDLE_HOOKS: IDLE[runtime]()} if runtime in IDLE else {})
        hooks |= {ALONE: guidance(IdleAdvisor(advisors["suggest"].selector))}
        hooks |= {mode: guidance(advisor) for mode, advisor in advisors.items()}
        runs = {way: RUNTIMES[runtime](hook, Script(names, steps)) for way, hook in hooks.items()}
        loop = opened.enter_context(asyncio.Runner())
        samples: dict[str, list[Sample]] = {way: [] for way in runs}
        for way in rounds(list(runs), options.runs):
            samples[way].append(loop.run(sampled(runs[way], shown.task.text, advisors.get(way), steps)))
    yield from (cost(runtime, way, samples[way][1:], samples[UNGUIDED][1:]) for way in samples)


def copied(stored: Path, folder: str, mode: Mode) -> Path:
    """A copy of the store for one mode."""
    path = Path(folder) / f"{mode}.db"
    with TrajectoryStore(stored) as store:
        backup(store, path)
    return path


def rounds(ways: list[str], runs: int) -> Iterator[str]:
    """Every way once a round, in an order drawn anew each round; one more round than counts, to warm up."""
    rng = np.random.default_rng(0)
    for _ in range(runs + 1):
        yield from rng.permutation(ways).tolist()


async def sampled(run: Run, task: str, advisor: WatchedAdvisor | None, steps: int) -> Sample:
    """One run; nothing of it is left to be done."""
    if advisor is not None:
        advisor.waits.begin()
    wall, processor = time.perf_counter(), time.thread_time()
    await run(task)
    spent = [time.perf_counter() - wall, time.thread_time() - processor]
    if advisor is not None:
        advisor.flush()
        spent += [getattr(advisor.waits, name) for name in (*WAITED, *WORKED)]
    times = tuple(1000.0 * one / steps for one in spent) + (0.0,) * (len(TIMES) - len(spent))
    return Sample(times, advisor.waits.answered / max(advisor.waits.asked, 1) if advisor else 0.0)


def cost(runtime: str, way: str, samples: Sequence[Sample], unguided: Sequence[Sample]) -> Cost:
    """Quantiles of a way's runs, less those of unguided ones where it is another."""
    less = np.zeros((2, len(TIMES))) if way == UNGUIDED else quantiles(unguided)
    p50, p99 = (quantiles(samples) - less).round(4).tolist()
    advised = float(np.mean([one.advised for one in samples]))
    return Cost(runtime, way, dict(zip(TIMES, p50, strict=True)), dict(zip(TIMES, p99, strict=True)), advised)


def quantiles(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Median and 99th percentile of what was timed: two rows."""
    return np.quantile([one.times for one in samples], (0.5, 0.99), axis=0)


def line(cost: Cost) -> str:
    """A row of the table: medians, with the 99th percentile after a stroke."""
    if cost.way == UNGUIDED:
        return f"{cost.runtime:16}{cost.way:9}" + "  ".join(f"{name} {_pair(cost, name)}" for name in ADDED)
    shown = [f"{name} {_pair(cost, name, '+')}" for name in ADDED]
    shown += [f"{name} {_pair(cost, name)}" for name in (*WAITED, *WORKED) if cost.way in MODES]
    shown += [] if cost.way in (IDLE_HOOKS, ALONE, "shadow") else [f"advised {cost.advised:.0%}"]
    return f"{'':16}{cost.way:9}" + "  ".join(shown)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runtimes", type=lambda text: text.split(","), default=list(RUNTIMES))
    parser.add_argument("--steps", type=int, default=10, help="calls of tools a run")
    parser.add_argument("--runs", type=int, default=20, help="in each way")
    parser.add_argument("--db", default="", help="a store to copy, rather than a made one")
    parser.add_argument("--learn", type=int, default=1000, help="decisions that the choice model is fitted to")
    parser.add_argument("--quick", action="store_true", help="3 runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.runtimes) - set(RUNTIMES):
        parser.error(f"unknown runtimes {', '.join(sorted(unknown))}; known are {', '.join(RUNTIMES)}")
    if options.steps < 1 or options.runs < 1:
        parser.error(f"steps and runs must be 1 or more, got {options.steps} and {options.runs}")
    if options.quick:
        options.runs, options.learn = 3, 100
    return options


def _pair(cost: Cost, name: str, sign: str = "") -> str:
    return f"{cost.p50[name]:{sign}.2f}/{cost.p99[name]:{sign}.2f}"


if __name__ == "__main__":
    main()

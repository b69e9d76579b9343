"""How long one decision takes on a store: embedding apart, and beside a bare FAISS search on the same vectors.

    python benchmarks/decision_latency.py --db agent.db [--db larger.db ...] [--decisions 500] [--candidates 50]
                                          [--quick] [--json] [--figure latency.png]

Situations are drawn from the store's own successful trajectories, with those left in: only time is measured.  "selector
arithmetic" is draw, choice and exact propensities; it does not depend on how much is stored, which two stores show.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selector.choice import Arms, choose
from selector.engine import Engine
from selector.learning import known_tools
from selector.memory import Memory, MemorySettings
from selector.records import SelectorConfig
from selector.situation import Situation, situation_at
from trajstore.experience import play_back
from trajstore.recollection import stored_embedder
from trajstore.schema import Candidate
from trajstore.store import TrajectoryFilter, TrajectoryStore


@dataclass(frozen=True, slots=True)
class Latencies:
    """One store's times in milliseconds, by what was timed."""

    db: str
    steps: int
    candidates: int
    milliseconds: Mapping[str, list[float]]

    def quantile(self, name: str, share: float) -> float:
        """A quantile of one of the times."""
        return float(np.quantile(self.milliseconds[name], share))


def main() -> None:
    """Measure and print medians and 99th percentiles."""
    options = parse()
    found = [measure(db, options) for db in options.db]
    for one in found:
        if not options.json:
            print(f"{one.db}: {one.steps:,} stored steps, {one.candidates} candidates")
        for name in one.milliseconds:
            p50, p99 = one.quantile(name, 0.5), one.quantile(name, 0.99)
            row = {"db": one.db, "steps": one.steps, "candidates": one.candidates, "what": name, "p50": p50, "p99": p99}
            print(json.dumps(row) if options.json else f"  {name:20} p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    if options.figure:
        draw(found, options.figure)


def measure(db: str, options: argparse.Namespace) -> Latencies:
    """Times of one store."""
    with TrajectoryStore(db) as store:
        memory = Memory(store, MemorySettings(stored_embedder(store), SelectorConfig(), options.namespace))
        knowledge = memory.learned.knowledge
        engine = Engine(memory.learned, SelectorConfig(), np.random.default_rng(0))
        offered = known_tools(knowledge.experience)[: options.candidates]
        asked = situations(store, options.namespace, offered, 50 if options.quick else options.decisions)
    rng, arms = np.random.default_rng(0), list[Arms]()
    times: dict[str, list[float]] = {"embedding": [], "decision": [], "selector arithmetic": [], "bare search": []}
    for situation in asked:
        goals = knowledge.goal_similarities(situation)
        times["embedding"].append(milliseconds(lambda: embed(knowledge.experience.embed, situation)))  # noqa: B023 - run at once
        times["decision"].append(milliseconds(lambda: engine.decide(situation, goals)))  # noqa: B023 - run at once
        arms.append(engine.consider(situation, goals).arms)
        state = knowledge.experience.embed(situation.state_text)
        times["bare search"].append(milliseconds(lambda: knowledge.retriever.index.search(state, 160)))  # noqa: B023 - run at once
    for known in arms:  # apart from the rest, which turns the processor's caches over
        times["selector arithmetic"].append(milliseconds(lambda: choose(known, rng, sharpening=3.0, exploration=0.02)))  # noqa: B023 - run at once
    return Latencies(db, len(knowledge.experience), len(offered), times)


def draw(found: Sequence[Latencies], path: str) -> None:
    """The median and the 99th percentile of each time, one colour a store."""
    import matplotlib  # noqa: PLC0415 - only to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 3.5))
    for number, one in enumerate(found):
        places = np.arange(len(one.milliseconds)) + 0.2 * number
        p50 = [one.quantile(name, 0.5) for name in one.milliseconds]
        p99 = [one.quantile(name, 0.99) for name in one.milliseconds]
        axes.hlines(places, p50, p99, color=f"C{number}", label=f"{one.steps:,} steps")
        axes.plot(p50, places, "o", color=f"C{number}")
    axes.set(xscale="log", xlabel="milliseconds, median to 99th percentile")
    axes.set_yticks(range(len(found[0].milliseconds)), list(found[0].milliseconds))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def situations(store: TrajectoryStore, namespace: str, offered: tuple[Candidate, ...], count: int) -> list[Situation]:
    """Situations of successful trajectories, spread over the store."""
    where = TrajectoryFilter(namespace=namespace, success=True)
    every = max(1, store.stats().successes // count)

    def drawn() -> Iterator[Situation]:
        for number, trajectory in enumerate(store.trajectories(where)):
            if number % every == 0 and trajectory.steps:
                yield situation_at(play_back(trajectory), len(trajectory.steps) // 2, offered)

    return list(drawn())[:count]


def embed(embedding: Callable[[str], object], situation: Situation) -> None:
    """The texts that one decision embeds (its task is embedded once an episode)."""
    for text in (situation.state_text, situation.moment_text):
        embedding(text)


def milliseconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return 1000.0 * (time.perf_counter() - started)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--db", action="append", required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="50 decisions")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", default="", help="where to draw it")
    return parser.parse_args()


if __name__ == "__main__":
    main()

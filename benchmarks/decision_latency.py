"""How long one decision takes on a store: embedding apart, and beside a bare FAISS search on the same vectors.

    python benchmarks/decision_latency.py --db agent.db [--decisions 500] [--candidates 50]

Situations are drawn from the store's own successful trajectories, with those left in: only time is measured.
"""

import argparse
import time
from collections.abc import Callable, Iterator

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


def main() -> None:
    """Measure and print medians and 99th percentiles in milliseconds."""
    options = parse()
    with TrajectoryStore(options.db) as store:
        memory = Memory(store, MemorySettings(stored_embedder(store), SelectorConfig(), options.namespace))
        knowledge = memory.learned.knowledge
        engine = Engine(memory.learned, SelectorConfig(), np.random.default_rng(0))
        offered = known_tools(knowledge.experience)[: options.candidates]
        found = situations(store, options.namespace, offered, options.decisions)
    rng, arms = np.random.default_rng(0), list[Arms]()
    times: dict[str, list[float]] = {"embedding": [], "decision": [], "selector arithmetic": [], "bare search": []}
    for situation in found:
        goals = knowledge.goal_similarities(situation)
        times["embedding"].append(milliseconds(lambda: embed(knowledge.experience.embed, situation)))  # noqa: B023 - run at once
        times["decision"].append(milliseconds(lambda: engine.decide(situation, goals)))  # noqa: B023 - run at once
        arms.append(engine.consider(situation, goals).arms)
        state = knowledge.experience.embed(situation.state_text)
        times["bare search"].append(milliseconds(lambda: knowledge.retriever.index.search(state, 320)))  # noqa: B023 - run at once
    for known in arms:  # apart from the rest, which turns the processor's caches over
        times["selector arithmetic"].append(milliseconds(lambda: choose(known, rng, sharpening=3.0, exploration=0.02)))  # noqa: B023 - run at once
    print(f"{len(knowledge.experience):,} stored steps, {len(offered)} candidates, {len(found)} decisions")
    for name, values in times.items():
        print(f"{name:20} p50 {np.median(values):.2f} ms, p99 {np.quantile(values, 0.99):.2f} ms")


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
    parser.add_argument("--db", required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=50)
    return parser.parse_args()


if __name__ == "__main__":
    main()

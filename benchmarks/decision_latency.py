"""How long one decision takes, by what it does, as the store grows; beside a bare search and other vector stores.

    python benchmarks/decision_latency.py [--steps 10000,100000] [--db agent.db ...] [--decisions 500] [--candidates 50]
                                          [--peers chromadb,lancedb,...] [--clock wall|cpu] [--quick] [--json]
                                          [--figure latency.png]

Stores of `--steps` steps are made by `synthetic_store.py` and kept under build/latency; learning from them takes up to
`--learn` decisions.  Situations are drawn from the store's own successful trajectories, with those left in: only time
is measured.  "decision" is everything but embedding, which is shown apart; "search" is that of the index alone for the
rows that are compared, "search for 10" that for ten neighbours; `recall` is the share of the ten nearest rows that are
among what was found.  Peers hold the same vectors and give ten neighbours and nothing else: no evidence, no posterior,
no choice, no propensity; one that is not installed is left out.  `--clock cpu` counts the processor's time of all
threads of the process, which other jobs on the machine change little.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic_store import make_store
from vector_peers import PEERS, Search

from selector.choice import Arms, choose
from selector.engine import Engine
from selector.knowledge import Knowledge
from selector.learning import known_tools
from selector.memory import Memory, MemorySettings
from selector.records import SelectorConfig
from selector.repetition import likeness_of_states
from selector.situation import Situation, situation_at
from trajstore.experience import play_back
from trajstore.filters import TrajectoryFilter
from trajstore.recollection import stored_embedder
from trajstore.schema import Candidate
from trajstore.store import TrajectoryStore

FOLDER = Path("build/latency")
NEIGHBOURS = 10
BARE = f"search for {NEIGHBOURS}"
TIE = 1e-6
SHOWN = "  {what:22} p50 {p50:.3f} ms, p95 {p95:.3f}, p99 {p99:.3f}"
Floats = NDArray[np.float32]
Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, slots=True)
class Latencies:
    """One store's times in milliseconds, by what was timed; recall@10 of its index, memory and disk in megabytes.

    `recalls` are those of all searches, `left_out` says which peers could not be asked, and why.
    """

    db: str
    steps: int
    candidates: int
    index: str
    recall: float
    open_seconds: float
    memory: float
    disk: float
    milliseconds: Mapping[str, list[float]]
    recalls: Mapping[str, float]
    left_out: Mapping[str, str]

    def rows(self) -> Iterator[dict[str, object]]:
        """What is printed: a row for each of the times."""
        about = {name: getattr(self, name) for name in ("db", "steps", "candidates", "index", "memory", "disk")}
        for name, times in self.milliseconds.items():
            p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99)).round(4).tolist()
            recall = {"recall": self.recalls[name]} if name in self.recalls else {}
            yield {**about, "what": name, **recall, "p50": p50, "p95": p95, "p99": p99}


def main() -> None:
    """Measure and print."""
    options = parse()
    paths = [*options.db, *(str(made(steps)) for steps in options.steps)]
    found = [measure(db, options) for db in paths]
    for one in found:
        if not options.json:
            print(
                f"{one.db}: {one.steps:,} stored steps, {one.candidates} candidates, index {one.index}, "
                f"recall@{NEIGHBOURS} {one.recall:.3f}, opened in {one.open_seconds:.1f} s, "
                f"{one.memory:,.0f} MB of memory at most, {one.disk:,.0f} MB on disk"
            )
        for row in one.rows():
            print(json.dumps(row) if options.json else shown(row))
        for name, reason in one.left_out.items():
            print(json.dumps({"what": name, "left_out": reason}) if options.json else f"  {name:22} left out: {reason}")
    if options.figure:
        draw(found, options.figure)


def shown(row: Mapping[str, Any]) -> str:  # Any: numbers and names
    """A row in words."""
    recall = f", recall@{NEIGHBOURS} {row['recall']:.3f}" if "recall" in row else ""
    return SHOWN.format(**row) + recall


def made(steps: int) -> Path:
    """The store of so many steps, made where it is not there yet."""
    path = FOLDER / f"{steps}.db"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        make_store(path.with_suffix(".part"), steps)
        path.with_suffix(".part").rename(path)
    return path


def measure(db: str, options: argparse.Namespace) -> Latencies:
    """Times of one store."""
    config = SelectorConfig(decisions=options.learn)
    started = time.perf_counter()
    with TrajectoryStore(db) as store:
        memory = Memory(store, MemorySettings(stored_embedder(store), config, options.namespace))
        opened = time.perf_counter() - started
        knowledge = memory.learned.knowledge
        offered = known_tools(knowledge.experience)[: options.candidates]
        asked = situations(store, options.namespace, offered, options.decisions)
    engine = Engine(memory.learned, config, np.random.default_rng(0))
    times = timed(engine, asked, options.clock)
    states = np.stack([_state(knowledge, situation) for situation in asked])
    index, asked_by = knowledge.retriever.index, {}
    asked_by[BARE] = lambda query, k: index.search(query, k).rows.tolist()
    left_out = {}
    for name in options.peers:
        try:
            asked_by[name] = PEERS[name](knowledge.retriever.states)
        except ImportError as error:
            left_out[name] = str(error)
    times |= {name: search_times(search, states, options.clock) for name, search in asked_by.items()}
    compared = recall(knowledge, states[:100])
    return Latencies(
        db,
        len(knowledge.experience),
        len(offered),
        knowledge.retriever.index.kind,
        compared,
        opened,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        sum(file.stat().st_size for file in Path(db).parent.glob(f"{Path(db).name}*/*")) / 1e6
        + Path(db).stat().st_size / 1e6,
        times,
        {"search": compared}
        | {name: found_share(search, knowledge.retriever.states, states[:100]) for name, search in asked_by.items()},
        left_out,
    )


def timed(engine: Engine, asked: Sequence[Situation], clock: Clock) -> dict[str, list[float]]:
    """Times of decisions and of their parts, in milliseconds."""
    knowledge, rng, arms = engine.learned.knowledge, np.random.default_rng(0), list[Arms]()
    retriever, pool = knowledge.retriever, knowledge.retriever.config.pool
    names = ("embedding", "decision", "evidence", "selector arithmetic", "search")
    times: dict[str, list[float]] = {name: [] for name in names}
    for situation in asked:
        goals = knowledge.goal_similarities(situation)
        likeness_of_states(situation, knowledge.experience.embed)
        times["embedding"].append(milliseconds(lambda: embed(knowledge.experience.embed, situation), clock))  # noqa: B023 - run at once
        times["decision"].append(milliseconds(lambda: engine.decide(situation, goals), clock))  # noqa: B023 - run at once
        arms.append(engine.consider(situation, goals).arms)
        texts = knowledge.experience.embed(situation.state_text), knowledge.experience.embed(situation.moment_text)
        query = retriever.query(texts, goals, knowledge.experience.tokens(situation.history))
        times["evidence"].append(milliseconds(lambda: retriever.evidence(query), clock))  # noqa: B023 - run at once
        times["search"].append(milliseconds(lambda: retriever.index.search(query.state, pool), clock))  # noqa: B023 - run at once
    for known in arms:  # apart from the rest, which turns the processor's caches over
        drawing = partial(choose, known, rng, sharpening=3.0, exploration=0.02)
        times["selector arithmetic"].append(milliseconds(drawing, clock))
    return times


def search_times(search: Search, asked: Floats, clock: Clock) -> list[float]:
    """Times of ten neighbours from one search."""
    for query in asked[:10]:
        search(query, NEIGHBOURS)
    return [milliseconds(lambda: search(query, NEIGHBOURS), clock) for query in asked]  # noqa: B023 - run at once


def recall(knowledge: Knowledge, queries: Floats) -> float:
    """Share of the ten nearest rows that the index has among the rows that are compared."""
    retriever = knowledge.retriever
    compared = retriever.config.pool
    return found_share(
        lambda query, _: retriever.index.search(query, compared).rows.tolist(), retriever.states, queries
    )


def found_share(search: Search, stored: Floats, queries: Floats) -> float:
    """Share of ten neighbours that a search finds; a row as near as the tenth is as good as it."""
    similarities = queries @ stored.T
    tenth = np.partition(similarities, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]
    found = [
        one[np.asarray(search(query, NEIGHBOURS), np.int64)] for one, query in zip(similarities, queries, strict=True)
    ]
    near = [min(int((one >= least - TIE).sum()), NEIGHBOURS) for one, least in zip(found, tenth, strict=True)]
    return float(np.mean(near) / NEIGHBOURS)


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
    """The texts that one decision embeds (its task is embedded once an episode, and past states when they came)."""
    for text in (situation.state_text, situation.moment_text):
        embedding(text)


def milliseconds(work: Callable[[], object], clock: Clock) -> float:
    """Time of one call."""
    started = clock()
    work()
    return 1000.0 * (clock() - started)


def draw(found: Sequence[Latencies], path: str) -> None:
    """The median and the 99th percentile of each time, one colour a store."""
    import matplotlib  # noqa: PLC0415 - only to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 3.5))
    for number, one in enumerate(found):
        places = np.arange(len(one.milliseconds)) + 0.2 * number
        p50, p99 = np.array([np.quantile(times, (0.5, 0.99)) for times in one.milliseconds.values()]).T
        axes.hlines(places, p50, p99, color=f"C{number}", label=f"{one.steps:,} steps")
        axes.plot(p50, places, "o", color=f"C{number}")
    axes.set(xscale="log", xlabel="milliseconds, median to 99th percentile")
    axes.set_yticks(range(len(found[0].milliseconds)), list(found[0].milliseconds))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--db", action="append", default=[])
    parser.add_argument("--steps", type=lambda text: [int(one) for one in text.split(",")], default=[])
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--learn", type=int, default=1000, help="decisions that the choice model is fitted to")
    parser.add_argument(
        "--peers", type=lambda text: list(filter(None, text.split(","))), default=[], help=f"of {', '.join(PEERS)}"
    )
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--quick", action="store_true", help="10,000 steps and 50 decisions")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", default="", help="where to draw it")
    options = parser.parse_args()
    options.clock = CLOCKS[options.clock]
    if options.quick:
        options.decisions, options.learn = 50, 200
    if not (options.db or options.steps):
        options.steps = [10_000] if options.quick else [10_000, 100_000]
    return options


def _state(knowledge: Knowledge, situation: Situation) -> Any:  # Any: an array
    text = knowledge.experience.embed(situation.state_text)
    return knowledge.retriever.query((text, text), np.zeros(0, np.float32), ()).state


if __name__ == "__main__":
    main()

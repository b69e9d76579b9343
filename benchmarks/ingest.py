"""Durable ingest: steps a second that are on disk when they are acknowledged, and the time to make the index anew.

    python benchmarks/ingest.py [--steps 16000] [--reindex 100000] [--folder DIR] [--quick] [--json]

Trajectories have eight steps of about 60 words.  "one" commits each trajectory by itself, "100" a hundred together;
eight threads of one process share commits; four processes write to one file.  "with vectors" also embeds the new texts
(hashed words, 512 entries) and stores the vectors.  Beside it, in the same run and on the same texts: plain `sqlite3`
with `executemany`, the same columns and the same syncs, and LanceDB and Chroma where they can be imported
(`pip install lancedb chromadb`): one row a step, by itself or with the vector of its state from the same embedder.
"add from afar" is what it costs a memory in use to take in one trajectory that another process stored.  `--reindex`
makes a graph of so many random unit vectors (256 entries); 1000000 takes long, 0 leaves it out.
"""

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from selector.memory import Memory, MemorySettings
from selector.records import SelectorConfig
from trajstore.embedding import HashedEmbedder
from trajstore.experience import embedded_texts, play_back
from trajstore.index import VectorIndex
from trajstore.rows import STEP_COLUMNS, STEP_NAMES, TRAJECTORY_COLUMNS, TRAJECTORY_NAMES, to_row
from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import VectorCache

STEPS, WORDS, TOOLS = 8, 3000, 30
THREADS, PROCESSES = 8, 4
PEERS = ("lancedb", "chromadb")


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of storing: how many a commit, how many at once, and steps a second."""

    what: str
    a_commit: int
    at_once: int
    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / self.seconds


def main() -> None:
    """Measure and print."""
    options = parse()
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            print(json.dumps({"skipped": name}) if options.json else f"{name} is not installed: left out")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for measured in measure(Path(folder), options.steps):
            row = {**asdict(measured), "steps_a_second": measured.rate}
            shape = f"{measured.a_commit:4} a commit, {measured.at_once} at once"
            text = f"{measured.what:28} {shape}: {measured.rate:9,.0f} steps/s"
            print(json.dumps(row) if options.json else text, flush=True)
        seconds = add_from_afar(Path(folder) / "afar.db", options.steps)
        told("add from afar", seconds, is_json=options.json)
    if options.reindex:
        told(f"graph of {options.reindex:,} rows", reindex(options.reindex), is_json=options.json)


def told(what: str, seconds: float, *, is_json: bool) -> None:
    """Print one time."""
    print(json.dumps({"what": what, "seconds": seconds}) if is_json else f"{what:28} {seconds:.3f} s", flush=True)


def measure(folder: Path, steps: int) -> Iterator[Measured]:
    """Every way of storing, each in a file of its own; one commit a trajectory gets a quarter of the steps."""
    many, few = made(steps // STEPS), made(steps // STEPS // 4)
    yield timed("sqlite3 executemany", 1, few, lambda: plain(folder / "1.db", few, 1))
    yield timed("sqlite3 executemany", 100, many, lambda: plain(folder / "2.db", many, 100))
    yield timed("trajstore", 1, few, lambda: stored(folder / "3.db", few, 1))
    yield timed("trajstore", 100, many, lambda: stored(folder / "4.db", many, 100))
    yield timed("trajstore, threads", 1, few, lambda: in_threads(folder / "5.db", few), THREADS)
    yield timed("trajstore, processes", 1, few, lambda: in_processes(folder / "6.db", few, 1), PROCESSES)
    yield timed("trajstore, processes", 100, many, lambda: in_processes(folder / "7.db", many, 100), PROCESSES)
    yield timed("trajstore with vectors", 1, few, lambda: stored(folder / "8.db", few, 1, with_vectors=True))
    yield timed("trajstore with vectors", 100, many, lambda: stored(folder / "9.db", many, 100, with_vectors=True))
    least = few[:50]  # a commit of theirs takes a multiple of one of ours
    if importlib.util.find_spec("lancedb") is not None:
        yield timed("lancedb", 1, least, lambda: in_lance(folder / "lance1", least, 1))
        yield timed("lancedb", 100, many, lambda: in_lance(folder / "lance2", many, 100))
        yield timed("lancedb with vectors", 1, least, lambda: in_lance(folder / "lance3", least, 1, with_vectors=True))
        yield timed(
            "lancedb with vectors", 100, many, lambda: in_lance(folder / "lance4", many, 100, with_vectors=True)
        )
    if importlib.util.find_spec("chromadb") is not None:
        yield timed("chromadb with vectors", 1, least, lambda: in_chroma(folder / "chroma1", least, 1))
        yield timed("chromadb with vectors", 100, many, lambda: in_chroma(folder / "chroma2", many, 100))


def timed(
    what: str, a_commit: int, trajectories: Sequence[Trajectory], work: Callable[[], object], at_once: int = 1
) -> Measured:
    """Time one way of storing them."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return Measured(what, a_commit, at_once, sum(len(one.steps) for one in trajectories), seconds)


def made(count: int, seed: int = 0) -> list[Trajectory]:
    """Trajectories of random words."""
    rng = random.Random(seed)  # noqa: S311 - texts to store

    def words(many: int) -> str:
        return " ".join(f"w{rng.randrange(WORDS)}" for _ in range(many))

    def step(at: int) -> Step:
        return Step(
            at, f"tool{rng.randrange(TOOLS)}", words(20), {"query": words(4)}, words(36), "ok", decision_id=words(1)
        )

    return [
        Trajectory(Task(f"{number} {words(10)}"), tuple(map(step, range(STEPS))), rng.random() < 0.6, 1.0)
        for number in range(count)
    ]


def in_chunks(trajectories: Iterable[Trajectory], size: int) -> Iterator[list[Trajectory]]:
    """The trajectories, so many at a time."""
    left = iter(trajectories)
    while chunk := list(islice(left, size)):
        yield chunk


def plain(path: Path, trajectories: Sequence[Trajectory], a_commit: int) -> None:
    """The same columns by the standard library alone; making rows of the records is part of it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"CREATE TABLE trajectories (seq INTEGER PRIMARY KEY, {TRAJECTORY_COLUMNS})")
    connection.execute(f"CREATE TABLE steps (seq INTEGER PRIMARY KEY, trajectory_id, {STEP_COLUMNS})")
    for number, chunk in enumerate(in_chunks(trajectories, a_commit)):
        rows = [to_row(one, f"{number}-{at}", 0.0) for at, one in enumerate(chunk)]
        steps = [(row.id, *step) for row in rows for step in row.steps]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_insert("trajectories", TRAJECTORY_NAMES), [row.values for row in rows])
        connection.executemany(_insert("steps", ("trajectory_id", *STEP_NAMES)), steps)
        connection.execute("COMMIT")
    connection.close()


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - constants


def stored(path: Path, trajectories: Sequence[Trajectory], a_commit: int, *, with_vectors: bool = False) -> None:
    """Into a store, with the vectors of every chunk after it."""
    with TrajectoryStore(path) as store:
        vectors = VectorCache(store, HashedEmbedder()) if with_vectors else None
        for chunk in in_chunks(trajectories, a_commit):
            store.add_many(chunk)
            if vectors is not None:
                vectors.embed(sorted({text for one in chunk for text in embedded_texts(one)}))


def in_threads(path: Path, trajectories: Sequence[Trajectory]) -> None:
    """Into a store by threads, each trajectory by itself."""
    with TrajectoryStore(path) as store:
        threads = [
            threading.Thread(target=lambda first=first: [store.add(one) for one in trajectories[first::THREADS]])
            for first in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def in_processes(path: Path, trajectories: Sequence[Trajectory], a_commit: int) -> None:
    """Into one file by forked processes; their start is part of it."""
    TrajectoryStore(path).close()
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=stored, args=(path, trajectories[first::PROCESSES], a_commit))
        for first in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def in_lance(path: Path, trajectories: Sequence[Trajectory], a_commit: int, *, with_vectors: bool = False) -> None:
    """Into LanceDB; it does not sync its files."""
    table, embedder = None, HashedEmbedder()
    for number, chunk in enumerate(in_chunks(trajectories, a_commit)):
        cells: list[dict[str, object]] = list(step_cells(chunk, number))
        if with_vectors:
            for cell, vector in zip(cells, embedder.embed(state_texts(chunk)), strict=True):
                cell["vector"] = vector
        if table is None:
            table = importlib.import_module("lancedb").connect(str(path)).create_table("steps", cells)
        else:
            table.add(cells)


def in_chroma(path: Path, trajectories: Sequence[Trajectory], a_commit: int) -> None:
    """Into Chroma, the other cells as metadata; its graph is on disk only once in so many rows, its log at once."""
    rows = importlib.import_module("chromadb").PersistentClient(str(path)).create_collection("steps")
    embedder = HashedEmbedder()
    for number, chunk in enumerate(in_chunks(trajectories, a_commit)):
        cells, texts = list(step_cells(chunk, number)), state_texts(chunk)
        ids = [f"{number}-{at}" for at in range(len(cells))]
        rows.add(ids=ids, embeddings=embedder.embed(texts), documents=texts, metadatas=cells)


def step_cells(chunk: Sequence[Trajectory], number: int) -> Iterator[dict[str, object]]:
    """The cells of every step as texts, with the trajectory that it belongs to."""
    for row in (to_row(one, f"{number}-{at}", 0.0) for at, one in enumerate(chunk)):
        for step in row.steps:
            yield {"trajectory_id": row.id, **dict(zip(STEP_NAMES, map(str, step), strict=True))}


def state_texts(chunk: Sequence[Trajectory]) -> list[str]:
    """The text of every step's state, as it is embedded."""
    return [play_back(one).state_text(at) for one in chunk for at in range(len(one.steps))]


def add_from_afar(path: Path, steps: int) -> float:
    """Median seconds to take in one trajectory that another connection stored, by a memory of so many steps."""
    settings = MemorySettings(HashedEmbedder(128), SelectorConfig(decisions=200), "default")
    with TrajectoryStore(path) as store, TrajectoryStore(path) as other:
        store.add_many(made(steps // STEPS))
        memory, taken = Memory(store, settings), []
        for one in made(9, seed=1):
            other.add(one)
            began = time.perf_counter()
            memory.keep_up()
            taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def reindex(rows: int) -> float:
    """Seconds to make a graph."""
    vectors = np.random.default_rng(0).normal(size=(rows, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.perf_counter()
    VectorIndex.build(vectors, "hnsw")
    return time.perf_counter() - began


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--reindex", type=int, default=100_000)
    parser.add_argument("--folder", help="where to write; the system's folder for temporary files by default")
    parser.add_argument("--quick", action="store_true", help="2,400 steps and a graph of 2,000 rows")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.reindex = 2_400, 2_000
    return options


if __name__ == "__main__":
    main()

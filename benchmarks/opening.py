"""How long a store takes to open and to go on after a source is forgotten, as it grows; and what decisions then take.

    python benchmarks/opening.py [--steps 10000,100000] [--learn 1000] [--quick] [--json]

Stores of `--steps` steps are made by `synthetic_store.py` and kept under build/latency; what is measured is a copy, to
which a twentieth comes from another source.  "first" reads every row, embeds it and builds the index; "again" is any
later opening, "later rows" one after a hundredth more was added.  "forget" erases the source; "after forgetting" is
what a process takes that had the store open, while it builds the new graph in the background, and "another process"
one that opens it then.  Seconds by the wall, and of the calling thread's processor, which other jobs change little.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from decision_latency import FOLDER, made
from synthetic_store import STEPS, Maker

from selector.memory import Memory, MemorySettings
from selector.records import SelectorConfig
from trajstore.recollection import stored_embedder
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

OTHER = "uploads"
OTHER_SHARE, LATER_SHARE = 20, 100
SHOWN = "{steps:>10,} steps  {what:18} {wall:8.2f} s, {processor:7.2f} s of one processor"


def main() -> None:
    """Measure and print."""
    options = parse()
    for steps in options.steps:
        for what, wall, processor in measure(steps, options.learn):
            row = {"steps": steps, "what": what, "wall": round(wall, 3), "processor": round(processor, 3)}
            print(json.dumps(row) if options.json else SHOWN.format(**row), flush=True)


def measure(steps: int, learn: int) -> Iterator[tuple[str, float, float]]:
    """What was done, and its seconds by the wall and of the thread's processor."""
    source = made(steps)
    with TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "copy.db"
        shutil.copy(source, path)
        with TrajectoryStore(path) as store:
            store.add_many(others(max(1, steps // STEPS // OTHER_SHARE), seed=1, source=OTHER))
            yield "first", *timed(lambda: opened(store, learn))
            yield "again", *timed(lambda: opened(store, learn))
            store.add_many(others(max(1, steps // STEPS // LATER_SHARE), seed=2, source="later"))
            yield "later rows", *timed(lambda: opened(store, learn))
            memory = opened(store, learn, in_background=True)
            yield "forget", *timed(lambda: store.forget(source=OTHER))
            yield "after forgetting", *timed(memory.keep_up)
            yield "another process", *timed(lambda: opened(store, learn, in_background=True))


def opened(store: TrajectoryStore, learn: int, *, in_background: bool = False) -> Memory:
    """What was learned from a store."""
    config = SelectorConfig(decisions=learn)
    return Memory(store, MemorySettings(stored_embedder(store), config, "default", in_background=in_background))


def others(count: int, *, seed: int, source: str) -> Iterator[Trajectory]:
    """So many trajectories of another source."""
    return (replace(one, source=source) for one in islice(Maker(seed).trajectories(count), count))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one call, by the wall and of this thread's processor."""
    wall, processor = time.perf_counter(), time.thread_time()
    work()
    return time.perf_counter() - wall, time.thread_time() - processor


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=lambda text: [int(one) for one in text.split(",")], default=[])
    parser.add_argument("--learn", type=int, default=1000, help="decisions that the choice model is fitted to")
    parser.add_argument("--quick", action="store_true", help="2,000 steps and 50 decisions")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.learn = 50 if options.quick else options.learn
    options.steps = options.steps or ([2_000] if options.quick else [10_000, 100_000])
    return options


if __name__ == "__main__":
    main()

"""A fleet in several processes and threads on one store: nobody is told of locks, and everybody sees the others."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from fault_processes import (
    EMBEDDER,
    STEPS,
    assert_finds_what_brute_force_finds,
    assert_whole,
    lines_of,
    run_in_child,
    start,
    walk,
)

from selector import Selector
from trajstore.store import TrajectoryStore

PROCESSES, THREADS = 2, 2
BATCHES = 15

WRITER = """
import sys, threading
from fault_processes import walk
from trajstore.store import TrajectoryStore

path, name, threads, batches = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = TrajectoryStore(path)

def write(thread):
    for number in range(batches):
        texts = [f"{name}.{thread}.{number}.{part}" for part in range(2)]
        store.add_many([walk(text, f"{name}.{thread}") for text in texts])
        for text in texts:
            sys.stdout.write(text + "\\n")

workers = [threading.Thread(target=write, args=[thread]) for thread in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""

READER = """
import sys, threading
from collections import Counter
from fault_processes import STEPS
from trajstore.store import TrajectoryStore

path, threads, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = TrajectoryStore(path)

def read():
    last = 0
    while last < until:
        seen = Counter(one.task.text.rpartition(".")[0] for one in store.trajectories())
        assert set(seen.values()) <= {2}, "half a batch was seen"
        assert sum(seen.values()) >= last, "what was seen is gone"
        last = sum(seen.values())
    sys.stdout.write(f"{last}\\n")

workers = [threading.Thread(target=read) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""

LATE_WRITER = """
import sys, time
from fault_processes import walk
from trajstore.store import TrajectoryStore

store = TrajectoryStore(sys.argv[1])
for number in range(int(sys.argv[2])):
    store.add(walk(f"from afar {number}"))
    print(f"from afar {number}", flush=True)
    time.sleep(0.05)
"""


def test_four_writers_and_four_readers_lose_nothing_and_see_no_lock_and_no_half(store_path: Path):
    TrajectoryStore(store_path).close()
    total = PROCESSES * THREADS * BATCHES * 2
    readers = [start(READER, store_path, THREADS, total) for _ in range(PROCESSES)]
    writers = [start(WRITER, store_path, name, THREADS, BATCHES) for name in range(PROCESSES)]
    acknowledged = lines_of(writers)
    assert lines_of(readers) == [str(total)] * (PROCESSES * THREADS)
    assert len(set(acknowledged)) == total
    with TrajectoryStore(store_path) as store:
        assert set(assert_whole(store)) == set(acknowledged)
        assert_finds_what_brute_force_finds(store)


def test_writers_and_a_forgetter_at_once_agree_in_the_end(store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add_many(walk(f"bad {number}", "bad") for number in range(20))
        writers = [start(WRITER, store_path, name, THREADS, BATCHES) for name in range(PROCESSES)]
        while any(writer.poll() is None for writer in writers):
            store.add(walk(f"bad {time.monotonic()}", "bad"))
            store.forget(source="bad")
        acknowledged = lines_of(writers)
        assert set(assert_whole(store)) == set(acknowledged)
        assert store.stats().tools == dict.fromkeys(sorted(STEPS), len(acknowledged))


def test_a_selector_that_lives_long_knows_at_once_what_another_process_stored(store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add_many(walk(f"here {number}") for number in range(40))
        selector = Selector(store, embedder=EMBEDDER)
        experience = selector.room("default").knowledge.experience
        writer = start(LATE_WRITER, store_path, 5)
        assert writer.stdout is not None
        for number in range(5):
            assert writer.stdout.readline().strip() == f"from afar {number}"
            if number % 2:
                selector.episode(f"from afar {number}")
            else:
                selector.choose(f"from afar {number}")
            assert len(experience.trajectory_ids) >= 41 + number
            assert list(experience.trajectory_ids) == list(store.ids("default"))[: len(experience.trajectory_ids)]
        assert lines_of([writer]) == []
        selector.choose("anything")
        assert list(experience.trajectory_ids) == list(store.ids("default"))


def test_forked_workers_use_the_store_and_the_selector_of_their_parent(store_path: Path):
    def work(say: Callable[[str], None]) -> None:
        store.add(walk(f"child {os.getpid()}"))
        decision = selector.choose("here 1", "here 1 search", tools=STEPS)
        say(f"child {os.getpid()}")
        say(str(decision.candidate is None or decision.candidate.tool in STEPS))

    with TrajectoryStore(store_path) as store:
        store.add_many(walk(f"here {number}") for number in range(40))
        selector = Selector(store, embedder=EMBEDDER)
        selector.choose("here 1", "here 1 search", tools=STEPS)
        acknowledged = set()
        for _ in range(4):
            ended = run_in_child(work)
            assert ended.code == 0
            assert ended.acknowledged[1] == "True"
            acknowledged.add(ended.acknowledged[0])
            selector.choose("here 1", "here 1 search", tools=STEPS)
        assert acknowledged <= set(assert_whole(store))

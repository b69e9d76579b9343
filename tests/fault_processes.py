"""Processes that die, and what must hold of a store after each death."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from trajectory_samples import make_step, make_trajectory

from trajstore.backup import backup, restore
from trajstore.doctor import damaged_rows
from trajstore.embedding import HashedEmbedder
from trajstore.faultpoints import watch
from trajstore.index import VectorIndex
from trajstore.index_cache import IndexCache, rows_key
from trajstore.recalled import Recollection
from trajstore.recollection import recollect
from trajstore.retriever import Retriever
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

TESTS = Path(__file__).resolve().parent
STEPS = ("search", "look", "book")
EMBEDDER = HashedEmbedder(16)
DIED = 77
NEARLY = 0.1  # how far the third neighbour that a graph or codes find may lie behind the third there is


def walk(text: str, source: str = "walks") -> Trajectory:
    """A trajectory of three steps, whose states say which it is."""
    steps = tuple(make_step(at, tool, state=f"{text} {tool}") for at, tool in enumerate(STEPS))
    return make_trajectory(text, steps=steps, source=source)


def back_up(path: Path) -> None:
    """Copy the store at `path` to a file beside it."""
    with TrajectoryStore(path) as store:
        backup(store, path.with_name("copy.db"), overwriting=True)


def restore_over(path: Path) -> None:
    """Make the store at `path` what an earlier copy beside it holds."""
    restore(path.with_name("earlier.db"), path, overwriting=True)


def forget_bad(path: Path) -> None:
    """Erase what the source "bad" brought."""
    with TrajectoryStore(path) as store:
        store.forget(source="bad")


def keep_graph(store: TrajectoryStore) -> None:
    """Keep a graph of all rows, as a large store would."""
    loaded = recollect(store, EMBEDDER)
    graph = VectorIndex.build(Retriever(loaded.experience).states, "hnsw")
    ids = loaded.experience.trajectory_ids
    IndexCache(store, "default").save(graph, rows_key(ids, EMBEDDER.identity.fingerprint), len(ids))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a forked child ended: what it acknowledged, line by line, and its exit code (minus the signal's number)."""

    acknowledged: tuple[str, ...]
    code: int


def run_in_child(work: Callable[[Callable[[str], None]], object], *, kill_after: float | None = None) -> Ended:
    """Run `work` in a forked child, which is handed what takes acknowledgements; kill it after some seconds."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        code = 1
        try:
            signal.alarm(60)
            work(lambda line: os.write(send, f"{line}\n".encode()))
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(receive) as lines:
        acknowledged = tuple(lines.read().splitlines())
    return Ended(acknowledged, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def die_at(moment: int) -> None:
    """Let this process die at the n-th fault point that it comes to, as a power cut would."""
    left = [moment]

    def count_down(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os._exit(DIED)

    watch(count_down)


def names_of_moments(work: Callable[[], object]) -> list[str]:
    """The fault points that some work comes to, in order."""
    names: list[str] = []
    watch(names.append)
    try:
        work()
    finally:
        watch(None)
    return names


def assert_whole(store: TrajectoryStore) -> dict[str, Trajectory]:
    """Nothing is half there, SQLite and the checksums agree; returns what there is by its text."""
    found = {one.task.text: one for one in store.trajectories()}
    assert all(one.tools == STEPS for one in found.values())
    assert store.stats().steps == len(STEPS) * len(found)
    assert store.integrity_findings() == ()
    assert damaged_rows(store) == ()
    return found


def assert_finds_what_brute_force_finds(store: TrajectoryStore) -> Recollection:
    """The index and the rows after it hold every row once, with the vector that the row has."""
    loaded = recollect(store, EMBEDDER)
    index, states = loaded.retriever.index, loaded.retriever.states
    assert len(states) == store.stats().steps
    for row in range(0, len(index), max(1, len(index) // 5)):
        near = index.search(states[row], 3)
        best = np.sort(states[: len(index)] @ states[row])[::-1][:3]
        np.testing.assert_allclose(near.similarities, best, atol=2e-3 if index.kind == "flat" else NEARLY)
        np.testing.assert_allclose(states[near.rows] @ states[row], near.similarities, atol=2e-3)
    return loaded


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process of its own that can import the project and the tests' helpers."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_of(processes: Iterable["subprocess.Popen[str]"]) -> list[str]:
    """What all processes printed; each must have ended well."""
    said = [(process, process.communicate()[0]) for process in processes]
    assert [process.returncode for process, _ in said] == [0] * len(said)
    return [line for _, text in said for line in text.splitlines()]

"""A disk that is full at any write: one sentence, nothing half there, and all is well once there is space again."""

import resource
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fault_processes import (
    assert_finds_what_brute_force_finds,
    assert_whole,
    back_up,
    forget_bad,
    keep_graph,
    restore_over,
    run_in_child,
    walk,
)
from old_stores import write_old_store

from trajstore import checkpoints
from trajstore.backup import backup
from trajstore.doctor import damaged_rows
from trajstore.errors import StoreError
from trajstore.store import TrajectoryStore

LIMITS = [40_000, 90_000, 200_000, 300_000]  # bytes that no file may be longer than
MANY_LIMITS = range(36_000, 600_000, 12_000)
Say = Callable[[str], None]


def add(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.add_many(walk(f"new {number}") for number in range(150))


def add_and_checkpoint(path: Path) -> None:
    checkpoints.LOG_BYTES = 50_000
    with TrajectoryStore(path) as store:
        for part in range(15):
            store.add_many(walk(f"new {10 * part + number}") for number in range(10))


def index(path: Path) -> None:
    with TrajectoryStore(path) as store:
        keep_graph(store)


def within(limit: int, work: Callable[[Path], None], path: Path, say: Say) -> None:
    """Do the work with files kept below a size, say what went wrong, and do it again without."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        work(path)
    except (StoreError, OSError) as error:
        say(str(error).replace("\n", "\\n"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with TrajectoryStore(path) as store:
        assert_whole(store)
        assert_finds_what_brute_force_finds(store)
    work(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of good and bad trajectories, a graph of them, and an earlier backup."""
    folder = tmp_path_factory.mktemp("made")
    with TrajectoryStore(folder / "agent.db") as store:
        store.add_many(walk(f"good {number}") for number in range(100))
        backup(store, folder / "earlier.db")
        store.add_many(walk(f"bad {number}", "bad") for number in range(100))
        keep_graph(store)
    return folder


WORKS = [add, add_and_checkpoint, index, back_up, restore_over, forget_bad]


@pytest.mark.parametrize("work", WORKS)
def test_a_full_disk_is_one_sentence_and_leaves_everything_whole(
    made: Path, tmp_path: Path, work: Callable[[Path], None]
):
    check_limits(made, tmp_path, work, LIMITS)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_a_disk_that_is_full_at_any_write_leaves_everything_whole(
    made: Path, tmp_path: Path, work: Callable[[Path], None]
):
    check_limits(made, tmp_path, work, MANY_LIMITS)


def check_limits(made: Path, tmp_path: Path, work: Callable[[Path], None], limits: Iterable[int]) -> None:
    said = []
    for limit in limits:
        folder = tmp_path / str(limit)
        shutil.copytree(made, folder)
        path = folder / "agent.db"
        ended = run_in_child(lambda say, limit=limit, path=path: within(limit, work, path, say))
        assert ended.code == 0, (limit, ended)
        said += ended.acknowledged
        with TrajectoryStore(path) as store:
            assert_whole(store)
        assert not list(folder.rglob("*.part"))
        shutil.rmtree(folder)
    assert all("agent.db" in sentence or "copy" in sentence for sentence in said)
    assert said or work is index  # without a file the index is only made anew


def test_an_upgrade_on_a_full_disk_leaves_the_old_store(tmp_path: Path):
    refused = 0
    for limit in range(30_000, 200_000, 30_000):
        path = tmp_path / f"{limit}.db"
        write_old_store(path, 1)

        def upgrade(say: Say, path: Path = path, limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            try:
                TrajectoryStore(path).close()
            except (StoreError, OSError) as error:
                say(str(error))

        refused += len(run_in_child(upgrade).acknowledged)
        with TrajectoryStore(path) as store:
            assert store.stats().trajectories == 2
            assert damaged_rows(store) == ()
    assert refused

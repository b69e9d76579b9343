"""A process that dies at any of the named moments leaves a store that is whole: the change is there, or it is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_processes import (
    DIED,
    EMBEDDER,
    assert_finds_what_brute_force_finds,
    assert_whole,
    back_up,
    die_at,
    forget_bad,
    keep_graph,
    names_of_moments,
    restore_over,
    run_in_child,
    walk,
)
from old_stores import write_old_store

from trajstore import checkpoints
from trajstore.backup import backup
from trajstore.doctor import damaged_rows, repair
from trajstore.migrations import SCHEMA_VERSION
from trajstore.recollection import recollect
from trajstore.snapshot import SnapshotCache, Taken
from trajstore.store import TrajectoryStore

SHORT_LOG = 50_000  # bytes
Work = Callable[[Path], object]


def add(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.add_many([walk("new 1"), walk("new 2")])


def add_enough_for_a_checkpoint(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.add(walk("new " + "x" * SHORT_LOG))


def keep_new_graph(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.add(walk("new"))
        keep_graph(store)


def keep_new_snapshot(path: Path) -> None:
    with TrajectoryStore(path) as store:
        store.add(walk("new"))
        loaded = recollect(store, EMBEDDER)
        SnapshotCache(store, "default").save(Taken.of(loaded, EMBEDDER.identity.fingerprint))


def mend(path: Path) -> None:
    with TrajectoryStore(path) as store:
        repair(store)


WORKS: dict[str, tuple[Work, set[str], int]] = {
    "add": (add, {"transaction begun", "group written", "before commit", "after commit"}, 4),
    "add and checkpoint": (add_enough_for_a_checkpoint, {"before checkpoint", "after checkpoint"}, 6),
    "keep a graph": (keep_new_graph, {"index written", "copy synced", "copy renamed", "index recorded"}, 12),
    "keep a snapshot": (
        keep_new_snapshot,
        {"snapshot written", "copy synced", "copy renamed", "snapshot recorded"},
        12,
    ),
    "forget": (forget_bad, {"index files erased", "pages written anew", "before commit"}, 5),
    "repair": (mend, set(), 0),
    "back up": (back_up, {"copy written", "copy synced", "copy renamed", "copy published"}, 4),
    "restore": (restore_over, {"copy written", "before restore", "after restore"}, 3),
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store of four trajectories with a graph, and a backup from when it had two."""
    path = tmp_path / "made" / "agent.db"
    path.parent.mkdir()
    with TrajectoryStore(path) as store:
        store.add_many([walk("a"), walk("b", "bad")])
        backup(store, path.with_name("earlier.db"))
        store.add_many([walk("c"), walk("d", "bad")])
        keep_graph(store)
    return path


def copy_of(filled: Path, name: str) -> Path:
    shutil.copytree(filled.parent, filled.parent.parent / name)
    return filled.parent.parent / name / filled.name


@pytest.mark.parametrize("name", WORKS)
def test_a_death_at_any_moment_leaves_a_whole_store(filled: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    work, expected, least = WORKS[name]
    if "before checkpoint" in expected:
        monkeypatch.setattr(checkpoints, "LOG_BYTES", SHORT_LOG)
    path = copy_of(filled, "alive")
    moments = names_of_moments(lambda: work(path))
    assert expected <= set(moments)
    assert len(moments) >= least
    allowed = texts_before_and_after(filled, path)
    for moment in range(len(moments)):
        path = copy_of(filled, f"dead {moment}")
        assert run_in_child(lambda _, path=path, moment=moment: (die_at(moment), work(path))).code == DIED
        with TrajectoryStore(path) as store:
            assert set(assert_whole(store)) in allowed
            assert_finds_what_brute_force_finds(store)
        work(path)
        with TrajectoryStore(path) as store:
            assert set(assert_whole(store)) == allowed[-1]


def texts_before_and_after(before: Path, after: Path) -> list[set[str]]:
    """What there was, what there was after each whole part of the work, and what there is in the end."""
    with TrajectoryStore(after) as store:
        ended = set(assert_whole(store))
    with TrajectoryStore(before) as store:
        return [set(assert_whole(store)), ended]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_death_at_any_moment_of_an_upgrade_loses_nothing(tmp_path: Path, version: int):
    def upgrade(path: Path) -> None:
        TrajectoryStore(path).close()

    def old(name: str) -> Path:
        path = tmp_path / name / "agent.db"
        path.parent.mkdir()
        write_old_store(path, version)
        return path

    path = old("alive")
    moments = names_of_moments(lambda: upgrade(path))
    assert {"copy renamed", "before migration commits", "after migration commits"} <= set(moments)
    for moment in range(len(moments)):
        path = old(f"dead {moment}")
        assert run_in_child(lambda _, path=path, moment=moment: (die_at(moment), upgrade(path))).code == DIED
        with TrajectoryStore(path) as store:
            assert store.stats().trajectories == 2
            assert damaged_rows(store) == ()
        kept = {one.name for one in path.parent.iterdir() if not one.name.endswith(".part")}
        assert kept == {"agent.db", f"agent.db.v{version}.backup"}

"""kill -9 at any instant: what was acknowledged is there, nothing is half there, and the store opens at once."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_processes import (
    Ended,
    assert_finds_what_brute_force_finds,
    assert_whole,
    keep_graph,
    run_in_child,
    walk,
)
from old_stores import write_old_store

from trajstore.backup import backup, restore
from trajstore.doctor import damaged_rows
from trajstore.store import TrajectoryStore

SIGKILL = -9
KILLS, MANY_KILLS = 45, 1000
LONGEST = 0.1  # seconds that a child may live
Say = Callable[[str], None]


def add_one_by_one(path: Path, name: str, say: Say) -> None:
    with TrajectoryStore(path) as store:
        for number in range(10_000):
            store.add(walk(f"{name}/{number}"))
            say(f"{name}/{number}")


def add_and_index(path: Path, name: str, say: Say) -> None:
    with TrajectoryStore(path) as store:
        for number in range(10_000):
            store.add(walk(f"{name}/{number}"))
            say(f"{name}/{number}")
            keep_graph(store)


def add_and_forget(path: Path, name: str, say: Say) -> None:
    with TrajectoryStore(path) as store:
        for number in range(10_000):
            store.add_many([walk(f"{name}/{number}"), walk(f"bad {name}/{number}", "bad")])
            say(f"{name}/{number}")
            store.forget(source="bad")


def add_and_back_up(path: Path, name: str, say: Say) -> None:
    with TrajectoryStore(path) as store:
        for number in range(10_000):
            store.add(walk(f"{name}/{number}"))
            say(f"{name}/{number}")
            backup(store, path.with_name("copy.db"), overwriting=True)


WORKS = [add_one_by_one, add_and_index, add_and_forget, add_and_back_up]


def kill_again_and_again(kills: int, seed: int, work: Callable[[str, Say], None]) -> list[Ended]:
    rng = random.Random(seed)
    return [
        run_in_child(lambda say, name=f"{kill}": work(name, say), kill_after=rng.uniform(0.001, LONGEST))
        for kill in range(kills)
    ]


def check_kills(path: Path, kills: int, work: Callable[[Path, str, Say], None]) -> None:
    with TrajectoryStore(path) as store:
        store.add(walk("first"))
        keep_graph(store)
    ended = kill_again_and_again(kills, 0, lambda name, say: work(path, name, say))
    assert {one.code for one in ended} == {SIGKILL}
    acknowledged = {line for one in ended for line in one.acknowledged}
    assert acknowledged
    with TrajectoryStore(path) as store:
        assert acknowledged <= set(assert_whole(store))
        assert_finds_what_brute_force_finds(store)
    copy = path.with_name("copy.db")
    if copy.exists():
        with TrajectoryStore(copy) as store:
            assert_whole(store)


@pytest.mark.parametrize("work", WORKS)
def test_what_a_killed_process_acknowledged_is_there_and_whole(
    store_path: Path, work: Callable[[Path, str, Say], None]
):
    check_kills(store_path, KILLS, work)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_what_many_killed_processes_acknowledged_is_there_and_whole(
    store_path: Path, work: Callable[[Path, str, Say], None]
):
    check_kills(store_path, MANY_KILLS, work)


def test_a_killed_upgrade_leaves_the_old_store_or_the_new_one(tmp_path: Path):
    rng, finished = random.Random(1), 0
    for kill in range(KILLS):
        path = tmp_path / str(kill) / "agent.db"
        path.parent.mkdir()
        write_old_store(path, 1)
        ended = run_in_child(lambda _, path=path: TrajectoryStore(path).close(), kill_after=rng.uniform(0.001, LONGEST))
        finished += ended.code == 0
        with TrajectoryStore(path) as store:
            assert store.stats().trajectories == 2
            assert damaged_rows(store) == ()
    assert finished < KILLS


def test_a_killed_restore_leaves_the_old_store_or_the_restored_one(store_path: Path, tmp_path: Path):
    copy = tmp_path / "copy.db"
    with TrajectoryStore(store_path) as store:
        store.add(walk("old"))
        backup(store, copy)
        store.add_many(walk(f"new {number}") for number in range(50))
        new = set(assert_whole(store))
    rng, found = random.Random(2), set()
    for _ in range(KILLS):
        run_in_child(lambda _: restore(copy, store_path, overwriting=True), kill_after=rng.uniform(0.001, 2 * LONGEST))
        with TrajectoryStore(store_path) as store:
            texts = frozenset(assert_whole(store))
            assert texts in (new, {"old"})
            found.add(texts)
            store.add_many(walk(f"new {number}") for number in range(50))
    assert new in found

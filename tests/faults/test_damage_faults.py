"""Bits that flip and pages that vanish in a database file: reported in one sentence, and never taken for the truth."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from trajectory_samples import make_trajectory

from trajstore.doctor import examine
from trajstore.embedding import HashedEmbedder
from trajstore.errors import DamagedStore, StoreUnavailable
from trajstore.recollection import recollect
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

PAGE = 4096
EMBEDDER = HashedEmbedder(32)
TRIALS = 60


def records(store: TrajectoryStore) -> dict[str, Trajectory]:
    """What is stored; time is not part of what a content hash protects."""
    return {one.trajectory_id: replace(one, created_at=None) for one in store.trajectories()}


def use_everything(store: TrajectoryStore) -> None:
    list(store.trajectories())
    list(store.read_steps())
    list(store.read_trajectory_rows())
    list(store.logbook.decisions())
    store.stats()
    recollect(store, EMBEDDER)
    store.forget(source="a")
    store.add(make_trajectory("new"))


def assert_changes_are_found(store: TrajectoryStore, expected: dict[str, Trajectory]) -> None:
    if all(finding.severity != "error" for finding in examine(store)):
        assert records(store) == expected


def complaint(path: Path, use: Callable[[TrajectoryStore], None]) -> str:
    """What the store says while it is opened and used; empty where it says nothing."""
    try:
        with TrajectoryStore(path) as store:
            use(store)
    except (DamagedStore, StoreUnavailable) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Trajectory]]:
    """A database file, and what is in it."""
    path = tmp_path_factory.mktemp("whole") / "agent.db"
    with TrajectoryStore(path) as store:
        store.add_many(
            make_trajectory(f"task {number}", ("search", "look", "book"), source="ab"[number % 2])
            for number in range(60)
        )
        recollect(store, EMBEDDER)
        stored = records(store)
    return path.read_bytes(), stored


def flip_bits(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 4])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def zero_page(content: bytearray, rng: random.Random) -> None:
    start = PAGE * rng.randrange(len(content) // PAGE)
    content[start : start + PAGE] = bytes(PAGE)


def swap_pages(content: bytearray, rng: random.Random) -> None:
    one, other = (PAGE * rng.randrange(len(content) // PAGE) for _ in range(2))
    first, second = content[one : one + PAGE], content[other : other + PAGE]
    content[one : one + PAGE], content[other : other + PAGE] = second, first


def cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(2, len(content)) :]


DAMAGES = [flip_bits, zero_page, swap_pages, cut]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_sentence_of_ours_whatever_is_done(
    whole: tuple[bytes, dict[str, Trajectory]], tmp_path: Path, damage: Callable[[bytearray, random.Random], None]
):
    rng = random.Random(1)
    for trial in range(TRIALS):
        path = tmp_path / f"{trial}.db"
        content = bytearray(whole[0])
        damage(content, rng)
        path.write_bytes(content)
        sentence = complaint(path, use_everything)
        assert "\n" not in sentence
        assert str(path) in sentence or "is damaged" in sentence or not sentence


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_changed_record_escapes_the_doctor(
    whole: tuple[bytes, dict[str, Trajectory]], tmp_path: Path, damage: Callable[[bytearray, random.Random], None]
):
    rng = random.Random(2)
    for trial in range(TRIALS):
        path = tmp_path / f"{trial}.db"
        content = bytearray(whole[0])
        damage(content, rng)
        path.write_bytes(content)
        sentence = complaint(path, lambda store: assert_changes_are_found(store, whole[1]))
        assert not sentence or str(path) in sentence

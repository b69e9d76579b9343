"""Bits that flip in any file of a store, and files that are cut: healed, found, or an earlier state that there was."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_processes import EMBEDDER, assert_finds_what_brute_force_finds, keep_graph, walk

from trajstore.doctor import examine
from trajstore.errors import DamagedStore, StoreUnavailable
from trajstore.logbook import CallRow, DecisionRow, EpisodeRow
from trajstore.recollection import recollect
from trajstore.store import TrajectoryStore, index_folder

TRIALS, MANY_TRIALS = 40, 1000
TABLES = ("trajectories", "steps", "decisions", "episodes", "reports", "calls")
State = dict[str, list[tuple[object, ...]]]
Damage = Callable[[Path, random.Random], None]


def read_state(path: Path) -> State:
    """Every row of the tables that nothing can make anew."""
    connection = sqlite3.connect(path)
    try:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in TABLES}
    finally:
        connection.close()


def log_something(store: TrajectoryStore, number: int) -> None:
    name, at = f"d{number}", float(number)
    decision = DecisionRow(name, f"e{number}", 0, "default", at, "follow", "look", "{}", 0.5, "[]", "[]", "[]", "")
    store.logbook.add([decision], [CallRow("default", f"e{number}", "look", failed=False, called_at=at)])
    store.logbook.report(name, "reward", 0.5, at)
    store.logbook.end_episode(EpisodeRow(f"e{number}", "default", "", number > 0, 1.0, "{}", "finished", at))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[State]]:
    """A folder with a store whose newest changes are in its log still, and every state that it had since."""
    folder, aside = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("aside")
    path = folder / "agent.db"
    with TrajectoryStore(path) as store:
        store.add_many(walk(f"task {number}") for number in range(40))
        for number in range(20):
            log_something(store, number)
        keep_graph(store)
    states = [read_state(path)]
    with TrajectoryStore(path) as store:
        for number in range(40, 46):
            store.add(walk(f"task {number}"))
            states.append(read_state(path))
        shutil.copytree(folder, aside / "copy")
    return aside / "copy", states


def flip_bits(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def cut(file: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(2, len(content))])


def zero(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    file.write_bytes(content)


def errors_of(path: Path) -> bool:
    """Whether the doctor finds data damaged, or the store says so itself."""
    try:
        with TrajectoryStore(path) as store:
            assert_finds_what_brute_force_finds(store)
            return any(finding.severity == "error" for finding in examine(store))
    except (DamagedStore, StoreUnavailable):
        return True


def check_damage(made: tuple[Path, list[State]], tmp_path: Path, ending: str, damage: Damage, trials: int) -> int:
    """Damage one file of many copies of a store; returns how often it was found."""
    rng, found = random.Random(0), 0
    for trial in range(trials):
        folder = tmp_path / str(trial)
        shutil.copytree(made[0], folder)
        path = folder / "agent.db"
        file = next(index_folder(str(path)).iterdir()) if ending == "index" else Path(f"{path}{ending}")
        damage(file, rng)
        is_found = errors_of(path)
        found += is_found
        assert is_found or read_state(path) in made[1]
        shutil.rmtree(folder)
    return found


@pytest.mark.parametrize("damage", [flip_bits, cut, zero])
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "index"])
def test_damage_to_any_file_of_a_store_is_healed_or_found(
    made: tuple[Path, list[State]], tmp_path: Path, ending: str, damage: Damage
):
    check_damage(made, tmp_path, ending, damage, TRIALS if ending == "" else TRIALS // 4)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip_bits, cut, zero])
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "index"])
def test_much_damage_to_any_file_of_a_store_is_healed_or_found(
    made: tuple[Path, list[State]], tmp_path: Path, ending: str, damage: Damage
):
    check_damage(made, tmp_path, ending, damage, MANY_TRIALS)


@pytest.mark.parametrize("damage", [flip_bits, cut, zero])
def test_damage_to_an_index_file_costs_nothing_but_time(made: tuple[Path, list[State]], tmp_path: Path, damage: Damage):
    assert check_damage(made, tmp_path, "index", damage, 10) == 0


CELLS = [
    "UPDATE trajectories SET created_at = created_at + 1 WHERE seq = 3",
    "UPDATE trajectories SET success = 0 WHERE seq = 3",
    "UPDATE steps SET observation = observation || '.' WHERE seq = 5",
    "UPDATE steps SET reward = 0.5 WHERE seq = 5",
    "UPDATE decisions SET propensity = 0.25 WHERE id = 'd3'",
    "UPDATE decisions SET tool = 'book' WHERE id = 'd3'",
    "UPDATE episodes SET success = 0 WHERE id = 'e3'",
    "UPDATE reports SET value = 0.75 WHERE decision_id = 'd3'",
    "UPDATE calls SET failed = 1 WHERE seq = 3",
]


@pytest.mark.parametrize("statement", CELLS)
def test_a_cell_that_changed_is_found_by_its_checksum(made: tuple[Path, list[State]], tmp_path: Path, statement: str):
    shutil.copytree(made[0], tmp_path / "copy")
    path = tmp_path / "copy" / "agent.db"
    assert not errors_of(path)
    connection = sqlite3.connect(path)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()
    assert errors_of(path)


def test_a_vector_and_a_learned_thing_that_changed_are_not_used(made: tuple[Path, list[State]], tmp_path: Path):
    shutil.copytree(made[0], tmp_path / "copy")
    path = tmp_path / "copy" / "agent.db"
    with TrajectoryStore(path) as store:
        store.put_artifact("choice-model/default", "key", b"learned")
        before = recollect(store, EMBEDDER).experience.states
    connection = sqlite3.connect(path)
    connection.execute("UPDATE vectors SET vector = (SELECT vector FROM vectors ORDER BY text_hash DESC LIMIT 1)")
    connection.execute("UPDATE artifacts SET content = x'00' WHERE name = 'choice-model/default'")
    connection.commit()
    connection.close()
    with TrajectoryStore(path) as store:
        assert store.artifact("choice-model/default", "key") is None
        assert "1 things that were learned are damaged" in {finding.what for finding in examine(store)}
        assert (recollect(store, EMBEDDER).experience.states == before).all()

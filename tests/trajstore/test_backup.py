"""A backup is the store as it was at one moment, and a restored store is the backup; nothing else is left behind."""

import sqlite3
import threading
from pathlib import Path

import pytest
from command_line import trajstore, write_log
from old_stores import write_old_store
from trajectory_samples import make_trajectory

from trajstore.backup import backup, restore
from trajstore.doctor import damaged_rows
from trajstore.errors import DamagedStore, StoreUnavailable, UsageError
from trajstore.migrations import SCHEMA_VERSION
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

STEPS = ("search", "look", "book")


def texts(path: Path) -> list[str]:
    with TrajectoryStore(path) as store:
        return [one.task.text for one in store.trajectories()]


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    connection.close()
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def store(store_path: Path) -> TrajectoryStore:
    write_old_store(store_path)
    return TrajectoryStore(store_path)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def test_a_backup_holds_every_row_of_every_table(store: TrajectoryStore, copy: Path):
    report = backup(store, copy)
    assert (report.trajectories, report.steps) == (2, 4)
    assert contents(copy) == contents(Path(store.path))


def test_a_backup_is_one_file_and_opens_as_a_store(store: TrajectoryStore, copy: Path, store_path: Path):
    backup(store, copy)
    store.close()
    assert names(copy.parent) == {copy.name, store_path.name}
    with TrajectoryStore(copy) as opened:
        assert damaged_rows(opened) == ()
        opened.add(make_trajectory("more"))


def test_a_backup_taken_while_others_write_is_a_state_that_the_store_had(store_path: Path, copy: Path):
    with TrajectoryStore(store_path) as store, TrajectoryStore(store_path) as writing:
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.is_set():
                writing.add_many([make_trajectory(f"{number}/{part}", STEPS) for part in range(5)])
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            taken = [backup(store, copy, overwriting=True).trajectories for _ in range(5)]
            found = texts(copy)
        finally:
            done.set()
            writer.join()
        stored = [one.task.text for one in store.trajectories()]
    assert all(number % 5 == 0 for number in taken)
    assert taken == sorted(taken)
    assert found == stored[: len(found)]


def test_a_backup_never_takes_the_place_of_a_file_unless_told_so(store: TrajectoryStore, copy: Path):
    copy.write_text("precious")
    with pytest.raises(UsageError, match="exists already; give another path, or --force"):
        backup(store, copy)
    assert copy.read_text() == "precious"
    backup(store, copy, overwriting=True)
    assert contents(copy) == contents(Path(store.path))


@pytest.mark.parametrize("place", [".", "agent.db", "none/copy.db"])
def test_a_place_where_no_backup_can_be_is_refused(store: TrajectoryStore, tmp_path: Path, place: str):
    before = contents(Path(store.path))
    with pytest.raises((UsageError, StoreUnavailable), match="give"):
        backup(store, tmp_path / place, overwriting=True)
    assert contents(Path(store.path)) == before


def test_a_store_in_memory_has_no_backup(copy: Path):
    with TrajectoryStore(":memory:") as store, pytest.raises(UsageError, match="no file to back up"):
        backup(store, copy)


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


CHANGES = [
    "UPDATE steps SET observation = 'another' WHERE step_index = 2",
    "UPDATE trajectories SET created_at = created_at + 1",
    "UPDATE decisions SET propensity = 0.25",
    "UPDATE episodes SET reward = 1.0",
    "UPDATE vectors SET vector = x'003800bc0035'",
    "DELETE FROM steps WHERE step_index = 7",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_a_damaged_store_is_not_backed_up_over_a_good_copy(store: TrajectoryStore, copy: Path, statement: str):
    backup(store, copy)
    before = copy.read_bytes()
    change(Path(store.path), statement)
    with pytest.raises(DamagedStore, match=r"\d rows? .*not what was written"):
        backup(store, copy, overwriting=True)
    assert copy.read_bytes() == before
    assert not [name for name in names(copy.parent) if name.endswith(".part")]


def test_a_restored_store_holds_what_the_backup_holds(store: TrajectoryStore, copy: Path, tmp_path: Path):
    backup(store, copy)
    report = restore(copy, tmp_path / "new.db")
    assert (report.trajectories, report.set_aside) == (2, None)
    assert contents(tmp_path / "new.db") == contents(copy)


def test_restoring_over_a_store_in_use_is_seen_by_those_who_use_it(store: TrajectoryStore, copy: Path):
    backup(store, copy)
    store.add(make_trajectory("later"))
    before = store.generation
    with pytest.raises(UsageError, match="exists already"):
        restore(copy, Path(store.path))
    restore(copy, Path(store.path), overwriting=True)
    assert [one.task.text for one in store.trajectories()] == texts(copy)
    assert store.generation != before
    store.add(make_trajectory("after"))
    assert store.integrity_findings() == ()


def test_two_histories_of_equal_length_are_told_apart_after_restoring(store_path: Path, copy: Path):
    with TrajectoryStore(store_path) as store:
        backup(store, copy)
        store.add(make_trajectory("first history"))
        seen = store.generation
        restore(copy, store_path, overwriting=True)
        store.add(make_trajectory("second history"))
        assert store.generation != seen


def test_a_damaged_file_is_moved_aside_and_never_deleted(store: TrajectoryStore, copy: Path):
    backup(store, copy)
    path = Path(store.path)
    store.close()
    path.write_bytes(b"not a database, but perhaps of use" * 1000)
    report = restore(copy, path, overwriting=True)
    assert report.set_aside == f"{path}.damaged"
    assert Path(f"{path}.damaged").read_bytes().startswith(b"not a database")
    assert texts(path) == texts(copy)


def test_a_log_without_its_database_is_not_applied_to_what_is_restored(store_path: Path, tmp_path: Path, copy: Path):
    with TrajectoryStore(store_path) as store:
        backup(store, copy)
        store.add_many(make_trajectory(str(number)) for number in range(50))
        left = Path(f"{store_path}-wal").read_bytes()
    place = tmp_path / "place" / "agent.db"
    place.parent.mkdir()
    Path(f"{place}-wal").write_bytes(left)
    report = restore(copy, place)
    assert report.set_aside == f"{place}.damaged"
    assert texts(place) == []


def test_a_damaged_backup_changes_nothing(store: TrajectoryStore, copy: Path):
    backup(store, copy)
    change(copy, CHANGES[0])
    store.add(make_trajectory("later"))
    before = contents(Path(store.path))
    with pytest.raises(DamagedStore, match="not what was written"):
        restore(copy, Path(store.path), overwriting=True)
    assert contents(Path(store.path)) == before


def test_what_is_no_backup_changes_nothing(store: TrajectoryStore, tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database " * 100)
    before = contents(Path(store.path))
    with pytest.raises(DamagedStore, match="file is not a database; nothing was kept"):
        restore(notes, Path(store.path), overwriting=True)
    with pytest.raises(StoreUnavailable, match="there is no backup"):
        restore(tmp_path / "none.db", Path(store.path), overwriting=True)
    assert contents(Path(store.path)) == before


def test_a_backup_of_an_older_version_is_upgraded_as_it_is_restored(copy: Path, tmp_path: Path):
    write_old_store(copy, 1)
    before = copy.read_bytes()
    assert restore(copy, tmp_path / "new.db").trajectories == 2
    assert copy.read_bytes() == before
    assert names(tmp_path) == {"copy.db", "new.db"}
    assert sqlite3.connect(tmp_path / "new.db").execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_the_commands_back_up_and_restore(tmp_path: Path, store_path: Path, copy: Path):
    trajstore("ingest", write_log(tmp_path / "log.jsonl", "a", "b"), "--db", store_path)
    assert trajstore("backup", copy, "--db", store_path, "--json").data == {
        "trajectories": 2,
        "steps": 2,
        "set_aside": None,
    }
    assert trajstore("backup", copy, "--db", store_path).exit_code == 2
    assert trajstore("forget", "--source", "", "--db", store_path).exit_code == 0
    assert trajstore("recover", copy, "--db", store_path).exit_code == 2
    assert trajstore("recover", copy, "--db", store_path, "--force").exit_code == 0
    assert texts(store_path) == ["a", "b"]


def test_a_restored_trajectory_is_equal_in_every_field(store: TrajectoryStore, copy: Path, tmp_path: Path):
    def stored(path: Path) -> list[Trajectory]:
        with TrajectoryStore(path) as opened:
            return list(opened.trajectories())

    backup(store, copy)
    restore(copy, tmp_path / "new.db")
    assert stored(tmp_path / "new.db") == list(store.trajectories())

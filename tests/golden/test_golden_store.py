"""Stores of every released schema version open, and give back what was stored."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from write_store import DECISION, IDENTITY, TRAJECTORIES, VECTOR

from trajstore.doctor import damaged_rows
from trajstore.migrations import SCHEMA_VERSION
from trajstore.store import TrajectoryStore

DUMPS = sorted(Path(__file__).parent.glob("store_v*.sql"))


@pytest.fixture(params=DUMPS, ids=lambda path: path.stem)
def old_path(request: pytest.FixtureRequest, store_path: Path) -> Path:
    """A database file as that version left it."""
    connection = sqlite3.connect(store_path)
    connection.executescript(request.param.read_text())
    connection.close()
    return store_path


def test_its_rows_are_what_was_written(old_path: Path):
    with TrajectoryStore(old_path) as store:
        assert damaged_rows(store) == ()


def test_a_copy_of_the_file_as_it_was_lies_beside_it(old_path: Path, tmp_path: Path):
    (version,) = sqlite3.connect(old_path).execute("PRAGMA user_version").fetchone()
    before = rows(old_path)
    TrajectoryStore(old_path).close()
    copies = sorted(tmp_path.glob("agent.db.*"))
    assert [path.name for path in copies] == ([f"agent.db.v{version}.backup"] if version < SCHEMA_VERSION else [])
    assert [rows(path) for path in copies] == [before] * len(copies)


def rows(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = list(connection.iterdump())
    connection.close()
    return found


def schema(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: " ".join(sql.split()) for name, sql in rows}


def test_there_is_a_store_of_every_version():
    assert [path.name for path in DUMPS] == [f"store_v{version}.sql" for version in range(1, SCHEMA_VERSION + 1)]


def test_its_trajectories_come_back(old_path: Path):
    with TrajectoryStore(old_path) as store:
        for trajectory_id, trajectory in TRAJECTORIES.items():
            assert store.get(trajectory_id) == replace(trajectory, trajectory_id=trajectory_id)
        assert store.integrity_findings() == ()


def test_its_trajectories_are_known_by_their_content(old_path: Path):
    with TrajectoryStore(old_path) as store:
        report = store.add_batch(TRAJECTORIES.values())
        assert (report.ids, report.added) == (tuple(TRAJECTORIES), 0)


def test_its_vectors_and_decisions_come_back(old_path: Path):
    with TrajectoryStore(old_path) as store:
        assert store.embedder_identity() == IDENTITY
        (vector,) = store.vectors([b"0123456789abcdef"]).values()
        np.testing.assert_array_equal(vector, VECTOR)
        assert list(store.logbook.decisions()) == [DECISION]


def test_it_ends_up_with_the_schema_of_a_new_store(old_path: Path, tmp_path: Path):
    TrajectoryStore(old_path).close()
    TrajectoryStore(tmp_path / "new.db").close()
    assert schema(old_path) == schema(tmp_path / "new.db")

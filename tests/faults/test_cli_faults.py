"""Bad input at the command line: one clear sentence, exit code 1, 2 or 3, nothing lost and nothing half-written."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import native_line, trajstore, write_log

from trajstore.store import TrajectoryStore


@pytest.fixture
def filled(tmp_path: Path, store_path: Path) -> Path:
    assert trajstore("ingest", write_log(tmp_path / "log.jsonl", "a", "b"), "--db", store_path).exit_code == 0
    return store_path


def stats(db: Path) -> dict[str, object]:
    ran = trajstore("stats", "--db", db, "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    return {name: value for name, value in ran.data.items() if name != "index"}


def texts(db: Path) -> list[str]:
    with TrajectoryStore(db) as store:
        return [trajectory.task.text for trajectory in store.trajectories()]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (native_line("d")[:50], "the JSON ends early"),
        (native_line("d", reward=0.25).replace("0.25", "NaN"), "reward must be a finite number"),
        (native_line("d", reward=0.25).replace("0.25", "Infinity"), "reward must be a finite number"),
        (native_line("d", steps="none"), "steps"),
        ('"only text"\n', "must be an object"),
    ],
)
def test_a_damaged_record_costs_only_itself(tmp_path: Path, filled: Path, damaged: str, reason: str):
    path = tmp_path / "damaged.jsonl"
    path.write_text(native_line("c") + damaged)
    ran = trajstore("ingest", path, "--db", filled, "--json")
    assert ran.exit_code == 3
    assert ran.sentence.startswith(f"1 of 2 records cannot be read and were left out, the first is {path}:2: ")
    assert reason in ran.sentence
    assert (ran.data["added"], [one["record"] for one in ran.data["rejected"]]) == (1, [f"{path}:2"])
    assert texts(filled) == ["a", "b", "c"]


def test_an_observation_of_fifty_megabytes_goes_in_whole(tmp_path: Path, filled: Path):
    long = "door " * 10_000_000
    path = write_log(tmp_path / "long.jsonl", "c", steps=[{"i": 0, "tool": "look", "observation": long}])
    ran = trajstore("ingest", path, "--db", filled, "--json")
    assert (ran.exit_code, ran.data["added"]) == (0, 1)
    with TrajectoryStore(filled) as store:
        assert [len(trajectory.steps[0].observation) for trajectory in store.trajectories()] == [6, 6, len(long)]


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("words.txt", "just some words\n", [], "is in none of the formats"),
        ("log.csv", "id,tool\n1,look\n", [], "is in none of the formats"),
        ("log.jsonl", native_line("c"), ["--format", "xml"], "format must be one of"),
        ("absent.jsonl", None, [], "there is no file"),
    ],
)
def test_input_that_no_reader_takes_changes_nothing(
    tmp_path: Path, filled: Path, name: str, content: str | None, options: list[str], says: str
):
    good, bad = write_log(tmp_path / "good.jsonl", "c"), tmp_path / name
    if content is not None:
        bad.write_text(content)
    before = stats(filled)
    ran = trajstore("ingest", good, bad, "--db", filled, "--json", *options)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.sentence
    assert stats(filled) == before


def of_a_newer_version(path: Path) -> None:
    with TrajectoryStore(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()


def of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def of_words(path: Path) -> None:
    path.write_text("These are my notes, and I want to keep them.\n")


def torn(path: Path) -> None:
    with TrajectoryStore(path):
        pass
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("make", "exit_code", "says"),
    [
        (of_a_newer_version, 1, "upgrade trajstore"),
        (of_another_program, 1, "another program"),
        (of_words, 3, "is not a SQLite database"),
        (torn, 3, "damaged"),
    ],
)
@pytest.mark.parametrize("command", ["ingest", "stats", "forget", "doctor"])
def test_a_file_that_is_no_store_of_ours_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], exit_code: int, says: str, command: str
):
    db, log = tmp_path / "x.db", write_log(tmp_path / "log.jsonl", "c")
    make(db)
    before = db.read_bytes()
    options = {"ingest": [log], "forget": ["--source", "a"]}.get(command, [])
    ran = trajstore(command, *options, "--db", db, "--json")
    assert (ran.exit_code, ran.stdout) == (exit_code, "")
    assert says in ran.sentence
    assert str(db) in ran.sentence
    assert db.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "x.db"]


def test_a_log_given_as_the_database_is_left_as_it_is(tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", "c")
    before = log.read_bytes()
    assert trajstore("ingest", log, "--db", log).exit_code == 3
    assert log.read_bytes() == before


@pytest.mark.parametrize("place", ["log.jsonl/x.db", ".", "no/such/folder/x.db"])
def test_a_place_where_no_database_can_be_is_named(tmp_path: Path, place: str):
    log = write_log(tmp_path / "log.jsonl", "c")
    before = log.read_bytes()
    ran = trajstore("ingest", log, "--db", tmp_path / place)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert str(tmp_path / place) in ran.sentence
    assert log.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has a folder that not even root can write in")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", "c")
    ran = trajstore("ingest", log, "--db", "/proc/x.db")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.sentence.startswith("/proc/x.db cannot be used")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_and_stays_empty(tmp_path: Path):
    log, folder = write_log(tmp_path / "log.jsonl", "c"), tmp_path / "locked"
    folder.mkdir(mode=0o500)
    ran = trajstore("ingest", log, "--db", folder / "x.db")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert str(folder) in ran.sentence
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "exit_code", "why"),
    [
        ("mysql://localhost/agent", 2, "not with mysql://"),
        ("postgresql://127.0.0.1:1/agent", 1, "check that the server"),
    ],
)
def test_a_server_that_is_none_of_ours_or_gone_makes_no_file(tmp_path: Path, monkeypatch, address, exit_code, why):
    monkeypatch.chdir(tmp_path)
    log = write_log(tmp_path / "log.jsonl", "c")
    for command in (["ingest", log], ["stats"], ["forget", "--source", "a"]):
        ran = trajstore(*command, "--db", address)
        assert ran.exit_code == exit_code
        assert why in ran.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]

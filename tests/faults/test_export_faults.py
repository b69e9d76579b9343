"""Exports that cannot be finished: nothing half there, one sentence, and the file from before stays."""

import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ALONE, trajstore
from fault_processes import DIED, names_of_moments, run_in_child, walk

from trajstore.errors import StoreUnavailable
from trajstore.exporting import export
from trajstore.faultpoints import watch
from trajstore.ingest import read_trajectories
from trajstore.store import TrajectoryStore

MOMENTS = ["export written", "copy synced", "copy renamed", "copy published"]
Say = Callable[[str], None]


@pytest.fixture
def filled(store_path: Path) -> Path:
    with TrajectoryStore(store_path) as store:
        store.add_many(walk(f"task {number}") for number in range(100))
    return store_path


def export_all(path: Path) -> None:
    with TrajectoryStore(path) as store:
        export(store, path.with_name("out.jsonl"), overwriting=True)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_a_full_disk_is_one_sentence_and_leaves_the_file_from_before(filled: Path, name: str):
    out = filled.with_name(name)
    out.write_text("from before")

    def export_within(say: Say) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with TrajectoryStore(filled) as store:
            store.stats()
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            try:
                export(store, out, overwriting=True)
            except StoreUnavailable as error:
                say(str(error))

    ended = run_in_child(export_within)
    assert ended.code == 0
    assert len(ended.acknowledged) == 1
    assert f"{out} cannot be written: " in ended.acknowledged[0]
    assert ended.acknowledged[0].endswith("free some space, or give another path")
    assert out.read_text() == "from before"
    assert not list(filled.parent.glob("*.part"))


def test_every_moment_of_an_export_is_tried(filled: Path):
    assert set(MOMENTS) <= set(names_of_moments(lambda: export_all(filled)))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_dies_leaves_the_old_file_or_the_new_one_whole(filled: Path, moment: str):
    out = filled.with_name("out.jsonl")
    out.write_text("from before")

    def die_there(name: str) -> None:
        if name == moment:
            os._exit(DIED)

    def export_and_die(_: Say) -> None:
        watch(die_there)
        export_all(filled)

    ended = run_in_child(export_and_die)
    assert ended.code == DIED
    is_new = out.read_text() != "from before"
    assert is_new == (moment in ("copy renamed", "copy published"))
    assert not is_new or len(list(read_trajectories([out]))) == 100


def test_what_cannot_be_read_any_more_is_left_out_and_told(filled: Path):
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE trajectories SET metadata = 'oops' WHERE task_text IN ('task 7', 'task 50')")
    connection.close()
    out = filled.with_name("out.jsonl")
    ran = trajstore("export", out, "--db", filled, "--json")
    assert (ran.exit_code, ran.data) == (3, {"written": 98})
    assert ran.sentence.startswith("2 of 100 trajectories were left out, the first because trajectory ")
    assert len(list(read_trajectories([out]))) == 98


@pytest.mark.parametrize(
    ("place", "code", "says"),
    [
        ("nowhere/out.jsonl", 1, "there is no folder"),
        ("there.jsonl", 2, "exists already; give another path, or --force to replace it"),
        ("agent.db", 2, "is the store itself"),
        (".", 2, "is no regular file"),
        ("/dev/null", 2, "is no regular file; give the path of a file, or - for stdout"),
    ],
)
def test_a_place_that_cannot_be_taken_is_one_sentence(filled: Path, place: str, code: int, says: str):
    filled.with_name("there.jsonl").write_text("mine")
    ran = trajstore("export", filled.parent / place, "--db", filled)
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert says in ran.sentence
    assert filled.with_name("there.jsonl").read_text() == "mine"


def test_a_mistyped_store_or_format_makes_no_file(filled: Path):
    out = filled.with_name("out.jsonl")
    ran = trajstore("export", out, "--db", filled.with_name("other.db"))
    assert (ran.exit_code, "there is no database" in ran.sentence) == (1, True)
    ran = trajstore("export", out, "--db", filled, "--format", "csv")
    assert (ran.exit_code, ran.sentence) == (2, "format must be one of native, atif, trl, verl, got 'csv'")
    assert sorted(path.name for path in filled.parent.iterdir()) == ["agent.db"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_stdout_that_is_full_is_one_sentence(filled: Path):
    command = [*ALONE, "export", "-", "--db", str(filled)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "No space left on device\n")

"""The command line: what it prints where, and how it ends."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import ALONE, native_line, trajstore, trajstore_alone, write_log

import trajstore as package
from trajstore.cli import Failure, explain
from trajstore.errors import NewerStore, StoreUnavailable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.jsonl", "find a coin", "open the door")


@pytest.fixture
def filled(log: Path, store_path: Path) -> Path:
    assert trajstore("ingest", log, "--db", store_path).exit_code == 0
    return store_path


def test_ingest_prints_what_scripts_read_and_nothing_else(log: Path, store_path: Path):
    ran = trajstore("ingest", log, "--db", store_path, "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.data == {"added": 2, "duplicates": 0, "rejected": [], "steps": 2}


def test_a_search_keeps_to_the_sources_and_tools_that_are_named(log: Path, filled: Path, tmp_path: Path):
    other = write_log(tmp_path / "other.jsonl", "close the door", source="others")
    assert trajstore("ingest", other, "--db", filled).exit_code == 0

    def tasks(*options: str) -> set[str]:
        found = trajstore("search", "--db", filled, "--task", "open the door", "-k", "9", *options, "--json")
        return {hit["trajectory"] for hit in found.data["hits"]}

    of_others = tasks("--source", "others")
    assert len(tasks()) == 3
    assert len(of_others) == 1
    assert tasks("--source", "others", "--source", "nobody", "--tool", "look", "--tool", "fly") == of_others
    assert tasks("--tool", "fly") == tasks("--source", "nobody") == set()


def test_a_second_ingest_adds_nothing(log: Path, filled: Path):
    before = trajstore("stats", "--db", filled, "--json").data
    assert trajstore("ingest", log, "--db", filled, "--json").data == {
        "added": 0,
        "duplicates": 2,
        "rejected": [],
        "steps": 0,
    }
    assert trajstore("stats", "--db", filled, "--json").data == before


def test_stats_counts_what_was_ingested(filled: Path):
    data = trajstore("stats", "--db", filled, "--json").data
    assert data["index"].keys() == {"kind", "vectors", "fresh"}
    assert data["embedder"]["name"] == "hashed"
    of_student = {"recall_at_10", "low", "high", "similarity", "texts", "used", "reason"}
    assert data["embedder"]["student"].keys() == of_student
    assert data | {"index": None, "embedder": None} == {
        "trajectories": 2,
        "steps": 2,
        "successes": 2,
        "tools": {"look": 2},
        "sources": {"": 2},
        "namespaces": {"default": 2},
        "index": None,
        "embedder": None,
    }


def test_source_and_namespace_are_those_of_the_options(log: Path, store_path: Path):
    trajstore("ingest", log, "--db", store_path, "--source", "ops", "--namespace", "team")
    data = trajstore("stats", "--db", store_path, "--json").data
    assert (data["sources"], data["namespaces"]) == ({"ops": 2}, {"team": 2})


def test_stdin_is_read_where_the_path_is_a_dash(store_path: Path):
    ran = trajstore_alone("ingest", "-", "--db", store_path, "--json", stdin=native_line("a") + native_line("b"))
    assert (ran.exit_code, ran.stderr, ran.data["added"]) == (0, "", 2)


@pytest.mark.parametrize(
    ("option", "value", "removed", "left"),
    [("--source", "ops", 2, 1), ("--namespace", "other", 1, 2), ("--source", "nobody", 0, 3)],
)
def test_forget_says_how_much_it_removed(
    tmp_path: Path, log: Path, store_path: Path, option: str, value: str, removed: int, left: int
):
    other = write_log(tmp_path / "other.jsonl", "light a lamp")
    trajstore("ingest", log, "--db", store_path, "--source", "ops")
    trajstore("ingest", other, "--db", store_path, "--namespace", "other")
    assert trajstore("forget", "--db", store_path, option, value, "--json").data == {"removed": removed}
    assert trajstore("stats", "--db", store_path, "--json").data["trajectories"] == left


def test_forget_erases_one_trajectory_by_its_id(filled: Path):
    with package.TrajectoryStore(filled) as store:
        first = next(store.trajectories()).trajectory_id
    assert trajstore("forget", "--db", filled, "--id", first, "--json").data == {"removed": 1}
    gone = trajstore("forget", "--db", filled, "--id", first, "--json")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert first in gone.sentence
    assert trajstore("stats", "--db", filled, "--json").data["trajectories"] == 1


@pytest.mark.parametrize("options", [[], ["--source", "a", "--namespace", "b"], ["--id", "x", "--source", "a"]])
def test_forget_takes_exactly_one_of_its_options(filled: Path, options: list[str]):
    ran = trajstore("forget", "--db", filled, *options)
    assert ran.exit_code == 2
    assert "--source, --id and --namespace" in ran.sentence
    assert trajstore("stats", "--db", filled, "--json").data["trajectories"] == 2


def test_a_person_gets_tables(log: Path, store_path: Path):
    ingested = trajstore("ingest", log, "--db", store_path)
    assert ingested.stdout.split() == ["added", "duplicates", "rejected", "steps", "2", "0", "0", "2"]
    shown = trajstore("stats", "--db", store_path).stdout
    assert all(word in shown for word in ("trajectories", "look", "(none)", "default", "hashed", "student used"))
    assert trajstore("forget", "--db", store_path, "--namespace", "default").stdout.split() == ["removed", "2"]


def test_of_many_rejections_a_table_shows_the_first_and_json_all(tmp_path: Path, store_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(native_line("a") + "oops\n" * 30)
    table = trajstore("ingest", path, "--db", store_path)
    assert "and 10 more" in table.stdout
    assert table.exit_code == 3
    assert table.sentence.startswith("30 of 31 records cannot be read and were left out, the first is")
    rejected = trajstore("ingest", path, "--db", store_path, "--json").data["rejected"]
    assert [one["record"] for one in rejected] == [f"{path}:{number}" for number in range(2, 32)]
    assert all(one.keys() == {"record", "reason"} for one in rejected)


def test_a_log_cannot_steer_the_terminal(tmp_path: Path, store_path: Path):
    step = {"i": 0, "tool": "\x1b]0;owned\x07[red]look", "observation": ""}
    path = write_log(tmp_path / "log.jsonl", "a", steps=[step])
    trajstore("ingest", path, "--db", store_path)
    shown = trajstore("stats", "--db", store_path).stdout
    assert "[red]look" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fly"], "trajstore: no such command 'fly'"),
        (["stats", "--db", "x.db", "--speed"], "trajstore stats: no such option: --speed"),
        (["stats"], "trajstore stats: missing option '--db'"),
        (["ingest", "--db", "x.db"], "trajstore ingest: missing argument 'PATH...'"),
        (["forget", "--db", "x.db", "--id"], "trajstore: option '--id' requires an argument"),
        (["search", "--db", "x.db", "--task", "a", "-k", "no"], "trajstore search: invalid value for '-k'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_names_the_help(words: list[str], says: str):
    ran = trajstore(*words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.sentence.startswith(says)
    assert ran.sentence.endswith(f"; see {says.partition(':')[0]} --help")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(words: list[str]):
    ran = trajstore(*words)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert all(
        name in ran.stdout for name in ("ingest", "export", "stats", "search", "choose", "evaluate", "forget", "doctor")
    )


def test_every_command_has_help():
    for name in ("ingest", "export", "stats", "search", "forget", "doctor", "choose", "evaluate", "demo"):
        ran = trajstore(name, "--help")
        assert (ran.exit_code, ran.stderr) == (0, "")
        assert "--json" in ran.stdout


def test_the_version_is_that_of_the_package():
    assert trajstore("--version").stdout == f"trajstore {package.__version__}\n"


def test_a_mistyped_database_makes_no_file(tmp_path: Path):
    for command in (["stats"], ["forget", "--source", "a"], ["doctor"], ["search", "--task", "a"]):
        ran = trajstore(*command, "--db", tmp_path / "nowhere.db")
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert "there is no database" in ran.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 1])
def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path, place: int):
    words: list[str | Path] = ["stats", "--db", tmp_path / "nowhere.db"]
    words.insert(place * len(words), "--debug")
    ran = trajstore(*words)
    assert ran.exit_code == 1
    assert "Traceback" in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("there is no database")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NewerStore("x.db is newer"), Failure("x.db is newer", 1)),
        (StoreUnavailable("x.db is locked"), Failure("x.db is locked", 1)),
        (PermissionError(13, "Permission denied", "x.json"), Failure("x.json: Permission denied", 1)),
        (OSError(28, "No space left on device"), Failure("No space left on device", 1)),
        (KeyboardInterrupt(), Failure("interrupted", 130)),
    ],
)
def test_an_error_is_explained_with_its_exit_code(error: BaseException, failure: Failure):
    assert explain(error) == failure


def test_an_unexpected_error_asks_for_a_report():
    failure = explain(ZeroDivisionError("division by zero"))
    assert failure.exit_code == 1
    assert failure.sentence.startswith("unexpected error (ZeroDivisionError: division by zero): run again with --debug")


def test_an_interrupt_ends_the_command_with_one_word(store_path: Path):
    command = [*ALONE, "ingest", "-", "--db", str(store_path)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of who ignores it would ignore it as well
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 30
        while not store_path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (130, "interrupted\n")


def test_a_reader_that_goes_away_is_no_error_to_tell(filled: Path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [*ALONE, "stats", "--db", str(filled), "--json"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_cannot_be_written_is_one_sentence(filled: Path):
    command = [*ALONE, "stats", "--db", str(filled), "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "No space left on device\n")


def test_json_is_ascii_whatever_the_log_holds(tmp_path: Path, store_path: Path):
    path = write_log(tmp_path / "log.jsonl", "a", steps=[{"i": 0, "tool": "öffne 🚪", "observation": ""}])
    trajstore("ingest", path, "--db", store_path)
    ran = trajstore_alone("stats", "--db", store_path, "--json")
    assert ran.stdout.isascii()
    assert json.loads(ran.stdout)["tools"] == {"öffne 🚪": 1}

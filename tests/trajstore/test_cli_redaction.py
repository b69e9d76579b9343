"""The command `ingest` hides secrets unless told otherwise, and takes its user's word on who judged."""

from pathlib import Path

import pytest
from command_line import trajstore, write_log

from trajstore.redact import PLACEHOLDER
from trajstore.store import TrajectoryStore

ADDRESS = "ann@mail.example.org"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with an address and a badge in its task."""
    return write_log(tmp_path / "log.jsonl", f"write to {ADDRESS} of badge B-123456")


def task_of(path: Path) -> str:
    with TrajectoryStore(path) as store:
        return next(iter(store.trajectories())).task.text


def test_an_ingest_hides_personal_data(log: Path, store_path: Path):
    assert trajstore("ingest", log, "--db", store_path).exit_code == 0
    assert PLACEHOLDER.sub("…", task_of(store_path)) == "write to … of badge B-123456"
    assert ADDRESS.encode() not in store_path.read_bytes()


def test_an_ingest_keeps_everything_where_it_is_told_to(log: Path, store_path: Path):
    trajstore("ingest", log, "--db", store_path, "--no-redact", "--no-embed")
    assert task_of(store_path) == f"write to {ADDRESS} of badge B-123456"


def test_an_ingest_follows_a_rules_file(log: Path, store_path: Path, tmp_path: Path):
    rules = tmp_path / "rules.toml"
    rules.write_text("without = ['email']\n[[rule]]\nkind = 'badge'\npattern = 'B-\\d{6}'\n")
    trajstore("ingest", log, "--db", store_path, "--redact-rules", rules, "--no-embed")
    assert PLACEHOLDER.sub("…", task_of(store_path)) == f"write to {ADDRESS} of badge …"


def test_rules_and_no_redaction_contradict_each_other(log: Path, store_path: Path):
    ran = trajstore("ingest", log, "--db", store_path, "--no-redact", "--redact-rules", "x.toml")
    assert (ran.exit_code, "give one of them" in ran.sentence) == (2, True)


def test_judge_and_trust_are_those_of_the_options(log: Path, store_path: Path):
    trajstore("ingest", log, "--db", store_path, "--judge", "self", "--trust", "0.5", "--no-embed")
    with TrajectoryStore(store_path) as store:
        (stored,) = store.trajectories()
    assert (stored.judge, stored.trust) == ("self", 0.5)


def test_a_judge_that_there_is_not_is_named(log: Path, store_path: Path):
    ran = trajstore("ingest", log, "--db", store_path, "--judge", "oracle")
    assert (ran.exit_code, "got 'oracle'" in ran.sentence) == (2, True)

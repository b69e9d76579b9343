"""Input that is too large, too deep or a bomb: refused in one sentence, in bounded memory, and the rest goes on."""

import gzip
import io
import json
import shutil
import sys
import tracemalloc
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from trajstore.errors import InvalidRecord, UsageError
from trajstore.ingest import Rejection, ingest, read_trajectories, reading
from trajstore.limits import Limits, require_shallow
from trajstore.schema import Candidate, Step, Task, Trajectory
from trajstore.store import TrajectoryStore

GOOD = json.dumps({"task": "t", "steps": [{"tool": "look", "observation": "a door"}]}) + "\n"


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def trajectory(*, steps: int = 1, candidates: int = 0, levels: int = 1, text: str = "") -> Trajectory:
    offered = tuple(Candidate(f"tool {number}") for number in range(candidates))
    step = {"tool": "t", "args": nested(levels), "observation": text, "candidates": offered}
    return Trajectory(Task("t"), tuple(Step(index=place, **step) for place in range(steps)))


SMALL = Limits(steps=3, candidates=3, nesting=3, text_characters=100, trajectory_characters=250)


@pytest.mark.parametrize(
    ("too_large", "message"),
    [
        (trajectory(steps=4), "at most 3 steps, got 4"),
        (trajectory(candidates=4), "at most 3 candidates, got 4"),
        (trajectory(levels=4), "nested at most 3 levels"),
        (trajectory(text="x" * 101), "at most 100 characters, got 101"),
        (trajectory(steps=3, text="x" * 90), "at most 250 characters"),
    ],
)
def test_what_exceeds_a_limit_is_refused_whole_with_the_limit(too_large: Trajectory, message: str):
    with TrajectoryStore(":memory:", limits=SMALL) as store:
        with pytest.raises(InvalidRecord, match=message):
            store.add_many([trajectory(), too_large])
        assert store.stats().trajectories == 0


def test_what_just_keeps_the_limits_is_stored():
    with TrajectoryStore(":memory:", limits=SMALL) as store:
        store.add_many(
            [trajectory(steps=3), trajectory(candidates=3), trajectory(levels=3), trajectory(text="x" * 100)]
        )
        assert store.stats().trajectories == 4


@pytest.mark.parametrize("levels", [65, 500, 100_000])
def test_depth_is_refused_however_deep(levels: int):
    with TrajectoryStore(":memory:") as store, pytest.raises(InvalidRecord, match="nested at most 64 levels"):
        store.add(trajectory(levels=levels))


def test_depth_counts_lists_and_objects_alike():
    require_shallow("x", {"a": [({"b": 1},)]}, 4)
    with pytest.raises(InvalidRecord, match="nested at most 3 levels"):
        require_shallow("x", {"a": [({"b": 1},)]}, 3)


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(UsageError, match="steps of the limits must be above 0"):
        Limits(steps=0)


def test_an_ingest_leaves_out_only_what_is_too_large(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        GOOD + json.dumps({"task": "t", "steps": [{"tool": "look"}] * 4}) + "\n" + GOOD.replace("door", "wall")
    )
    with TrajectoryStore(":memory:", limits=SMALL) as store:
        report = ingest(store, [log])
    assert report.added == 2
    assert [one.record for one in report.rejected] == [f"{log}:2"]


def packed(content: bytes, times: int, path: Path) -> Path:
    """A gzip file of the same bytes many times over."""
    with gzip.open(path, "wb") as file:
        file.write(GOOD.encode())
        for _ in range(times):
            file.write(content)
    return path


@pytest.mark.parametrize("content", [b"0" * (1 << 20), b"\n" * (1 << 20), b'{"a":' * 200_000, b"[" * (1 << 20)])
def test_a_gzip_bomb_is_a_rejection_in_bounded_memory(tmp_path: Path, content: bytes):
    path = packed(content, 400, tmp_path / "log.jsonl.gz")
    tracemalloc.start()
    found = list(read_trajectories([path], format="native"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found[0], Trajectory)
    assert isinstance(found[-1], Rejection)
    assert "unpacks to more than 250 times its size" in found[-1].reason or "empty lines" in found[-1].reason
    assert most < 400 << 20, "less than what it unpacks to"


def test_a_log_that_repeats_itself_is_no_bomb(tmp_path: Path):
    lines = "".join(GOOD.replace("a door", f"a door {number}") for number in range(20_000))
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    assert sum(isinstance(one, Trajectory) for one in read_trajectories([path])) == 20_000


class Pipe:
    """A standard input that never ends."""

    def __init__(self) -> None:
        self.buffer = self

    def read(self, size: int) -> bytes:
        return b" " * size


def test_an_endless_pipe_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(sys, "stdin", Pipe())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 8 << 20))
    with pytest.raises(UsageError, match="stdin is longer than 4 MiB, half of the free disk"):
        list(read_trajectories(["-"]))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7", "cp037", "shift_jis", "utf-8-sig"])
def test_other_encodings_are_read_or_rejected(tmp_path: Path, encoding: str):
    path = tmp_path / "log.jsonl"
    path.write_bytes(GOOD.encode(encoding))
    found = list(read_trajectories([path], format="native"))
    assert found
    assert all(isinstance(one, Trajectory | Rejection) for one in found)


def test_a_pipe_within_bounds_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    (found,) = read_trajectories(["-"])
    assert isinstance(found, Trajectory)


def test_empty_lines_between_records_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MOST_EMPTY_LINES", 3)
    path = tmp_path / "log.jsonl"
    path.write_text((GOOD + "\n\n") * 10 + "\n\n\n" + GOOD)
    *found, last = read_trajectories([path], format="native")
    assert len(found) == 10
    assert isinstance(last, Rejection)
    assert "3 empty lines in a row" in last.reason

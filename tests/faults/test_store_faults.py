"""What goes wrong around a store: killed writers, several at once, full and read-only disks, damaged files."""

import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from trajectory_samples import make_trajectory

from trajstore.errors import DamagedStore, StoreUnavailable
from trajstore.store import TrajectoryStore

ROOT = Path(__file__).resolve().parents[2]
KILLS = 4
WRITERS, WRITES = 3, 30
STEPS = ("search", "look", "book")
NOBODY = 65534

WRITER = """
import sys
from trajectory_samples import make_trajectory
from trajstore.store import TrajectoryStore

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = TrajectoryStore(path)
for number in range(count):
    print(store.add(make_trajectory(f"{name}/{number}", ("search", "look", "book"))), flush=True)
"""

FILLER = """
import resource, signal, sys
from trajectory_samples import make_step, make_trajectory
from trajstore.errors import StoreUnavailable
from trajstore.store import TrajectoryStore

store = TrajectoryStore(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, hard))
try:
    for number in range(1000):
        step = make_step(observation="o" * 5000)
        print(store.add(make_trajectory(str(number), steps=(step,))), flush=True)
except StoreUnavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(store.add(make_trajectory("after space was freed")))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def test_what_a_killed_writer_acknowledged_is_there_and_whole(store_path: Path):
    acknowledged: list[str] = []
    rng = random.Random(0)
    for round_ in range(KILLS):
        writer = start(WRITER, store_path, round_, 1_000_000)
        seen = read_lines(writer, rng.randint(1, 40))
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged += seen + [line for line in rest.splitlines(keepends=False) if len(line) == len(seen[0])]
    with TrajectoryStore(store_path) as store:
        found = {trajectory.trajectory_id: trajectory for trajectory in store.trajectories()}
        assert set(acknowledged) <= set(found)
        assert all(trajectory.tools == STEPS for trajectory in found.values())
        assert store.stats().steps == len(STEPS) * len(found)
        assert store.integrity_findings() == ()


def test_several_writers_that_start_at_once_on_a_new_file_lose_nothing(store_path: Path):
    writers = [start(WRITER, store_path, name, WRITES) for name in range(WRITERS)]
    acknowledged = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    with TrajectoryStore(store_path) as store:
        stored = list(store.trajectories())
    assert {trajectory.trajectory_id for trajectory in stored} == set(acknowledged)
    expected = {f"{name}/{number}" for name in range(WRITERS) for number in range(WRITES)}
    assert {trajectory.task.text for trajectory in stored} == expected
    assert all(trajectory.tools == STEPS for trajectory in stored)


def test_a_full_disk_is_one_sentence_and_loses_nothing(store_path: Path):
    *acknowledged, sentence, after = start(FILLER, store_path).communicate()[0].splitlines()
    assert str(store_path) in sentence
    assert sentence.endswith("free some space, nothing was written")
    assert len(acknowledged) > 5
    with TrajectoryStore(store_path) as store:
        assert [trajectory.trajectory_id for trajectory in store.trajectories()] == [*acknowledged, after]
        assert store.integrity_findings() == ()


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that nobody may write, which every user can reach; it holds a store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TrajectoryStore(folder / "agent.db") as store:
            store.add(make_trajectory())
        (folder / "agent.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("name", ["new.db", "agent.db"])
def test_a_read_only_folder_is_one_sentence(read_only_folder: Path, name: str):
    before = sorted((path.name, path.read_bytes()) for path in read_only_folder.iterdir())
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            TrajectoryStore(read_only_folder / name).add(make_trajectory("more"))
        except StoreUnavailable as error:
            os.write(send, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(send)
    sentence = os.read(receive, 2000).decode()
    os.close(receive)
    assert sentence.startswith(str(read_only_folder / name))
    assert sentence.endswith("check that the folder exists, and that it and the file can be written")
    assert sorted((path.name, path.read_bytes()) for path in read_only_folder.iterdir()) == before


def damaged(path: Path, offset: int, length: int) -> None:
    with TrajectoryStore(path) as store:
        store.add_many(make_trajectory(f"task {number}", STEPS) for number in range(300))
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = b"\xff" * length
    path.write_bytes(content)


def test_pages_that_were_overwritten_are_reported_as_damage(store_path: Path):
    damaged(store_path, 4096, 1 << 16)
    with (
        pytest.raises(DamagedStore, match=r"agent\.db is damaged: .*; run trajstore doctor, or restore a backup"),
        TrajectoryStore(store_path) as store,
    ):
        list(store.trajectories())


def test_a_header_that_was_overwritten_is_reported_as_no_database(store_path: Path):
    damaged(store_path, 0, 16)
    with pytest.raises(DamagedStore, match="is not a SQLite database"):
        TrajectoryStore(store_path)


def test_a_file_that_was_cut_is_reported_as_damage(store_path: Path):
    damaged(store_path, 0, 0)
    content = store_path.read_bytes()
    store_path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedStore, match="damaged"), TrajectoryStore(store_path) as store:
        list(store.trajectories())

"""What goes wrong around a training run: killed processes, interrupts, full disks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_policies import embedder

from grpo.tool_policy import ToolPolicy

ROOT = Path(__file__).resolve().parents[2]

TRAINING = """
import resource, signal, sys
import torch
from tiny_policies import Lamps, tasks, untrained
from grpo.config import GRPOConfig
from grpo.errors import TrainingFailed
from grpo.live_tasks import LiveTasks
from grpo.trainer import GRPOTrainer

torch.set_num_threads(1)
folder, updates, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = GRPOConfig(updates=updates, groups=6, group_size=3, minibatch=16, epochs=2, learning_rate=0.01,
                    validate_every=2, patience=1000, device="cpu")
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
trainer = GRPOTrainer(untrained(), config, environment=Lamps(), tasks=LiveTasks(tasks(12), tasks(2, "asked")),
                      folder=folder, on_progress=lambda *told: print(*told, flush=True))
try:
    print("ended", trainer.train().updates, flush=True)
except TrainingFailed as error:
    print("failed", error, flush=True)
"""


def start(folder: Path, updates: int, limit: int = 0) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of who ignores it would ignore it as well
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), str(updates), str(limit)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(process: subprocess.Popen[str], update: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:2] == ["training", str(update)]:
            return
    raise AssertionError(f"training ended before update {update}")


def finish(folder: Path, updates: int) -> str:
    out, err = start(folder, updates).communicate(timeout=60)
    assert f"ended {updates}" in out, err
    return out


def what_is_in(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("best.safetensors", "checkpoint.safetensors")}


def same_run(first: Path, second: Path) -> bool:
    policies = [ToolPolicy.load(folder / "best.safetensors", embedder=embedder()) for folder in (first, second)]
    return policies[0].version == policies[1].version and what_is_in(first) == what_is_in(second)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bit(tmp_path):
    finish(tmp_path / "straight", 24)
    for update in (1, 13):
        killed = start(tmp_path / "killed", 24)
        wait_until(killed, update)
        time.sleep(0.003 * update)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
    finish(tmp_path / "killed", 24)
    assert same_run(tmp_path / "straight", tmp_path / "killed")
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == list(range(1, 25))


@pytest.mark.slow
def test_ctrl_c_saves_what_was_reached(tmp_path):
    running = start(tmp_path / "run", 100_000)
    wait_until(running, 9)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    reached = int(out.split("ended ")[1])
    assert running.returncode == 0, err
    assert 9 <= reached < 100_000
    again, _ = start(tmp_path / "run", reached + 1).communicate(timeout=60)
    assert f"ended {reached + 1}" in again
    assert again.count("training ") == 1


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_checkpoint_before_it_stays(tmp_path):
    finish(tmp_path, 2)
    before = what_is_in(tmp_path)
    out, err = start(tmp_path, 8, limit=20_000).communicate(timeout=60)
    assert "failed cannot write" in out, err
    assert "free some space or name another folder" in out
    assert what_is_in(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    finish(tmp_path, 8)

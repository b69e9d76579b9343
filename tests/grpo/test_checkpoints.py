"""A run on disk: exactly what it was, or refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_batches import batch
from tiny_policies import random_policy, untrained

from grpo.checkpoints import FILE, Progress, load_checkpoint, save_checkpoint
from grpo.config import GRPOConfig
from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.tensor_files import load_tensors, save_tensors
from grpo.tool_network import ToolNetwork
from grpo.updating import Updater

CONFIG = GRPOConfig(minibatch=12, epochs=2, learning_rate=0.01)
POLICY = random_policy()
PROGRESS = Progress(3, 120, 0.5, 2, 1, (float("-inf"), 0.25, 0.5), has_ended=False)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def fresh(config: GRPOConfig = CONFIG) -> Updater:
    return Updater(ToolNetwork(POLICY.shape, POLICY.weights), config)


def trained(updates: int, updater: Updater | None = None, first: int = 0) -> Updater:
    updater = updater or fresh()
    for number in range(first, updates):
        updater.update([batch(seed=number)], number)
    return updater


def saved(folder, updater: Updater) -> None:
    save_checkpoint(folder, updater, untrained().weights, PROGRESS, CONFIG, "these trajectories")


def test_an_empty_folder_holds_no_run(tmp_path):
    assert load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories") is None


def test_progress_and_the_best_weights_come_back_exactly(tmp_path):
    saved(tmp_path, trained(3))
    found = load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")
    assert found is not None
    assert found.progress == PROGRESS
    assert all((found.best[name] == array).all() for name, array in untrained().weights.items())


def test_a_run_goes_on_to_the_same_bit(tmp_path):
    saved(tmp_path, trained(3))
    resumed = fresh()
    load_checkpoint(tmp_path, resumed, CONFIG, "these trajectories")
    straight, later = trained(6).network.to_weights(), trained(6, resumed, 3).network.to_weights()
    assert all((straight[name] == later[name]).all() for name in straight)


def test_a_run_without_an_update_can_be_kept(tmp_path):
    saved(tmp_path, fresh())
    resumed = fresh()
    load_checkpoint(tmp_path, resumed, CONFIG, "these trajectories")
    assert all((resumed.network.to_weights()[name] == array).all() for name, array in POLICY.weights.items())


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 0.5), ("loss", "gspo"), ("seed", 1), ("precision", "bfloat16")]
)
def test_a_run_with_other_settings_is_refused_by_name(tmp_path, name, value):
    saved(tmp_path, trained(1))
    other = replace(CONFIG, **{name: value})
    with pytest.raises(TrainingUsageError, match=rf"holds a run with {name} = .*, got {value!r}: name another folder"):
        load_checkpoint(tmp_path, fresh(), other, "these trajectories")


@pytest.mark.parametrize(("name", "value"), [("updates", 999), ("patience", 1), ("device", "cpu")])
def test_what_does_not_change_the_numbers_may_change(tmp_path, name, value):
    saved(tmp_path, trained(1))
    other = replace(CONFIG, **{name: value})
    assert load_checkpoint(tmp_path, fresh(), other, "these trajectories") is not None


def test_a_run_on_other_trajectories_is_refused(tmp_path):
    saved(tmp_path, trained(1))
    with pytest.raises(TrainingUsageError, match="holds a run on other trajectories"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "other trajectories")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, share):
    saved(tmp_path, trained(1))
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointDamaged, match="is not whole"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_are_refused(tmp_path, seed):
    (tmp_path / FILE).write_bytes(np.random.default_rng(seed).bytes(2000))
    with pytest.raises(CheckpointDamaged, match="is not whole"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")


def test_a_policy_is_no_checkpoint(tmp_path):
    POLICY.save(tmp_path / FILE)
    with pytest.raises(CheckpointDamaged, match="does not read as a checkpoint"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")


@pytest.mark.parametrize("missing", ["network.out_J", "optimizer.exp_avg.out_J", "best.out_J"])
def test_a_checkpoint_that_lacks_an_array_is_refused(tmp_path, missing):
    saved(tmp_path, trained(1))
    arrays, texts = load_tensors(tmp_path / FILE)
    del arrays[missing]
    save_tensors(tmp_path / FILE, arrays, texts)
    with pytest.raises(CheckpointDamaged, match="does not read as a checkpoint"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")


@pytest.mark.parametrize(
    "header", ["[]", "{}", '{"progress": [], "config": {}}', '{"config": [], "progress": {}}', "x"]
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, header):
    saved(tmp_path, trained(1))
    arrays, _ = load_tensors(tmp_path / FILE)
    save_tensors(tmp_path / FILE, arrays, {"checkpoint": header})
    with pytest.raises(CheckpointDamaged, match="does not read as a checkpoint"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    saved(tmp_path, trained(1))
    arrays, texts = load_tensors(tmp_path / FILE)
    header = json.loads(texts["checkpoint"]) | {"format_version": 99}
    save_tensors(tmp_path / FILE, arrays, {"checkpoint": json.dumps(header)})
    with pytest.raises(CheckpointDamaged, match="format"):
        load_checkpoint(tmp_path, fresh(), CONFIG, "these trajectories")

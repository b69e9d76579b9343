"""Losses, gradients and advantages against TRL 1.16, an independent implementation of the same equations."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from grpo.advantages import TRL_GROUP_STD, Scale, refine_rewards

os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "trl.trainer.grpo_trainer", reason="trl 1.16.0 is not installed, or lacks a package", exc_type=ImportError
    )
    from trl.trainer.utils import nanstd

import torch

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
sys.path.insert(0, BENCHMARKS)
try:
    import trl_parity
finally:
    sys.path.remove(BENCHMARKS)


@pytest.mark.parametrize("setting", trl_parity.SETTINGS, ids=lambda setting: setting.name)
def test_loss_and_gradient_are_those_of_trl(setting):
    found = trl_parity.compared(setting, range(10))
    assert found.loss <= 1e-12
    assert found.gradient <= 1e-12
    assert found.on_tools == 0.0


def groups(seed, *, unscored):
    rng = np.random.default_rng(seed)
    rewards_BG = rng.normal(size=(6, 5))
    rewards_BG[2] = 0.25
    if unscored:
        rewards_BG[rng.random(rewards_BG.shape) < 0.2] = np.nan
    return rewards_BG, np.repeat(np.arange(6), 5)


@pytest.mark.parametrize("unscored", [False, True])
@pytest.mark.parametrize("scale", [TRL_GROUP_STD, Scale("batch_std")], ids=["group", "batch"])
def test_scaled_advantages_follow_trls_deviation(scale, unscored):
    rewards_BG, groups_R = groups(0, unscored=unscored)
    tensor_BG = torch.tensor(rewards_BG)
    with trl_parity.in_float64():
        deviations = nanstd(tensor_BG, dim=1, keepdim=True) if scale.by == "group_std" else nanstd(tensor_BG)
    theirs_BG = (tensor_BG - tensor_BG.nanmean(dim=1, keepdim=True)) / (deviations + 1e-4)
    ours = refine_rewards(rewards_BG.ravel(), groups_R, baseline="mean", scale=scale)
    expected_R = np.where(ours.has_signal_R, theirs_BG.numpy().ravel(), 0.0)
    assert ours.advantages_R == pytest.approx(expected_R, abs=1e-12)


@pytest.mark.parametrize("unscored", [False, True])
def test_leave_one_out_has_the_closed_form_of_trls_rloo_trainer(unscored):
    rewards_BG, groups_R = groups(1, unscored=unscored)
    counts_B1 = (~np.isnan(rewards_BG)).sum(axis=1, keepdims=True)
    baselines_BG = (np.nansum(rewards_BG, axis=1, keepdims=True) - rewards_BG) / (counts_B1 - 1)
    theirs_R = np.nan_to_num(rewards_BG - baselines_BG).ravel()
    assert refine_rewards(rewards_BG.ravel(), groups_R).advantages_R == pytest.approx(theirs_R, abs=1e-12)

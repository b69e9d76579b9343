"""Checkpoints: everything that a training run needs to go on as if it had never stopped, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.config import GRPOConfig
from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.tensor_files import load_tensors, save_tensors
from grpo.updating import Updater

Arrays = Mapping[str, NDArray[np.float32]]

FORMAT_VERSION = 1
FILE = "checkpoint.safetensors"
OPTIMIZER = ("step", "exp_avg", "exp_avg_sq")
MAY_CHANGE = ("updates", "patience", "device")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: updates made, trajectories used, and validation so far.

    `best` is the best validation score, `waited` how many validations since, `validations` all scores in their order,
    `has_ended` whether it stopped early.
    """

    updates: int = 0
    trajectories: int = 0
    best: float = float("-inf")
    best_update: int = 0
    waited: int = 0
    validations: tuple[float, ...] = ()
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a checkpoint held: the progress, and the best weights so far."""

    progress: Progress
    best: dict[str, NDArray[np.float32]]


def save_checkpoint(
    folder: Path, updater: Updater, best: Arrays, progress: Progress, config: GRPOConfig, fingerprint: str
) -> None:
    """Write parameters, optimizer, best weights and progress; `fingerprint` names what is trained on."""
    arrays: dict[str, NDArray[Any]] = {f"best.{name}": value for name, value in best.items()}
    for name, value in updater.network.named_parameters():
        arrays[f"network.{name}"] = value.detach().cpu().numpy()
        for key, state in updater.optimizer.state.get(value, {}).items():
            arrays[f"optimizer.{key}.{name}"] = state.detach().cpu().numpy()
    header = {
        "format_version": FORMAT_VERSION,
        "config": asdict(config),
        "fingerprint": fingerprint,
        "progress": asdict(progress),
    }
    save_tensors(folder / FILE, arrays, {"checkpoint": json.dumps(header)})


def load_checkpoint(folder: Path, updater: Updater, config: GRPOConfig, fingerprint: str) -> Resumed | None:
    """Put a checkpoint's state into an updater; None where the folder holds none.

    Raises CheckpointDamaged where the file is not whole, TrainingUsageError where it is of other settings or data.
    """
    if not (folder / FILE).is_file():
        return None
    arrays, texts = load_tensors(folder / FILE)
    try:
        header = json.loads(texts["checkpoint"])
        if header["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {header['format_version']}, not {FORMAT_VERSION}")
        progress = Progress(**header["progress"] | {"validations": tuple(header["progress"]["validations"])})
        _require_same(header, config, fingerprint, folder)
        _restore(updater, arrays)
        best = {name: arrays[f"best.{name}"] for name, _ in updater.network.named_parameters()}
    except TrainingUsageError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointDamaged(f"{folder / FILE} does not read as a checkpoint ({error!r}): remove it") from error
    return Resumed(progress, best)


def _require_same(header: Mapping[str, Any], config: GRPOConfig, fingerprint: str, folder: Path) -> None:
    settings = asdict(config)
    for name, value in header["config"].items():
        if name not in MAY_CHANGE and settings.get(name) != value:
            raise TrainingUsageError(
                f"{folder} holds a run with {name} = {value!r}, got {settings.get(name)!r}: name another folder"
            )
    if header["fingerprint"] != fingerprint:
        raise TrainingUsageError(f"{folder} holds a run on other trajectories or another policy: name another folder")


def _restore(updater: Updater, arrays: Mapping[str, NDArray[Any]]) -> None:
    with torch.no_grad():
        for name, value in updater.network.named_parameters():
            value.copy_(torch.from_numpy(arrays[f"network.{name}"]))
            names = [key for key in OPTIMIZER if f"optimizer.{key}.{name}" in arrays]
            state = {key: torch.from_numpy(arrays[f"optimizer.{key}.{name}"].copy()) for key in OPTIMIZER if names}
            if state:
                moved = {key: tensor if key == "step" else tensor.to(value.device) for key, tensor in state.items()}
                updater.optimizer.state[value] = moved

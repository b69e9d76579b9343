"""Arrays with a few words in one safetensors file: nothing in it is ever executed."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from grpo.errors import CheckpointDamaged, TrainingFailed

Arrays = Mapping[str, NDArray[Any]]  # Any: weights are floats, counters and random states integers


def save_tensors(path: Path, arrays: Arrays, texts: Mapping[str, str]) -> None:
    """Write arrays and texts beside the place, sync, then put the file there: a full disk leaves what was before."""
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(texts))
    write_whole(path, content)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it is; raises TrainingFailed where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> TrainingFailed:
    """What to raise where a file cannot be written."""
    return TrainingFailed(f"cannot write {path}: {error.strerror}; free some space or name another folder")


def load_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """What `save_tensors` wrote; raises CheckpointDamaged where the file is missing or not whole."""
    if not path.is_file():
        raise CheckpointDamaged(f"{path} is not there: name a file that training wrote")
    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointDamaged(f"{path} is not whole ({error}): use an older checkpoint") from error

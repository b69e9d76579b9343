"""What a run writes down as it goes: one JSON object a line, and TensorBoard scalars where that is installed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo.tensor_files import cannot_write, write_whole

FILE = "metrics.jsonl"


class TrainingLog:
    """Appends to `metrics.jsonl` in a folder (None: nowhere)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lines: list[str] = []
        self._board = None if folder is None else _tensorboard(folder)

    def keep_until(self, updates: int) -> None:
        """Forget lines of updates after the one that a run resumes from."""
        if self._folder is None or not (self._folder / FILE).is_file():
            return
        lines = (self._folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _update_of(line) <= updates]
        write_whole(self._folder / FILE, "".join(f"{line}\n" for line in kept).encode())

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Note the metrics of one update, counted from 1; what is not finite is written as null."""
        plain = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._lines.append(json.dumps({"update": update, **plain}))
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, update)

    def flush(self) -> None:
        """Put what was noted on disk; raises TrainingFailed where that cannot be done."""
        lines, self._lines = self._lines, []
        if self._folder is not None and lines:
            try:
                with (self._folder / FILE).open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in lines))
            except OSError as error:
                raise cannot_write(self._folder / FILE, error) from error
        if self._board is not None:
            self._board.flush()


def _update_of(line: str) -> float:
    """The update that a line is about; ∞ where the line was cut short."""
    try:
        return float(json.loads(line)["update"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _tensorboard(folder: Path) -> Any:  # Any: an optional, untyped package
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))

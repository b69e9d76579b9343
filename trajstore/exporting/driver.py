"""A store to one file or stdout: trajectories are read in chunks, and leave as they come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias

from trajstore.errors import DamagedStore, UsageError
from trajstore.exporting.atif import atif_document
from trajstore.exporting.parquet import SUFFIX, parquet_rows, require_pyarrow
from trajstore.exporting.places import STDOUT, new_file, require_free, write_to_stdout, written_file
from trajstore.exporting.training import trl_row, verl_row
from trajstore.filters import EVERYTHING, TrajectoryFilter
from trajstore.native_lines import to_line
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

Row: TypeAlias = dict[str, Any]  # Any: JSON
Progress = Callable[[int, int], None]
WriteRow = Callable[[Row], object]
CHUNK = 200

_ROWS: dict[str, Callable[[Trajectory, int], Row]] = {
    "native": lambda trajectory, _: to_line(trajectory),
    "atif": lambda trajectory, _: atif_document(trajectory),
    "trl": lambda trajectory, _: trl_row(trajectory),
    "verl": verl_row,
}
FORMATS: tuple[str, ...] = tuple(_ROWS)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How many trajectories were written, and why each that was left out cannot be read any more."""

    written: int
    damaged: tuple[str, ...] = ()


def export(
    store: TrajectoryStore,
    place: str | Path,
    *,
    format: str = "native",  # noqa: A002 - the name of the command's option
    where: TrajectoryFilter = EVERYTHING,
    overwriting: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the chosen trajectories to `place`: JSON lines in ASCII, packed where it ends in .gz; "-" is stdout.

    A name in .parquet makes that of the rows of verl, if pyarrow is installed.

    The file appears when all of it is on disk.  What was hidden stays hidden; neither the key of the placeholders nor
    anything learned is written.  `progress` is called with the trajectories looked at, and how many there are.
    `UsageError` for an unknown format, and where `place` is taken (unless `overwriting`).
    """
    _require_known(format, str(place))
    reading = _Reading(store, where, progress)
    numbers = count()
    with _opened(store, str(place), overwriting=overwriting) as write:
        for trajectory in reading:
            write(_ROWS[format](trajectory, next(numbers)))
    return ExportReport(next(numbers), tuple(reading.damaged))


def _require_known(format_name: str, place: str) -> None:
    if format_name not in _ROWS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format_name!r}")
    if place.endswith(SUFFIX):
        if format_name != "verl":
            raise UsageError(f"only verl has rows that fit into {SUFFIX}; give {format_name} a name in .jsonl or .gz")
        require_pyarrow()


@contextmanager
def _opened(store: TrajectoryStore, place: str, *, overwriting: bool) -> Iterator[WriteRow]:
    if place == STDOUT:
        yield lambda row: write_to_stdout(_line(row))
        return
    require_free(Path(place), store.path, overwriting=overwriting)
    if place.endswith(SUFFIX):
        with new_file(Path(place)) as part, parquet_rows(part) as write_row:
            yield write_row
    else:
        with written_file(Path(place)) as write:
            yield lambda row: write(_line(row))


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


class _Reading:
    """Trajectories in the order in which they were added; what cannot be read any more is left out and noted."""

    def __init__(self, store: TrajectoryStore, where: TrajectoryFilter, progress: Progress | None) -> None:
        self._store, self._where, self._progress = store, where, progress
        self.damaged: list[str] = []

    def __iter__(self) -> Iterator[Trajectory]:
        rows, seen, total = self._store.read_trajectory_rows(), 0, self._store.stats().trajectories
        while ids := tuple(row.id for row in islice(rows, CHUNK)):
            yield from self._read(tuple(one for one in ids if self._where.ids is None or one in self._where.ids))
            seen += len(ids)
            if self._progress is not None:
                self._progress(seen, max(seen, total))

    def _read(self, ids: tuple[str, ...]) -> list[Trajectory]:
        """The chosen ones of some ids; one by one where one of them is damaged."""
        try:
            return list(self._store.trajectories(replace(self._where, ids=ids)))
        except DamagedStore as error:
            if len(ids) == 1:
                self.damaged.append(str(error))
                return []
        return [trajectory for one in ids for trajectory in self._read((one,))]

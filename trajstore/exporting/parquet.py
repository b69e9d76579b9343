"""Rows of training data as a Parquet file, row group by row group; pyarrow enters here alone."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from trajstore.errors import MissingDependency

Row: TypeAlias = dict[str, Any]  # Any: JSON
SUFFIX = ".parquet"
ROWS_OF_A_GROUP = 200


def require_pyarrow() -> ModuleType:
    """The package pyarrow; `MissingDependency` where it is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependency(
            f"{SUFFIX} files need pyarrow, which is not installed: pip install pyarrow, or give a name in .jsonl"
        )
    return importlib.import_module("pyarrow")


@contextmanager
def parquet_rows(path: Path) -> Iterator[Callable[[Row], object]]:
    """Give what takes rows of verl into a Parquet file, which is whole when the block ends."""
    pyarrow, parquet = require_pyarrow(), importlib.import_module("pyarrow.parquet")
    schema = _verl_schema(pyarrow)
    waiting: list[Row] = []

    with parquet.ParquetWriter(path, schema) as file:

        def write(row: Row) -> None:
            waiting.append(row)
            if len(waiting) >= ROWS_OF_A_GROUP:
                flush()

        def flush() -> None:
            file.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        yield write
        if waiting:
            flush()


def _verl_schema(pyarrow: ModuleType) -> Any:  # Any: pyarrow has no types
    text = pyarrow.string()
    message = pyarrow.struct([("role", text), ("content", text)])
    extra = [
        ("split", text),
        ("index", pyarrow.int64()),
        ("group", text),
        ("trajectory_id", text),
        ("reward", pyarrow.float64()),
        ("judged", pyarrow.bool_()),
        ("success", pyarrow.bool_()),
        ("messages", text),
        ("tools", text),
    ]
    return pyarrow.schema(
        [
            ("data_source", text),
            ("prompt", pyarrow.list_(message)),
            ("ability", text),
            ("reward_model", pyarrow.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pyarrow.struct(extra)),
        ]
    )

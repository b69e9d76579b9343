"""A checksum for each row that a doctor could not judge otherwise, so that bits that flipped on disk do not go unseen.

SQLite's own check reads its pages' structure, not what cells say.  Steps are covered by the content hash of their
trajectory, which its checksum covers in turn.
"""

import hashlib
import sqlite3
from collections.abc import Iterator

from trajstore.connection import Connection, Packed

CHECKED: dict[str, tuple[str, ...]] = {
    "trajectories": ("id", "content_hash", "created_at"),
    "vectors": ("text_hash", "vector"),
    "artifacts": ("name", "key", "content"),
    "decisions": (
        "id",
        "episode",
        "step_index",
        "namespace",
        "created_at",
        "source",
        "tool",
        "args",
        "propensity",
        "ranked",
        "pruned",
        "evidence",
        "reason",
        "mode",
        "arm",
        "policy",
        "cluster",
        "probabilities",
    ),
    "episodes": (
        "id",
        "namespace",
        "trajectory_id",
        "success",
        "reward",
        "kpis",
        "stop_reason",
        "finished_at",
        "mode",
        "arm",
        "assigned",
        "task_group",
        "combined",
        "parts",
    ),
    "reports": ("decision_id", "kind", "value", "reported_at"),
    "calls": ("namespace", "episode", "tool", "failed", "called_at"),
    "prunings": (
        "namespace",
        "cluster",
        "tool",
        "status",
        "reason",
        "successes",
        "counts",
        "upper",
        "rival",
        "rival_lower",
        "since",
        "until",
        "strikes",
    ),
}


def row_checksum(*cells: object) -> str:
    """16 hex digits over cells in order (BLAKE2b); a number counts by its value, as SQLite may change its type.

    >>> row_checksum("a", 1, None) == row_checksum("a", 1.0, None) != row_checksum("a1", None)
    True
    """
    digest = hashlib.blake2b(digest_size=8)
    for cell in cells:
        content = _content(cell)
        digest.update(b"%b%d:" % (_KINDS[type(cell)], len(content)))
        digest.update(content)
    return digest.hexdigest()


def checked_values(table: str, row: object) -> str:
    """The checksum of a record whose fields are named as the columns of its table."""
    return row_checksum(*(getattr(row, name) for name in CHECKED[table]))


def fill_checksums(connection: sqlite3.Connection) -> None:
    """Take every row for what was written."""
    connection.create_function("row_checksum", -1, row_checksum, deterministic=True)
    for table, columns in CHECKED.items():
        connection.execute(f"UPDATE {table} SET checksum = row_checksum({', '.join(columns)})")  # noqa: S608 - constants


def changed_rows(connection: Connection) -> Iterator[tuple[str, object]]:
    """Table and first cell of each row that is not what was written."""
    for table, columns in CHECKED.items():
        for *cells, checksum in connection.execute(f"SELECT {', '.join(columns)}, checksum FROM {table}"):  # noqa: S608 - constants
            if row_checksum(*cells) != checksum:
                yield table, cells[0]


_KINDS = {type(None): b"n", bool: b"r", int: b"r", float: b"r", str: b"s", bytes: b"b", Packed: b"b"}


def _content(cell: object) -> bytes:
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogatepass")
    if isinstance(cell, int | float):
        return repr(float(cell) + 0.0).encode()
    return cell if isinstance(cell, bytes) else b""

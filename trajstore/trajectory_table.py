"""The tables of trajectories and steps: one trajectory in, a chunk of them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from trajstore.connection import Connection
from trajstore.errors import DamagedStore, InvalidRecord
from trajstore.filters import Scope
from trajstore.rows import STEP_COLUMNS, STEP_NAMES, TRAJECTORY_COLUMNS, TRAJECTORY_NAMES, Row, TrajectoryRow, from_rows
from trajstore.schema import Trajectory

INSERT_TRAJECTORY = (
    f"INSERT INTO trajectories ({TRAJECTORY_COLUMNS}) VALUES ({', '.join('?' * len(TRAJECTORY_NAMES))}) RETURNING seq"  # noqa: S608 - columns are constants
)
INSERT_STEP = f"INSERT INTO steps (trajectory_seq, {STEP_COLUMNS}) VALUES ({', '.join('?' * (len(STEP_NAMES) + 1))})"  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class AddReport:
    """Ids in the order given (for a duplicate the id already there), what was added, and how many steps with it."""

    ids: tuple[str, ...]
    added: int
    duplicates: int
    steps: int


class TrajectoryContent(NamedTuple):
    """A trajectory by its number and its id, and the hash of what it holds."""

    seq: int
    id: str
    content_hash: str


def known_id(connection: Connection, row: TrajectoryRow) -> str | None:
    """The id under which a trajectory of equal content is stored in the same namespace; None where there is none."""
    found = connection.execute(
        "SELECT id FROM trajectories WHERE namespace = ? AND content_hash = ?", [row.namespace, row.content_hash]
    ).fetchone()
    return str(found[0]) if found else None


def insert(connection: Connection, row: TrajectoryRow) -> None:
    """Write a trajectory with its steps; `InvalidRecord` where its id is taken."""
    if connection.execute("SELECT 1 FROM trajectories WHERE id = ?", [row.id]).fetchone():
        raise InvalidRecord(
            f"trajectory_id {row.id!r} is that of another stored trajectory; leave it empty to be given a new one"
        )
    (seq,) = connection.execute(INSERT_TRAJECTORY, row.values).fetchone()
    connection.executemany(INSERT_STEP, [(seq, *step) for step in row.steps])


def insert_all(connection: Connection, rows: Sequence[TrajectoryRow]) -> AddReport:
    """Write those that are not there yet."""
    ids, added, steps = [], 0, 0
    for row in rows:
        known = known_id(connection, row)
        ids.append(known or row.id)
        if known is None:
            insert(connection, row)
            added, steps = added + 1, steps + len(row.steps)
    return AddReport(tuple(ids), added, len(rows) - added, steps)


def rewrite(connection: Connection, row: TrajectoryRow) -> None:
    """Write a trajectory's own cells anew; its steps stay.  Nothing changes where it would then equal another."""
    if known_id(connection, row) not in (None, row.id):
        return
    marks = ", ".join(f"{name} = ?" for name in TRAJECTORY_NAMES)
    connection.execute(f"UPDATE trajectories SET {marks} WHERE id = ?", [*row.values, row.id])  # noqa: S608 - columns are constants


def read_chunk(
    connection: Connection, after: int, limit: int, condition: str, values: Sequence[Any]
) -> list[tuple[int, Trajectory]]:
    """Up to `limit` trajectories after a number, each with its own; two queries whatever their steps."""
    chunk = connection.execute(
        f"SELECT seq, {TRAJECTORY_COLUMNS} FROM trajectories "  # noqa: S608 - conditions are constants
        f"WHERE seq > ? AND {condition} ORDER BY seq LIMIT {limit}",
        [after, *values],
    ).fetchall()
    steps = _steps_of(connection, [row[0] for row in chunk])
    return [(row[0], _read(row[1:], steps.get(row[0], ()))) for row in chunk]


def read_hashes(connection: Connection) -> dict[str, str]:
    """The content hash of every trajectory by its id, as it was when it was added."""
    return dict(connection.execute("SELECT id, content_hash FROM trajectories ORDER BY seq"))


def read_content(connection: Connection, scope: Scope, after: int, last: int) -> tuple[TrajectoryContent, ...]:
    """Which trajectories of a scope there are after one number and not after another, in order."""
    condition, values = scope.condition
    sql = f"SELECT seq, id, content_hash FROM trajectories WHERE {condition} AND seq > ? AND seq <= ? ORDER BY seq"  # noqa: S608 - marks
    return tuple(map(TrajectoryContent._make, connection.execute(sql, [*values, after, last])))


def _read(row: Row, steps: Sequence[Row]) -> Trajectory:
    """The record of these rows; `DamagedStore` where what was written can no longer be read."""
    try:
        return from_rows(row, steps)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # what JSON and the records' checks raise
        raise DamagedStore(
            f"trajectory {row[0]!r} is damaged ({error}); restore a backup, or erase it: trajstore forget --id {row[0]}"
        ) from error


def _steps_of(connection: Connection, sequence: list[int]) -> dict[int, list[Row]]:
    if not sequence:
        return {}
    rows = connection.execute(
        f"SELECT trajectory_seq, {STEP_COLUMNS} FROM steps WHERE trajectory_seq IN ({', '.join('?' * len(sequence))}) "  # noqa: S608 - marks
        "ORDER BY trajectory_seq, step_index",
        sequence,
    )
    return {seq: [row[1:] for row in group] for seq, group in groupby(rows, key=lambda row: row[0])}

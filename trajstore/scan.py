"""Trajectories and steps as plain cells, in the order of their numbers, without reading any JSON.

A copy in memory reads on from the last number that it holds while the store's `removals` stay the same, and is made
anew otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from trajstore.connection import Connection


# Named tuples: a scan builds one for every step, and a frozen dataclass takes more than four times as long.
class StepCells(NamedTuple):
    """The cells of one step; `args` is JSON text, `is_failed` whether an error was logged."""

    seq: int
    trajectory_seq: int
    step_index: int
    tool: str
    kind: str
    outcome: str
    reward: float | None
    state: str
    observation: str
    args: str
    is_failed: bool


class TrajectoryCells(NamedTuple):
    """The cells of one trajectory; `success` is None where nobody judged it."""

    seq: int
    id: str
    namespace: str
    task_text: str
    group: str
    family: str
    success: bool | None
    reward: float | None
    source: str
    judge: str
    trust: float
    agent: str
    created_at: float


def scan_steps(connection: Connection, after_seq: int, limit: int) -> Sequence[StepCells]:
    """Up to `limit` steps after a number."""
    rows = connection.execute(
        "SELECT seq, trajectory_seq, step_index, tool, kind, outcome, reward, state, observation, args, "
        "error IS NOT NULL FROM steps WHERE seq > ? ORDER BY seq LIMIT ?",
        [after_seq, limit],
    )
    return [StepCells._make((*row[:-1], bool(row[-1]))) for row in rows]


def scan_trajectories(connection: Connection, after_seq: int, limit: int) -> Sequence[TrajectoryCells]:
    """Up to `limit` trajectories after a number."""
    rows = connection.execute(
        "SELECT seq, id, namespace, task_text, task_group, family, success, reward, source, judge, trust, agent, "
        "created_at FROM trajectories WHERE seq > ? ORDER BY seq LIMIT ?",
        [after_seq, limit],
    )
    return [
        TrajectoryCells._make((*row[:6], None if row[6] is None else bool(row[6]), *row[7:]))  # SQLite has no booleans
        for row in rows
    ]

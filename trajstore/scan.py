"""Trajectories and steps as plain cells, in the order of their numbers, without reading any JSON.

A copy in memory reads on from the last number that it holds while the store's `removals` stay the same, and is made
anew otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from trajstore.connection import Connection
from trajstore.filters import Scope


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


class Measures(NamedTuple):
    """What the KPIs of one trajectory are measured by.

    `steps`, `latency_seconds` and `cost_usd` are summed over the steps that know theirs; 0 and None where they were
    not asked for.  `kpis` is JSON text.
    """

    success: bool | None
    reward: float | None
    kpis: str
    steps: int
    latency_seconds: float | None
    cost_usd: float | None


OF_TRAJECTORIES = (
    "SELECT success, reward, kpis, 0, NULL, NULL FROM trajectories WHERE {condition} AND seq <= ? ORDER BY seq"
)
OF_STEPS = (
    "SELECT t.success, t.reward, t.kpis, count(s.seq), sum(s.latency_seconds), sum(s.cost_usd) "
    "FROM trajectories t LEFT JOIN steps s ON s.trajectory_seq = t.seq "
    "WHERE {condition} AND t.seq <= ? GROUP BY t.seq ORDER BY t.seq"
)


def scan_measures(connection: Connection, scope: Scope, last: int, *, with_steps: bool) -> Sequence[Measures]:
    """Of each trajectory of a scope up to a number, in order; what takes a pass over the steps only on demand."""
    condition, values = scope.condition
    sql = (OF_STEPS if with_steps else OF_TRAJECTORIES).format(condition=condition)
    rows = connection.execute(sql, [*values, last])
    return [Measures(None if row[0] is None else bool(row[0]), *row[1:]) for row in rows]


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

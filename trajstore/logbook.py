"""The log of what guidance did: decisions, reports, calls of tools, episodes, and what is pruned.

Off-policy evaluation, tool health and the guard read it; every process that shares the file adds to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from trajstore.checksums import checked_values, row_checksum
from trajstore.connection import AnyDatabase, Connection

Reported = Literal["applied", "duplicate", "unknown"]


class Row(Protocol):
    """A frozen record whose fields are the columns of its table."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Kind = TypeVar("Kind", bound=Row)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision as it is logged.

    `args`, `ranked`, `pruned`, `evidence` and `probabilities` are JSON; `tool` is None where it abstained, or where
    what it would have done was not shown.  `policy` names the settings and the model that decided.
    """

    id: str
    episode: str
    step_index: int
    namespace: str
    created_at: float
    source: str
    tool: str | None
    args: str | None
    propensity: float
    ranked: str
    pruned: str
    evidence: str
    reason: str
    mode: str = "suggest"
    arm: str = "guided"
    policy: str = ""
    cluster: int = -1
    probabilities: str = "{}"


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """How an episode ended; `success` is None where nobody said, `kpis` and `parts` are JSON.

    `assigned` in (0, 1] is the probability with which it fell to its arm, `combined` the reward made of the KPIs,
    `parts` what each of them gave.
    """

    id: str
    namespace: str
    trajectory_id: str
    success: bool | None
    reward: float | None
    kpis: str
    stop_reason: str
    finished_at: float
    mode: str = "suggest"
    arm: str = "guided"
    assigned: float = 1.0
    task_group: str = ""
    combined: float | None = None
    parts: str = "[]"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call of a tool whose outcome is known; `seq` is given by the store."""

    namespace: str
    episode: str
    tool: str
    failed: bool
    called_at: float
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PruningRow:
    """A (state cluster, tool) pair that was judged: its status, why, and until when."""

    namespace: str
    cluster: int
    tool: str
    status: str
    reason: str
    successes: float
    counts: float
    upper: float
    rival: str
    rival_lower: float
    since: float
    until: float
    strikes: int

    @property
    def is_pruned(self) -> bool:
        """Whether the tool is left out there now, but for probes."""
        return self.status in ("quarantined", "probing")


@dataclass(frozen=True, slots=True)
class EndedEpisode:
    """How an episode ended, with a number that rises from end to end, and the state clusters of its decisions."""

    number: int
    episode: EpisodeRow
    clusters: tuple[int, ...]


class Logbook:
    """The log of one store; every method that writes is one transaction."""

    def __init__(self, database: AnyDatabase) -> None:
        self._database = database

    def add(self, decisions: Sequence[DecisionRow] = (), calls: Sequence[CallRow] = ()) -> None:
        """Append decisions and calls; a decision that is there already is left as it is."""
        with self._database.writing() as connection:
            _insert(connection, "decisions", decisions)
            connection.executemany(
                "INSERT INTO calls (namespace, episode, tool, failed, called_at, checksum) VALUES (?, ?, ?, ?, ?, ?)",
                [(*astuple(call)[:-1], checked_values("calls", call)) for call in calls],
            )

    def decisions(self, namespace: str | None = None) -> list[DecisionRow]:
        """Logged decisions in the order of time."""
        return self._select(DecisionRow, "decisions", namespace, "created_at, rowid")

    def calls(self, namespace: str, after_seq: int = 0) -> list[CallRow]:
        """Calls with a higher number, in the order in which they were logged."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT namespace, episode, tool, failed, called_at, seq FROM calls "
                "WHERE namespace = ? AND seq > ? ORDER BY seq",
                [namespace, after_seq],
            ).fetchall()
        return [CallRow(owner, episode, tool, bool(failed), at, seq) for owner, episode, tool, failed, at, seq in rows]

    def end_episode(self, episode: EpisodeRow) -> Reported:
        """Log how an episode ended; a censored one may be ended once more, any other only once."""
        with self._database.writing() as connection:
            return end_episode(connection, episode)

    def episodes(self, namespace: str | None = None) -> list[EpisodeRow]:
        """Ended episodes in the order in which their ends were logged; success is True, False or None."""
        return self._select(EpisodeRow, "episodes", namespace, "rowid")

    def ended_after(self, namespace: str, number: int) -> list[EndedEpisode]:
        """Episodes whose end was logged after that of a number, in order, with the state clusters they went through."""
        columns = ", ".join(EpisodeRow.__dataclass_fields__)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT rowid, {columns} FROM episodes WHERE namespace = ? AND rowid > ? ORDER BY rowid",  # noqa: S608 - constants
                [namespace, number],
            ).fetchall()
            return [EndedEpisode(row[0], _record(EpisodeRow, row[1:]), _clusters(connection, row[1])) for row in rows]

    def episode(self, episode_id: str) -> EpisodeRow | None:
        """One ended episode; None where there is none of this id."""
        with self._database.reading() as connection:
            columns = ", ".join(EpisodeRow.__dataclass_fields__)
            found = connection.execute(f"SELECT {columns} FROM episodes WHERE id = ?", [episode_id]).fetchone()  # noqa: S608 - constants
        return None if found is None else _record(EpisodeRow, found)

    def report(self, decision_id: str, kind: str, value: float, now: float) -> Reported:
        """Take in a reward for one decision, once for each kind; what happened to it is counted."""
        with self._database.writing() as connection:
            known = connection.execute("SELECT namespace FROM decisions WHERE id = ?", [decision_id]).fetchone()
            if known is None:
                _count(connection, "", "reports unknown")
                return "unknown"
            added = connection.execute(
                "INSERT INTO reports VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [decision_id, kind, value, now, row_checksum(decision_id, kind, value, now)],
            ).rowcount
            outcome: Reported = "applied" if added else "duplicate"
            _count(connection, known[0], f"reports {outcome}")
            return outcome

    def reports(self, namespace: str) -> dict[tuple[str, str], float]:
        """Reported rewards by decision and kind."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT r.decision_id, r.kind, r.value FROM reports r JOIN decisions d ON d.id = r.decision_id "
                "WHERE d.namespace = ?",
                [namespace],
            ).fetchall()
        return {(decision, kind): value for decision, kind, value in rows}

    def prunings(self, namespace: str) -> list[PruningRow]:
        """What was ever judged bad in a namespace, and where it stands now."""
        return self._select(PruningRow, "prunings", namespace, "cluster, tool")

    def put_prunings(self, rows: Sequence[PruningRow]) -> None:
        """Write the standing of pairs, each in place of what was there."""
        with self._database.writing() as connection:
            _insert(connection, "prunings", rows, replacing="namespace, cluster, tool")

    def clear_prunings(self, namespace: str) -> None:
        """Forget what is pruned in a namespace."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM prunings WHERE namespace = ?", [namespace])

    def count(self, namespace: str, name: str) -> None:
        """Count one more of something."""
        with self._database.writing() as connection:
            _count(connection, namespace, name)

    def counters(self, namespace: str) -> dict[str, int]:
        """What was counted; reports of unknown decisions belong to no namespace and stand under the empty one."""
        with self._database.reading() as connection:
            return dict(connection.execute("SELECT name, value FROM counters WHERE namespace = ?", [namespace]))

    def _select(self, kind: type[Kind], table: str, namespace: str | None, order: str) -> list[Kind]:
        columns = ", ".join(kind.__dataclass_fields__)
        condition, values = ("TRUE", []) if namespace is None else ("namespace = ?", [namespace])
        statement = f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY {order}"  # noqa: S608 - constants
        with self._database.reading() as connection:
            return [_record(kind, row) for row in connection.execute(statement, values)]


def end_episode(connection: Connection, episode: EpisodeRow) -> Reported:
    """Write how an episode ended, within a transaction: only a censored end gives way to another."""
    known = connection.execute("SELECT stop_reason FROM episodes WHERE id = ?", [episode.id]).fetchone()
    if known is not None and (known[0] != "censored" or episode.stop_reason == "censored"):
        _count(connection, episode.namespace, "episodes duplicate")
        return "duplicate"
    _insert(connection, "episodes", [episode], replacing="id", numbered=True)
    _count(connection, episode.namespace, "episodes late" if known else f"episodes {episode.stop_reason}")
    return "applied"


def _clusters(connection: Connection, episode: str) -> tuple[int, ...]:
    rows = connection.execute("SELECT DISTINCT cluster FROM decisions WHERE episode = ? ORDER BY 1", [episode])
    return tuple(row[0] for row in rows)


def _insert(
    connection: Connection, table: str, rows: Iterable[Row], *, replacing: str = "", numbered: bool = False
) -> None:
    """Write rows; one whose key is there already is left out, or with `replacing` (the key's columns) takes its place.

    Rows that are `numbered` get a number above all others, also where they replace one.
    """
    for row in rows:
        names, marks = [*row.__dataclass_fields__, "checksum"], ["?"] * (len(row.__dataclass_fields__) + 1)
        if numbered:
            names, marks = ["rowid", *names], [f"(SELECT coalesce(max(rowid), 0) + 1 FROM {table})", *marks]  # noqa: S608 - constants
        anew = ", ".join(f"{name} = excluded.{name}" for name in names)
        clash = f"({replacing}) DO UPDATE SET {anew}" if replacing else "DO NOTHING"
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(marks)}) ON CONFLICT {clash}",  # noqa: S608 - constants
            [*(getattr(row, name) for name in row.__dataclass_fields__), checked_values(table, row)],
        )


def _record(kind: type[Kind], row: Sequence[Any]) -> Kind:
    """A row as a record; SQLite knows no booleans."""
    values = dict(zip(kind.__dataclass_fields__, row, strict=True))
    if "success" in values and values["success"] is not None:
        values["success"] = bool(values["success"])
    return kind(**values)


def _count(connection: Connection, namespace: str, name: str) -> None:
    connection.execute(
        "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT (namespace, name) DO UPDATE SET value = counters.value + 1",
        [namespace, name],
    )

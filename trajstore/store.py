"""The store: trajectories with their steps, vectors and decisions in one database, which is the only truth."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trajstore.checksums import changed_rows, row_checksum
from trajstore.connection import Connection
from trajstore.database import BUSY_SECONDS, MEMORY, Database, SqliteConnection
from trajstore.embedding import text_hash
from trajstore.erasing import BY_ID, BY_NAMESPACE, BY_SOURCE, count_revision, erase
from trajstore.errors import DamagedStore, EmbedderMismatch, UnknownTrajectory, UsageError
from trajstore.experience import embedded_texts
from trajstore.faultpoints import faultpoint
from trajstore.filters import EVERYTHING, Scope, TrajectoryFilter
from trajstore.identity import EmbedderIdentity
from trajstore.limits import Limits
from trajstore.logbook import EpisodeRow, Logbook, Reported, end_episode
from trajstore.marks import BEGINNING, Mark, read_mark
from trajstore.opening import open_database
from trajstore.redact import KeyedRedactor, Redactor
from trajstore.redaction_key import redaction_key
from trajstore.rows import TrajectoryRow, to_row
from trajstore.scan import Measures, StepCells, TrajectoryCells, scan_measures, scan_steps, scan_trajectories
from trajstore.schema import Trajectory
from trajstore.server_index import ServerIndex
from trajstore.store_stats import StoreStats, read_stats
from trajstore.trajectory_table import (
    AddReport,
    TrajectoryContent,
    insert_all,
    read_chunk,
    read_content,
    read_hashes,
    rewrite,
)
from trajstore.vectors import (
    VectorCheck,
    check_vectors,
    drop_vectors,
    read_identity,
    read_vectors,
    write_identity,
    write_vectors,
)

CHUNK = 200
SCAN_CHUNK = 1000
PUT_ARTIFACT = (
    "INSERT INTO artifacts VALUES (?, ?, ?, ?) ON CONFLICT (name) "
    "DO UPDATE SET key = excluded.key, content = excluded.content, checksum = excluded.checksum"
)
Cells = TypeVar("Cells", StepCells, TrajectoryCells)


DEFAULT_REDACTOR = Redactor()
DEFAULT_LIMITS = Limits()


class TrajectoryStore:
    """Opens or creates a store at `path`; safe to share between threads.

    ":memory:" is one that is not kept, postgresql://user@host/database one on a server with pgvector.

    Everything that a method acknowledges is on disk when it returns.  `clock` gives seconds since 1970; a write waits
    up to `busy_seconds` for other processes.  `redactor` hides secrets and personal data in whatever is added
    (`trajstore.redact`), None keeps every text as it comes; `limits` say how large a trajectory may be.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
        redactor: Redactor | None = DEFAULT_REDACTOR,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._database = open_database(path, busy_seconds=busy_seconds)
        self._clock = clock
        self._redactor, self._limits = redactor, limits
        self.logbook = Logbook(self._database)

    @property
    def path(self) -> str:
        """Where the file lies, or the address on a server, without a password."""
        return self._database.path

    @cached_property
    def redactor(self) -> KeyedRedactor | None:
        """What hides secrets in all that is added, with this store's key; None where nothing is hidden."""
        return None if self._redactor is None else self._redactor.keyed(redaction_key(self._database))

    @property
    def is_on_server(self) -> bool:
        """Whether a server keeps it, rather than a file of this machine."""
        return self._database.is_on_server

    @property
    def server_index(self) -> ServerIndex:
        """The index that a server keeps of the steps; `UsageError` for a file, beside which it lies."""
        if not self.is_on_server:
            raise UsageError(f"{self.path} is no server and keeps no index of its own; recollect loads that of a file")
        return ServerIndex(self._database)

    @property
    def index_folder(self) -> Path | None:
        """Where index files lie beside it: caches, which any process may throw away; None where it has no place."""
        return None if self.is_on_server or self.path == MEMORY else index_folder(self.path)

    @property
    def mark(self) -> Mark:
        """Where the store stands now."""
        with self._database.reading() as connection:
            return read_mark(connection)

    @property
    def generation(self) -> str:
        """Changes whenever any process adds, removes or judges trajectories."""
        return str(self.mark)

    @property
    def removals(self) -> int:
        """How often any process removed trajectories: while it stays, whatever is new has a higher number."""
        return self.mark.removals

    def add(self, trajectory: Trajectory) -> str:
        """Store one trajectory; returns its id, that of its equal where it is there already."""
        return self.add_batch([trajectory]).ids[0]

    def add_many(self, trajectories: Iterable[Trajectory]) -> tuple[str, ...]:
        """Store several in one transaction; returns their ids in order."""
        return self.add_batch(trajectories).ids

    def add_batch(self, trajectories: Iterable[Trajectory]) -> AddReport:
        """Store several in one transaction: all of them, or after an error none."""
        now = self._clock()
        rows = [self._row(trajectory, now) for trajectory in trajectories]
        return self._database.group.run(lambda connection: insert_all(connection, rows))

    def _row(self, trajectory: Trajectory, now: float) -> TrajectoryRow:
        """What is stored of a trajectory: within the limits, secrets hidden."""
        self._limits.check(trajectory)
        hidden = self.redactor.trajectory(trajectory) if self.redactor else trajectory
        row = to_row(hidden, trajectory.trajectory_id or uuid.uuid4().hex, now)
        self._limits.check_row(row)
        return row

    def get(self, trajectory_id: str) -> Trajectory:
        """The trajectory with this id (`UnknownTrajectory` otherwise)."""
        found = list(self.trajectories(TrajectoryFilter(ids=(trajectory_id,))))
        if not found:
            raise UnknownTrajectory(f"no trajectory {trajectory_id!r} in {self.path}; trajstore search lists ids")
        return found[0]

    def trajectories(self, where: TrajectoryFilter = EVERYTHING) -> Iterator[Trajectory]:
        """Trajectories in the order in which they were added, read in chunks."""
        return self._read(*where.sql())

    def added(self, scope: Scope, up_to: Mark, *, since: Mark = BEGINNING) -> Iterator[Trajectory]:
        """Trajectories of a scope that came after one mark and not after another, in order, read in chunks."""
        condition, values = scope.condition
        return self._read(f"{condition} AND seq <= ?", [*values, up_to.last], since.last)

    def _read(self, condition: str, values: Sequence[Any], after: int = 0) -> Iterator[Trajectory]:
        while True:
            with self._database.snapshot() as connection:
                chunk = read_chunk(connection, after, CHUNK, condition, values)
            yield from (trajectory for _, trajectory in chunk)
            if len(chunk) < CHUNK:
                return
            after, _ = chunk[-1]

    def read_steps(self, after_seq: int = 0) -> Iterator[StepCells]:
        """Cells of the steps after a number, without JSON, read in chunks."""
        return self._scan(scan_steps, after_seq)

    def read_trajectory_rows(self, after_seq: int = 0) -> Iterator[TrajectoryCells]:
        """Cells of the trajectories after a number, read in chunks."""
        return self._scan(scan_trajectories, after_seq)

    def _scan(self, scan: Callable[[Connection, int, int], Sequence[Cells]], after_seq: int) -> Iterator[Cells]:
        while True:
            with self._database.reading() as connection:
                chunk = scan(connection, after_seq, SCAN_CHUNK)
            yield from chunk
            if len(chunk) < SCAN_CHUNK:
                return
            after_seq = chunk[-1].seq

    def ids(self, namespace: str) -> tuple[str, ...]:
        """Ids of a namespace's trajectories in the order in which they were added."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id FROM trajectories WHERE namespace = ? ORDER BY seq", [namespace])
            return tuple(row[0] for row in rows)

    def content(self, scope: Scope, up_to: Mark, *, since: Mark = BEGINNING) -> tuple[TrajectoryContent, ...]:
        """Which trajectories of a scope came after one mark and not after another, in order, and what they hold."""
        with self._database.reading() as connection:
            return read_content(connection, scope, since.last, up_to.last)

    def measures(self, scope: Scope, up_to: Mark, *, with_steps: bool) -> tuple[Measures, ...]:
        """What KPIs are measured by, of each trajectory of a scope up to a mark, in order; see `Measures`."""
        with self._database.reading() as connection:
            return tuple(scan_measures(connection, scope, up_to.last, with_steps=with_steps))

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every trajectory by its id, as it was when it was added."""
        with self._database.reading() as connection:
            return read_hashes(connection)

    def judge(self, ended: EpisodeRow, kpis: Mapping[str, float]) -> Reported:
        """End an episode that was censored: its row in the log, and the success and reward of its trajectory.

        "duplicate" where it has ended already, "unknown" where there is no such episode; then nothing changes.
        """
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM episodes WHERE id = ?", [ended.id]).fetchone() is None:
                return "unknown"
            outcome = end_episode(connection, ended)
            if outcome == "applied" and ended.trajectory_id:
                ((_, stored),) = read_chunk(connection, 0, 1, "id = ?", [ended.trajectory_id])
                reason = self.redactor.text(ended.stop_reason) if self.redactor else ended.stop_reason
                judged = replace(stored, success=ended.success, reward=ended.reward, kpis=kpis, stop_reason=reason)
                rewrite(connection, to_row(judged, ended.trajectory_id, self._clock()))
                count_revision(connection)
            return outcome

    def remove(self, trajectory_id: str) -> None:
        """Erase one trajectory, and the decisions made in it."""
        if not self._erase(BY_ID, trajectory_id):
            raise UnknownTrajectory(f"no trajectory {trajectory_id!r} in {self.path}; trajstore search lists ids")

    def forget(self, *, source: str | None = None, namespace: str | None = None) -> int:
        """Erase everything of a source or a namespace, and what was learned from it; returns how many trajectories."""
        if (source is None) == (namespace is None):
            raise UsageError("forget takes either source or namespace, exactly one of them")
        if source is not None:
            return self._erase(BY_SOURCE, source)
        return self._erase(BY_NAMESPACE, str(namespace))

    def stats(self) -> StoreStats:
        """Counts of what is stored."""
        with self._database.snapshot() as connection:
            return read_stats(connection)

    def embedder_identity(self) -> EmbedderIdentity | None:
        """Whose vectors are stored; None before the first."""
        with self._database.reading() as connection:
            return read_identity(connection)

    def set_embedder(self, identity: EmbedderIdentity) -> None:
        """Say whose vectors will be stored; `EmbedderMismatch` where others are."""
        if self.embedder_identity() == identity:
            return
        with self._database.writing() as connection:
            stored = read_identity(connection)
            if stored is None:
                write_identity(connection, identity)
            elif stored != identity:
                raise EmbedderMismatch(
                    f"{self.path} holds vectors of {_named(stored)}, not of {_named(identity)}: "
                    f"trajstore doctor --db {self.path} --repair --embedder {identity.name} re-embeds them"
                )

    def replace_embedder(self, identity: EmbedderIdentity) -> None:
        """Drop all vectors, and say whose will be stored instead."""
        with self._database.writing() as connection:
            write_identity(connection, identity)

    def vectors(self, text_hashes: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        """Stored vectors by text hash; what is not there is left out."""
        with self._database.reading() as connection:
            return read_vectors(connection, text_hashes)

    def count_vectors(self) -> int:
        """How many texts have a stored vector."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def put_vectors(self, vectors: Mapping[bytes, NDArray[np.floating]]) -> None:
        """Store vectors by text hash, 16 bits an entry; `UsageError` for a wrong size, NaN, or no `set_embedder`."""
        with self._database.writing() as connection:
            write_vectors(connection, vectors)

    def check_vectors(self) -> VectorCheck:
        """Tell the sound vectors from the damaged ones."""
        with self._database.reading() as connection:
            return check_vectors(connection)

    def drop_vectors(self, text_hashes: Iterable[bytes]) -> None:
        """Erase the vectors of these texts: they are embedded again when they are next needed."""
        with self._database.writing() as connection:
            drop_vectors(connection, text_hashes)

    def artifact(self, name: str, key: str) -> bytes | None:
        """What was kept under a name for exactly this key; None otherwise, and where it is damaged."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT content, checksum FROM artifacts WHERE name = ? AND key = ?", [name, key]
            ).fetchone()
        return bytes(row[0]) if row and row_checksum(name, key, row[0]) == row[1] else None

    def artifact_names(self) -> tuple[str, ...]:
        """The names of all that is kept as derived."""
        with self._database.reading() as connection:
            return tuple(row[0] for row in connection.execute("SELECT name FROM artifacts ORDER BY name"))

    def put_artifact(self, name: str, key: str, content: bytes) -> None:
        """Keep something derived; one for each name."""
        with self._database.writing() as connection:
            connection.execute(PUT_ARTIFACT, _sealed(name, key, content))

    def put_artifacts(self, key: str, contents: Mapping[str, bytes], *, removals: int) -> bool:
        """Keep derived things by name, all at once; none of them where the count of removals is another by now."""
        with self._database.writing() as connection:
            is_current = self.mark.removals == removals
            rows = [_sealed(name, key, content) for name, content in contents.items() if is_current]
            connection.executemany(PUT_ARTIFACT, rows)
        return is_current

    def integrity_findings(self) -> tuple[str, ...]:
        """What the database's own checks find wrong; nothing where all is well."""
        return self._database.findings()

    def changed_rows(self) -> tuple[tuple[str, object], ...]:
        """Table and first cell of each row whose checksum says that it is not what was written."""
        with self._database.reading() as connection:
            return tuple(changed_rows(connection))

    def lent_connection(self) -> AbstractContextManager[SqliteConnection]:
        """The SQLite connection, for what copies the whole file; other threads wait meanwhile."""
        if not isinstance(self._database, Database):
            raise UsageError(f"{self.path} lies on a server: pg_dump backs it up, or trajstore export --format native")
        return self._database.reading()

    def close(self) -> None:
        """Close the file, or the connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TrajectoryStore({self.path!r})"

    def _erase(self, condition: str, value: str) -> int:
        with self._database.writing() as connection:
            removed = erase(connection, condition, value, self._text_hashes(condition, value))
        folder = self.index_folder if removed else None
        for file in folder.glob("*") if folder else ():
            file.unlink(missing_ok=True)
        faultpoint("index files erased")
        self._database.erase_traces()
        return removed

    def _text_hashes(self, condition: str, value: str) -> frozenset[bytes]:
        """What the vectors of some trajectories lie under; all that there are where one of those cannot be read."""
        try:
            chosen = self._read(condition, [value])
            return frozenset(text_hash(text) for one in chosen for text in embedded_texts(one))
        except DamagedStore:
            found = self.check_vectors()
            return found.unit | found.zero | found.broken


def index_folder(path: str) -> Path:
    """Where the index files of the file at `path` lie."""
    return Path(f"{path}.index")


def _sealed(*cells: object) -> tuple[object, ...]:
    return *cells, row_checksum(*cells)


def _named(identity: EmbedderIdentity) -> str:
    return f"{identity.name!r} ({identity.dimension} entries)"

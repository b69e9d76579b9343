"""The table of training jobs in the store.

A job is run by one process at a time.  Whoever runs it holds a lease that it must renew; a job whose lease has lapsed
may be claimed by anyone, and goes on from its checkpoint.  Every write of a runner names its claim, so that a process
that lost its lease changes nothing any more.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from grpo.errors import TrainingUsageError, UnknownJob
from grpo.jobs import (
    Claim,
    JobProgress,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    KeyReused,
    ReportedMetrics,
    TooManyJobs,
    TrainingJob,
    finite_metrics,
    job_folder,
    trajectories_of,
)
from trajstore.codec import from_json, to_json
from trajstore.connection import AnyDatabase, Connection
from trajstore.database import MEMORY

Ended = Literal["succeeded", "failed", "cancelled"]
Standing = Literal["going on", "cancelling", "lost"]

LEASE_SECONDS = 30.0
START_SECONDS = 120.0
QUEUE_LIMIT = 100
RESUMES = 3
ROWS_AT_ONCE = 1000
STATE_COLUMNS = (
    "id, agent_id, status, progress, metrics, best_checkpoint, reason, resumes, created_at, started_at, finished_at"
)
WAITING = "(status = 'queued' OR status = 'running' AND lease_until <= :now)"
MINE = "id = :job_id AND owner = :owner AND status = 'running'"


class JobTable:
    """The training jobs of one store; every method is one transaction, and any process may call any of them.

    `clock` gives seconds since 1970.  A claim holds for `start_seconds`, in which its process must begin, and then for
    `lease_seconds` after each renewal; at most `queue_limit` jobs wait.
    """

    def __init__(
        self,
        database: AnyDatabase,
        *,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = LEASE_SECONDS,
        start_seconds: float = START_SECONDS,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        if database.path == MEMORY:
            raise TrainingUsageError(f"jobs run in processes of their own, which cannot share {MEMORY}: give a path")
        self._database = database
        self._clock = clock
        self._start_seconds = start_seconds
        self._queue_limit = queue_limit
        self.lease_seconds = lease_seconds

    @property
    def path(self) -> str:
        """Where the database lies."""
        return self._database.path

    @property
    def secrets(self) -> Mapping[str, str]:
        """Environment variables that a job's process needs in order to open the database."""
        return self._database.secrets

    def add(self, request: JobRequest) -> str:
        """Queue a job; returns its id, that of the first where its key was used before for an equal request.

        Raises `TrainingUsageError` for trajectories that cannot be read, `KeyReused` and `TooManyJobs`.
        """
        if request.training_data is not None:
            trajectories_of(request.training_data)
        data = "" if request.training_data is None else to_json([dict(record) for record in request.training_data])
        config = to_json(dict(request.config))
        request_hash = hashlib.blake2b(to_json([request.agent_id, config, data]).encode()).hexdigest()[:32]
        with self._database.writing() as connection:
            known = _job_of_key(connection, request.idempotency_key, request_hash)
            if known is not None:
                return known
            self._require_room(connection)
            job_id = uuid.uuid4().hex
            connection.execute(
                "INSERT INTO training_jobs (id, agent_id, config, training_data, idempotency_key, request_hash, "
                "status, progress, furthest, metrics, reason, is_cancelling, resumes, owner, lease_until, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'queued', 0, 0, '{}', '', 0, 0, '', 0, ?)",
                [job_id, request.agent_id, config, data, request.idempotency_key, request_hash, self._clock()],
            )
        return job_id

    def get(self, job_id: str) -> JobState:
        """Where a job stands (`UnknownJob` where there is none of this id)."""
        with self._database.reading() as connection:
            return _state(connection, job_id)

    def jobs(self, status: JobStatus | None = None, limit: int = ROWS_AT_ONCE) -> list[JobState]:
        """The newest jobs first, all or those of one status."""
        condition = "TRUE" if status is None else "status = :status"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {STATE_COLUMNS} FROM training_jobs WHERE {condition} ORDER BY seq DESC LIMIT :limit",  # noqa: S608 - constants
                {"status": status, "limit": limit},
            ).fetchall()
        return [_state_of(row) for row in rows]

    def metrics(self, job_id: str, after: int = 0, limit: int = ROWS_AT_ONCE) -> list[ReportedMetrics]:
        """What a job reported after a number, in order (`UnknownJob` where there is none of this id)."""
        with self._database.reading() as connection:
            _state(connection, job_id)
            rows = connection.execute(
                "SELECT seq, reported_at, progress, metrics FROM training_metrics WHERE job_id = ? AND seq > ? "
                "ORDER BY seq LIMIT ?",
                [job_id, after, limit],
            ).fetchall()
        return [ReportedMetrics(number, at, progress, from_json(text)) for number, at, progress, text in rows]

    def cancel(self, job_id: str) -> JobState:
        """Ask a job to stop: a queued one is cancelled at once, a running one when it next reports."""
        with self._database.writing() as connection:
            _state(connection, job_id)
            names = {"job_id": job_id, "now": self._clock()}
            connection.execute("UPDATE training_jobs SET is_cancelling = 1 WHERE id = :job_id", names)
            _end(connection, "cancelled", "cancelled before it began", "id = :job_id AND status = 'queued'", names)
            return _state(connection, job_id)

    def claim(self, running_limit: int = 1) -> Claim | None:
        """Take the next job to run, lapsed ones first; None where none waits or `running_limit` jobs run already.

        A lapsed job is cancelled where that was asked, and interrupted after `RESUMES` resumes that got no further.
        """
        names = {"now": self._clock(), "owner": uuid.uuid4().hex, "running_limit": running_limit}
        if not self._is_any_waiting(names):
            return None
        with self._database.writing() as connection:
            _end_lapsed(connection, names)
            row = connection.execute(
                f"SELECT id FROM training_jobs WHERE {WAITING} AND :running_limit > ("  # noqa: S608 - constants
                "SELECT count(*) FROM training_jobs WHERE status = 'running' AND lease_until > :now"
                ") ORDER BY status = 'queued', seq LIMIT 1",
                names,
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE training_jobs SET resumes = CASE WHEN status = 'running' THEN resumes + 1 ELSE resumes END, "
                "status = 'running', owner = :owner, lease_until = :until, started_at = coalesce(started_at, :now) "
                "WHERE id = :job_id",
                names | {"until": self._clock() + self._start_seconds, "job_id": row[0]},
            )
        return Claim(row[0], str(names["owner"]))

    def load(self, claim: Claim) -> TrainingJob:
        """What there is to do under a claim (`UnknownJob` where it is lost)."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT agent_id, config, training_data, resumes > 0 OR progress > 0 FROM training_jobs WHERE {MINE}",  # noqa: S608 - constants
                _names(claim),
            ).fetchone()
        if row is None:
            raise UnknownJob(f"job {claim.job_id!r} is not claimed by {claim.owner!r}; another process runs it")
        agent_id, config, data, is_resumed = row
        trajectories = trajectories_of(from_json(data)) if data else ()
        folder = job_folder(self.path, claim.job_id)
        return TrainingJob(
            claim.job_id, agent_id, from_json(config), trajectories, self.path, folder, is_resumed=bool(is_resumed)
        )

    def beat(self, claim: Claim) -> Standing:
        """Renew a lease; says whether the job goes on, is to stop, or was lost to another process."""
        with self._database.writing() as connection:
            return self._renew(connection, claim)

    def report(self, claim: Claim, reports: Sequence[JobProgress], *, is_first: bool = False) -> Standing:
        """Renew a lease, and write what was reached.

        With `is_first`, what an earlier process reported of the same stretch gives way: it is done anew.
        """
        with self._database.writing() as connection:
            standing = self._renew(connection, claim)
            if standing != "lost" and reports:
                self._write(connection, claim, reports, is_first=is_first)
            return standing

    def finish(self, claim: Claim, status: Ended, result: JobResult, reason: str = "") -> bool:
        """Write how a job ended; False where it had ended already, or was lost to another process."""
        names: dict[str, object] = _names(claim) | {"now": self._clock()}
        reached = {
            "status": status,
            "best": result.best_checkpoint,
            "metrics": to_json(finite_metrics(result.metrics)) if result.metrics else None,
        }
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE training_jobs SET best_checkpoint = coalesce(:best, best_checkpoint), "  # noqa: S608 - constants
                "metrics = coalesce(:metrics, metrics), "
                f"progress = CASE :status WHEN 'succeeded' THEN 1 ELSE progress END WHERE {MINE}",
                names | reached,
            )
            return _end(connection, status, reason, MINE, names) > 0

    def release(self, claim: Claim) -> None:
        """Give a claim back: its process is gone, and another may go on."""
        with self._database.writing() as connection:
            connection.execute(f"UPDATE training_jobs SET lease_until = 0 WHERE {MINE}", _names(claim))  # noqa: S608 - constants

    def put_back(self, claim: Claim) -> None:
        """Queue a claimed job again whose process could not be started: that counts as no resume."""
        with self._database.writing() as connection:
            connection.execute(f"UPDATE training_jobs SET status = 'queued', owner = '' WHERE {MINE}", _names(claim))  # noqa: S608 - constants

    def _renew(self, connection: Connection, claim: Claim) -> Standing:
        row = connection.execute(
            f"UPDATE training_jobs SET lease_until = :until WHERE {MINE} RETURNING is_cancelling",  # noqa: S608 - constants
            _names(claim) | {"until": self._clock() + self.lease_seconds},
        ).fetchone()
        if row is None:
            return "lost"
        return "cancelling" if row[0] else "going on"

    def _write(self, connection: Connection, claim: Claim, reports: Sequence[JobProgress], *, is_first: bool) -> None:
        if is_first:
            connection.execute(
                "DELETE FROM training_metrics WHERE job_id = ? AND progress >= ?", [claim.job_id, reports[0].progress]
            )
        now = self._clock()
        connection.executemany(
            "INSERT INTO training_metrics (job_id, reported_at, progress, metrics) VALUES (?, ?, ?, ?)",
            [[claim.job_id, now, one.progress, to_json(finite_metrics(one.metrics))] for one in reports],
        )
        last = reports[-1]
        best = next((one.best_checkpoint for one in reversed(reports) if one.best_checkpoint is not None), None)
        reached = {
            "progress": last.progress,
            "furthest": max(one.progress for one in reports),
            "metrics": to_json(finite_metrics(last.metrics)),
            "best": best,
        }
        connection.execute(
            "UPDATE training_jobs SET progress = :progress, metrics = :metrics, "  # noqa: S608 - constants
            "best_checkpoint = coalesce(:best, best_checkpoint), "
            "furthest = CASE WHEN :furthest > furthest THEN :furthest ELSE furthest END, "
            f"resumes = CASE WHEN :furthest > furthest THEN 0 ELSE resumes END WHERE {MINE}",
            _names(claim) | reached,
        )

    def _is_any_waiting(self, names: Mapping[str, object]) -> bool:
        """Asked without a write lock, since the answer is mostly no."""
        with self._database.reading() as connection:
            found = connection.execute(f"SELECT EXISTS (SELECT 1 FROM training_jobs WHERE {WAITING})", names)  # noqa: S608 - constants
            return bool(found.fetchone()[0])

    def _require_room(self, connection: Connection) -> None:
        (queued,) = connection.execute("SELECT count(*) FROM training_jobs WHERE status = 'queued'").fetchone()
        if queued >= self._queue_limit:
            raise TooManyJobs(f"{queued} jobs are queued, and at most {self._queue_limit} may be: cancel one, or wait")


def _job_of_key(connection: Connection, key: str | None, request_hash: str) -> str | None:
    row = connection.execute("SELECT id, request_hash FROM training_jobs WHERE idempotency_key = ?", [key]).fetchone()
    if row is not None and row[1] != request_hash:
        raise KeyReused(f"idempotency_key {key!r} was used for another request: give each request its own")
    return None if row is None else str(row[0])


def _end_lapsed(connection: Connection, names: Mapping[str, object]) -> None:
    lapsed = "status = 'running' AND lease_until <= :now"
    _end(connection, "cancelled", "cancelled while no process ran it", f"{lapsed} AND is_cancelling = 1", names)
    reason = f"its process ended {RESUMES + 1} times without getting further"
    _end(connection, "interrupted", reason, f"{lapsed} AND resumes >= {RESUMES}", names)


def _end(connection: Connection, status: JobStatus, reason: str, condition: str, names: Mapping[str, object]) -> int:
    """End the jobs that a condition names; what was sent to train on is not kept beyond the end."""
    return connection.execute(
        "UPDATE training_jobs SET status = :status, reason = :reason, finished_at = :now, training_data = '' "  # noqa: S608 - constants
        f"WHERE {condition}",
        {**names, "status": status, "reason": reason},
    ).rowcount


def _state(connection: Connection, job_id: str) -> JobState:
    row = connection.execute(f"SELECT {STATE_COLUMNS} FROM training_jobs WHERE id = ?", [job_id]).fetchone()  # noqa: S608 - constants
    if row is None:
        raise UnknownJob(f"no training job has the id {job_id!r}; training.list gives the ids")
    return _state_of(row)


def _state_of(row: Sequence[Any]) -> JobState:  # Any: cells
    values = dict(zip(JobState.__dataclass_fields__, row, strict=True))
    return JobState(**values | {"metrics": from_json(values["metrics"])})


def _names(claim: Claim) -> dict[str, object]:
    return {"job_id": claim.job_id, "owner": claim.owner}

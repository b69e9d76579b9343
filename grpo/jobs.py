"""Training jobs as records: what is asked, what a runner is given, how far it is, and what it came to."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from grpo.errors import TrainingFailed, TrainingUsageError
from trajstore.addresses import is_on_server
from trajstore.errors import InvalidRecord
from trajstore.ingest.fields import require_plain
from trajstore.ingest.native import READER
from trajstore.schema import Trajectory

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]


class TooManyJobs(TrainingFailed):
    """As many jobs are queued as the service takes."""


class KeyReused(TrainingUsageError):
    """An idempotency key was used before, for another request."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is asked: for which agent, with which settings, on which trajectories.

    `training_data` are records of the native format; None trains on the trajectories of the store.  Two requests with
    the same `idempotency_key` are one.
    """

    agent_id: str
    config: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    training_data: Sequence[Mapping[str, Any]] | None = None  # Any: JSON
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a runner is given.

    `training_data` is empty where the trajectories of the store at `database` train.  `folder` is the job's own, for
    checkpoints and logs; with `is_resumed` an earlier process may have left a checkpoint there.
    """

    job_id: str
    agent_id: str
    config: Mapping[str, Any]  # Any: JSON
    training_data: tuple[Trajectory, ...]
    database: str
    folder: Path
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: `progress` in [0, 1], the newest metrics, and the best checkpoint so far."""

    progress: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    best_checkpoint: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.progress <= 1.0:
            raise TrainingUsageError(f"progress must lie in [0, 1], got {self.progress}: report the share that is done")


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job came to: its last metrics, and its best checkpoint."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    best_checkpoint: str | None = None


class JobRunner(Protocol):
    """Runs one job to its end; `report` returns False when the job is to stop, with what was reached saved."""

    def __call__(self, job: TrainingJob, report: Callable[[JobProgress], bool]) -> JobResult:
        """Train; raises what stops it."""
        ...


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands; times are seconds since 1970, a metric that is not finite is None.

    `reason` says why it ended where that was no success.  `resumes` counts the times in a row that it was taken up
    again without getting further.
    """

    job_id: str
    agent_id: str
    status: JobStatus
    progress: float
    metrics: Mapping[str, float | None]
    best_checkpoint: str | None
    reason: str
    resumes: int
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class ReportedMetrics:
    """Metrics as they were reported once; `number` rises from report to report."""

    number: int
    reported_at: float
    progress: float
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, until its lease lapses."""

    job_id: str
    owner: str


def trajectories_of(records: Iterable[Mapping[str, Any]]) -> tuple[Trajectory, ...]:
    """Records of the native format as trajectories; `TrainingUsageError` names the first that cannot be read.

    >>> trajectories_of([{"task": "find it", "steps": [{"tool": "search"}], "success": True}])[0].task.text
    'find it'
    """
    return tuple(_trajectory(place, record) for place, record in enumerate(records))


def job_folder(database: str, job_id: str) -> Path:
    """Where a job keeps its checkpoints and its log: beside the database, or where the service was started.

    >>> job_folder("agent.db", "7f").as_posix()
    'agent.db.jobs/7f'
    >>> job_folder("postgresql://me@host/agents", "7f").parts[-3:]
    ('trajstore-jobs', 'f4aeb417', '7f')
    """
    if is_on_server(database):
        name = hashlib.blake2b(database.encode(), digest_size=4).hexdigest()
        return Path("trajstore-jobs").absolute() / name / job_id
    return Path(f"{database}.jobs") / job_id


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them: None stands for NaN and the infinities.

    >>> finite_metrics({"loss": 0.5, "kl": float("nan")})
    {'loss': 0.5, 'kl': None}
    """
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def _trajectory(place: int, record: Mapping[str, Any]) -> Trajectory:
    try:
        trajectory = READER.trajectory(dict(record))
        for step in trajectory.steps:
            require_plain(step.args, f"steps[{step.index}].args")
        require_plain(trajectory.metadata, "metadata")
    except InvalidRecord as error:
        raise TrainingUsageError(f"training_data[{place}] is no trajectory of the native format: {error}") from error
    except RecursionError as error:
        raise TrainingUsageError(f"training_data[{place}] is nested too deeply to be read") from error
    return trajectory

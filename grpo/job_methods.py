"""The methods `training.*` of the service: what each takes, and what it answers.

Settings are those of `GRPOConfig`, numbers within bounds and names out of fixed lists: nothing in a request names a
model, a path or a class.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from grpo.config import GRPOConfig
from grpo.errors import TrainingUsageError, UnknownJob
from grpo.job_table import ROWS_AT_ONCE, JobTable
from grpo.jobs import JobRequest, JobStatus, KeyReused, TooManyJobs
from grpo.json_rpc import Codes, Dispatcher, Method

UNKNOWN_JOB = -32000
TOO_MANY_JOBS = -32001
FORBIDDEN = -32002
KEY_REUSED = -32003

TRAJECTORY_LIMIT = 10_000
LARGEST_SETTING = 1_000_000
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")

CODES: Codes = ((UnknownJob, UNKNOWN_JOB), (TooManyJobs, TOO_MANY_JOBS), (KeyReused, KEY_REUSED))

Name = Annotated[str, Meta(min_length=1, max_length=200)]
RowLimit = Annotated[int, Meta(ge=1, le=ROWS_AT_ONCE)]


class StartParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `training.start_grpo`; `config` holds settings by name, without `training_data` the store's own trains."""

    agent_id: Name
    config: dict[str, Any]
    training_data: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=TRAJECTORY_LIMIT)] | None = None
    idempotency_key: Name | None = None


class JobParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `training.get_status` and `training.cancel`."""

    job_id: Name


class ListParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `training.list`: the newest `limit` jobs, all or those of one status."""

    status: JobStatus | None = None
    limit: RowLimit = 100


class MetricsParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `training.get_metrics`: what was reported after the number `after`."""

    job_id: Name
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: RowLimit = ROWS_AT_ONCE


def require_settings(config: Mapping[str, Any]) -> None:
    """Refuse what the trainer would not take, and what would ask too much of the machine (`TrainingUsageError`).

    >>> require_settings({"updates": 10, "device": "cpu"})
    """
    for name, value in config.items():
        if isinstance(value, int | float) and not 0 <= value <= LARGEST_SETTING:
            raise TrainingUsageError(f"{name} must lie in [0, {LARGEST_SETTING}] in a request, got {str(value)[:20]}")
    GRPOConfig.from_mapping(config)
    if not DEVICE.fullmatch(str(config.get("device", "auto"))):
        raise TrainingUsageError(f"device must be auto, cpu, cuda or cuda:N, got {config['device']!r}")


def training_methods(jobs: JobTable, on_start: Callable[[], None]) -> Dispatcher:
    """The methods over one table of jobs; `on_start` is called after a job was queued."""
    methods = TrainingMethods(jobs, on_start)
    return Dispatcher(
        {
            "training.start_grpo": Method(StartParams, methods.start, needs_id=True),
            "training.get_status": Method(JobParams, methods.status),
            "training.list": Method(ListParams, methods.list_jobs),
            "training.cancel": Method(JobParams, methods.cancel),
            "training.get_metrics": Method(MetricsParams, methods.metrics),
        },
        CODES,
    )


@dataclass(frozen=True, slots=True)
class TrainingMethods:
    """What the methods do with their checked parameters; results are plain JSON."""

    jobs: JobTable
    on_start: Callable[[], None]

    def start(self, params: StartParams) -> Mapping[str, object]:
        """Queue a job whose settings the trainer would take."""
        require_settings(params.config)
        request = JobRequest(params.agent_id, params.config, params.training_data, params.idempotency_key)
        job_id = self.jobs.add(request)
        self.on_start()
        return {"training_job_id": job_id}

    def status(self, params: JobParams) -> Mapping[str, object]:
        """Where a job stands."""
        return asdict(self.jobs.get(params.job_id))

    def list_jobs(self, params: ListParams) -> Mapping[str, object]:
        """The newest jobs."""
        return {"jobs": [asdict(job) for job in self.jobs.jobs(params.status, params.limit)]}

    def cancel(self, params: JobParams) -> Mapping[str, object]:
        """Ask a job to stop; one that has ended stays as it is."""
        return asdict(self.jobs.cancel(params.job_id))

    def metrics(self, params: MetricsParams) -> Mapping[str, object]:
        """What a job reported, oldest first; `last` is the number to ask on from."""
        rows = self.jobs.metrics(params.job_id, params.after, params.limit)
        last = rows[-1].number if rows else params.after
        return {"job_id": params.job_id, "metrics": [asdict(row) for row in rows], "last": last}

"""The process that runs one training job: `python -m grpo.job_process --db DB --job ID --owner CLAIM`.

It renews its lease in a thread of its own, so that a long update does not lose it, and stops at the next report when
the job was cancelled or when another process took it over.
"""

import argparse
import contextlib
import fcntl
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from grpo.errors import TrainingFailed, UnknownJob
from grpo.job_table import LEASE_SECONDS, Ended, JobTable, Standing
from grpo.jobs import Claim, JobProgress, JobResult, JobRunner, TrainingJob
from trajstore.errors import StoreUnavailable, TrajstoreError
from trajstore.opening import open_database

BEATS_PER_LEASE = 6
REPORT_SECONDS = 0.5
RETRY_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run of a job ended, and why where that was no success."""

    status: Ended
    result: JobResult
    reason: str = ""


class Heart:
    """Renews a claim's lease every sixth of it until it is closed, and knows where the job stands."""

    def __init__(self, jobs: JobTable, claim: Claim) -> None:
        self.standing: Standing = "going on"
        self._jobs = jobs
        self._claim = claim
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heart of {claim.job_id}", daemon=True)

    def heed(self, standing: Standing) -> None:
        """Take in where the job stands: what is cancelled or lost stays so."""
        if self.standing == "going on" or standing == "lost":
            self.standing = standing

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing.set()
        self._thread.join()

    def _beat(self) -> None:
        is_beating = True
        while is_beating:
            with contextlib.suppress(StoreUnavailable):  # a busy or full disk may be free at the next beat
                self.heed(self._jobs.beat(self._claim))
            is_beating = not self._is_closing.wait(self._jobs.lease_seconds / BEATS_PER_LEASE)


class Reporter:
    """Takes in what a runner reports, writes it twice a second at most, and says whether the job goes on."""

    def __init__(self, jobs: JobTable, claim: Claim, heart: Heart) -> None:
        self.was_stopped = False
        self._jobs = jobs
        self._claim = claim
        self._heart = heart
        self._waiting: list[JobProgress] = []
        self._is_first = True
        self._written_at = float("-inf")

    def __call__(self, progress: JobProgress) -> bool:
        """Take in one report; False when the job is to stop."""
        self._waiting.append(progress)
        if time.monotonic() - self._written_at >= REPORT_SECONDS:
            self.write()
        self.was_stopped = self.was_stopped or self._heart.standing != "going on"
        return not self.was_stopped

    def write(self) -> None:
        """Write what waits; where the store cannot be written it waits on."""
        self._written_at = time.monotonic()
        if not self._waiting:
            return
        try:
            standing = self._jobs.report(self._claim, self._waiting, is_first=self._is_first)
        except StoreUnavailable as error:
            log.warning("a report waits: %s", error)
            return
        self._heart.heed(standing)
        self._waiting, self._is_first = [], False


def run_claimed(jobs: JobTable, claim: Claim, runner: JobRunner) -> bool:
    """Run a claimed job to its end; True where its end was written here.

    Raises `UnknownJob` where the claim is lost already, and `TrainingFailed` where an earlier process keeps its folder.
    """
    job = jobs.load(claim)
    with Heart(jobs, claim) as heart, _only_one_in(job.folder, 2.0 * jobs.lease_seconds):
        reporter = Reporter(jobs, claim, heart)
        ending = _carried_out(runner, job, reporter)
        reporter.write()
        return jobs.finish(claim, ending.status, ending.result, ending.reason)


def main(arguments: Sequence[str] | None = None, runner: JobRunner | None = None) -> int:
    """Run the job that the command line names; returns the exit code, 0 where its end was written."""
    words = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    database = open_database(words.db)
    try:
        jobs = JobTable(database, lease_seconds=words.lease)
        return 0 if run_claimed(jobs, Claim(words.job, words.owner), runner or _train) else 1
    except (UnknownJob, TrainingFailed) as error:
        log.error("%s", error)
        return 1
    finally:
        database.close()


def sentence_of(error: Exception, job: TrainingJob) -> str:
    """Why a job failed, without the paths of this machine."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: the log in the job's folder says where"
    if not isinstance(error, TrajstoreError):
        return f"unexpected error ({type(error).__name__}): the log in the job's folder has it"
    return str(error).replace(str(job.folder), "the job's folder").replace(job.database, "the store")


def _train(job: TrainingJob, report: Callable[[JobProgress], bool]) -> JobResult:
    from grpo.job_runner import run_job  # noqa: PLC0415 - torch loads for seconds, with the lease beating already

    return run_job(job, report)


def _carried_out(runner: JobRunner, job: TrainingJob, reporter: Reporter) -> Ending:
    try:
        result = runner(job, reporter)
    except Exception as error:  # the job runner's last resort: a failed job is data
        log.exception("job %s failed", job.job_id)
        return Ending("failed", JobResult(), sentence_of(error, job))
    if reporter.was_stopped:
        return Ending("cancelled", result, "cancelled while it ran")
    return Ending("succeeded", result)


@contextlib.contextmanager
def _only_one_in(folder: Path, patience_seconds: float) -> Iterator[None]:
    """Hold a job's folder; an earlier process that still runs gets the time to see that it lost its lease."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_seconds
    with (folder / "lock").open("w") as lock:
        while not _is_locked(lock.fileno()):
            if time.monotonic() >= deadline:
                raise TrainingFailed(f"{folder} is in use by an earlier process of the job that does not stop: end it")
            time.sleep(RETRY_SECONDS)
        yield


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m grpo.job_process", description="Run one claimed training job.")
    parser.add_argument("--db", required=True, help="path of the database file, or its address on a server")
    parser.add_argument("--job", required=True, help="id of the job")
    parser.add_argument("--owner", required=True, help="the claim that the service made for this process")
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS, help="seconds that a claim holds")
    return parser


if __name__ == "__main__":
    sys.exit(main())

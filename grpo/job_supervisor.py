"""Starts a process for each job whose turn it is, and frees the claims of processes that ended without a word."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from grpo.job_table import JobTable
from grpo.jobs import Claim, job_folder
from trajstore.addresses import is_on_server
from trajstore.errors import TrajstoreError

POLL_SECONDS = 0.5
TOKEN_VARIABLE = "TRAJSTORE_TOKEN"  # noqa: S105 - the name of a variable, not a token
# -P: whatever lies in the folder where the service was started is not imported.
COMMAND = (sys.executable, "-P", "-m", "grpo.job_process")

log = logging.getLogger(__name__)


class JobSupervisor:
    """Runs the jobs of a store, at most `running_limit` at a time over all the services of that store.

    `command` is what a job's process runs, before its own arguments.  The processes outlive the supervisor.
    """

    def __init__(self, jobs: JobTable, *, running_limit: int = 1, command: Sequence[str] = COMMAND) -> None:
        self._jobs = jobs
        self._running_limit = running_limit
        self._command = tuple(command)
        self._processes: dict[Claim, subprocess.Popen[bytes]] = {}
        self._is_stopping = threading.Event()
        self._is_woken = threading.Event()

    def tick(self) -> None:
        """Free the claims of processes that ended, and start the jobs that may run."""
        self._free_ended()
        while (claim := self._jobs.claim(self._running_limit)) is not None:
            self._start(claim)

    def run(self) -> None:
        """Tick until stopped; what goes wrong once is logged, and tried again."""
        while not self._is_stopping.is_set():
            try:
                self.tick()
            except (TrajstoreError, OSError) as error:
                log.warning("the next job cannot be started yet: %s", error)
            self._is_woken.wait(POLL_SECONDS)
            self._is_woken.clear()

    def wake(self) -> None:
        """Look at once whether there is something to start."""
        self._is_woken.set()

    def stop(self) -> None:
        """End `run`; the processes of jobs go on."""
        self._is_stopping.set()
        self.wake()

    def _free_ended(self) -> None:
        ended = [claim for claim, process in self._processes.items() if process.poll() is not None]
        for claim in ended:
            self._jobs.release(claim)
            del self._processes[claim]

    def _start(self, claim: Claim) -> None:
        try:
            self._processes[claim] = self._spawned(claim)
        except OSError:
            self._jobs.put_back(claim)
            raise

    def _spawned(self, claim: Claim) -> subprocess.Popen[bytes]:
        path = self._jobs.path
        database = path if is_on_server(path) else str(Path(path).absolute())
        inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        words = ["--db", database, "--job", claim.job_id, "--owner", claim.owner]
        folder = job_folder(database, claim.job_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "job.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the command is ours, its arguments are ids that we made
                [*self._command, *words, "--lease", str(self._jobs.lease_seconds)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=inherited | dict(self._jobs.secrets),  # others see a process's arguments
            )

"""The process of a job: what it writes, when it stops, and what becomes of its errors."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grpo.errors import TrainingFailed
from grpo.job_process import main, run_claimed
from grpo.job_supervisor import JobSupervisor
from grpo.job_table import JobTable
from grpo.jobs import Claim, JobProgress, JobRequest, JobResult, TrainingJob, job_folder
from trajstore.database import Database
from trajstore.opening import open_database

Report = Callable[[JobProgress], bool]
PATIENCE_SECONDS = 60.0
CMDLINES = Path("/proc/self")
# A runner that keeps its place in its folder, and says which process did what.
SCRIPT = """
    import os, sys, time
    from grpo.job_process import main
    from grpo.jobs import JobProgress, JobResult

    def count(job, report):
        place = job.folder / "place"
        done = int(place.read_text()) if place.exists() else 0
        while done < job.config["updates"]:
            done += 1
            with (job.folder / "who").open("a") as file:
                file.write(f"{os.getpid()} {done}\\n")
            (job.folder / "new").write_text(str(done))
            (job.folder / "new").replace(place)
            if not report(JobProgress(done / job.config["updates"], {"update": done}, f"update-{done}")):
                break
            while done == job.config.get("hold") and not (job.folder / "go").exists():
                time.sleep(0.02)
        return JobResult({"update": done}, f"update-{done}")

    sys.exit(main(runner=count))
"""


@pytest.fixture
def jobs(store_path: Path) -> Iterator[JobTable]:
    database = Database(store_path)
    yield JobTable(database, lease_seconds=3.0)
    database.close()


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """What runs a job by the runner above."""
    script = tmp_path / "count_job.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return [sys.executable, str(script)]


def claimed(jobs: JobTable, **config: float) -> Claim:
    jobs.add(JobRequest("agent", config))
    claim = jobs.claim()
    assert claim is not None
    return claim


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def arguments(jobs: JobTable, claim: Claim) -> list[str]:
    return ["--db", jobs.path, "--job", claim.job_id, "--owner", claim.owner, "--lease", str(jobs.lease_seconds)]


def started_by(jobs: JobTable, job_id: str) -> list[int]:
    """The processes that worked on a job, in order, once each."""
    who = job_folder(jobs.path, job_id) / "who"
    lines = who.read_text().splitlines() if who.exists() else []
    return list(dict.fromkeys(int(line.split()[0]) for line in lines))


def test_what_a_runner_returns_is_the_result(jobs: JobTable):
    claim = claimed(jobs)
    assert run_claimed(jobs, claim, lambda job, report: JobResult({"success": 0.5}, "update-3"))
    state = jobs.get(claim.job_id)
    assert (state.status, state.progress, state.reason) == ("succeeded", 1.0, "")
    assert (dict(state.metrics), state.best_checkpoint) == ({"success": 0.5}, "update-3")


def test_every_report_is_kept_however_fast_they_come(jobs: JobTable):
    def quick(job: TrainingJob, report: Report) -> JobResult:
        assert all(report(JobProgress(number / 300.0, {"number": number})) for number in range(300))
        return JobResult()

    claim = claimed(jobs)
    run_claimed(jobs, claim, quick)
    assert [row.metrics["number"] for row in jobs.metrics(claim.job_id)] == list(range(300))
    assert jobs.get(claim.job_id).metrics["number"] == 299


def test_reports_of_a_stretch_whose_length_is_unknown_are_kept_too(jobs: JobTable):
    def lost(job: TrainingJob, report: Report) -> JobResult:
        assert all(report(JobProgress(0.0, {"number": number})) for number in range(3))
        return JobResult()

    claim = claimed(jobs)
    run_claimed(jobs, claim, lost)
    assert [row.metrics["number"] for row in jobs.metrics(claim.job_id)] == [0, 1, 2]


def test_a_runner_that_fails_fails_its_job_with_one_sentence(jobs: JobTable):
    def failing(job: TrainingJob, report: Report) -> JobResult:
        report(JobProgress(0.25, {"loss": 1.0}, "update-1"))
        raise TrainingFailed(f"the reward of update 2 is NaN; {job.folder} has what was reached")

    claim = claimed(jobs)
    assert run_claimed(jobs, claim, failing)
    state = jobs.get(claim.job_id)
    assert (state.status, state.progress, state.best_checkpoint) == ("failed", 0.25, "update-1")
    assert state.reason == "the reward of update 2 is NaN; the job's folder has what was reached"


def test_an_unexpected_error_is_told_by_its_kind_alone(jobs: JobTable, caplog: pytest.LogCaptureFixture):
    def failing(job: TrainingJob, report: Report) -> JobResult:
        raise RuntimeError(f"secret at {job.database}")

    claim = claimed(jobs)
    run_claimed(jobs, claim, failing)
    assert jobs.get(claim.job_id).reason == "unexpected error (RuntimeError): the log in the job's folder has it"
    assert "secret at" in caplog.text


def test_a_full_disk_is_told_as_such(jobs: JobTable):
    def failing(job: TrainingJob, report: Report) -> JobResult:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.folder / "weights"))

    claim = claimed(jobs)
    run_claimed(jobs, claim, failing)
    assert jobs.get(claim.job_id).reason == "No space left on device: the log in the job's folder says where"


def test_a_cancelled_job_stops_at_its_next_report_and_keeps_its_checkpoint(jobs: JobTable):
    def patient(job: TrainingJob, report: Report) -> JobResult:
        jobs.cancel(job.job_id)
        wait_for(lambda: not report(JobProgress(0.5, {"loss": 1.0}, "update-5")))
        return JobResult(best_checkpoint="update-5")

    claim = claimed(jobs)
    run_claimed(jobs, claim, patient)
    state = jobs.get(claim.job_id)
    assert (state.status, state.reason, state.best_checkpoint) == ("cancelled", "cancelled while it ran", "update-5")


def test_a_job_that_was_done_before_it_learned_that_it_is_cancelled_has_succeeded(jobs: JobTable):
    def deaf(job: TrainingJob, report: Report) -> JobResult:
        jobs.cancel(job.job_id)
        return JobResult()

    claim = claimed(jobs)
    run_claimed(jobs, claim, deaf)
    assert jobs.get(claim.job_id).status == "succeeded"


def test_a_long_update_renews_its_lease_meanwhile(jobs: JobTable, store_path: Path):
    def lease() -> float:
        plain = sqlite3.connect(store_path)
        (until,) = plain.execute("SELECT lease_until FROM training_jobs").fetchone()
        plain.close()
        return until

    def slow(job: TrainingJob, report: Report) -> JobResult:
        wait_for(lambda: lease() < begun)  # from the time that a process has to begin to that between beats
        first = lease()
        wait_for(lambda: lease() > first)
        return JobResult()

    claim = claimed(jobs)
    begun = lease()
    assert run_claimed(jobs, claim, slow)


def test_a_job_that_another_process_took_over_stops_and_writes_nothing(jobs: JobTable):
    def robbed(job: TrainingJob, report: Report) -> JobResult:
        jobs.release(claim)
        taken.append(jobs.claim())
        wait_for(lambda: not report(JobProgress(0.9)))
        return JobResult(best_checkpoint="of the robbed")

    claim, taken = claimed(jobs), []
    assert not run_claimed(jobs, claim, robbed)
    state = jobs.get(claim.job_id)
    assert (state.status, state.best_checkpoint) == ("running", None)
    assert jobs.beat(taken[0]) == "going on"


def test_no_two_processes_work_in_the_folder_of_a_job(jobs: JobTable):
    def jealous(job: TrainingJob, report: Report) -> JobResult:
        jobs.release(claim)
        second = jobs.claim()
        with pytest.raises(TrainingFailed, match="in use by an earlier process"):
            run_claimed(JobTable(database, lease_seconds=0.1), second, lambda job, report: JobResult())
        return JobResult()

    database, claim = Database(jobs.path), claimed(jobs)
    run_claimed(jobs, claim, jealous)
    database.close()


def test_a_claim_that_is_no_longer_good_ends_the_process_with_an_exit_code(jobs: JobTable):
    claim = claimed(jobs)
    assert main(arguments(jobs, Claim(claim.job_id, "someone")), lambda job, report: JobResult()) == 1
    assert main(arguments(jobs, claim), lambda job, report: JobResult()) == 0


def test_the_folder_of_a_job_is_its_owners_alone(jobs: JobTable):
    claim = claimed(jobs)
    run_claimed(jobs, claim, lambda job, report: JobResult())
    assert job_folder(jobs.path, claim.job_id).stat().st_mode & 0o077 == 0


def test_a_supervisor_runs_the_jobs_one_after_the_other(jobs: JobTable, command: list[str]):
    ids = [jobs.add(JobRequest("agent", {"updates": 2})) for _ in range(2)]
    supervisor = JobSupervisor(jobs, command=command)

    def are_done() -> bool:
        supervisor.tick()
        assert len(jobs.jobs("running")) <= 1
        return len(jobs.jobs("succeeded")) == 2

    wait_for(are_done)
    assert [dict(jobs.get(job_id).metrics) for job_id in ids] == [{"update": 2}] * 2


def test_two_supervisors_of_one_store_run_no_job_twice(jobs: JobTable, command: list[str]):
    ids = [jobs.add(JobRequest("agent", {"updates": 3})) for _ in range(2)]
    other = Database(jobs.path)
    supervisors = [
        JobSupervisor(table, running_limit=2, command=command) for table in (jobs, JobTable(other, lease_seconds=3.0))
    ]

    def are_done() -> bool:
        for supervisor in supervisors:
            supervisor.tick()
        return len(jobs.jobs("succeeded")) == len(ids)

    wait_for(are_done)
    other.close()
    assert [len(started_by(jobs, job_id)) for job_id in ids] == [1, 1]


def test_a_killed_process_is_followed_by_one_that_goes_on_from_its_checkpoint(jobs: JobTable, command: list[str]):
    job_id = jobs.add(JobRequest("agent", {"updates": 6, "hold": 3}))
    folder = job_folder(jobs.path, job_id)
    supervisor = JobSupervisor(jobs, command=command)
    supervisor.tick()
    wait_for(lambda: (folder / "place").exists() and (folder / "place").read_text() == "3")
    os.kill(started_by(jobs, job_id)[0], signal.SIGKILL)
    (folder / "go").touch()

    def is_done() -> bool:
        supervisor.tick()
        return jobs.get(job_id).status == "succeeded"

    wait_for(is_done)
    assert len(started_by(jobs, job_id)) == 2
    assert [line.split()[1] for line in (folder / "who").read_text().splitlines()] == list("123456")
    progress = [row.progress for row in jobs.metrics(job_id)]
    assert progress == sorted(set(progress))
    assert progress[-1] == 1.0


def test_a_command_that_dies_at_once_interrupts_its_job_in_the_end(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    supervisor = JobSupervisor(jobs, command=[sys.executable, "-c", "raise SystemExit('no')"])

    def is_over() -> bool:
        supervisor.tick()
        return jobs.get(job_id).status == "interrupted"

    wait_for(is_over)
    assert "no" in (job_folder(jobs.path, job_id) / "job.log").read_text()


def test_a_command_that_cannot_be_started_leaves_the_job_to_a_better_moment(jobs: JobTable, command: list[str]):
    job_id = jobs.add(JobRequest("agent", {"updates": 1}))
    with pytest.raises(OSError, match="no-such-command"):
        JobSupervisor(jobs, command=["/no-such-command"]).tick()
    supervisor = JobSupervisor(jobs, command=command)

    def is_done() -> bool:
        supervisor.tick()
        return jobs.get(job_id).status == "succeeded"

    wait_for(is_done)


def test_the_token_of_the_service_is_not_handed_to_its_jobs(jobs: JobTable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRAJSTORE_TOKEN", "a-token-of-the-service")
    job_id = jobs.add(JobRequest("agent"))
    JobSupervisor(jobs, command=[sys.executable, "-c", "import os; print(sorted(os.environ))"]).tick()
    log = job_folder(jobs.path, job_id) / "job.log"
    wait_for(lambda: "]" in log.read_text())
    assert "'PATH'" in log.read_text()
    assert "TRAJSTORE_TOKEN" not in log.read_text()


def test_the_module_runs_as_a_command_and_loads_no_torch_to_say_how(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "grpo.job_process", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert "--owner" in done.stdout
    assert "torch" not in done.stderr


@pytest.mark.skipif(not CMDLINES.exists(), reason="only Linux shows the arguments of processes")
def test_a_job_of_a_store_on_a_server_runs_and_no_argument_shows_the_password(
    postgres_address: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    database = open_database(postgres_address.replace("postgres@", "postgres:s3cr3t@"))
    jobs = JobTable(database, lease_seconds=3.0)
    job_id = jobs.add(JobRequest("agent", {"updates": 3, "hold": 2}))
    JobSupervisor(jobs, command=command).tick()
    wait_for(lambda: started_by(jobs, job_id) != [])
    (process,) = started_by(jobs, job_id)
    assert "s3cr3t" not in CMDLINES.with_name(str(process)).joinpath("cmdline").read_text()
    (job_folder(jobs.path, job_id) / "go").touch()
    wait_for(lambda: jobs.get(job_id).status == "succeeded")
    assert job_folder(jobs.path, job_id).is_relative_to(tmp_path)
    database.close()

"""The table of jobs: one process at a time for each job, results written once, and an end for every job."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from grpo.errors import TrainingUsageError, UnknownJob
from grpo.job_table import RESUMES, JobTable
from grpo.jobs import Claim, JobProgress, JobRequest, JobResult, KeyReused, TooManyJobs, finite_metrics, job_folder
from trajstore.connection import AnyDatabase
from trajstore.database import Database
from trajstore.opening import open_database

NATIVE: dict[str, Any] = {"task": "find it", "success": True, "steps": [{"tool": "search", "args": {"q": "é"}}]}
LEASE = 30.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(store_address: str) -> Iterator[AnyDatabase]:
    opened = open_database(store_address)
    yield opened
    opened.close()


@pytest.fixture
def jobs(database: AnyDatabase, clock: Clock) -> JobTable:
    return JobTable(database, clock=clock, lease_seconds=LEASE, start_seconds=LEASE, queue_limit=4)


def claimed(jobs: JobTable, running_limit: int = 1) -> Claim:
    claim = jobs.claim(running_limit)
    assert claim is not None
    return claim


def lapse(clock: Clock) -> None:
    clock.now += LEASE + 1.0


def test_a_new_job_is_queued_and_has_done_nothing(jobs: JobTable):
    state = jobs.get(jobs.add(JobRequest("agent")))
    assert (state.status, state.progress, dict(state.metrics), state.best_checkpoint) == ("queued", 0.0, {}, None)
    assert (state.agent_id, state.created_at, state.started_at, state.finished_at) == ("agent", 1000.0, None, None)


def test_what_is_asked_is_what_a_runner_is_given(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent", {"updates": 3, "seed": 1}, [NATIVE]))
    job = jobs.load(claimed(jobs))
    assert (job.job_id, job.agent_id, dict(job.config)) == (job_id, "agent", {"updates": 3, "seed": 1})
    assert [one.steps[0].args for one in job.training_data] == [{"q": "é"}]
    assert job.folder == job_folder(jobs.path, job_id)
    assert not job.is_resumed


def test_without_training_data_a_runner_is_given_none(jobs: JobTable):
    jobs.add(JobRequest("agent"))
    assert jobs.load(claimed(jobs)).training_data == ()


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"task": "t", "steps": [{}]},
        {"task": "t", "steps": "x"},
        {"task": "t", "steps": [{"tool": "a"}], "reward": "x"},
    ],
)
def test_training_data_that_cannot_be_read_is_refused_with_its_place(jobs: JobTable, record: dict[str, Any]):
    with pytest.raises(TrainingUsageError, match=r"training_data\[1\] is no trajectory of the native format: \S"):
        jobs.add(JobRequest("agent", training_data=[NATIVE, record]))
    assert jobs.jobs() == []


def test_an_unknown_job_is_told_by_its_id(jobs: JobTable):
    for ask in (jobs.get, jobs.cancel, jobs.metrics):
        with pytest.raises(UnknownJob, match="no training job has the id 'none'"):
            ask("none")


def test_jobs_in_memory_are_refused():
    database = Database(":memory:")
    with pytest.raises(TrainingUsageError, match="give a path"):
        JobTable(database)
    database.close()


def test_the_same_request_under_the_same_key_is_one_job(jobs: JobTable):
    request = JobRequest("agent", {"updates": 3}, [NATIVE], idempotency_key="k")
    assert jobs.add(request) == jobs.add(request)
    assert len(jobs.jobs()) == 1


def test_requests_without_a_key_are_jobs_of_their_own(jobs: JobTable):
    assert jobs.add(JobRequest("agent")) != jobs.add(JobRequest("agent"))


@pytest.mark.parametrize("other", [JobRequest("b", {}, None, "k"), JobRequest("a", {"seed": 1}, None, "k")])
def test_another_request_under_the_same_key_is_refused(jobs: JobTable, other: JobRequest):
    jobs.add(JobRequest("a", {}, None, "k"))
    with pytest.raises(KeyReused, match="'k' was used for another request"):
        jobs.add(other)


def test_a_full_queue_takes_no_more_but_still_knows_its_keys(jobs: JobTable):
    first = jobs.add(JobRequest("agent", idempotency_key="k"))
    for _ in range(3):
        jobs.add(JobRequest("agent"))
    with pytest.raises(TooManyJobs, match="4 jobs are queued, and at most 4 may be"):
        jobs.add(JobRequest("agent"))
    assert jobs.add(JobRequest("agent", idempotency_key="k")) == first


def test_jobs_are_claimed_in_the_order_in_which_they_came(jobs: JobTable):
    ids = [jobs.add(JobRequest("agent")) for _ in range(3)]
    assert [claimed(jobs, 3).job_id for _ in ids] == ids
    assert [job.job_id for job in jobs.jobs("running")] == ids[::-1]


def test_no_more_jobs_run_than_may(jobs: JobTable):
    for _ in range(3):
        jobs.add(JobRequest("agent"))
    claim = claimed(jobs, 2)
    assert jobs.claim(1) is None
    assert claimed(jobs, 2)
    assert jobs.claim(2) is None
    jobs.finish(claim, "succeeded", JobResult())
    assert claimed(jobs, 2)


def test_a_job_whose_process_beats_is_left_alone(jobs: JobTable, clock: Clock):
    jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    for _ in range(5):
        clock.now += LEASE - 1.0
        assert jobs.beat(claim) == "going on"
        assert jobs.claim(9) is None


def test_a_process_has_more_time_to_begin_than_between_its_beats(database: AnyDatabase, clock: Clock):
    jobs = JobTable(database, clock=clock, lease_seconds=LEASE, start_seconds=4.0 * LEASE)
    jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    clock.now += 3.0 * LEASE
    assert jobs.claim() is None
    jobs.beat(claim)
    lapse(clock)
    assert claimed(jobs).job_id == claim.job_id


def test_a_job_whose_lease_lapsed_is_taken_up_again_before_those_that_wait(jobs: JobTable, clock: Clock):
    first = jobs.add(JobRequest("agent"))
    jobs.add(JobRequest("agent"))
    lost = claimed(jobs)
    lapse(clock)
    again = claimed(jobs)
    assert (again.job_id, jobs.load(again).is_resumed) == (first, True)
    assert again.owner != lost.owner


def test_a_process_that_lost_its_lease_changes_nothing_any_more(jobs: JobTable, clock: Clock):
    job_id = jobs.add(JobRequest("agent"))
    lost = claimed(jobs)
    lapse(clock)
    claimed(jobs)
    before = jobs.get(job_id)
    assert jobs.beat(lost) == "lost"
    assert jobs.report(lost, [JobProgress(0.9, {"loss": 1.0}, "bad")], is_first=True) == "lost"
    assert not jobs.finish(lost, "failed", JobResult({"loss": 1.0}, "bad"), "too late")
    jobs.release(lost)
    assert jobs.get(job_id) == before
    assert jobs.metrics(job_id) == []
    with pytest.raises(UnknownJob, match="is not claimed by"):
        jobs.load(lost)


def test_a_late_beat_keeps_a_lease_that_nobody_took(jobs: JobTable, clock: Clock):
    jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    lapse(clock)
    assert jobs.beat(claim) == "going on"
    assert jobs.claim(9) is None


def test_a_released_job_goes_on_at_once(jobs: JobTable):
    jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    jobs.release(claim)
    assert claimed(jobs).job_id == claim.job_id


def test_a_job_whose_process_could_not_be_started_waits_as_if_nothing_had_been(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    for _ in range(2 * RESUMES):
        jobs.put_back(claimed(jobs))
        assert (jobs.get(job_id).status, jobs.get(job_id).resumes) == ("queued", 0)
    assert not jobs.load(claimed(jobs)).is_resumed


def test_a_job_that_gets_no_further_is_interrupted_after_some_resumes(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent", training_data=[NATIVE]))
    for _ in range(RESUMES + 1):
        jobs.release(claimed(jobs))
    assert jobs.claim() is None
    state = jobs.get(job_id)
    assert (state.status, state.finished_at) == ("interrupted", 1000.0)
    assert state.reason == f"its process ended {RESUMES + 1} times without getting further"


def test_a_job_that_gets_further_each_time_is_resumed_for_ever(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    for number in range(1, 4 * RESUMES):
        claim = claimed(jobs)
        jobs.report(claim, [JobProgress(number / 100.0)])
        jobs.release(claim)
    assert jobs.get(job_id).status == "running"


def test_a_job_that_dies_at_the_same_place_each_time_is_interrupted(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    for _ in range(RESUMES + 1):
        claim = claimed(jobs)
        jobs.report(claim, [JobProgress(0.4)], is_first=True)
        jobs.report(claim, [JobProgress(0.6)])
        jobs.release(claim)
    assert jobs.claim() is None
    assert jobs.get(job_id).status == "interrupted"


def test_the_last_report_is_where_a_job_stands(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    jobs.report(claim, [JobProgress(0.1, {"loss": 2.0}, "update-1"), JobProgress(0.2, {"loss": 1.0})])
    state = jobs.get(job_id)
    assert (state.progress, dict(state.metrics), state.best_checkpoint) == (0.2, {"loss": 1.0}, "update-1")


def test_metrics_come_back_in_order_and_from_any_number_on(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    for number in range(5):
        jobs.report(claim, [JobProgress(number / 10.0, {"loss": float(number)})])
    rows = jobs.metrics(job_id)
    assert [row.metrics["loss"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert jobs.metrics(job_id, after=rows[1].number) == rows[2:]
    assert jobs.metrics(job_id, limit=2) == rows[:2]


def test_what_is_done_anew_after_a_resume_is_reported_once(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    first = claimed(jobs)
    jobs.report(first, [JobProgress(number / 10.0, {"start": 1.0}) for number in (1, 2, 3)], is_first=True)
    jobs.release(first)
    second = claimed(jobs)
    jobs.report(second, [JobProgress(number / 10.0, {"start": 2.0}) for number in (2, 3, 4)], is_first=True)
    assert [(row.progress, row.metrics["start"]) for row in jobs.metrics(job_id)] == [
        (0.1, 1.0),
        (0.2, 2.0),
        (0.3, 2.0),
        (0.4, 2.0),
    ]


def test_metrics_that_are_not_finite_are_none(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    jobs.report(claimed(jobs), [JobProgress(0.1, {"loss": float("nan"), "kl": float("inf"), "reward": 1})])
    assert dict(jobs.get(job_id).metrics) == {"loss": None, "kl": None, "reward": 1.0}
    assert finite_metrics({}) == {}


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_beyond_its_range_is_refused(progress: float):
    with pytest.raises(TrainingUsageError, match=r"progress must lie in \[0, 1\]"):
        JobProgress(progress)


def test_a_result_is_written_once(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    assert jobs.finish(claim, "succeeded", JobResult({"success": 0.5}, "update-9"))
    state = jobs.get(job_id)
    assert (state.status, state.progress, state.best_checkpoint) == ("succeeded", 1.0, "update-9")
    assert not jobs.finish(claim, "failed", JobResult({"success": 0.0}, "other"), "no")
    assert jobs.cancel(job_id) == state
    assert jobs.get(job_id) == state


def test_a_failure_keeps_what_was_reached(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    jobs.report(claim, [JobProgress(0.4, {"loss": 2.0}, "update-4")])
    jobs.finish(claim, "failed", JobResult(), "the reward is NaN")
    state = jobs.get(job_id)
    assert (state.status, state.progress, state.reason) == ("failed", 0.4, "the reward is NaN")
    assert (dict(state.metrics), state.best_checkpoint) == ({"loss": 2.0}, "update-4")


def test_what_was_sent_to_train_on_is_not_kept_beyond_the_end(jobs: JobTable, database: AnyDatabase):
    jobs.add(JobRequest("agent", training_data=[NATIVE]))
    jobs.finish(claimed(jobs), "succeeded", JobResult())
    with database.reading() as connection:
        assert connection.execute("SELECT training_data FROM training_jobs").fetchall() == [("",)]


def test_a_queued_job_is_cancelled_at_once(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    assert jobs.cancel(job_id).status == "cancelled"
    assert jobs.claim() is None


def test_a_running_job_learns_that_it_is_cancelled_when_it_reports(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    claim = claimed(jobs)
    assert jobs.cancel(job_id).status == "running"
    assert jobs.beat(claim) == "cancelling"
    assert jobs.report(claim, [JobProgress(0.5)]) == "cancelling"


def test_a_job_that_was_cancelled_while_no_process_ran_it_is_not_taken_up_again(jobs: JobTable):
    job_id = jobs.add(JobRequest("agent"))
    jobs.release(claimed(jobs))
    jobs.cancel(job_id)
    assert jobs.claim() is None
    assert jobs.get(job_id).status == "cancelled"


def test_many_services_at_once_claim_each_job_once(store_address: str):
    tables = [JobTable(open_database(store_address)) for _ in range(4)]
    ids = [tables[0].add(JobRequest("agent")) for _ in range(12)]
    found: list[str] = []

    def work(jobs: JobTable) -> None:
        while (claim := jobs.claim(len(ids))) is not None:
            found.append(claim.job_id)

    threads = [threading.Thread(target=work, args=[table]) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(ids)


class JobLife(RuleBasedStateMachine):
    """Services and processes in any order: claims, beats, deaths, cancellations, and time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "agent.db")
        self.clock = Clock()
        self.jobs = JobTable(self.database, clock=self.clock, lease_seconds=LEASE, start_seconds=LEASE)
        self.until: dict[Claim, float] = {}
        self.ended: dict[str, object] = {}

    @rule()
    def start(self) -> None:
        self.jobs.add(JobRequest("agent"))

    @rule()
    def claim(self) -> None:
        claim = self.jobs.claim(2)
        if claim is not None:
            assert claim.job_id not in {live.job_id for live in self.live()}
            assert claim.job_id not in self.ended
            self.until[claim] = self.clock.now + LEASE
        assert len(self.live()) <= 2

    @precondition(lambda self: self.until)
    @rule(data=st.data(), act=st.sampled_from(["beat", "report", "succeed", "fail", "die", "put back", "cancel"]))
    def act(self, data: st.DataObject, act: str) -> None:
        claim = data.draw(st.sampled_from(list(self.until)))
        if act == "cancel":
            self.jobs.cancel(claim.job_id)
        elif act in ("die", "put back"):
            (self.jobs.release if act == "die" else self.jobs.put_back)(claim)
            self.until[claim] = self.clock.now
        elif act in ("succeed", "fail"):
            if self.jobs.finish(claim, "succeeded" if act == "succeed" else "failed", JobResult()):
                self.until[claim] = self.clock.now
        elif self.renewed(claim, act) != "lost":
            self.until[claim] = self.clock.now + LEASE

    def renewed(self, claim: Claim, act: str) -> str:
        return self.jobs.beat(claim) if act == "beat" else self.jobs.report(claim, [JobProgress(0.5)])

    @rule(seconds=st.sampled_from([1.0, LEASE / 2.0, LEASE + 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def an_end_is_an_end(self) -> None:
        states = {state.job_id: state for state in self.jobs.jobs()}
        assert all(states[job_id] == state for job_id, state in self.ended.items())
        self.ended = {name: state for name, state in states.items() if state.finished_at is not None}
        assert all((state.status in ("queued", "running")) != (name in self.ended) for name, state in states.items())

    def live(self) -> list[Claim]:
        return [claim for claim, until in self.until.items() if until > self.clock.now]

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)

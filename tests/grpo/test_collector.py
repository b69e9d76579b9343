"""Rollouts: how many, in which order, and what becomes of those that fail."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_policies import BUTTONS, AsyncLamps, Breaking, Lamps, random_policy, tasks, untrained

from grpo.collector import CollectionConfig, Progress, TrajectoryCollector
from grpo.errors import TrainingUsageError
from grpo.protocols import Observation, Transition
from selector.situation import Situation
from trajstore.experience import play_back
from trajstore.schema import Candidate, Task

POLICY = random_policy()


def collect(environment, some_tasks, policy=POLICY, number=0, **settings):
    collector = TrajectoryCollector(environment, policy, CollectionConfig(**settings))
    rollouts = collector.collect(some_tasks, number=number)
    collector.close()
    return rollouts


class Endless(Lamps):
    def step(self, candidate: Candidate) -> Transition:
        return Transition("the lamp is red", BUTTONS, "click", 0.25, "ok", done=False)


class Slow(Lamps):
    """Takes its time over tasks that are called slow."""

    def reset(self, task: Task) -> Observation:
        self._is_slow = "slow" in task.text
        return super().reset(task)

    def step(self, candidate: Candidate) -> Transition:
        time.sleep(0.25 if self._is_slow else 0.0)
        return super().step(candidate)


class Counted(Lamps):
    """Counts how many are in a step at once, and how many were made and closed, each kind for itself."""

    lock = threading.Lock()
    made = closed = inside = most = 0

    def __init__(self) -> None:
        super().__init__()
        self.count("made", 1)

    def count(self, name: str, change: int) -> int:
        kind = type(self)
        with Counted.lock:
            setattr(kind, name, getattr(kind, name) + change)
            return getattr(kind, name)

    def step(self, candidate: Candidate) -> Transition:
        inside = self.count("inside", 1)
        with Counted.lock:
            type(self).most = max(type(self).most, inside)
        time.sleep(0.005)
        self.count("inside", -1)
        return super().step(candidate)

    def close(self) -> None:
        self.count("closed", 1)


@pytest.fixture
def counted() -> type[Counted]:
    """A kind of its own: an environment of another test may still be closed late."""
    return type("CountedHere", (Counted,), {})


@pytest.mark.parametrize("concurrency", [1, 4])
def test_each_task_is_rolled_out_so_often_task_by_task(concurrency):
    rollouts = collect(Lamps, tasks(3), per_task=4, concurrency=concurrency)
    assert [rollout.trajectory.task for rollout in rollouts] == [task for task in tasks(3) for _ in range(4)]


def test_no_tasks_make_no_rollouts():
    assert collect(Lamps(), ()) == ()


def test_a_rollout_ends_after_so_many_steps():
    (rollout,) = collect(Endless(), tasks(1), per_task=1, max_steps=7)
    assert len(rollout.trajectory.steps) == 7
    assert (rollout.trajectory.stop_reason, rollout.trajectory.success) == ("step limit", False)
    assert rollout.trajectory.reward == pytest.approx(7 * 0.25)


def test_a_rollout_ends_when_the_environment_says_so():
    for rollout in collect(Lamps(3), tasks(4), per_task=2):
        assert len(rollout.trajectory.steps) == 3
        assert rollout.trajectory.stop_reason == "done"
        assert rollout.trajectory.success is (rollout.trajectory.reward == pytest.approx(1.0))
        assert rollout.cause == ("" if rollout.trajectory.success else "task")


def test_steps_hold_what_was_offered_and_with_what_probability():
    for rollout in collect(Lamps(3), tasks(3), per_task=2, temperature=0.6):
        playback = play_back(rollout.trajectory)
        for at, step in enumerate(rollout.trajectory.steps):
            situation = Situation(rollout.trajectory.task.text, step.state, playback.past[:at], step.candidates)
            place = [one.tool for one in step.candidates].index(step.tool)
            expected = POLICY.log_probabilities(situation, temperature=0.6)[place]
            assert rollout.log_probabilities[at] == pytest.approx(expected, abs=1e-5)
            assert step.propensity == pytest.approx(np.exp(expected), abs=1e-5)


def test_a_rollout_knows_its_policy_and_its_temperature():
    policy = POLICY.with_weights(POLICY.weights, version=17)
    (rollout,) = collect(Lamps(), tasks(1), policy, per_task=1, temperature=0.5)
    assert (rollout.policy_version, rollout.temperature) == (17, 0.5)
    assert rollout.trajectory.metadata == {"policy_version": 17, "temperature": 0.5, "cause": rollout.cause}
    assert len(rollout.encoded) == len(rollout.log_probabilities) == len(rollout.trajectory.steps)


@pytest.mark.parametrize("concurrency", [2, 5])
def test_the_same_seed_makes_the_same_rollouts_however_many_run_at_once(concurrency):
    one, other = (collect(Lamps, tasks(4), per_task=3, seed=5, concurrency=places) for places in (1, concurrency))
    assert [rollout.trajectory for rollout in one] == [rollout.trajectory for rollout in other]


def test_another_seed_or_number_makes_other_rollouts():
    made = [
        [rollout.trajectory for rollout in collect(Lamps(), tasks(8), untrained(), number, seed=seed)]
        for number, seed in ((0, 0), (0, 1), (1, 0))
    ]
    assert made[0] != made[1]
    assert made[0] != made[2]


def test_members_of_a_group_are_drawn_independently():
    rollouts = collect(Lamps(4), tasks(1), untrained(), per_task=12)
    assert len({tuple(step.tool for step in rollout.trajectory.steps) for rollout in rollouts}) > 6


def test_temperature_zero_repeats_itself():
    rollouts = collect(Lamps(3), tasks(1), per_task=5, temperature=0.0)
    assert len({tuple(step.tool for step in rollout.trajectory.steps) for rollout in rollouts}) == 1
    assert {step.propensity for rollout in rollouts for step in rollout.trajectory.steps} == {1.0}


@pytest.mark.parametrize(("where", "steps"), [("reset", 0), ("step", 0)])
@pytest.mark.parametrize("is_one", [True, False])
def test_a_rollout_that_the_world_spoils_is_recorded_and_its_siblings_go_on(where, steps, is_one):
    some = (Task("fine 1"), Task(f"breaks in {where}"), Task("fine 2"))
    environment = Breaking() if is_one else Breaking
    rollouts = collect(environment, some, per_task=2, concurrency=2)
    assert [rollout.cause == "infrastructure" for rollout in rollouts] == [False] * 2 + [True] * 2 + [False] * 2
    for spoilt in rollouts[2:4]:
        assert spoilt.reason.startswith("OSError: the ")
        assert len(spoilt.trajectory.steps) == steps
        assert (spoilt.trajectory.success, spoilt.trajectory.reward) == (None, None)


def test_an_environment_that_cannot_be_made_spoils_its_rollout_alone():
    count = iter(range(100))

    def make() -> Lamps:
        if next(count) == 0:
            raise OSError("no more worlds")
        return Lamps()

    rollouts = collect(make, tasks(2), per_task=2)
    assert [rollout.cause == "infrastructure" for rollout in rollouts] == [True, False, False, False]
    assert "no more worlds" in rollouts[0].reason


def test_a_step_that_takes_too_long_ends_its_rollout():
    rollouts = collect(Slow, (Task("slow"), Task("fast")), per_task=1, step_seconds=0.1, concurrency=2)
    assert [rollout.cause == "infrastructure" for rollout in rollouts] == [True, False]
    assert rollouts[0].reason == "a time limit passed after 0 steps"


def test_an_episode_that_takes_too_long_keeps_the_steps_it_made():
    (rollout,) = collect(lambda: Slow(9), (Task("slow"),), per_task=1, episode_seconds=0.4)
    assert rollout.cause == "infrastructure"
    assert len(rollout.trajectory.steps) == len(rollout.log_probabilities) == 1


def test_an_environment_with_coroutines_gives_the_same():
    plain, other = (collect(kind, tasks(3), per_task=2, concurrency=2) for kind in (Lamps, AsyncLamps))
    assert [rollout.trajectory for rollout in plain] == [rollout.trajectory for rollout in other]


def test_coroutines_keep_to_the_time_limit():
    class Stuck(AsyncLamps):
        async def step(self, candidate: Candidate) -> Transition:
            await asyncio.sleep(60)
            return await super().step(candidate)

    (rollout,) = collect(Stuck, tasks(1), per_task=1, step_seconds=0.05)
    assert rollout.cause == "infrastructure"


async def test_rollouts_can_be_awaited_in_a_running_loop():
    rollouts = await TrajectoryCollector(Lamps, POLICY, CollectionConfig(per_task=2)).acollect(tasks(2))
    assert len(rollouts) == 4


def test_no_more_rollouts_run_at_once_than_allowed(counted):
    collect(counted, tasks(6), per_task=2, concurrency=3)
    assert counted.most <= 3
    assert counted.made <= 3


def test_environments_made_here_are_closed_here(counted):
    collector = TrajectoryCollector(counted, POLICY, CollectionConfig(per_task=3, concurrency=2))
    collector.collect(tasks(2))
    collector.close()
    deadline = time.monotonic() + 10.0  # each is closed in its own thread
    while counted.closed < counted.made and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counted.closed == counted.made > 0


def test_an_environment_that_was_handed_in_stays_open(counted):
    collector = TrajectoryCollector(counted(), POLICY, CollectionConfig(per_task=1))
    collector.collect(tasks(1))
    collector.close()
    assert counted.closed == 0
    assert len(collector.collect(tasks(1))) == 1


def test_progress_counts_successes_and_steps():
    heard: list[Progress] = []
    collector = TrajectoryCollector(Lamps, POLICY, CollectionConfig(per_task=3), on_rollout=heard.append)
    rollouts = collector.collect(tasks(4))
    last = heard[-1]
    successes = sum(rollout.trajectory.success is True for rollout in rollouts)
    assert [one.ended for one in heard] == list(range(1, 13))
    assert (last.total, last.steps, last.successes) == (12, 24, successes)
    assert last.success_rate == pytest.approx(successes / 12)
    assert last.steps_per_second > 0.0


def test_a_task_without_anything_to_do_makes_a_rollout_of_no_steps():
    class Empty(Lamps):
        def reset(self, task: Task) -> Observation:
            return Observation("nothing is here", ())

    (rollout,) = collect(Empty(), tasks(1), per_task=1)
    assert rollout.trajectory.steps == ()
    assert rollout.cause == "task"


@pytest.mark.parametrize("name", ["per_task", "max_steps", "concurrency"])
def test_counts_below_one_are_refused_by_name(name):
    with pytest.raises(TrainingUsageError, match=f"{name} must be 1 or more, got 0"):
        CollectionConfig(**{name: 0})


@pytest.mark.parametrize("name", ["step_seconds", "episode_seconds"])
@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_time_limits_are_above_zero(name, limit):
    with pytest.raises(TrainingUsageError, match=f"{name} must be above 0 or None"):
        CollectionConfig(**{name: limit})


@pytest.mark.parametrize("temperature", [-0.1, float("nan")])
def test_a_temperature_below_zero_is_refused(temperature):
    with pytest.raises(TrainingUsageError, match="temperature must be 0 or more"):
        CollectionConfig(temperature=temperature)


HANGING = """
import threading
from tiny_policies import Lamps, random_policy, tasks
from grpo.collector import CollectionConfig, TrajectoryCollector

class Hanging(Lamps):
    def step(self, candidate):
        threading.Event().wait()

config = CollectionConfig(per_task=1, step_seconds=0.1)
print(TrajectoryCollector(Hanging(), random_policy(), config).collect(tasks(1))[0].cause)
"""


def test_an_environment_that_hangs_does_not_keep_the_process_from_ending():
    folders = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "infrastructure"), done.stderr

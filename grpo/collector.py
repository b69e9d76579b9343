"""`TrajectoryCollector`: several rollouts of each task, side by side, each with a full record of how it was made."""

import asyncio
import inspect
import math
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from grpo.encoding import EncodedDecision
from grpo.errors import TrainingUsageError
from grpo.protocols import Action, Environment, Observation, Policy, Transition
from grpo.worker_thread import WorkerThread
from selector.situation import Situation
from trajstore.experience import past_step
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

Cause = Literal["", "task", "infrastructure"]
OnRollout = Callable[["Progress"], None]
SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class CollectionConfig:
    """How rollouts are made: so many a task, at most `max_steps` long, at most `concurrency` at a time.

    `step_seconds` and `episode_seconds` are limits (None: none).  Actions are sampled at `temperature`, 0: the most
    probable.  The same `seed` makes the same rollouts in an environment that is deterministic.
    """

    per_task: int = 8
    max_steps: int = 50
    concurrency: int = 1
    step_seconds: float | None = None
    episode_seconds: float | None = None
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("per_task", "max_steps", "concurrency"):
            if getattr(self, name) < 1:
                raise TrainingUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("step_seconds", "episode_seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0.0:
                raise TrainingUsageError(f"{name} must be above 0 or None, got {limit}")
        if not self.temperature >= 0.0:
            raise TrainingUsageError(f"temperature must be 0 or more, got {self.temperature}")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One trajectory by a known policy version.

    `log_probabilities` of what was chosen, one a step; `cause` says whether the task failed, or what runs it
    ("infrastructure": an error or a time limit, described in `reason`), "" where neither did.  `encoded` are the
    situations as the policy read them, `places` of what was chosen among the candidates, one a step each.
    """

    trajectory: Trajectory
    log_probabilities: tuple[float, ...]
    policy_version: int
    temperature: float
    cause: Cause = ""
    reason: str = ""
    encoded: tuple[EncodedDecision, ...] = field(default=(), repr=False)
    places: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection is: rollouts ended and to make, successes among the ended, and steps a second."""

    ended: int
    total: int
    successes: int
    steps: int
    seconds: float

    @property
    def success_rate(self) -> float:
        """Share of ended rollouts that succeeded, in [0, 1]."""
        return self.successes / self.ended if self.ended else 0.0

    @property
    def steps_per_second(self) -> float:
        """Steps of all rollouts over the time since the start."""
        return self.steps / self.seconds if self.seconds > 0.0 else 0.0


class TrajectoryCollector:
    """Collects rollouts of a policy; `environment` is one, or a function that makes one for each place at a time.

    Where only one environment is given, rollouts follow each other.  An environment's methods may be coroutines; others
    run in threads.  After an error or a time limit an environment is thrown away where another can be made.
    """

    def __init__(
        self,
        environment: Environment | Callable[[], Environment],
        policy: Policy,
        config: CollectionConfig | None = None,
        *,
        on_rollout: OnRollout | None = None,
    ) -> None:
        self._make: Callable[[], Environment] | None = None
        self._free: list[_Seat] = []
        if isinstance(environment, Environment) and not isinstance(environment, type):
            self._free.append(_Seat(environment))
        else:
            self._make = environment
        self._policy, self._config = policy, config or CollectionConfig()
        self._on_rollout = on_rollout

    def collect(self, tasks: Sequence[Task], *, number: int = 0) -> tuple[Rollout, ...]:
        """All rollouts of some tasks, task by task; `number` makes other draws of the same seed."""
        return asyncio.run(self.acollect(tasks, number=number))

    async def acollect(self, tasks: Sequence[Task], *, number: int = 0) -> tuple[Rollout, ...]:
        """The same, in a running event loop."""
        places = self._config.concurrency if self._make is not None else 1
        gate, watch = asyncio.Semaphore(places), _Watch(len(tasks) * self._config.per_task, self._on_rollout)
        rollouts = [
            self._one(task, member, number, gate, watch) for task in tasks for member in range(self._config.per_task)
        ]
        return tuple(await asyncio.gather(*rollouts))

    def close(self) -> None:
        """Stop the threads; environments are closed by whoever made them, those made here by their `close`."""
        for seat in self._free:
            seat.stop(is_own=self._make is not None)
        self._free = [] if self._make is not None else self._free

    async def _one(self, task: Task, member: int, number: int, gate: asyncio.Semaphore, watch: "_Watch") -> Rollout:
        async with gate:
            named = zlib.crc32((task.task_id or task.text).encode())
            rng = np.random.default_rng([self._config.seed, number, named, member])
            made = _Making(task, self._policy, self._config, rng)
            try:
                seat = self._free.pop() if self._free else _Seat(self._new_environment())
            except Exception as error:  # noqa: BLE001 - the border to the user's code: such a rollout is data
                rollout = made.end("infrastructure", f"no environment: {error!r}")
            else:
                rollout = await self._run(made, seat)
            watch.hear(rollout)
            return rollout

    def _new_environment(self) -> Environment:
        if self._make is None:
            raise TrainingUsageError("the only environment is in use: hand in a function that makes environments")
        return self._make()

    async def _run(self, made: "_Making", seat: "_Seat") -> Rollout:
        try:
            await asyncio.wait_for(made.run(seat), self._config.episode_seconds)
        except TimeoutError:
            rollout = made.end("infrastructure", f"a time limit passed after {len(made.steps)} steps")
        except Exception as error:  # noqa: BLE001 - the border to the user's code: a failed rollout is data
            rollout = made.end("infrastructure", f"{type(error).__name__}: {error}")
        else:
            rollout = made.end("" if made.success is not False else "task", "")
        if rollout.cause == "infrastructure" and self._make is not None:
            seat.stop(is_own=True)
        else:
            self._free.append(seat)
        return rollout


class _Seat:
    """An environment and the one thread in which its methods run."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._thread = WorkerThread()

    async def reset(self, task: Task) -> Observation:
        seen: Observation = await self._call(self._environment.reset, task)
        return seen

    async def step(self, candidate: Candidate) -> Transition:
        after: Transition = await self._call(self._environment.step, candidate)
        return after

    def stop(self, *, is_own: bool) -> None:
        close = getattr(self._environment, "close", None)
        if is_own and close is not None:
            self._thread.submit(close)
        self._thread.stop()
        self._thread = WorkerThread()

    async def _call(self, method: Callable[..., Any], argument: object) -> Any:  # Any: what the method returns
        if inspect.iscoroutinefunction(method):
            return await method(argument)
        return await asyncio.wrap_future(self._thread.submit(method, argument))


class _Making:
    """One rollout while it is made."""

    def __init__(self, task: Task, policy: Policy, config: CollectionConfig, rng: np.random.Generator) -> None:
        self.steps: list[Step] = []
        self.success: bool | None = None
        self._task, self._policy, self._config, self._rng = task, policy, config, rng
        self._actions: list[Action] = []
        self._past: list[PastStep] = []
        self._is_done = False

    async def run(self, seat: _Seat) -> None:
        seen: Observation | Transition = await self._within(seat.reset(self._task))
        while len(self.steps) < self._config.max_steps and seen.candidates and not self._is_done:
            situation = Situation(self._task.text, seen.state, tuple(self._past), tuple(seen.candidates))
            action = self._policy.act_with_exploration(situation, self._rng, temperature=self._config.temperature)
            after = await self._within(seat.step(seen.candidates[action.place]))
            self._take(seen, action, after)
            seen = after
        self.success = self.success is True

    def end(self, cause: Cause, reason: str) -> Rollout:
        """The record of it."""
        config, version = self._config, self._policy.version
        stop_reason = reason or ("done" if self._is_done else "step limit")
        trajectory = Trajectory(
            task=self._task,
            steps=tuple(self.steps),
            success=None if cause == "infrastructure" else self.success,
            reward=None if cause == "infrastructure" else math.fsum(step.reward or 0.0 for step in self.steps),
            agent=f"policy version {version}",
            source="rollout",
            stop_reason=stop_reason,
            metadata={"policy_version": version, "temperature": config.temperature, "cause": cause},
        )
        return Rollout(
            trajectory,
            tuple(action.log_probability for action in self._actions),
            version,
            config.temperature,
            cause,
            reason,
            tuple(action.encoded for action in self._actions if action.encoded is not None),
            tuple(action.place for action in self._actions),
        )

    async def _within(self, answer: Awaitable[Any]) -> Any:  # Any: what the environment answers
        return await asyncio.wait_for(answer, self._config.step_seconds)

    def _take(self, seen: Observation | Transition, action: Action, after: Transition) -> None:
        candidate = seen.candidates[action.place]
        step = Step(
            index=len(self.steps),
            tool=candidate.tool,
            state=seen.state,
            args=candidate.args,
            observation=after.observation,
            outcome=after.outcome,
            reward=after.reward,
            candidates=tuple(seen.candidates),
            propensity=max(math.exp(action.log_probability), SMALLEST),
        )
        self.steps.append(step)
        self._actions.append(action)
        self._past.append(past_step(step))
        self._is_done = after.done
        self.success = after.success if after.success is not None else self.success


class _Watch:
    """Counts what has ended, and tells."""

    def __init__(self, total: int, on_rollout: OnRollout | None) -> None:
        self._total, self._on_rollout = total, on_rollout
        self._started = time.monotonic()
        self._ended = self._successes = self._steps = 0

    def hear(self, rollout: Rollout) -> None:
        self._ended += 1
        self._successes += rollout.trajectory.success is True
        self._steps += len(rollout.trajectory.steps)
        if self._on_rollout is not None:
            seconds = time.monotonic() - self._started
            self._on_rollout(Progress(self._ended, self._total, self._successes, self._steps, seconds))

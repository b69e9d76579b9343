"""`GRPOTrainer`: trains a tool policy from a store's logs, against an environment, or from both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from grpo.checkpoints import Progress, load_checkpoint, save_checkpoint
from grpo.collector import CollectionConfig
from grpo.config import GRPOConfig
from grpo.errors import TrainingFailed, TrainingUsageError
from grpo.interrupts import deferred
from grpo.live_data import RewardOf, outcome_reward
from grpo.live_tasks import LiveTasks
from grpo.live_validation import LiveValidation
from grpo.logged_validation import LoggedTraining
from grpo.protocols import Environment
from grpo.shaping import ShapingConfig, compute_shaped_reward, discriminativeness, shaped_total
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from grpo.training_log import TrainingLog
from grpo.training_source import LiveSource, MixedSource, Source
from grpo.updating import Updater
from grpo.validation import Validation
from trajstore.filters import TrajectoryFilter
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

OnProgress = Callable[[str, int, int], None]
BEST = "best.safetensors"


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a run came to.

    `metrics` are scores on tasks that training has not seen: "before" of the policy that acted (logs) or was handed in
    (environment), "after" of the one trained, and more (`grpo.logged_validation`, `grpo.live_validation`).
    `monotonicity` in [0, 1] is the share of validations that did not fall below the best one before by more than the
    interval.  `checkpoint` is the file of the best policy, "" where no folder was named.
    """

    policy: ToolPolicy
    updates: int
    trajectories: int
    metrics: Mapping[str, object]
    monotonicity: float
    checkpoint: str
    was_stopped: bool = False


class GRPOTrainer:
    """Trains `policy` by group refined policy optimisation.

    With a `store` alone its trajectories train (offline); with an `environment` and `tasks` alone live rollouts do;
    with both, live rollouts beside a share of logged groups (`config.replay`).  `shaping` says what a trajectory's
    reward is made of (None: its outcome alone).  `folder` takes checkpoints, logs and
    the best policy; a run that finds its own checkpoint there goes on from it, on a CPU to the same bit.  `limits` are
    those of live rollouts.  `should_stop` hears (updates, metrics) after each update and ends training with what was
    reached, as Ctrl-C does once the update in hand is done.
    """

    def __init__(  # noqa: PLR0913 - what is trained on has three parts, and all but the first two are optional
        self,
        policy: ToolPolicy,
        config: GRPOConfig | None = None,
        *,
        store: TrajectoryStore | None = None,
        environment: Environment | Callable[[], Environment] | None = None,
        tasks: LiveTasks | None = None,
        namespace: str = "default",
        trajectories: Sequence[Trajectory] = (),
        shaping: ShapingConfig | None = None,
        limits: CollectionConfig | None = None,
        folder: str | Path | None = None,
        on_progress: OnProgress | None = None,
        should_stop: Callable[[int, Mapping[str, float]], bool] | None = None,
    ) -> None:
        if store is None and not trajectories and environment is None:
            raise TrainingUsageError("there is nothing to train on: hand in a store, trajectories or an environment")
        if environment is not None and tasks is None:
            raise TrainingUsageError("an environment trains on tasks: hand in tasks=LiveTasks(train, validation)")
        self.policy, self.config = policy, config or GRPOConfig()
        self._environment, self._tasks, self._limits, self._shaping = environment, tasks, limits, shaping
        self._reward_of: RewardOf = outcome_reward if shaping is None else partial(shaped_total, config=shaping)
        self._trajectories = tuple(trajectories) or _stored(store, namespace)
        self._folder = None if folder is None else Path(folder)
        self._on_progress, self._should_stop = on_progress, should_stop or (lambda updates, metrics: False)
        self._device = torch.device(device_named(self.config.device))

    def train(self) -> TrainingReport:
        """Train until the updates are made, validation betters no more, or it is stopped."""
        source, validation = self._prepare()
        run = _Run(self, source, validation)
        try:
            was_stopped = run.go()
        finally:
            run.log.flush()
            source.close()
        return run.report(was_stopped=was_stopped)

    def term_report(self) -> dict[str, object]:
        """How well each term of the reward tells success from failure on the logged trajectories, as plain data."""
        if self._shaping is None or not self._trajectories:
            return {}
        shaped = [compute_shaped_reward(trajectory, self._shaping) for trajectory in self._trajectories]
        return {"terms": [asdict(row) | {"verdict": row.verdict} for row in discriminativeness(shaped).rows]}

    def _prepare(self) -> tuple[Source, Validation]:
        logged = None
        if self._trajectories:
            logged = LoggedTraining(
                self._trajectories,
                self.policy,
                self.config,
                self._reward_of,
                device=self._device,
                on_progress=self._on_progress,
            )
            self.policy = logged.policy
        if self._environment is None or self._tasks is None:
            if logged is None:
                raise TrainingUsageError("the store holds no trajectory to train on: ingest some first")
            return logged.source, logged
        limits = self._limits or CollectionConfig()
        limits = replace(
            limits,
            per_task=self.config.group_size,
            max_steps=self.config.max_steps,
            temperature=self.config.temperature,
            seed=self.config.seed,
        )
        live = LiveSource(
            self._environment, self._tasks.train, self.config, self._reward_of, limits=limits, device=self._device
        )
        watching = LiveValidation(self._environment, self._tasks, limits)
        return (live if logged is None else MixedSource(live, logged.source, self.config)), watching


class _Run:
    """One run of the loop, from the first update or a checkpoint on."""

    def __init__(self, trainer: GRPOTrainer, source: Source, validation: Validation) -> None:
        self.trainer, self._source, self._validation = trainer, source, validation
        is_logged = trainer._environment is None
        config, policy = trainer.config.resolved(is_logged=is_logged), trainer.policy
        self._first = policy
        reference = ToolNetwork(policy.shape, policy.weights).to(trainer._device) if config.kl else None
        self._updater = Updater(
            ToolNetwork(policy.shape, policy.weights).to(trainer._device), config, reference=reference
        )
        self.log = TrainingLog(trainer._folder)
        self._progress, self._best = Progress(), dict(policy.weights)
        self._fingerprint = fingerprint(trainer._trajectories, policy)
        self._resume()

    def go(self) -> bool:
        """All updates; whether it was stopped before its end."""
        with deferred() as interrupts:
            if not self._progress.validations:
                self._validate()
            policy = self._present()
            for number in range(self._progress.updates, self.trainer.config.updates):
                if self._progress.has_ended:
                    return False
                metrics = self._update(policy, number)
                policy = self._present()
                self._keep(number + 1, metrics)
                if interrupts.asked or self.trainer._should_stop(number + 1, metrics):
                    self._save()
                    return True
        return False

    def _keep(self, updates: int, metrics: dict[str, float]) -> None:
        """Validate and save where it is time, and write down what happened."""
        config, trainer = self.trainer.config, self.trainer
        is_due = updates % config.validate_every == 0 or updates == config.updates
        if is_due:
            metrics["validation"] = self._validate()
        self.log.write(updates, metrics)
        if is_due:
            self._save()
        if trainer._on_progress is not None:
            trainer._on_progress("training", updates, config.updates)

    def report(self, *, was_stopped: bool) -> TrainingReport:
        """What it came to, with the best policy."""
        folder = self.trainer._folder
        best = self._first.with_weights(self._best, version=self._progress.best_update)
        if folder is not None:
            best.save(folder / BEST)
        return TrainingReport(
            best,
            self._progress.updates,
            self._progress.trajectories,
            {**self._validation.final(self._first, best), **self.trainer.term_report()},
            self._validation.monotonicity(self._progress.validations),
            "" if folder is None else str(folder / BEST),
            was_stopped,
        )

    def _update(self, policy: ToolPolicy, number: int) -> dict[str, float]:
        drawn = self._source.draw(policy, number)
        metrics = {name: float(value) for name, value in asdict(drawn.report).items()}
        if drawn.parts:
            metrics |= asdict(self._updater.update(drawn.parts, number))
        self._progress = replace(
            self._progress,
            updates=number + 1,
            trajectories=self._progress.trajectories + drawn.report.trajectories,
        )
        return metrics

    def _present(self) -> ToolPolicy:
        return self._first.with_weights(self._updater.network.to_weights(), version=self._progress.updates)

    def _validate(self) -> float:
        policy, at = self._present(), self._progress
        score = self._validation.score(policy)
        is_better = score > at.best
        if is_better:
            self._best = dict(policy.weights)
        waited = 0 if is_better else at.waited + 1
        self._progress = replace(
            at,
            best=max(score, at.best),
            best_update=at.updates if is_better else at.best_update,
            waited=waited,
            validations=(*at.validations, score),
            has_ended=waited >= self.trainer.config.patience,
        )
        return score

    def _save(self) -> None:
        self.log.flush()
        if self.trainer._folder is not None:
            save_checkpoint(
                self.trainer._folder, self._updater, self._best, self._progress, self.trainer.config, self._fingerprint
            )

    def _resume(self) -> None:
        folder = self.trainer._folder
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingFailed(f"cannot make the folder {folder}: {error.strerror}; name another") from error
        found = load_checkpoint(folder, self._updater, self.trainer.config, self._fingerprint)
        if found is not None:
            has_ended = found.progress.waited >= self.trainer.config.patience
            self._progress, self._best = replace(found.progress, has_ended=has_ended), found.best
        self.log.keep_until(self._progress.updates)


def device_named(name: str) -> str:
    """The device of a name; "auto" is CUDA where there is one, else the CPU.

    Raises TrainingUsageError for a device that is not there.

    >>> device_named("cpu")
    'cpu'
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingUsageError(f"device must be auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingUsageError(f"device {name!r} is asked for and no CUDA device is there: use auto or cpu")
    return name


def fingerprint(trajectories: Sequence[Trajectory], policy: ToolPolicy) -> str:
    """Names what a run trains on and what it began with: the same for the same trajectories and weights."""
    digest = blake2b(digest_size=16)
    for trajectory in trajectories:
        digest.update((trajectory.trajectory_id or repr(trajectory)).encode())
    for name in sorted(policy.weights):
        digest.update(np.ascontiguousarray(policy.weights[name]).tobytes())
    return digest.hexdigest()


def _stored(store: TrajectoryStore | None, namespace: str) -> tuple[Trajectory, ...]:
    return () if store is None else tuple(store.trajectories(TrajectoryFilter(namespace=namespace)))

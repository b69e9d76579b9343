"""What a training job does: a `GRPOTrainer` on the job's own trajectories, or on those of its store."""

import math
from collections.abc import Callable, Mapping

from grpo.config import GRPOConfig
from grpo.jobs import JobProgress, JobResult, TrainingJob
from grpo.tool_policy import ToolPolicy
from grpo.trainer import BEST, GRPOTrainer
from trajstore.recollection import stored_embedder
from trajstore.store import TrajectoryStore

FIGURES = ("reward", "loss", "entropy", "kl", "ess", "grad_norm", "frac_reward_zero_std", "validation")


def run_job(job: TrainingJob, report: Callable[[JobProgress], bool]) -> JobResult:
    """Train in the job's folder, from the checkpoint there where there is one; raises what stops it."""
    config = GRPOConfig.from_mapping(job.config)
    with TrajectoryStore(job.database) as store:
        policy = ToolPolicy.untrained(stored_embedder(store), seed=config.seed)

        def hear(updates: int, metrics: Mapping[str, float]) -> bool:
            figures = {name: metrics[name] for name in FIGURES if math.isfinite(metrics.get(name, math.nan))}
            best = job.folder / BEST
            goes_on = report(JobProgress(updates / config.updates, figures, str(best) if best.is_file() else None))
            return not goes_on

        trainer = GRPOTrainer(
            policy,
            config,
            store=None if job.training_data else store,
            trajectories=job.training_data,
            folder=job.folder,
            should_stop=hear,
        )
        done = trainer.train()
    return JobResult(_flat(done.metrics), done.checkpoint)


def _flat(metrics: Mapping[str, object]) -> dict[str, float]:
    """Numbers by dotted name: {"after": {"at1": {"value": 1.0}}} gives after.at1 = 1.0."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            inner = (
                {"": value["value"]} if "value" in value and not isinstance(value["value"], Mapping) else _flat(value)
            )
            flat |= {f"{name}.{key}".rstrip("."): number for key, number in inner.items()}
        elif isinstance(value, (int, float)) and math.isfinite(value):
            flat[name] = float(value)
    return flat

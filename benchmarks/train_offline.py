"""Policies from logged trajectories of a game, acting on unseen seeds: chance, cloning, naive loop, trainer, then live.

    python benchmarks/train_offline.py [--world coin] [--tasks 100] [--updates 100] [--live 10] [--seeds 2] [--json]
                                       [--quick]

The log holds, of each training seed, a gold path, one with random detours and a random walk.  "clone" begins every
other: successes, and steps of failures where that helps.  "positive only" skips advantages ≤ 0 (group std, no KL);
"trained" is the trainer with its defaults; "then live" goes on from there for a few updates of live rollouts beside a
quarter of logged groups.  Success is that of sampled actions on 100 seeds of the test fold, 95 % intervals over tasks.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from grpo_worlds import TextWorld

from grpo.collector import CollectionConfig
from grpo.config import GRPOConfig
from grpo.evaluator import AgentEvaluator
from grpo.live_data import outcome_reward
from grpo.live_tasks import LiveTasks
from grpo.logged_validation import LoggedTraining
from grpo.tool_policy import ToolPolicy
from grpo.trainer import GRPOTrainer
from selector.demo.collect import CollectSettings, collect
from trajstore.schema import Trajectory


def main() -> None:
    """Collect, train, act, print."""
    options = parse()
    torch.set_num_threads(1)
    tasks, updates, live = (20, 10, 2) if options.quick else (options.tasks, options.updates, options.live)
    world = TextWorld(options.world)
    try:
        found = world.tasks()
        log = tuple(collect(world.world, found.train[:tasks], CollectSettings(), seed=0))
        policies = train(log, updates)
        policies["then live"] = go_on(world, found, log, policies["trained"], live)
        evaluator = AgentEvaluator(
            world.environment,
            found.test[: 20 if options.quick else 100],
            seeds=options.seeds,
            limits=CollectionConfig(),
        )
        scores = {name: evaluator.evaluate(policy) for name, policy in policies.items()}
    finally:
        world.close()
    if options.json:
        print(json.dumps({name: asdict(one) for name, one in scores.items()}, indent=1))
        return
    print(
        f"{options.world}: {len(log)} logged trajectories, {sum(one.success is True for one in log)} of them successes"
    )
    for name, one in scores.items():
        rate, steps = one.success_rate, one.average_steps
        print(f"{name:14} success {rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})  steps {steps.value:.1f}")


def train(log: Sequence[Trajectory], updates: int) -> dict[str, ToolPolicy]:
    """The policies that come of the log alone."""
    untrained, config = ToolPolicy.untrained(), GRPOConfig(updates=updates)
    naive = replace(config, loss="positive_only", baseline="mean", scale="group_std", kl=0.0, cloning=0.0)
    clone = LoggedTraining(log, untrained, config, outcome_reward).policy
    return {
        "untrained": untrained,
        "clone": clone,
        "positive only": GRPOTrainer(clone, naive, trajectories=log).train().policy,
        "trained": GRPOTrainer(clone, config, trajectories=log).train().policy,
    }


def go_on(
    world: TextWorld, tasks: LiveTasks, log: Sequence[Trajectory], policy: ToolPolicy, updates: int
) -> ToolPolicy:
    """The policy after some live updates beside replayed groups."""
    config = GRPOConfig(updates=updates, groups=8, replay=0.25, validate_every=5)
    return GRPOTrainer(policy, config, trajectories=log, environment=world.environment, tasks=tasks).train().policy


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", default="coin")
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--live", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

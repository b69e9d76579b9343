"""The trainer against an environment: success on unseen tasks before and after, each with its interval.

    python benchmarks/train_online.py [--world coin|lamps|...] [--updates 25] [--seed 0] [--json] [--quick]

`GRPOTrainer` begins with an untrained policy, trains on 200 tasks, validates on others and reports on 100 that neither
has seen (three rollouts each; games: seeds of the test fold).  Everything that is not an option is a default.
"""

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

import torch
from grpo_worlds import make_world

from grpo.config import GRPOConfig
from grpo.tool_policy import ToolPolicy
from grpo.trainer import GRPOTrainer


def main() -> None:
    """Train and print."""
    options = parse()
    torch.set_num_threads(1)
    updates = 3 if options.quick else options.updates
    config = GRPOConfig(updates=updates, groups=8, validate_every=5, seed=options.seed)
    world = make_world(options.world)
    try:
        policy, started = ToolPolicy.untrained(seed=options.seed), time.perf_counter()
        report = GRPOTrainer(policy, config, environment=world.environment, tasks=world.tasks()).train()
    finally:
        world.close()
    found = {
        "world": options.world,
        "updates": report.updates,
        "trajectories": report.trajectories,
        "seconds": time.perf_counter() - started,
        "monotonicity": report.monotonicity,
        "metrics": report.metrics,
    }
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.world}: {report.updates} updates, {report.trajectories:,} trajectories, {found['seconds']:.0f} s")
    for name, row in (("before", "success_rate"), ("after", "success_rate")):
        print(f"success {name:7} {words(report.metrics[name], row)}")
    print(f"success gain    {words(report.metrics, 'success_gain')}")
    print(f"reward gain     {words(report.metrics, 'reward_gain')}")
    print(f"validations that did not fall below the best: {report.monotonicity:.0%}")


def words(scores: Any, name: str) -> str:  # Any: metrics are plain data
    """A value with its 95 % interval."""
    one: Mapping[str, float] = scores[name]
    return f"{one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", default="coin")
    parser.add_argument("--updates", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

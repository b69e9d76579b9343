"""How fast policies learn: ours from live rollouts and from stored trajectories, beside the usual ways.

    python benchmarks/grpo_learning.py [--world lamps|coin|scienceworld|...] [--method NAME ...] [--seeds 3]
                                       [--updates 40] [--every 4] [--learning-rate 0.01] [--quick] [--json]
                                       [--figure curves.png]

Learning rates were chosen on other seeds: 0.01 on lamps (best there for all that learn by gradients), 0.003 on games.
All live methods begin untrained and meet the same tasks with the same network, optimizer and numbers of rollouts
(groups of 8), and all are validated on tasks that they do not train on.  "naive" is the positive-only loop:
(r − mean) / std, advantages ≤ 0 skipped, one optimizer step a trajectory.  "REINFORCE" has no baseline.  "value model"
regresses returns on the same network and acts greedily but for one decision in ten while it learns; "LinUCB" (Li et al.
2010) is linear in how candidates stand to the situation.  "cloning" and "offline" meet no rollout: they learn from
stored trajectories of training tasks, of each task one path that succeeds, one with detours and a random walk, by
`best_clone` and by `GRPOTrainer`; a path that succeeds is more than a rollout tells, so compare them with each other.
Shown: validation reward and success with 95 % intervals over seeds (Student's t), by trajectories used, and the
trajectories until the level that counts as learned (70 % of the way from an untrained policy to the optimum).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from grpo_learners import GROUP, METHODS, STORED, TASKS
from grpo_worlds import LearningWorld, make_world
from scipy.stats import t as student

from grpo.collector import CollectionConfig, TrajectoryCollector
from grpo.live_tasks import LiveTasks
from grpo.protocols import Policy
from grpo.tool_policy import ToolPolicy
from selector.demo.collect import CollectSettings, collect

LEARNED = 0.7
STORED_TASKS, STORED_CANDIDATES = (8, 32, 128), 40


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean validation reward and success of one method and seed, by trajectories used."""

    method: str
    seed: int
    trajectories: tuple[int, ...]
    rewards: tuple[float, ...]
    successes: tuple[float, ...]


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(1)
    updates, every = (6, 3) if options.quick else (options.updates, options.every)
    world = make_world(options.world)
    try:
        tasks, known = world.tasks(), METHODS if world.world is None else {**METHODS, **STORED}
        curves = [
            curve(world, tasks, Plan(method, seed, updates, every, options.learning_rate))
            for seed in range(1 if options.quick else options.seeds)
            for method in options.method or known
        ]
    finally:
        world.close()
    show(world, curves, as_json=options.json)
    if options.figure:
        draw(curves, options.figure)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: so many updates, and a validation after every few."""

    method: str
    seed: int
    updates: int
    every: int
    learning_rate: float


def curve(world: LearningWorld, tasks: LiveTasks, plan: Plan) -> Curve:
    """Train and validate."""
    points = stored_points(world, tasks, plan) if plan.method in STORED else live_points(world, tasks, plan)
    used, rewards, successes = zip(*points, strict=True)
    print(f"{plan.method} {plan.seed}: {used} {np.round(successes, 2).tolist()}", file=sys.stderr, flush=True)
    return Curve(plan.method, plan.seed, used, rewards, successes)


def live_points(world: LearningWorld, tasks: LiveTasks, plan: Plan) -> Iterator[tuple[int, float, float]]:
    """Trajectories used, reward and success, after every few updates."""
    learner, seed = METHODS[plan.method](plan.seed, plan.learning_rate), plan.seed
    for number in range(plan.updates + 1):
        if number % plan.every == 0:
            yield number * TASKS * GROUP, *validated(world, tasks, learner.policy, plan)
        if number < plan.updates:
            drawn = np.random.default_rng([seed, number]).choice(len(tasks.train), TASKS, replace=False)
            collector = TrajectoryCollector(world.environment, learner.policy, CollectionConfig(GROUP, seed=seed))
            learner.learn(collector.collect([tasks.train[place] for place in drawn], number=number), number)


def stored_points(world: LearningWorld, tasks: LiveTasks, plan: Plan) -> Iterator[tuple[int, float, float]]:
    """The same for policies that learn from the stored trajectories of more and more tasks."""
    if world.world is None:
        raise SystemExit(f"{plan.method} needs paths that succeed, and {world.name} knows none: choose another world")
    order, settings = np.random.default_rng(plan.seed).permutation(len(tasks.train)), CollectSettings
    kept = [tasks.train[place] for place in order[: STORED_TASKS[-1]].tolist()]
    log = list(collect(world.world, kept, settings(max_candidates=STORED_CANDIDATES), seed=plan.seed))
    yield 0, *validated(world, tasks, ToolPolicy.untrained(seed=plan.seed), plan)
    for used in sorted({min(3 * count, len(log)) for count in STORED_TASKS}):
        yield used, *validated(world, tasks, STORED[plan.method](log[:used], plan.seed), plan)


def validated(world: LearningWorld, tasks: LiveTasks, policy: Policy, plan: Plan) -> tuple[float, float]:
    """Mean reward and success on the validation tasks."""
    limits = CollectionConfig(1, seed=plan.seed + 1000, temperature=0.0 if plan.method in GREEDY else 1.0)
    seen = TrajectoryCollector(world.environment, policy, limits).collect(tasks.validation)
    rewards = [rollout.trajectory.reward for rollout in seen]
    return float(np.mean(rewards)), float(np.mean([rollout.trajectory.success is True for rollout in seen]))


GREEDY = ("value model", "LinUCB")


def until_learned(one: Curve, optimum: float) -> float:
    """Trajectories until the reward stays above the level that counts as learned; infinite where it never does."""
    level = one.rewards[0] + LEARNED * (optimum - one.rewards[0])
    below = [used for used, reward in zip(one.trajectories, one.rewards, strict=True) if reward < level]
    return float("inf") if below and below[-1] == one.trajectories[-1] else _after(one, below)


def _after(one: Curve, below: list[int]) -> float:
    return float(next(used for used in one.trajectories if not below or used > below[-1]))


def show(world: LearningWorld, curves: Sequence[Curve], *, as_json: bool) -> None:
    """A line for each method, and one for each point of its curve."""
    rows = [row_of([one for one in curves if one.method == method], world) for method in methods_of(curves)]
    if as_json:
        print(json.dumps({"world": world.name, "rows": rows}, indent=1))
        return
    print(f"{world.name}: validation by trajectories used; learned = {LEARNED:.0%} of the way")
    for row in rows:
        print(f"{row['method']} ({row['seeds']} seeds), learned after {row['until_learned']:,.0f}")
        for point in row["curve"]:
            print(
                "  {used:6,}  reward {reward:+.2f} ± {reach:.2f}  success {success:.2f} ± {s_reach:.2f}".format(**point)
            )


def row_of(own: Sequence[Curve], world: LearningWorld) -> dict[str, Any]:  # Any: what JSON can hold
    """What the seeds of one method came to."""
    rewards, successes = (np.array([getattr(one, name) for one in own]) for name in ("rewards", "successes"))
    columns = (*spread(rewards), *spread(successes))
    names = ("reward", "reach", "success", "s_reach")
    return {
        "method": own[0].method,
        "seeds": len(own),
        "until_learned": float(np.median([until_learned(one, world.optimum) for one in own])),
        "curve": [
            {"used": used} | dict(zip(names, np.round(point, 3).tolist(), strict=True))
            for used, *point in zip(own[0].trajectories, *columns, strict=True)
        ],
    }


def spread(values_SP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over S seeds and half the width of its 95 % interval, by point; NaN for one seed."""
    seeds = len(values_SP)
    if seeds == 1:
        return values_SP[0], np.full(values_SP.shape[1], np.nan)
    reach = student.ppf(0.975, seeds - 1) * values_SP.std(axis=0, ddof=1) / np.sqrt(seeds)
    return values_SP.mean(axis=0), reach


def methods_of(curves: Sequence[Curve]) -> list[str]:
    """The methods that were run, in their order."""
    return list(dict.fromkeys(one.method for one in curves))


def draw(curves: Sequence[Curve], path: str) -> None:
    """Success by trajectories, one line a method with its 95 % interval over seeds."""
    import matplotlib  # noqa: PLC0415 - only to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for method in methods_of(curves):
        mean, reach = spread(np.array([one.successes for one in curves if one.method == method]))
        used = next(one.trajectories for one in curves if one.method == method)
        (line,) = axes.plot(used, mean, marker=".", label=method, linestyle="--" if method in STORED else "-")
        axes.fill_between(used, mean - reach, mean + reach, alpha=0.15, color=line.get_color())
    axes.set(xlabel="trajectories used", ylabel="success on validation tasks", ylim=(0.0, 1.02))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", default="lamps")
    parser.add_argument("--method", action="append", choices=[*METHODS, *STORED])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()

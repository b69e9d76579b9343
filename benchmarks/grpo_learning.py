"""How fast policies learn from live rollouts: ours beside REINFORCE, GRPO with group std, and the naive loop.

    python benchmarks/grpo_learning.py [--world lamps|coin|...] [--method NAME ...] [--seeds 3] [--updates 40]
                                       [--learning-rate 0.01] [--quick] [--json] [--figure curves.png]

Learning rates were chosen on other seeds: 0.01 on lamps (best there for all that learn by gradients), 0.003 on games.
All begin untrained and meet the same tasks with the same network, optimizer and numbers of rollouts (groups of 8), and
are validated on tasks that they do not train on.  "naive" is the positive-only loop: (r − mean) / std, advantages ≤ 0
skipped, one optimizer step a trajectory.  "REINFORCE" has no baseline.  "value model" regresses returns on the same
network and acts greedily but for one decision in ten while it learns; "LinUCB" (Li et al. 2010) is linear in how
candidates stand to the situation.  Shown: mean validation reward by trajectories used, over seeds, and the trajectories
until the level that counts as learned (70 % of the way from an untrained policy to the optimum).
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from grpo_worlds import LearningWorld, make_world

from grpo.collector import CollectionConfig, Rollout, TrajectoryCollector
from grpo.config import GRPOConfig
from grpo.encoding import STANDINGS
from grpo.live_data import live_batch, outcome_reward, refine_rollouts
from grpo.live_tasks import LiveTasks
from grpo.protocols import Action
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from grpo.updating import TrainingBatch, Updater
from selector.situation import Situation

LEARNED = 0.7
SCHEMES: Mapping[str, Mapping[str, object]] = {
    "ours": {},
    "group std": {"baseline": "mean", "scale": "group_std"},
    "REINFORCE": {"loss": "reinforce"},
    "naive": {"baseline": "mean", "scale": "group_std", "loss": "positive_only"},
}
TASKS, GROUP = 8, 8


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean validation reward and success of one method and seed, by trajectories used."""

    method: str
    seed: int
    trajectories: tuple[int, ...]
    rewards: tuple[float, ...]
    successes: tuple[float, ...]


class Learner:
    """A policy that is trained by policy gradients; `scheme` says how."""

    def __init__(self, scheme: str, seed: int, learning_rate: float) -> None:
        plain = GRPOConfig(groups=TASKS, group_size=GROUP, seed=seed, learning_rate=learning_rate)
        self.config = replace(plain, **SCHEMES[scheme])
        self._scheme = scheme
        self.policy = ToolPolicy.untrained(seed=seed)
        self._network = ToolNetwork(self.policy.shape, self.policy.weights)
        self._updater = Updater(self._network, self.config)

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """One update, or in the naive loop one a trajectory."""
        refined = refine_rollouts(rollouts, self.config, outcome_reward)
        if self._scheme == "REINFORCE":
            rewards = np.array([outcome_reward(rollout.trajectory) or 0.0 for rollout in rollouts])
            refined = replace(refined, advantages_R=rewards, has_signal_R=np.ones(len(rewards), np.bool_))
        texts = self.policy.encoder.table
        batch = live_batch(rollouts, refined, texts, self.config, loss=self.config.loss or "clipped")
        if batch is None:
            return
        for part in _by_rollout(batch) if self._scheme == "naive" else [batch]:
            self._updater.update([part], number)
        self.policy = self.policy.with_weights(self._network.to_weights(), version=number + 1)


def _by_rollout(batch: TrainingBatch) -> list[TrainingBatch]:
    rollouts = [batch.part(torch.nonzero(batch.rollouts_N == one)[:, 0]) for one in batch.rollouts_N.unique()]
    return [replace(one, rollouts_N=torch.zeros_like(one.rollouts_N)) for one in rollouts if one.advantages_N.max() > 0]


class ValueLearner:
    """Regresses the discounted return of what was chosen on the network's score; greedy, but for exploration."""

    def __init__(self, seed: int) -> None:
        self.config = GRPOConfig(groups=TASKS, group_size=GROUP, seed=seed)
        self._inner = ToolPolicy.untrained(seed=seed)
        self._network = ToolNetwork(self._inner.shape, self._inner.weights)
        self._optimizer = torch.optim.Adam(self._network.parameters(), 1e-3)
        self.policy = Greedy(self._inner, 0.1)

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """Four passes over the newest rollouts."""
        refined = refine_rollouts(rollouts, self.config, outcome_reward)
        returns = np.array([outcome_reward(rollout.trajectory) or 0.0 for rollout in rollouts])
        told = replace(refined, advantages_R=returns, has_signal_R=np.ones(len(returns), np.bool_))
        batch = live_batch(rollouts, told, self._inner.encoder.table, self.config)
        if batch is None:
            return
        for rows in torch.randperm(4 * len(batch)).remainder(len(batch)).split(512):
            part = batch.part(rows)
            scores = self._network(part.table.batch(part.rows_N)).gather(1, part.chosen_N[:, None])[:, 0]
            loss = ((scores - part.advantages_N) ** 2).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        self._inner = self._inner.with_weights(self._network.to_weights(), version=number + 1)
        self.policy = Greedy(self._inner, 0.1)


class Greedy:
    """Takes the highest score; with probability `exploration` any candidate."""

    def __init__(self, inner: ToolPolicy, exploration: float) -> None:
        self.version, self._inner, self._exploration = inner.version, inner, exploration

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> np.ndarray:
        """ln of the mixture."""
        scores = self._inner.logits(self._inner.encoder.encode(situation))
        return np.log(np.full(len(scores), self._exploration / len(scores)) + (1.0 - self._exploration) * _best(scores))

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """Explore, unless temperature is 0."""
        encoded = self._inner.encoder.encode(situation)
        scores = self._inner.logits(encoded) + 1e-9 * rng.random(len(situation.candidates))
        explores = temperature > 0.0 and rng.random() < self._exploration
        place = int(rng.integers(len(scores))) if explores else int(np.argmax(scores))
        chance = self._exploration / len(scores) + (1.0 - self._exploration) * float(_best(scores)[place])
        return Action(place, float(np.log(chance)), encoded)


def _best(scores: np.ndarray) -> np.ndarray:
    best = np.zeros(len(scores))
    best[int(np.argmax(scores))] = 1.0
    return best


class LinUcb:
    """One ridge regression of returns on how a candidate stands to the situation; acts by upper bounds."""

    version = 0

    def __init__(self, seed: int, width: float = 0.3) -> None:
        self._encoder = ToolPolicy.untrained(seed=seed).encoder
        self._gram, self._sums, self._width = np.eye(len(STANDINGS) + 1), np.zeros(len(STANDINGS) + 1), width
        self.policy = self

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """The highest bound; at temperature 0 the highest mean."""
        encoded = self._encoder.encode(situation)
        features = np.column_stack([encoded.standings_KF, np.ones(len(encoded.standings_KF))])
        inverse = np.linalg.inv(self._gram)
        bonus = self._width * np.sqrt(np.einsum("kf,fg,kg->k", features, inverse, features)) * (temperature > 0.0)
        return Action(int(np.argmax(features @ inverse @ self._sums + bonus + 1e-9 * rng.random())), 0.0, encoded)

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> np.ndarray:
        """It is deterministic: 0 in all places, which nobody reads."""
        return np.zeros(len(situation.candidates))

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """Add every step with its rollout's discounted reward."""
        for rollout in rollouts:
            reward = outcome_reward(rollout.trajectory) or 0.0
            for at, (step, encoded) in enumerate(zip(rollout.trajectory.steps, rollout.encoded, strict=True)):
                place = next(
                    n for n, one in enumerate(step.candidates) if (one.tool, one.args) == (step.tool, step.args)
                )
                row = np.append(encoded.standings_KF[place], 1.0)
                self._gram += np.outer(row, row)
                self._sums += row * reward * 0.99 ** (len(rollout.encoded) - 1 - at)


METHODS: Mapping[str, Callable[[int, float], Learner | ValueLearner | LinUcb]] = {
    **{scheme: partial(Learner, scheme) for scheme in SCHEMES},
    "value model": lambda seed, _rate: ValueLearner(seed),
    "LinUCB": lambda seed, _rate: LinUcb(seed),
}


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(1)
    updates, every = (6, 3) if options.quick else (options.updates, options.every)
    world = make_world(options.world)
    try:
        tasks = world.tasks()
        curves = [
            curve(world, tasks, METHODS[method](seed, options.learning_rate), Plan(method, seed, updates, every))
            for method in options.method or METHODS
            for seed in range(1 if options.quick else options.seeds)
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


def curve(world: LearningWorld, tasks: LiveTasks, learner: Learner | ValueLearner | LinUcb, plan: Plan) -> Curve:
    """Train and validate."""
    used, rewards, successes, seed = list[int](), list[float](), list[float](), plan.seed
    for number in range(plan.updates + 1):
        if number % plan.every == 0:
            limits = CollectionConfig(1, seed=seed + 1000, temperature=0.0 if plan.method in GREEDY else 1.0)
            seen = TrajectoryCollector(world.environment, learner.policy, limits).collect(tasks.validation)
            used.append(number * TASKS * GROUP)
            rewards.append(float(np.mean([rollout.trajectory.reward for rollout in seen])))
            successes.append(float(np.mean([rollout.trajectory.success is True for rollout in seen])))
        if number < plan.updates:
            drawn = np.random.default_rng([seed, number]).choice(len(tasks.train), TASKS, replace=False)
            collector = TrajectoryCollector(world.environment, learner.policy, CollectionConfig(GROUP, seed=seed))
            learner.learn(collector.collect([tasks.train[place] for place in drawn], number=number), number)
    return Curve(plan.method, seed, tuple(used), tuple(rewards), tuple(successes))


GREEDY = ("value model", "LinUCB")


def until_learned(one: Curve, optimum: float) -> float:
    """Trajectories until the reward stays above the level that counts as learned; infinite where it never does."""
    level = one.rewards[0] + LEARNED * (optimum - one.rewards[0])
    below = [used for used, reward in zip(one.trajectories, one.rewards, strict=True) if reward < level]
    return float("inf") if below and below[-1] == one.trajectories[-1] else _after(one, below)


def _after(one: Curve, below: list[int]) -> float:
    return float(next(used for used in one.trajectories if not below or used > below[-1]))


def show(world: LearningWorld, curves: Sequence[Curve], *, as_json: bool) -> None:
    """A line for each method."""
    rows = []
    for method in dict.fromkeys(one.method for one in curves):
        own = [one for one in curves if one.method == method]
        ends = np.array([one.rewards[-1] for one in own])
        wins = np.array([one.successes[-1] for one in own])
        best = np.array([max(one.rewards) for one in own])
        needed = [until_learned(one, world.optimum) for one in own]
        reach = 4.30 * ends.std(ddof=1) / np.sqrt(len(ends)) if len(ends) == 3 else float("nan")
        rows.append(
            {
                "method": method,
                "start": float(np.mean([one.rewards[0] for one in own])),
                "end": float(ends.mean()),
                "reach_95": float(reach),
                "success": float(wins.mean()),
                "best": float(best.mean()),
                "until_learned": float(np.median(needed)),
                "trajectories": own[0].trajectories[-1],
                "curve": np.mean([one.rewards for one in own], axis=0).round(3).tolist(),
            }
        )
    if as_json:
        print(json.dumps({"world": world.name, "rows": rows}, indent=1))
        return
    used = rows[0]["trajectories"]
    print(f"{world.name}: validation reward after {used:,} trajectories; learned = {LEARNED:.0%} of the way")
    for row in rows:
        print(
            f"{row['method']:12} start {row['start']:+.2f}  end {row['end']:+.2f} ± {row['reach_95']:.2f}  success "
            f"{row['success']:.2f}  best {row['best']:+.2f}  learned after {row['until_learned']:,.0f}"
        )


def draw(curves: Sequence[Curve], path: str) -> None:
    """Reward by trajectories, one line a method with its range over seeds."""
    import matplotlib  # noqa: PLC0415 - only to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for method in dict.fromkeys(one.method for one in curves):
        table = np.array([one.rewards for one in curves if one.method == method])
        used = next(one.trajectories for one in curves if one.method == method)
        (line,) = axes.plot(used, table.mean(axis=0), label=method)
        axes.fill_between(used, table.min(axis=0), table.max(axis=0), alpha=0.15, color=line.get_color())
    axes.set(xlabel="trajectories used", ylabel="validation reward")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", default="lamps")
    parser.add_argument("--method", action="append", choices=list(METHODS))
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

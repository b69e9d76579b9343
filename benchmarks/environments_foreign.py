"""Environments that nothing is built for, played through the protocol alone: TextWorld, PDDLGym, BabyAI.

    python benchmarks/environments_foreign.py [--environment textworld|pddlgym|babyai] [--games cooking,...]
        [--agents ...] [--train N] [--tests N] [--seed 0] [--json FILE]

Needs `pip install textworld`, `pip install pddlgym pyperplan` or `pip install minigrid`.  Experience is three
trajectories a training task: one that succeeds, the same with random detours, a random walk.  Scores are clipped to
[0, 1], with 95 % intervals bootstrapped over test tasks.  Minutes to half an hour from nothing; what is collected is
kept under build/environments.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from environment_learners import KINDS, STORED, Given
from environment_report import Condition, listed
from environments.babyai import LEVELS, BabyAIEnvironment
from environments.pddl import DOMAINS, PDDLEnvironment
from environments.textworld import CHALLENGES, TextWorldEnvironment

from selector.demo.collect import CollectSettings, collect
from selector.demo.rollout import roll_out
from selector.demo.summary import bootstrap_mean
from selector.demo.world import World
from trajstore import TrajectoryStore
from trajstore.schema import Trajectory

CACHE = Path("build/environments")
COLLECTING = CollectSettings(gold=1, detours=1, random=1, max_steps=75)
AGENTS = ("random", "replay-words", "markov", "knn", "clone", "grpo-offline", "selector-empty", "selector", "gold")


@dataclass(frozen=True, slots=True)
class Foreign:
    """An environment: what makes it, its games, how many tasks of each to learn from and to be tested on, and steps."""

    make: Callable[[], World]
    games: tuple[str, ...]
    train: int
    tests: int
    max_steps: int


FOREIGN: Mapping[str, Foreign] = {
    "textworld": Foreign(lambda: TextWorldEnvironment(CACHE / "foreign"), tuple(CHALLENGES), 40, 20, 50),
    "pddlgym": Foreign(PDDLEnvironment, DOMAINS, 20, 10, 60),
    "babyai": Foreign(BabyAIEnvironment, LEVELS, 40, 40, 64),
}


def stored(world: World, game: str, options: argparse.Namespace) -> tuple[Trajectory, ...]:
    """The trajectories of the training tasks; collected where they are missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tasks = world.tasks(game, "train", options.train)
    with TrajectoryStore(CACHE / f"foreign-{game}-{options.seed}.db") as store:
        known = {one.task.task_id for one in store.trajectories()}
        missing = [task for task in tasks if task.task_id not in known]
        store.add_many(collect(world, missing, COLLECTING, seed=options.seed))
        wanted = {task.task_id for task in tasks}
        return tuple(one for one in store.trajectories() if one.task.task_id in wanted)


def play(world: World, game: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """One line an agent: its score on the test tasks, and how long it takes to choose."""
    memory, tests = stored(world, game, options), world.tasks(game, "test", options.tests)
    tasks, lines = tuple({one.task.task_id: one.task for one in memory}.values()), []
    most = FOREIGN[options.environment].max_steps
    for name in options.agents:
        kind = KINDS[name]
        condition = Condition("foreign", game, kind.name, options.seed, "test", len(tasks), max_steps=most)
        known = memory if kind.reads >= STORED else ()
        agent = kind.make(Given(world, known, tasks, condition, lambda *_: None, {}))
        played = [roll_out(world, agent, task, max_steps=most) for task in tests]
        scores = np.array([float(np.clip(one.reward, 0.0, 1.0)) for one in played])
        found = bootstrap_mean([scores], np.random.default_rng(options.seed))
        waited = 1e3 * float(np.median([second for one in played for second in one.choose_seconds]))
        line = {"game": game, "agent": name, "trajectories": len(known), "score": found.value, "low": found.low}
        lines.append(line | {"high": found.high, "steps": float(np.mean([one.steps for one in played])), "ms": waited})
        print(f"| {game} | {name} | {found.value:.2f} ({found.low:.2f}–{found.high:.2f}) | {waited:.1f} |", flush=True)
    return lines


def main() -> None:
    """Read the options, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", choices=tuple(FOREIGN), default="textworld")
    parser.add_argument("--games", type=listed)
    parser.add_argument("--agents", type=listed, default=AGENTS)
    parser.add_argument("--train", type=int)
    parser.add_argument("--tests", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    environment = parser.parse_args().environment
    chosen, results = FOREIGN[environment], Path(f"benchmarks/results/foreign-{environment}.json")
    parser.set_defaults(games=chosen.games, train=chosen.train, tests=chosen.tests, json=results)
    options = parser.parse_args()
    print("| game | agent | score (95 %) | ms a decision |\n| --- | --- | ---: | ---: |")
    with closing(chosen.make()) as world:
        lines = [line for game in options.games for line in play(world, game, options)]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

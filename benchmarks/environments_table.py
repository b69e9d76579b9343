"""Tables of published environments: the engine and the policies beside their baselines, on tasks that none has seen.

    python benchmarks/environments_table.py --environment textworld|scienceworld [--games coin,...] [--agents ...]
        [--train 333] [--tests 100] [--seeds 5] [--fold dev|test] [--max-steps 50] [--collect 1,1,1]
        [--experience own,shuffled,other,pooled,held-out] [--curve 0,10,30,100,300,1000]
        [--without goal,state,order,pruning,following,exploration,failures] [--environment-steps 20000]
        [--workers 2] [--quick] [--json FILE] [--figures FOLDER]

Experience is collected once a game and seed in train tasks, and kept under build/environments.  One JSON line is
written as each agent is done with a game; an interrupted run goes on after the last of them.  A score is the sum of an
episode's rewards, clipped to [0, 1].  Settings are to be chosen on the fold dev, which is the default.

Experience is the game's own, the same with outcomes dealt out anew (shuffled), that of another environment (other), of
all games asked for (pooled), or of all but the one acted in (held-out).
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from environment_agents import (
    shuffled,
    without_names,
)
from environment_learners import BY_NAME, KINDS, STORED, Given, Kind, Tell
from environment_report import ALL_STORED, USUAL_UPDATES, Condition, Line, TaskResult, draw, listed, read_lines, report
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from grpo import ToolPolicy
from selector.demo.collect import collect
from selector.demo.records import PRESETS
from selector.demo.rollout import Rollout, roll_out_all
from selector.demo.run import WORLDS
from selector.demo.textworld import GAMES
from selector.demo.world import World
from trajstore.errors import MissingDependency
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

CHUNK = 20
CACHE = Path("build/environments")
COUNTS = {
    "train": 333,
    "tests": 100,
    "seeds": 5,
    "max_steps": 50,
    "collect_steps": 0,
    "updates": USUAL_UPDATES,
    "workers": 1,
}
QUICK = {
    "games": ("coin", "simonsays", "twc-small"),
    "train": 24,
    "tests": 12,
    "seeds": 1,
    "updates": 10,
    "environment_steps": (1500,),
}
OPTIONAL: Mapping[str, Any] = {  # Any: a field's own type
    one.name: one.default
    for one in fields(Condition)
    if one.name in ("experience", "stored", "without", "budget", "updates", "temperature")
}
EXPERIENCE = ("own", "shuffled", "other", "pooled", "held-out")


def conditions(options: argparse.Namespace) -> list[Condition]:
    """Everything that is asked for, once each: a setting that means nothing to an agent is left at its usual value."""
    given = {one.name: getattr(options, one.name) for one in fields(Condition) if hasattr(options, one.name)}
    usual = Condition(**given | {"game": "", "agent": "", "seed": 0, "experience": "own", "without": ""})
    asked = [replace(usual, experience=whose) for whose in options.experience]
    asked += [replace(usual, stored=count) for count in options.curve]
    asked += [replace(usual, without=what) for what in options.without]
    made = (
        meant(replace(one, game=game, agent=KINDS[name].name, seed=seed, budget=budget), KINDS[name])
        for game in options.games
        for seed in range(options.seeds)
        for one in asked
        for name in options.agents
        for budget in options.environment_steps
    )
    return list(dict.fromkeys(made))


def meant(condition: Condition, kind: Kind) -> Condition:
    """The condition with fields that mean nothing to the agent at their usual values."""
    reads = kind.reads | ({"without"} if kind.reads >= STORED and condition.without == "failures" else set())
    return replace(condition, **{name: value for name, value in OPTIONAL.items() if name not in reads})


class Bench:
    """Runs conditions in one process, with one world; `tell` hears (phase, done, to do)."""

    def __init__(self, world: World, options: argparse.Namespace, tell: Tell) -> None:
        self._world, self._options, self._tell = world, options, tell
        self._policies: dict[Condition, tuple[ToolPolicy, float]] = {}
        self._known: dict[str, list[Trajectory]] = {}

    def run(self, condition: Condition) -> Line:
        """Collect what is missing, learn, act, and sum up."""
        own = self._collected(self._world, condition, condition.game)
        tasks = tuple({one.task.task_id: one.task for one in own}.values())
        kind = BY_NAME[condition.agent]
        memory = self.memory(condition) if kind.reads >= STORED else ()
        given = Given(self._world, memory, tasks, condition, self._tell, self._policies)
        started = time.perf_counter()
        agent = kind.make(given)
        learned = time.perf_counter()
        unseen = self._world.tasks(condition.game, condition.fold, condition.tests)
        told = partial(self._tell, "acting")
        rollouts = list(roll_out_all(self._world, [agent], unseen, max_steps=condition.max_steps, on_progress=told))
        return line_of(given, rollouts, learned - started + given.spared_seconds, time.perf_counter() - learned)

    def memory(self, condition: Condition) -> tuple[Trajectory, ...]:
        """The trajectories that an agent learns from under a condition."""
        if condition.experience == "other":
            found = self._elsewhere(condition)
        else:
            found = [one for game in self._sources(condition) for one in self._collected(self._world, condition, game)]
        if condition.stored != ALL_STORED:
            found = found[: condition.stored]
        if condition.experience == "shuffled":
            found = shuffled(found, np.random.default_rng(condition.seed))
        return tuple(one for one in found if condition.without != "failures" or one.success)

    def collect_all(self, asked: Sequence[Condition]) -> None:
        """Collect for conditions that share experience, so that no two processes do."""
        for condition in asked:
            self.memory(condition)

    def _sources(self, condition: Condition) -> list[str]:
        """The games whose experience is used."""
        if condition.experience in ("pooled", "held-out"):
            return [game for game in self._options.games if condition.experience == "pooled" or game != condition.game]
        return [condition.game]

    def _elsewhere(self, condition: Condition) -> list[Trajectory]:
        """Experience of the environment that is not acted in: the games that `trajstore demo` shows of it."""
        name = next(name for name in WORLDS if name != condition.environment)
        games = PRESETS[name].games
        there = replace(condition, environment=name, train=condition.train // len(games))
        with closing(WORLDS[name]()) as world:
            return [one for game in games for one in self._collected(world, there, game)]

    def _collected(self, world: World, condition: Condition, game: str) -> list[Trajectory]:
        """What is stored of the train tasks of a game, collected first where it is missing."""
        kinds = "-".join(map(str, condition.collected))
        name = f"{condition.environment}-{game}-{kinds}-{condition.collect_steps}-{condition.seed}.db"
        key = f"{name} {condition.train}"
        if key in self._known:
            return self._known[key]
        CACHE.mkdir(parents=True, exist_ok=True)
        with closing(TrajectoryStore(CACHE / name)) as store:
            if store.artifact("train tasks", str(condition.train)) is None:
                self._collect(world, store, condition, game)
                store.put_artifact("train tasks", str(condition.train), b"")
            found = list(store.trajectories())
        kept = set(list(dict.fromkeys(one.task.task_id for one in found))[: condition.train])
        self._known[key] = [one for one in found if one.task.task_id in kept]
        return self._known[key]

    def _collect(self, world: World, store: TrajectoryStore, condition: Condition, game: str) -> None:
        made_of: dict[str, Any] = dict(zip(("gold", "detours", "random"), condition.collected, strict=True))
        settings = replace(PRESETS[condition.environment].collecting, max_steps=condition.collect_steps, **made_of)
        known = {one.task.task_id for one in store.trajectories()}
        tasks = [task for task in world.tasks(game, "train", condition.train) if task.task_id not in known]
        for first in range(0, len(tasks), CHUNK):
            store.add_many(collect(world, tasks[first : first + CHUNK], settings, seed=condition.seed))
            self._tell("collecting", min(first + CHUNK, len(tasks)), len(tasks))


def line_of(given: Given, rollouts: Sequence[Rollout], learn_seconds: float, act_seconds: float) -> Line:
    """The rollouts of one condition as a line."""
    seconds = np.array([second for rollout in rollouts for second in rollout.choose_seconds])
    return Line(
        given.condition,
        trajectories=len(given.memory),
        experience_steps=sum(len(one.steps) for one in given.memory),
        environment_steps=given.environment.steps,
        learn_seconds=learn_seconds,
        act_seconds=act_seconds,
        milliseconds=1e3 * float(np.median(seconds)),
        decisions_per_second=len(seconds) / float(seconds.sum()),
        tasks=tuple(
            TaskResult(one.task_id, one.success, float(np.clip(one.reward, 0.0, 1.0)), one.steps) for one in rollouts
        ),
        note=given.note,
    )


def work(options: argparse.Namespace, game: str, asked: Sequence[Condition], queue: Any) -> list[str]:
    """Run the conditions of one game in a process of its own; returns what was skipped, and why.

    `queue` (a manager's) takes lines, and (game, phase, done, to do).
    """
    torch.set_num_threads(1)
    skipped = []
    with closing(WORLDS[options.environment]()) as world:
        bench = Bench(world, options, lambda phase, done, total: queue.put((game, phase, done, total)))
        for condition in asked:
            queue.put((game, condition.variant, 0, 1))
            try:
                queue.put(bench.run(condition))
            except MissingDependency as error:
                skipped.append(f"{game}, {condition.variant}: {error}")
    return skipped


def run_all(options: argparse.Namespace, asked: Sequence[Condition], take: Callable[[Line], None]) -> list[str]:
    """Run all conditions, one process a game and `workers` of them at a time; returns what was skipped, and why.

    What a game fails with is raised once the others are done.
    """
    by_game = {game: [one for one in asked if one.game == game] for game in options.games}
    columns = (TextColumn("{task.description:<54}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    spawn = get_context("spawn")
    with (
        spawn.Manager() as manager,
        ProcessPoolExecutor(options.workers, spawn) as pool,
        Progress(*columns, console=Console(stderr=True), disable=options.quiet) as bars,
    ):
        queue = manager.Queue()
        hear = partial(_hear, take=take, bars=bars, whole=bars.add_task("all", total=len(asked)), shown={})
        running = [pool.submit(work, options, game, mine, queue) for game, mine in by_game.items() if mine]
        while not all(one.done() for one in running) or not queue.empty():
            with suppress(Empty):
                hear(queue.get(timeout=0.5))
    return [skipped for one in running for skipped in one.result()]


def _hear(
    heard: Line | tuple[str, str, int, int],
    *,
    take: Callable[[Line], None],
    bars: Progress,
    whole: TaskID,
    shown: dict[str, TaskID],
) -> None:
    """Keep a line, or show how far a game is."""
    if isinstance(heard, Line):
        take(heard)
        bars.advance(whole)
        return
    game, phase, done, total = heard
    shown[game] = shown[game] if game in shown else bars.add_task(game)
    bars.update(shown[game], description=f"{game}: {phase}", completed=done, total=total)


def write_line(line: Line, path: Path) -> None:
    """Append a line; what an interrupted run left half written stays on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, 2) - 1))
        is_whole = file.read() in (b"", b"\n")
        file.write((b"" if is_whole else b"\n") + line.to_json().encode() + b"\n")


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--environment", choices=list(WORLDS), default="textworld")
    parser.add_argument("--games", type=listed, default=())
    parser.add_argument("--agents", type=listed, default=tuple(KINDS))
    for name, usual in COUNTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=usual)
    parser.add_argument("--fold", choices=("dev", "test"), default="dev")
    parser.add_argument("--collect", dest="collected", type=_counts)
    parser.add_argument("--experience", type=listed, default=("own",))
    parser.add_argument("--curve", type=_counts, default=())
    parser.add_argument("--without", type=listed, default=())
    parser.add_argument("--environment-steps", type=_counts, default=(20_000,))
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--quick", action="store_true", help="three games, two dozen tasks, one seed, few updates")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked and completed."""
    parser = make_parser()
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(arguments)
    preset = PRESETS[options.environment].collecting
    games = tuple(GAMES) if options.environment == "textworld" else PRESETS["scienceworld"].games
    options.games = options.games or games
    options.collected = options.collected or (preset.gold, preset.detours, preset.random)
    options.collect_steps = options.collect_steps or options.max_steps * 3 // 2
    options.json = options.json or CACHE / f"{options.environment}.jsonl"
    known = {"agents": tuple(KINDS), "experience": EXPERIENCE, "without": without_names()}
    for name, allowed in known.items():
        for one in getattr(options, name):
            if one not in allowed:
                parser.error(f"--{name} must be of {', '.join(allowed)}, got {one!r}")
    return options


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in listed(text))


def main() -> None:
    """Run what is missing, then print the tables and draw."""
    options = parse()
    asked, done = conditions(options), {line.condition for line in read_lines(options.json)}
    missing = [one for one in asked if one not in done]
    print(f"{len(asked) - len(missing)} of {len(asked)} conditions are in {options.json}", flush=True)
    shared = [one for one in missing if one.experience in ("other", "pooled", "held-out")]
    if options.workers > 1 and shared:
        with closing(WORLDS[options.environment]()) as world:
            Bench(world, options, lambda phase, done, total: None).collect_all(shared)
    for skipped in run_all(options, missing, lambda line: write_line(line, options.json)) if missing else ():
        print(f"skipped {skipped}")
    order = {one: place for place, one in enumerate(asked)}
    lines = [line for line in read_lines(options.json) if line.condition in order]
    lines.sort(key=lambda line: order[line.condition])
    print(report(lines))
    for path in draw(lines, options.figures) if options.figures else ():
        print(f"figure: {path}")


if __name__ == "__main__":
    main()

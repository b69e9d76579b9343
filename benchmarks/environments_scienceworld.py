"""ScienceWorld with what gold paths teach (protocol A) or own episodes alone (B): one store for all thirty tasks.

    python benchmarks/environments_scienceworld.py [--fold dev|test] [--paths 20] [--variations 10]
        [--agents selector,random,...] [--games ...] [--decisions 6000] [--store DB] [--own 10] [--live STEPS]
        [--json FILE] [--quick]

Experience is the package's own gold paths of `--paths` training variations of each of the thirty tasks, spread over the
fold and kept under build/environments (`--store` names a store that holds gold paths already: all of them are taken;
some take minutes each to collect).  `--own N` adds the selector's own episodes on N training variations of each task,
half of them odd and half even, played with what the gold paths of the other half teach and kept beside those; they
show where it strays and what it loses there.  `--live STEPS` is protocol B: no gold paths, only what the selector did
itself in these training variations, from nothing, within so many steps; kept under build/environments, and gone on with
where more are asked for; DRRN may be named beside it.  Without it, so may the agents of
benchmarks/environment_learners.py that learn from stored paths alone.

Simplifications "easy", 100 steps, all valid actions offered (170 to 4,600 a step).  A score is that of the
environment's end in [0, 100], below 0 counts as 0; intervals are over tasks.  Variations are taken in rounds, so that
an interrupted run has seen all tasks alike, and goes on where it was.  `--quick`: three tasks, four paths of each, one
variation.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from environment_learners import KINDS, STORED, Given
from environment_report import Condition, listed
from live_selector import OWN, learn_live, own_episode
from rich.console import Console
from rich.progress import Progress, track

from selector import Selector, SelectorConfig
from selector.demo.agents import Agent
from selector.demo.collect import CollectSettings, collect
from selector.demo.engine_agent import EngineAgent
from selector.demo.rollout import roll_out
from selector.demo.scienceworld import ScienceWorldEnvironment
from selector.demo.summary import bootstrap_mean
from trajstore import TrajectoryStore
from trajstore.schema import Task, Trajectory

CACHE = Path("build/environments")
MAX_STEPS = 100
NAMES = "seen or asked for"
GOLD = CollectSettings(gold=1, detours=0, random=0, max_steps=2 * MAX_STEPS)
QUICK = {"games": ("find-animal", "lifespan-longest-lived", "power-component"), "paths": 4, "variations": 1}
REPLAYED = (
    "grow-plant",
    "grow-fruit",
    "inclined-plane-determine-angle",
    "inclined-plane-friction-named-surfaces",
    "inclined-plane-friction-unnamed-surfaces",
    "mendelian-genetics-known-plant",
    "find-non-living-thing",
    "lifespan-longest-lived-then-shortest-lived",
)
"""Tasks that the best of five replays of other variations nearly solves: the set-up hardly changes."""


@dataclass(frozen=True, slots=True)
class Result:
    """One episode; `names` says whether objects were called as seen or asked for, or as the package calls them."""

    agent: str
    fold: str
    paths: int
    game: str
    task_id: str
    score: float
    steps: int
    milliseconds: float
    own: int = 0
    live: int = 0
    names: str = "made up"

    @property
    def experience(self) -> tuple[str, int, int, int, str]:
        """What the agent was tested on, and what it had learned from: paths, variations played, steps of its own."""
        return self.fold, self.paths, self.own, self.live, self.names


def stored_paths(path: Path) -> TrajectoryStore:
    """The successes of a store that was collected before."""
    asked = TrajectoryStore(":memory:")
    with TrajectoryStore(path) as store:
        asked.add_many(one for one in store.trajectories() if one.success)
    return asked


def training_tasks(world: ScienceWorldEnvironment, games: Sequence[str], count: int) -> tuple[Task, ...]:
    """Training variations of each game, spread over the fold."""
    return tuple(task for game in games for task in world.tasks(game, "train", count))


def gold_paths(world: ScienceWorldEnvironment, games: Sequence[str], paths: int, *, quiet: bool) -> TrajectoryStore:
    """The gold paths of training variations, those of earlier runs included; collected where they are missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    store = TrajectoryStore(CACHE / "scienceworld-gold.db")
    known = {one.task.task_id for one in store.trajectories()}
    tasks = training_tasks(world, games, paths)
    missing = [task for task in tasks if task.task_id not in known]
    for task in track(missing, "collecting", console=Console(stderr=True), disable=quiet):
        store.add_many(collect(world, [task], GOLD))
    asked, wanted = TrajectoryStore(":memory:"), {task.task_id for task in tasks}
    asked.add_many(one for one in store.trajectories() if one.task.task_id in wanted and one.success)
    store.close()
    return asked


def own_episodes(
    world: ScienceWorldEnvironment, gold: TrajectoryStore, games: Sequence[str], options: argparse.Namespace
) -> list[Trajectory]:
    """Episodes on training variations, by a selector that has seen no path of an even (or odd) variation; kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tasks = [
        task for game in games for task in _first_of_both(world.tasks(game, "train", 4 * options.own), options.own)
    ]
    with TrajectoryStore(options.own_store) as kept:
        known = {one.task.task_id for one in kept.trajectories()}
        for parity in (0, 1):
            missing = [task for task in tasks if task.task_id not in known and _parity(task) != parity]
            if not missing:
                continue
            half = TrajectoryStore(":memory:")
            half.add_many(one for one in gold.trajectories() if _parity(one.task) == parity)
            agent = agent_of("selector", world, half, options)
            for task in track(missing, OWN, console=Console(stderr=True), disable=options.quiet):
                kept.add(own_episode(agent, world, task, max_steps=MAX_STEPS, seed=parity))
        wanted = {task.task_id for task in tasks}
        return [one for one in kept.trajectories() if one.task.task_id in wanted]


def live_episodes(world: ScienceWorldEnvironment, games: Sequence[str], options: argparse.Namespace) -> TrajectoryStore:
    """What the selector does in training variations, from nothing, within the steps asked for; kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tasks = training_tasks(world, games, options.paths)
    with TrajectoryStore(CACHE / f"scienceworld-live-{options.seed}.db") as kept, live_progress(options.quiet) as tell:
        learn_live(world, tasks, kept, budget=options.live, max_steps=MAX_STEPS, seed=options.seed, on_steps=tell)
        taken = accumulate((len(one.steps) for one in kept.trajectories()), initial=0)
        asked = TrajectoryStore(":memory:")
        asked.add_many(one for one, before in zip(kept.trajectories(), taken, strict=False) if before < options.live)
    return asked


@contextmanager
def live_progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:  # noqa: FBT001 - the one thing to say of it
    """Shows steps taken of those to take."""
    with Progress(console=Console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task("acting")
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _first_of_both(tasks: Sequence[Task], count: int) -> list[Task]:
    """The first tasks with an even number and the first with an odd one, half of `count` each."""
    return [task for parity in (0, 1) for task in [one for one in tasks if _parity(one) == parity][: count // 2]]


def _parity(task: Task) -> int:
    return int(task.task_id.rpartition("/")[2]) % 2


def agent_of(name: str, world: ScienceWorldEnvironment, store: TrajectoryStore, options: argparse.Namespace) -> Agent:
    """An agent with the stored paths of all tasks, or (DRRN) with as many steps in them as the selector on its own."""
    if name == "selector":
        config = SelectorConfig(record_episodes=False, exploration=0.0, sharpening=100.0, decisions=options.decisions)
        selector = Selector(store, config, seed=options.seed)
        selector.room("default")
        return EngineAgent(lambda task: selector.episode(task.text, group=task.group), seed=options.seed, name=name)
    kind = KINDS[name]
    memory = tuple(store.trajectories()) if kind.reads >= STORED else ()
    games = options.games or tuple(sorted(world.games))
    tasks = training_tasks(world, games, options.paths) if options.live else tuple(one.task for one in memory)
    train, budget = len(tasks), options.live
    condition = Condition(
        "scienceworld", "all", kind.name, options.seed, options.fold, train, max_steps=MAX_STEPS, budget=budget
    )
    with live_progress(options.quiet) as tell:
        return kind.make(Given(world, memory, tasks, condition, lambda _, done, total: tell(done, total), {}))


def read(path: Path) -> list[Result]:
    """The results so far."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def measure(options: argparse.Namespace) -> list[Result]:
    """Play what is missing; returns the results of the agents asked for."""
    with closing(ScienceWorldEnvironment()) as world:
        games = options.games or tuple(sorted(world.games))
        if options.live:
            store = (
                live_episodes(world, games, options) if "selector" in options.agents else TrajectoryStore(":memory:")
            )
        elif options.store:
            store = stored_paths(options.store)
            options.paths = store.stats().trajectories
        else:
            store = gold_paths(world, games, options.paths, quiet=options.quiet)
        if options.own:
            played = tuple(sorted(world.games)) if options.store else games
            store.add_many(own_episodes(world, store, played, options))
        for name in options.agents:
            play(world, store, name, games, options)
    found = [one for one in read(options.json) if one.experience == experience_asked(options)]
    return [one for one in found if one.agent in options.agents and one.game in games]


def experience_asked(options: argparse.Namespace) -> tuple[str, int, int, int, str]:
    """What results must have been learned from to be those that are asked for."""
    return options.fold, 0 if options.live else options.paths, options.own, options.live, NAMES


def play(
    world: ScienceWorldEnvironment,
    store: TrajectoryStore,
    name: str,
    games: Sequence[str],
    options: argparse.Namespace,
) -> None:
    """Every variation that one agent has not played yet; a line of JSON for each."""
    rounds = [world.tasks(game, options.fold, options.variations) for game in games]
    tasks = [one[number] for number in range(options.variations) for one in rounds if number < len(one)]
    asked = experience_asked(options)
    done = {one.task_id for one in read(options.json) if one.agent == name and one.experience == asked}
    missing = [task for task in tasks if task.task_id not in done]
    if not missing:
        return
    agent = agent_of(name, world, store, options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    with options.json.open("a", encoding="utf-8") as file:
        for task in track(missing, name, console=Console(stderr=True), disable=options.quiet):
            out = roll_out(world, agent, task, max_steps=MAX_STEPS)
            score, waited = 100.0 * max(0.0, min(1.0, out.reward)), 1e3 * float(np.median(out.choose_seconds))
            fold, paths, own, live, names = asked
            result = Result(name, fold, paths, out.game, task.task_id, score, out.steps, waited, own, live, names)
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()


def table(results: Iterable[Result], agents: Sequence[str], seed: int) -> str:
    """Mean scores by task, over all, and over the tasks that replay does not solve, as Markdown."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        scores[one.game][one.agent].append(one.score)
    rows = [
        f"| {game} | " + " | ".join(_mean(by_agent, name) for name in agents) + " |"
        for game, by_agent in sorted(scores.items())
    ]
    for title, left_out in (("all tasks", ()), ("without the eight that replay solves", REPLAYED)):
        kept = {game: by_agent for game, by_agent in scores.items() if game not in left_out}
        rows.append(f"| **{title}** | " + " | ".join(_over(kept, name, seed) for name in agents) + " |")
    head = [f"| task | {' | '.join(agents)} |", "| --- |" + " ---: |" * len(agents)]
    return "\n".join([*head, *rows])


def _mean(by_agent: Mapping[str, Sequence[float]], name: str) -> str:
    found = by_agent.get(name, ())
    return f"{np.mean(found):.0f} ({len(found)})" if found else "–"


def _over(by_game: Mapping[str, Mapping[str, Sequence[float]]], name: str, seed: int) -> str:
    means = np.array([np.mean(one[name]) for one in by_game.values() if one.get(name)])
    if not len(means):
        return "–"
    found = bootstrap_mean([means], np.random.default_rng(seed))
    return f"{found.value:.1f} ({found.low:.0f}–{found.high:.0f})"


def main() -> None:
    """Read the options, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", choices=("dev", "test"), default="dev")
    parser.add_argument("--paths", type=int, default=20)
    parser.add_argument("--store", type=Path, help="a store with gold paths, in place of collecting them")
    parser.add_argument("--own", type=int, default=0, help="training variations of each task to play for experience")
    parser.add_argument("--own-store", type=Path, default=CACHE / "scienceworld-own.db", help="where those are kept")
    parser.add_argument("--live", type=int, default=0, help="steps of its own to learn from, in place of gold paths")
    parser.add_argument("--variations", type=int, default=10)
    parser.add_argument("--decisions", type=int, default=6000)
    parser.add_argument("--agents", type=listed, default=("selector",))
    parser.add_argument("--games", type=listed, default=())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scienceworld.jsonl"))
    parser.add_argument("--quick", action="store_true", help="three tasks, four paths each, one variation")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    if parser.parse_args().quick:
        parser.set_defaults(**QUICK, json=CACHE / "quick.jsonl")
    options = parser.parse_args()
    print(table(measure(options), options.agents, options.seed))


if __name__ == "__main__":
    main()

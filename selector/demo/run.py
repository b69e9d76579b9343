"""The demo from end to end: collect, ingest, learn, act on unseen tasks beside the baselines, report."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from selector import Selector, SelectorConfig
from selector.demo.collect import collect
from selector.demo.compare import (
    LEARNERS,
    Comparison,
    baselines,
    compare,
    curve_sizes,
    first_of_each_game,
    interleaved,
    point_of,
    with_stored,
)
from selector.demo.engine_agent import EngineAgent
from selector.demo.records import DemoReport, DemoSettings, PrunedTool, Pruning, count_collected
from selector.demo.report import require_packages, write_report
from selector.demo.rollout import Progress as Rolled
from selector.demo.rollout import roll_out_all
from selector.demo.scienceworld import ScienceWorldEnvironment
from selector.demo.summary import CurvePoint
from selector.demo.textworld import TextWorldEnvironment
from selector.demo.world import Fold, World
from selector.prune_book import Verdict
from selector.room import Room
from trajstore.logbook import PruningRow
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore

Progress = Callable[[str, int, int], None]
WORLDS: Mapping[str, Callable[[], World]] = {
    "textworld": TextWorldEnvironment,
    "scienceworld": ScienceWorldEnvironment,
}
# Nothing is learned from the tasks that are measured, so exploring there would be in vain.
ACTING = SelectorConfig(record_episodes=False, exploration=0.0, sharpening=30.0)
NEARLY = 0.999
PACKAGES = ("trajstore", "textworld-express", "scienceworld", "numpy", "faiss-cpu", "scikit-learn")


def run_demo(settings: DemoSettings, *, on_progress: Progress | None = None) -> DemoReport:
    """Run the demo and write its report; `on_progress` hears (phase, done, to do).

    Trajectories that an earlier demo of the same environment left in the database are replaced.
    """
    require_packages()
    settings = settings.completed()
    settings.out.mkdir(parents=True, exist_ok=True)
    with closing(WORLDS[settings.environment]()) as world, TrajectoryStore(settings.db or ":memory:") as store:
        store.forget(namespace=settings.namespace)
        return demonstrate(settings, world, store, on_progress=on_progress or _ignore)


def demonstrate(settings: DemoSettings, world: World, store: TrajectoryStore, *, on_progress: Progress) -> DemoReport:
    """Run the demo in a world that is started, on a store that is open; `settings` are complete."""
    clock = _Clock()
    with clock.measure("collect"):
        memory = _collect(settings, world, on_progress)
    with clock.measure("store"):
        stored = dict(zip(store.add_many(memory), memory, strict=True))
    with clock.measure("learn"):
        selector = _learn(settings, store, on_progress)
        engine = _engine(settings, selector)
    with clock.measure("act"):
        compared = _act(settings, world, memory, engine, partial(on_progress, "act"))
    with clock.measure("learning curve"):
        curve = _curve(settings, world, compared, list(stored.values()), partial(on_progress, "curve"))
    report = DemoReport(
        settings=settings,
        collected=count_collected(memory),
        rollouts=compared.rollouts,
        table=compared.table,
        leader=compared.leader,
        rival=compared.rival,
        curve=curve,
        seconds=clock.seconds,
        versions=_versions(),
        engine_settings=_changed(ACTING),
        abstentions=engine.abstentions,
        example=with_stored(compared.example, stored) if compared.example else None,
        left_out=compared.left_out,
        pruning=_pruning(selector.room(settings.namespace), store),
        path=settings.out / "report.html",
    )
    write_report(report)
    return report


def _tasks(settings: DemoSettings, world: World, fold: Fold, each: int) -> list[Task]:
    return [task for game in settings.games for task in world.tasks(game, fold, each)]


def _collect(settings: DemoSettings, world: World, on_progress: Progress) -> list[Trajectory]:
    tasks = _tasks(settings, world, "train", settings.train_seeds)
    heard = partial(on_progress, "collect")
    return list(collect(world, tasks, settings.collecting(), seed=settings.seed, on_progress=heard))


def _learn(settings: DemoSettings, store: TrajectoryStore, on_progress: Progress) -> Selector:
    """The selector of a store, which has learned from what is in it."""
    selector = Selector(store, ACTING, seed=settings.seed, on_progress=on_progress)
    selector.room(settings.namespace)
    on_progress("learning", 1, 1)
    return selector


def _engine(settings: DemoSettings, selector: Selector) -> EngineAgent:
    """The engine as an agent, which is told not to add its own episodes to the store."""
    return EngineAgent(
        lambda task: selector.episode(task.text, namespace=settings.namespace, group=task.group), seed=settings.seed
    )


def _act(
    settings: DemoSettings, world: World, memory: Sequence[Trajectory], engine: EngineAgent, on_progress: Rolled
) -> Comparison:
    """The engine and the baselines on the unseen tasks."""
    tasks = _tasks(settings, world, settings.fold, settings.test_seeds)
    agents = baselines(memory, settings.seed)
    return compare(world, tasks, agents, engine, max_steps=settings.max_steps, on_progress=on_progress)


def _curve(
    settings: DemoSettings, world: World, compared: Comparison, memory: Sequence[Trajectory], on_progress: Rolled
) -> tuple[CurvePoint, ...]:
    """The engine and the strongest learner among the baselines on some of the tasks, by trajectories stored."""
    memory, agents = interleaved(memory), (compared.rival, compared.leader)
    tasks = first_of_each_game(compared.tasks, settings.curve_seeds)
    sizes = curve_sizes(len(memory))
    points = list[CurvePoint]()
    for size in sizes:
        known = memory[:size]
        with TrajectoryStore(":memory:") as store:
            store.add_many(known)
            playing = (
                LEARNERS[compared.rival](known, settings.seed),
                _engine(settings, _learn(settings, store, _ignore)),
            )
            heard = _part(on_progress, len(points), len(sizes))
            rollouts = list(roll_out_all(world, playing, tasks, max_steps=settings.max_steps, on_progress=heard))
        points.append(point_of(size, rollouts, tasks, agents))
    return (*points, point_of(len(memory), compared.rollouts, tasks, agents))


def _part(on_progress: Rolled, part: int, parts: int) -> Rolled:
    """Hears of one of several parts of equal length, and tells of all of them."""
    return lambda done, total: on_progress(part * total + done, parts * total)


def _pruning(room: Room, store: TrajectoryStore) -> Pruning:
    """What is pruned in the room on experience alone, or how near it came to that."""
    outcomes, config = room.knowledge.outcomes, ACTING.pruning
    rows = store.logbook.prunings(room.namespace)
    pruned = sorted((row for row in rows if row.status == "quarantined"), key=lambda row: -row.counts)
    near = [one for one in outcomes.judged(replace(config, share=NEARLY)) if one.rival]
    nearest = min(near, key=lambda one: one.upper / one.rival_lower, default=None)
    return Pruning(
        clusters=len(outcomes.counts_CT),
        tried=int((outcomes.counts_CT > 0).sum()),
        judged=int((outcomes.counts_CT >= config.evidence).sum()),
        evidence=config.evidence,
        share=config.share,
        tools=tuple(_pruned_tool(room, row) for row in pruned),
        nearest=None if nearest is None or pruned else _pruned_tool(room, nearest),
    )


def _pruned_tool(room: Room, one: PruningRow | Verdict) -> PrunedTool:
    like = room.cluster_label(one.cluster)
    return PrunedTool(one.cluster, like, one.tool, one.successes, one.counts, one.upper, one.rival, one.rival_lower)


def _changed(config: SelectorConfig) -> dict[str, object]:
    """The settings that differ from their defaults."""
    usual = SelectorConfig()
    names = (one.name for one in fields(config))
    return {name: getattr(config, name) for name in names if getattr(config, name) != getattr(usual, name)}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _ignore(phase: str, done: int, total: int) -> None:
    """Hear progress and say nothing."""


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Time one phase."""
        started = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - started

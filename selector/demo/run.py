"""The demo from end to end: collect, ingest, learn, act on unseen tasks beside the baselines, report."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from selector import Selector, SelectorConfig
from selector.demo.collect import collect
from selector.demo.compare import baselines, compare, word_evidence
from selector.demo.engine_agent import EngineAgent
from selector.demo.records import DemoReport, DemoSettings, count_collected
from selector.demo.report import require_packages, write_report
from selector.demo.scienceworld import ScienceWorldEnvironment
from selector.demo.textworld import TextWorldEnvironment
from selector.demo.world import Fold, World
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore

Progress = Callable[[str, int, int], None]
WORLDS: Mapping[str, Callable[[], World]] = {
    "textworld": TextWorldEnvironment,
    "scienceworld": ScienceWorldEnvironment,
}
# Nothing is learned from the tasks that are measured, so exploring there would be in vain.
ACTING = SelectorConfig(record_episodes=False, exploration=0.0, sharpening=30.0)
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
        engine = _engine(settings, store, on_progress)
    with clock.measure("act"):
        comparison = compare(
            world,
            _tasks(settings, world, settings.fold, settings.test_seeds),
            baselines(memory, settings.seed),
            engine,
            max_steps=settings.max_steps,
            on_progress=partial(on_progress, "act"),
        )
    report = DemoReport(
        settings=settings,
        collected=count_collected(memory),
        rollouts=comparison.rollouts,
        table=comparison.table,
        leader=engine.name,
        seconds=clock.seconds,
        versions=_versions(),
        abstentions=engine.abstentions,
        example=word_evidence(comparison.example, stored) if comparison.example else None,
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


def _engine(settings: DemoSettings, store: TrajectoryStore, on_progress: Progress) -> EngineAgent:
    """The engine, which reads the store and is told not to add its own episodes to it."""
    selector = Selector(store, ACTING, seed=settings.seed, on_progress=on_progress)
    selector.room(settings.namespace)
    on_progress("learning", 1, 1)
    return EngineAgent(
        lambda task: selector.episode(task.text, namespace=settings.namespace, group=task.group), seed=settings.seed
    )


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

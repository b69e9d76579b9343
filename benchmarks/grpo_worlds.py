"""Worlds to learn in: one whose optimum is known, games of TextWorld Express, and short tasks of ScienceWorld."""

import zlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from grpo.live_tasks import LiveTasks
from selector.demo.world import World
from trajstore.environment import Environment, Observation, Transition
from trajstore.schema import Candidate, Task

COLOURS = ("red", "green", "blue", "white", "amber", "violet")
PRESSES = 4
SHORT_TASKS = ("find-living-thing", "use-thermometer", "lifespan-longest-lived")
MOST_CANDIDATES = 40
TRAP = Candidate("pull", {"object": "lever"}, "pull the lever")


class LearningWorld(Protocol):
    """An environment with tasks in three folds, and what a perfect agent earns in it."""

    name: str
    optimum: float

    @property
    def environment(self) -> Environment:
        """The environment itself."""
        ...

    def tasks(self) -> LiveTasks:
        """Its tasks."""
        ...

    @property
    def world(self) -> World | None:
        """The environment with paths that succeed, None where none are known."""
        ...

    def close(self) -> None:
        """Stop what runs behind it."""
        ...


@dataclass(slots=True)
class _Panel:
    lamps: tuple[str, ...]
    rng: np.random.Generator
    at: int = 0
    earned: float = 0.0


class LampPanel:
    """Four lamps light up one after the other; the button of the same colour is right, a lever tempts.

    Right presses are worth 0.25 each.  The lever ends the episode: 0.5 more, but in 3 of 10 cases −2 (mean −0.25).
    Random play succeeds in 1 of 2,401 episodes; the optimum is a reward of 1.
    """

    name = "lamps"
    optimum = 1.0
    world = None

    def __init__(self) -> None:
        self._panel = _Panel((), np.random.default_rng(0))
        self._resets = 0

    @property
    def environment(self) -> Environment:
        """Itself."""
        return self

    def tasks(self) -> LiveTasks:
        """Two hundred panels to train on, 60 and 100 to measure on."""
        made = [Task(f"switch off panel {n}", f"lamps/{n}", f"lamps/{n}") for n in range(360)]
        return LiveTasks(made[:200], made[200:260], made[260:])

    def close(self) -> None:
        """Nothing runs behind it."""

    def reset(self, task: Task) -> Observation:
        """Light the first lamp; which ones follow is the task's own."""
        order = np.random.default_rng(zlib.crc32(task.task_id.encode()))
        lamps = tuple(COLOURS[place] for place in order.integers(len(COLOURS), size=PRESSES))
        self._resets += 1
        self._panel = _Panel(lamps, np.random.default_rng([self._resets, 5]))
        return Observation(self._seen(), self._offered())

    def step(self, candidate: Candidate) -> Transition:
        """Press a button, or pull the lever."""
        panel = self._panel
        if candidate.tool == TRAP.tool:
            reward = -2.0 if panel.rng.random() < 0.3 else 0.5
            return Transition("dark", (), "the lever snaps", reward, "ok", done=True, success=False)
        is_right = candidate.args["object"] == f"{panel.lamps[panel.at]} button"
        panel.at += 1
        panel.earned += 0.25 * is_right
        done = panel.at == PRESSES
        return Transition(
            "dark" if done else self._seen(),
            () if done else self._offered(),
            "it goes out" if is_right else "nothing happens",
            0.25 * is_right,
            "ok",
            done,
            panel.earned > 0.99 if done else None,
        )

    def _seen(self) -> str:
        return f"the {self._panel.lamps[self._panel.at]} lamp is lit"

    @staticmethod
    def _offered() -> tuple[Candidate, ...]:
        buttons = (Candidate("press", {"object": f"{each} button"}, f"press {each} button") for each in COLOURS)
        return (*buttons, TRAP)


class TextWorld:
    """One game of TextWorld Express: seeds of its own folds."""

    optimum = 1.0

    def __init__(self, game: str) -> None:
        from selector.demo.textworld import TextWorldEnvironment  # noqa: PLC0415 - Java starts only where it is played

        self.name, self._environment = game, TextWorldEnvironment()

    @property
    def environment(self) -> Environment:
        """The game."""
        return self._environment

    def tasks(self) -> LiveTasks:
        """Two hundred training seeds, 40 of dev, 100 of test."""
        folds = (("train", 200), ("dev", 40), ("test", 100))
        return LiveTasks(*(self._environment.tasks(self.name, fold, count) for fold, count in folds))

    @property
    def world(self) -> World:
        """The game, with paths that succeed."""
        return self._environment

    def close(self) -> None:
        """Stop Java."""
        self._environment.close()


class Thinned:
    """Offers at most `most` candidates of a world's: those that its path to success names, and a sample of the others.

    The sample depends on the task and the number of the step alone, so that every method meets the same one.  The task
    becomes easier; it is meant for comparing methods, not for a figure of the world itself.
    """

    def __init__(self, world: World, most: int) -> None:
        self._world, self._most = world, most
        self._path, self._named, self._steps = frozenset[str](), 0, 0
        self.tasks, self.gold_path = world.tasks, world.gold_path
        self.as_candidate, self.close = world.as_candidate, world.close

    def reset(self, task: Task) -> Observation:
        """Begin an episode of `task`."""
        self._path, self._named = frozenset(self._world.gold_path(task)), zlib.crc32(task.task_id.encode())
        self._steps = 0
        seen = self._world.reset(task)
        return replace(seen, candidates=self._thinned(seen.candidates))

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate."""
        self._steps += 1
        after = self._world.step(candidate)
        return replace(after, candidates=self._thinned(after.candidates))

    def _thinned(self, offered: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        order = np.random.default_rng([self._named, self._steps]).permutation(len(offered)).tolist()
        order.sort(key=lambda place: offered[place].text not in self._path)
        return tuple(offered[place] for place in sorted(order[: self._most]))


class ScienceWorld:
    """Three short tasks of ScienceWorld, with at most MOST_CANDIDATES candidates at a step."""

    name = "scienceworld"
    optimum = 1.0

    def __init__(self) -> None:
        from selector.demo.scienceworld import ScienceWorldEnvironment  # noqa: PLC0415 - Java starts only where needed

        self._environment = Thinned(ScienceWorldEnvironment(), MOST_CANDIDATES)

    @property
    def environment(self) -> Environment:
        """The tasks."""
        return self._environment

    def tasks(self) -> LiveTasks:
        """Of each task 20 variations to train on and 8 of dev; none of test."""
        folds = (("train", 20), ("dev", 8))
        return LiveTasks(
            *([task for game in SHORT_TASKS for task in self.world.tasks(game, fold, n)] for fold, n in folds)
        )

    @property
    def world(self) -> World:
        """The tasks, with paths that succeed."""
        return self._environment

    def close(self) -> None:
        """Stop Java."""
        self._environment.close()


def make_world(name: str) -> LearningWorld:
    """The world of a name: "lamps", "scienceworld", or a game."""
    if name == "scienceworld":
        return ScienceWorld()
    return LampPanel() if name == "lamps" else TextWorld(name)

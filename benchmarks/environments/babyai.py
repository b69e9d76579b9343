"""BabyAI (Chevalier-Boisvert et al. 2018, arXiv 1810.08272) behind the `World` protocol: six levels, made from seeds.

The agent stands in a grid, and the state tells in words what it sees in the 7 by 7 cells before it and what it carries,
as in BALROG (Paglieri et al. 2024, arXiv 2411.13543).  Candidates are six actions, the same ones at every step.
"""

from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any

from selector.demo.wording import join_seen, outcome_of, parse_action
from selector.demo.world import Fold
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.schema import Candidate, Task

FIRST_SEED: Mapping[Fold, int] = {"train": 0, "dev": 10_000, "test": 20_000}
SEEDS_OF_FOLD = 10_000
LEVELS = ("GoToLocal", "PickupLoc", "PutNextLocal", "OpenDoor", "UnlockLocalDist", "GoToSeqS5R2")
ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle")  # as the package numbers them
CANDIDATES = tuple(parse_action(action) for action in ACTIONS)
REFUSED = "You cannot do that here."


@dataclass(frozen=True, slots=True)
class Sight:
    """Something seen: what it is, and how many steps forward and to the right (left where negative) it lies."""

    name: str
    forward: int
    right: int

    @property
    def distance(self) -> int:
        """How many steps away it lies."""
        return self.forward + abs(self.right)

    @property
    def is_ahead(self) -> bool:
        """Whether it lies straight ahead."""
        return self.right == 0

    def __str__(self) -> str:
        """The words for it.

        >>> str(Sight("a red ball", 2, -1)), str(Sight("a wall", 0, 3))
        ('a red ball 2 steps forward and 1 step left', 'a wall 3 steps right')
        """
        side = "left" if self.right < 0 else "right"
        parts = [_steps(self.forward, "forward"), _steps(abs(self.right), side)]
        return f"{self.name} {' and '.join(part for part in parts if part)}"


class BabyAIEnvironment:
    """One level at a time.  A task's id is "level/seed"; its reward is 1 on success, else 0.

    An episode ends with success, or without it after as many steps as the package allows at the level.
    """

    def __init__(self) -> None:
        try:
            import gymnasium  # noqa: PLC0415 - brings much with it
            import minigrid  # noqa: F401, PLC0415 - tells gymnasium of the levels
            from minigrid.utils.baby_ai_bot import BabyAIBot  # noqa: PLC0415
        except ImportError as error:
            raise MissingDependency("BabyAI needs its package: pip install minigrid") from error
        self._make: Any = gymnasium.make
        self._bot: Any = BabyAIBot
        self._level: Any = None
        self._paths: dict[str, tuple[str, ...]] = {}

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first tasks of a fold that have a gold path; a game is a level."""
        return tuple(islice(self._solved(game, fold), count))

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """The path of the package's own bot, which sees no more than the agent does; empty where the bot fails."""
        if task.task_id not in self._paths:
            level = self._started(task.task_id)
            self._paths[task.task_id] = _bot_path(level, self._bot(level))
            level.close()
        return self._paths[task.task_id]

    def as_candidate(self, action: str) -> Candidate:
        """The candidate as which an action would be offered."""
        return parse_action(action)

    def reset(self, task: Task) -> Observation:
        """Start the level of a task."""
        self.close()
        self._level = self._started(task.task_id)
        return Observation(self._state(""), CANDIDATES)

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one action; one that changes nothing was refused."""
        before = self._level.hash()
        _, paid, terminated, truncated, _ = self._level.step(ACTIONS.index(candidate.text))
        said = REFUSED if self._level.hash() == before else f"You {candidate.text}."
        done, success = bool(terminated or truncated), paid > 0  # the package pays less for a longer way
        return Transition(
            self._state(said),
            () if done else CANDIDATES,
            said,
            float(success),
            outcome_of(said),
            done,
            success if done else None,
        )

    def close(self) -> None:
        """End the level that runs."""
        if self._level is not None:
            self._level.close()
            self._level = None

    def _solved(self, game: str, fold: Fold) -> Iterator[Task]:
        first = FIRST_SEED[fold]
        tasks = (self._task(game, seed) for seed in range(first, first + SEEDS_OF_FOLD))
        return (task for task in tasks if self.gold_path(task))

    def _task(self, game: str, seed: int) -> Task:
        task_id = f"{game}/{seed}"
        level = self._started(task_id)
        level.close()
        return Task(text=level.mission, task_id=task_id, group=task_id, family=f"babyai/{game}")

    def _started(self, task_id: str) -> Any:
        """A level at its first step.  Where the package rejects a grid that it made, it prints so: nobody asked."""
        game, seed = task_id.split("/")
        level = self._make(f"BabyAI-{game}-v0", disable_env_checker=True).unwrapped
        with redirect_stdout(StringIO()):
            level.reset(seed=int(seed))
        return level

    def _state(self, said: str) -> str:
        seen = "; ".join(map(str, _sights(self._level))) or "nothing"
        carried = _name(self._level.carrying) if self._level.carrying else "nothing"
        return join_seen(f"You see {seen}.", f"You carry {carried}.", said)


def _bot_path(level: Any, bot: Any) -> tuple[str, ...]:
    """The actions that the bot takes at a level, empty where they do not end in success."""
    path: list[str] = []
    done = False
    while not done:
        try:
            number = int(bot.replan())
        except (AssertionError, IndexError):  # how the bot gives up
            return ()
        if number >= len(ACTIONS):  # it believes to be done: the level began at its end
            return ()
        _, paid, terminated, truncated, _ = level.step(number)
        path.append(ACTIONS[number])
        done = terminated or truncated
    return tuple(path) if paid > 0 else ()


def _sights(level: Any) -> list[Sight]:
    """What the agent sees, nearest first, and then the nearest wall to each side and ahead."""
    grid, visible = level.gen_obs_grid()
    middle, own_row = grid.width // 2, grid.height - 1
    cells = [(column, row) for column in range(grid.width) for row in range(grid.height) if visible[column, row]]
    filled = [(grid.get(*cell), cell) for cell in cells if grid.get(*cell) and cell != (middle, own_row)]
    sights = [Sight(_name(thing), own_row - row, column - middle) for thing, (column, row) in filled]
    sights.sort(key=lambda sight: (sight.distance, -sight.forward, sight.right))
    things = [sight for sight in sights if sight.name != "a wall"]
    return things + _nearest_walls([sight for sight in sights if sight.name == "a wall"])


def _nearest_walls(walls: list[Sight]) -> list[Sight]:
    """The first wall straight ahead, straight left and straight right, of walls in order of their distance."""
    straight = [wall for wall in walls if wall.is_ahead or wall.forward == 0]
    nearest: dict[tuple[bool, bool], Sight] = {}
    for wall in straight:
        nearest.setdefault((wall.is_ahead, wall.right < 0), wall)
    return list(nearest.values())


def _name(thing: Any) -> str:
    if thing.type == "wall":
        return "a wall"
    if thing.type != "door":
        return f"a {thing.color} {thing.type}"
    if thing.is_open:
        return f"an open {thing.color} door"
    return f"a {'locked' if thing.is_locked else 'closed'} {thing.color} door"


def _steps(count: int, direction: str) -> str:
    """How far something lies in one direction, empty where it does not."""
    return f"{count} step{'s' if count > 1 else ''} {direction}" if count else ""

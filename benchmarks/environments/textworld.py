"""TextWorld (Côté et al. 2018, arXiv 1806.11532) behind the `World` protocol: three challenges, made from seeds.

A game takes about five seconds to make and is kept in a folder.  Candidates are the commands that the package says are
admissible, the state is its description of the room with what is carried.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selector.demo.wording import compact, join_seen, outcome_of, parse_action
from selector.demo.world import Fold
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.schema import Candidate, Task

FIRST_SEED: Mapping[Fold, int] = {"train": 0, "dev": 10_000, "test": 20_000}
SPLIT: Mapping[Fold, str] = {"train": "train", "dev": "valid", "test": "test"}
CHALLENGES: Mapping[str, tuple[str, dict[str, object]]] = {
    "cooking": (
        "tw-cooking",
        {"recipe": 2, "take": 2, "go": 6, "open": True, "cook": True, "cut": True, "drop": False},
    ),
    "treasure": ("tw-treasure_hunter", {"level": 15}),
    "dinner": ("tw-simple", {"rewards": "dense", "goal": "brief", "test": False}),
}
READ_FIRST = "examine cookbook"
LONGEST_PATH = 60


class TextWorldEnvironment:
    """One game at a time.  A task's id is "challenge/seed"; its reward is the change of the score in [0, 1].

    In the cooking challenge the ingredients of the test fold occur in no training game.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import textworld  # noqa: PLC0415 - brings much with it
        except ImportError as error:
            raise MissingDependency("TextWorld needs its package: pip install textworld") from error
        self._package = textworld
        self._folder = folder
        self._game: Any = None
        self._seen: Any = None

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first tasks of a fold; games that are missing are made."""
        return tuple(self._task(game, fold, FIRST_SEED[fold] + number) for number in range(count))

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """The package's own walkthrough; where there is a cookbook, it is read when it is first seen.

        The walkthrough cooks as the recipe says without reading it, which nobody could learn from.
        """
        self.reset(task)
        path: list[str] = []
        while self._seen.policy_commands and len(path) < LONGEST_PATH:
            reads = READ_FIRST in self._seen.admissible_commands and READ_FIRST not in path
            path.append(READ_FIRST if reads else self._seen.policy_commands[0])
            self._seen, _, done = self._game.step(path[-1])
            if done:
                break
        return tuple(path)

    def as_candidate(self, action: str) -> Candidate:
        """The candidate as which an action would be offered."""
        return parse_action(action)

    def reset(self, task: Task) -> Observation:
        """Start the game of a task."""
        self.close()
        self._game = self._package.start(str(self._path(task.task_id)), self._asked())
        self._seen = self._game.reset()
        return Observation(self._state(""), self._candidates())

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one command."""
        before = self._seen.score
        self._seen, _, done = self._game.step(candidate.text)
        said = compact(self._seen.feedback)
        return Transition(
            self._state(said),
            () if done else self._candidates(),
            said,
            (self._seen.score - before) / self._seen.max_score,
            outcome_of(said),
            done,
            bool(self._seen.won) if done else None,
        )

    def close(self) -> None:
        """End the game that runs."""
        if self._game is not None:
            self._game.close()
            self._game = None

    def _task(self, game: str, fold: Fold, seed: int) -> Task:
        task_id = f"{game}/{seed}"
        path = self._path(task_id)
        if not path.exists():
            self._make(path, game, fold, seed)
        playing = self._package.start(str(path), self._asked())
        text = compact(playing.reset().objective)
        playing.close()
        return Task(text=text, task_id=task_id, group=task_id, family=f"textworld/{game}")

    def _make(self, path: Path, game: str, fold: Fold, seed: int) -> None:
        from textworld.challenges import CHALLENGES as MADE_BY  # noqa: PLC0415
        from textworld.generator import compile_game  # noqa: PLC0415

        challenge, settings = CHALLENGES[game]
        if game == "cooking":
            settings = settings | {"split": SPLIT[fold], "recipe_seed": seed}
        options = self._package.GameOptions()
        options.seeds = seed
        options.path = str(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        compile_game(MADE_BY[challenge][1](settings, options), options)

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{task_id.replace('/', '-')}.z8"

    def _asked(self) -> Any:
        names = ("description", "inventory", "admissible_commands", "objective", "won", "policy_commands", "score")
        return self._package.EnvInfos(**dict.fromkeys((*names, "max_score", "feedback"), True))

    def _state(self, said: str) -> str:
        return join_seen(self._seen.description, self._seen.inventory, said)

    def _candidates(self) -> tuple[Candidate, ...]:
        return tuple(parse_action(command) for command in sorted(set(self._seen.admissible_commands)))

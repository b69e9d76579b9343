"""Which stored paths an episode is compared with: those of the tasks that sound most like its own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from selector.in_sight import Sights, sights_of
from selector.near_tasks import asking, nearest_by_task
from selector.newest import Newest
from selector.path_relations import PATH_RELATIONS, PathBook, StoredPath
from selector.reading import words_of
from selector.situation import Situation
from selector.task_words import Bridge, bridge
from selector.word_weights import NO_WEIGHTS, WordWeights, fit_word_weights
from trajstore.experience import Experience
from trajstore.render import render_goal

Floats = NDArray[np.float64]

MOST_NEAR = 48
MOST_PATHS = 12
MOST_BOOKS = 16
MOST_STEPS = 160
MOST_COMPARED = 2_000
WORD_COST = 4.0
OTHER_TASK = 0.3


class StoredPaths:
    """The examples of an experience as paths, and the books of the tasks that asked last.

    Steps that led to nothing are left out of them, and those beyond MOST_STEPS.
    """

    def __init__(self, experience: Experience) -> None:
        self._experience = experience
        self._paths: dict[int, StoredPath] = {}
        self._sights: dict[int, Sights] = {}
        self._books = Newest[PathBook](MOST_BOOKS)
        self._words = NO_WEIGHTS

    def use_words(self, words: WordWeights) -> None:
        """Take it from now on that words of tasks matter as much as this."""
        self._words = words
        self._books = Newest[PathBook](MOST_BOOKS)

    def weigh_words(self, seed: int = 0) -> WordWeights:
        """How much the words of tasks matter, by at most MOST_COMPARED of the paths."""
        numbers = np.flatnonzero(self._experience.weights > 0.0)
        if len(numbers) > MOST_COMPARED:
            numbers = np.sort(np.random.default_rng(seed).choice(numbers, MOST_COMPARED, replace=False))
        paths = [_path_of(self._experience, number, *self._names) for number in numbers.tolist()]
        return fit_word_weights([path for path in paths if path.tools], seed)

    def relations(self, situation: Situation, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None) -> Floats:
        """How each candidate stands to the paths; shape (K, len(PATH_RELATIONS)).

        `goals` are the similarities of the situation's task with the stored ones, `excluded` marks trajectories that
        are left out.  All 0 where candidates are bare names, which say nothing that the order of tools does not.
        """
        if not situation.is_described:
            return np.zeros((len(situation.candidates), len(PATH_RELATIONS)))
        state = self._experience.embed(situation.moment_text)
        return self._book(situation.task, goals, excluded).relations(situation, state)

    def _book(self, task: str, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None) -> PathBook:
        key = len(self._experience.trajectory_ids), asking(task, excluded)
        return self._books.get(key, lambda: self._open(task, goals, excluded))

    def _open(self, task: str, goals: NDArray[np.float32], excluded: NDArray[np.bool_] | None) -> PathBook:
        near = nearest_by_task(self._experience, goals, self._experience.weights > 0.0, excluded, MOST_NEAR).tolist()
        found = {number: path for number, path in zip(near, self._read(near), strict=True) if path.tools}
        numbers, paths = list(found), list(found.values())
        bridges = bridges_to(task, paths)
        asked = render_goal(task)
        apart = [OTHER_TASK * (path.task != asked) + WORD_COST * self._words.apart(path.task, task) for path in paths]
        bridges = [replace(one, cost=one.cost + further) for one, further in zip(bridges, apart, strict=True)]
        kept = sorted(range(len(paths)), key=lambda place: bridges[place].cost)[:MOST_PATHS]
        sights = [self._sights_in(numbers[place], paths[place]) for place in kept]
        return PathBook(task, [paths[place] for place in kept], [bridges[place] for place in kept], sights)

    def _sights_in(self, number: int, path: StoredPath) -> Sights:
        """What its task names in the states of this trajectory's path; looked for once."""
        if number not in self._sights:
            states = self._experience.moment_texts(_rows_of(self._experience, number).tolist())
            self._sights[number] = sights_of(path.task, path.args, states)
        return self._sights[number]

    def _read(self, numbers: list[int]) -> list[StoredPath]:
        """The paths of these trajectories; each is made once."""
        fresh = [number for number in numbers if number not in self._paths]
        if fresh:
            names = self._names
            self._paths |= {number: _path_of(self._experience, number, *names) for number in fresh}
        return [self._paths[number] for number in numbers]

    @property
    def _names(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """The tasks, tools and actions of the experience."""
        experience = self._experience
        return experience.goal_names, experience.tools.names, experience.actions.names


def bridges_to(task: str, paths: Sequence[StoredPath]) -> list[Bridge]:
    """What leads from each path's own task to this one, as far as all of them tell what is spoken of."""
    spoken = {word for path in paths for args in path.args for word in words_of(args)}
    silent = frozenset(word for path in paths for word in words_of(path.task)) - spoken
    return [bridge(path.task, task, path.args, silent) for path in paths]


def _path_of(
    experience: Experience, number: int, goals: Sequence[str], tools: Sequence[str], actions: Sequence[str]
) -> StoredPath:
    rows = _rows_of(experience, number)
    called = [tools[tool].lower() for tool in experience.column("tool")[rows].tolist()]
    done = [actions[action] for action in experience.column("action")[rows].tolist()]
    args = tuple(action[len(tool) :].strip() for tool, action in zip(called, done, strict=True))
    goal = goals[int(experience.trajectory_column("goal")[number])]
    return StoredPath(goal, tuple(called), args, experience.moments[experience.column("moment")[rows]])


def _rows_of(experience: Experience, number: int) -> NDArray[np.int64]:
    """The rows of a trajectory that led to something, at most MOST_STEPS."""
    ends = experience.trajectory_column("end")
    rows = np.arange(ends[number - 1] if number else 0, ends[number])
    return np.asarray(rows[experience.column("leads")[rows]][:MOST_STEPS], np.int64)

"""Stores of any size whose texts look like agents' states: families of tasks with their own words, tools and ways.

Words are drawn by Zipf's law; a state is one of its family's twelve with a third of its words exchanged, a trajectory
goes along its family's tools and strays now and then.  So states come in clusters of near duplicates, as in real logs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajstore import Step, Task, Trajectory, TrajectoryStore

WORDS, TOOLS, FAMILIES = 20_000, 60, 400
STATES, STATE_WORDS, FAMILY_WORDS = 12, 30, 60
STEPS = 10
EXCHANGED, STRAYING, SUCCESS = 0.35, 0.15, 0.7
BATCH = 500
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Family:
    """Tasks of one kind: their words, their tools in order, and the words of the states that they go through."""

    words: Numbers
    tools: Numbers
    states: Numbers


class Maker:
    """Draws trajectories; the same seed gives the same ones."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        self._words = ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(WORDS)]
        zipf = 1.0 / np.arange(1, WORDS + 1)
        self._drawn, self._at = rng.choice(WORDS, 1 << 20, p=zipf / zipf.sum()), 0
        self._families = [self._family() for _ in range(FAMILIES)]

    def trajectories(self, count: int) -> Iterator[Trajectory]:
        """So many trajectories of STEPS steps each."""
        return (self._trajectory(number) for number in range(count))

    def _family(self) -> Family:
        words = self._any_words(FAMILY_WORDS)
        tools = self._rng.choice(TOOLS, STATES, replace=False)
        return Family(words, tools, self._rng.choice(words, (STATES, STATE_WORDS)))

    def _trajectory(self, number: int) -> Trajectory:
        which = int(self._rng.integers(FAMILIES))
        family, first = self._families[which], int(self._rng.integers(3))
        steps = tuple(self._step(family, at, (first + at) % STATES) for at in range(STEPS))
        task = f"{self._text(family.words[:12])} {self._text(self._any_words(4))}"
        success = bool(self._rng.random() < SUCCESS)
        named = Task(task, f"t{number}", f"g{number // 4}", f"f{which}")
        return Trajectory(named, steps, success=success, reward=float(success))

    def _step(self, family: Family, at: int, place: int) -> Step:
        state = family.states[place].copy()
        exchanged = self._rng.random(STATE_WORDS) < EXCHANGED
        state[exchanged] = self._any_words(int(exchanged.sum()))
        strays = self._rng.random() < STRAYING
        tool = int(self._rng.integers(TOOLS) if strays else family.tools[place])
        observation = self._text(self._any_words(10))
        name = f"{self._words[100 + tool]}_{self._words[300 + tool]}"
        return Step(at, name, self._text(state), observation=observation, outcome="ok")

    def _any_words(self, count: int) -> Numbers:
        self._at = 0 if self._at + count > len(self._drawn) else self._at
        self._at += count
        return np.asarray(self._drawn[self._at - count : self._at], np.int64)

    def _text(self, numbers: Numbers) -> str:
        return " ".join(self._words[number] for number in numbers.tolist())


def make_store(path: Path, steps: int, *, seed: int = 0) -> None:
    """Fill a new store with at least this many steps, through the same door as anyone's."""
    count = -(-steps // STEPS)
    with TrajectoryStore(path) as store:
        made = Maker(seed).trajectories(count)
        for first in range(0, count, BATCH):
            store.add_many(next(made) for _ in range(min(BATCH, count - first)))

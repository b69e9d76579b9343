"""Small worlds with a known optimum, and policies and logs to train in them."""

import zlib
from collections.abc import Sequence

import numpy as np
from tiny_logs import WordEmbedder

from grpo.encoding import EncodedDecision, Encoder
from grpo.protocols import Observation, Transition
from grpo.tool_policy import PolicyShape, ToolPolicy
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

COLOURS = ("red", "blue", "green")
BUTTONS = tuple(Candidate(f"press_{colour}") for colour in COLOURS)
WORDS = (*COLOURS, "lamp", "press", "open", "door", "press_1", "press_2")


class Lamps:
    """A lamp shows a colour, and the button of that colour is right; an episode shows `length` of them.

    The best policy earns 1 an episode, a uniform one a third.
    """

    def __init__(self, length: int = 2) -> None:
        self._length, self._colours, self._right = length, [""], 0

    def reset(self, task: Task) -> Observation:
        rng = np.random.default_rng(zlib.crc32(task.text.encode()))
        self._colours, self._right = rng.choice(COLOURS, self._length).tolist(), 0
        return Observation(f"the lamp is {self._colours[0]}", BUTTONS)

    def step(self, candidate: Candidate) -> Transition:
        is_right = candidate.tool == f"press_{self._colours.pop(0)}"
        self._right += is_right
        is_over = not self._colours
        state = "" if is_over else f"the lamp is {self._colours[0]}"
        success = self._right == self._length if is_over else None
        return Transition(state, BUTTONS, "click", is_right / self._length, "ok", is_over, success)


class AsyncLamps:
    """The same world, with coroutines for methods."""

    def __init__(self, length: int = 2) -> None:
        self._lamps = Lamps(length)

    async def reset(self, task: Task) -> Observation:
        return self._lamps.reset(task)

    async def step(self, candidate: Candidate) -> Transition:
        return self._lamps.step(candidate)


class Breaking(Lamps):
    """Raises on tasks whose text names where: "reset" or "step"."""

    def reset(self, task: Task) -> Observation:
        self._text = task.text
        if "reset" in task.text:
            raise OSError("the world is gone")
        return super().reset(task)

    def step(self, candidate: Candidate) -> Transition:
        if "step" in self._text:
            raise OSError("the button fell off")
        return super().step(candidate)


def tasks(count: int, name: str = "lamps") -> tuple[Task, ...]:
    """Tasks of the lamps; other names show other colours."""
    return tuple(Task(f"{name} {number}", task_id=f"{name}-{number}") for number in range(count))


def embedder() -> WordEmbedder:
    """One entry for each word of these worlds."""
    return WordEmbedder(*WORDS)


def untrained(hidden: int = 8, seed: int = 0) -> ToolPolicy:
    """A uniform policy, small enough to train in moments."""
    return ToolPolicy.untrained(embedder(), hidden=hidden, seed=seed)


def random_policy(seed: int = 0, hidden: int = 8) -> ToolPolicy:
    """A policy whose every weight is drawn."""
    shape, rng = PolicyShape(len(WORDS), hidden, 5), np.random.default_rng(seed)
    weights = {name: rng.normal(0.0, 0.5, sizes).astype(np.float32) for name, sizes in shape.arrays.items()}
    return ToolPolicy(shape, weights, embedder())


def seeing(state: str, *tools: str, history: Sequence[PastStep] = (), task: str = "press the button") -> Situation:
    """A decision among bare tools."""
    return Situation(task, state, tuple(history), tuple(map(Candidate, tools)))


def random_situations(count: int, seed: int = 0) -> list[Situation]:
    """Decisions with 1 to 7 candidates, some of them with arguments, and 0 to 4 past steps."""
    rng = np.random.default_rng(seed)
    return [_random_situation(rng) for _ in range(count)]


def _random_situation(rng: np.random.Generator) -> Situation:
    def words(count: int) -> str:
        return " ".join(rng.choice(WORDS, count).tolist())

    names = [f"press_{number}" for number in rng.permutation(12)[: rng.integers(1, 8)]]
    candidates = [Candidate(name, {"at": words(1)} if rng.random() < 0.3 else {}) for name in names]
    past = [
        PastStep(f"press_{rng.integers(12)}", observation=words(2), failed=bool(rng.random() < 0.3))
        for _ in range(rng.integers(5))
    ]
    return Situation(words(3), words(4), tuple(past), tuple(candidates))


def encoded(situations: Sequence[Situation], policy: ToolPolicy) -> tuple[list[EncodedDecision], np.ndarray]:
    """Situations as a trainer keeps them, with the rows of their texts."""
    encoder = Encoder(policy.encoder.embedder, policy.encoder.descriptions, most_texts=None)
    decisions = [encoder.encode(situation) for situation in situations]
    return decisions, encoder.table.vectors


def logged_presses(
    groups: int, *, members: int = 4, skill: float = 0.6, length: int = 2, seed: int = 0, propensities: bool = True
) -> list[Trajectory]:
    """Logs of an agent that presses the right button with probability `skill`, else one of the others."""
    rng = np.random.default_rng(seed)
    return [
        _logged_press(f"{seed}-{group}", member, length, skill, rng, propensities=propensities)
        for group in range(groups)
        for member in range(members)
    ]


def _logged_press(
    group: str, member: int, length: int, skill: float, rng: np.random.Generator, *, propensities: bool
) -> Trajectory:
    steps, right = [], 0
    for index, colour in enumerate(np.random.default_rng(zlib.crc32(group.encode())).choice(COLOURS, length).tolist()):
        chances = [skill if one == colour else (1.0 - skill) / 2.0 for one in COLOURS]
        place = int(rng.choice(3, p=chances))
        right += COLOURS[place] == colour
        propensity = chances[place] if propensities else None
        steps.append(
            Step(
                index=index,
                tool=BUTTONS[place].tool,
                state=f"the lamp is {colour}",
                candidates=BUTTONS,
                propensity=propensity,
            )
        )
    return Trajectory(
        task=Task(f"lamps {group}", group=group),
        steps=tuple(steps),
        success=right == length,
        reward=right / length,
        trajectory_id=f"{group}/{member}",
    )


def accuracy(policy: ToolPolicy) -> float:
    """How probable the right button is, on average over colours."""
    probabilities = [
        np.exp(policy.log_probabilities(seeing(f"the lamp is {colour}", *(one.tool for one in BUTTONS))))[place]
        for place, colour in enumerate(COLOURS)
    ]
    return float(np.mean(probabilities))

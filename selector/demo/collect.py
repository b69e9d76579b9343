"""Collecting trajectories to learn from: paths that succeed, the same with detours, and random walks."""

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from selector.demo.world import World
from selector.errors import SelectorUsageError
from selector.lessons import ENDED
from trajstore.environment import Observation, Transition
from trajstore.schema import Candidate, Step, Task, Trajectory

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """How many trajectories of each kind are made of a task, and how.

    `detour_fraction` in [0, 1] is the chance that a step of a gold path with detours is a random one instead.  Of more
    than `max_candidates` candidates at a step, a random sample is stored that holds the chosen one, half of it of the
    chosen tool: those are what it is most easily taken for.
    """

    gold: int = 1
    detours: int = 1
    random: int = 1
    detour_fraction: float = 0.3
    max_steps: int = 50
    max_candidates: int = 100
    source: str = "demo"
    namespace: str = "default"

    def __post_init__(self) -> None:
        if not 0.0 <= self.detour_fraction <= 1.0:
            raise SelectorUsageError(f"detour_fraction must lie in [0, 1], got {self.detour_fraction}")
        for name in ("max_steps", "max_candidates"):
            if getattr(self, name) < 1:
                raise SelectorUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")

    @property
    def per_task(self) -> int:
        """Trajectories made of each task."""
        return self.gold + self.detours + self.random


def collect(
    world: World,
    tasks: Sequence[Task],
    settings: CollectSettings,
    *,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Iterator[Trajectory]:
    """Trajectories of the tasks, in their order; `on_progress` hears (made, to make) after each."""
    made = 0
    for task in tasks:
        owned = replace(task, namespace=settings.namespace)
        rng = rng_for(seed, task.task_id)
        for walk in _walks(world, task, settings, rng):
            yield record(walk, world, owned, settings, rng)
            made += 1
            if on_progress is not None:
                on_progress(made, len(tasks) * settings.per_task)


def rng_for(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the seed and the name alone, so that order and company change nothing."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def action_of(step: Step) -> str:
    """How the runtime wrote the action of a stored step."""
    for candidate in step.candidates:
        if candidate.tool == step.tool and candidate.args == step.args:
            return candidate.text
    return " ".join([step.tool, *(str(value) for value in step.args.values())])


class Walk(Protocol):
    """A way of acting that is written down."""

    @property
    def agent(self) -> str:
        """Who acts, as the trajectory says it."""
        ...

    def choose(self, world: World, seen: Observation | Transition) -> Candidate | None:
        """The next action; None where the walk is at its end."""
        ...

    def observe(self, candidate: Candidate, after: Transition) -> None:
        """What the action brought."""
        ...


class _Walk:
    """Walks along the gold path, with a chance of a random step instead of its next one.

    Environments do not list all that they understand, so an action of the path that is not offered is tried once;
    where it is refused, because a detour led away from it, the walk goes on at random until the action is offered.
    """

    def __init__(self, agent: str, gold: Sequence[str], detour_fraction: float, rng: np.random.Generator) -> None:
        self.agent = agent
        self._ahead = deque(gold)
        self._detour_fraction = detour_fraction
        self._rng = rng
        self._refused = False
        self._on_path: Candidate | None = None

    def choose(self, world: World, seen: Observation | Transition) -> Candidate | None:
        """The next action; None where the walk is at its end."""
        wanders = self._detour_fraction > 0 and self._rng.random() < self._detour_fraction
        self._on_path = None
        if self._ahead and not wanders:
            offered = {candidate.text: candidate for candidate in seen.candidates}
            if self._ahead[0] in offered or not self._refused:
                self._on_path = offered.get(self._ahead[0]) or world.as_candidate(self._ahead[0])
                return self._on_path
        if self._detour_fraction == 0 or not seen.candidates:
            return None
        return seen.candidates[int(self._rng.integers(len(seen.candidates)))]

    def observe(self, candidate: Candidate, after: Transition) -> None:
        """Go on along the path, unless its action was not understood."""
        if candidate is self._on_path:
            self._refused = after.outcome == "invalid_args" and self._detour_fraction > 0
            if not self._refused:
                self._ahead.popleft()


def _walks(world: World, task: Task, settings: CollectSettings, rng: np.random.Generator) -> Iterator[_Walk]:
    gold = world.gold_path(task) if settings.gold + settings.detours else ()
    yield from (_Walk("gold", gold, 0.0, rng) for _ in range(settings.gold))
    yield from (_Walk("gold with detours", gold, settings.detour_fraction, rng) for _ in range(settings.detours))
    yield from (_Walk("random", (), 1.0, rng) for _ in range(settings.random))


def record(walk: Walk, world: World, task: Task, settings: CollectSettings, rng: np.random.Generator) -> Trajectory:
    """The trajectory of one walk through a task."""
    seen: Observation | Transition = world.reset(task)
    steps: list[Step] = []
    while len(steps) < settings.max_steps and not _has_ended(seen):
        candidate = walk.choose(world, seen)
        if candidate is None:
            break
        after = world.step(candidate)
        walk.observe(candidate, after)
        offered = thinned(seen.candidates, candidate, settings.max_candidates, rng)
        steps.append(_step(len(steps), seen.state, offered, candidate, after))
        seen = after
    return Trajectory(
        task=task,
        steps=tuple(steps),
        success=isinstance(seen, Transition) and seen.success is True,
        reward=sum(step.reward or 0.0 for step in steps),
        agent=walk.agent,
        source=settings.source,
        stop_reason=ENDED if _has_ended(seen) else "step limit",
    )


def _has_ended(seen: Observation | Transition) -> bool:
    return isinstance(seen, Transition) and seen.done


def thinned(
    offered: tuple[Candidate, ...], chosen: Candidate, most: int, rng: np.random.Generator
) -> tuple[Candidate, ...]:
    """At most `most` of the offered candidates in their order, the chosen one always among them.

    Half of the room is for the chosen one's tool, the rest for the other tools, as evenly as they can fill it.
    """
    known = offered if chosen in offered else (*offered, chosen)
    if len(known) <= most:
        return known
    others = [known[at] for at in rng.permutation(len(known)).tolist() if known[at] != chosen]
    own = [candidate for candidate in others if candidate.tool == chosen.tool]
    first, last = own[: most // 2], own[most // 2 :]
    kept = [chosen, *first, *_evenly([one for one in others if one.tool != chosen.tool]), *last][:most]
    texts = {candidate.text for candidate in kept}
    return tuple(candidate for candidate in known if candidate.text in texts)


def _evenly(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of each tool, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    rounds: list[int] = []
    for candidate in candidates:
        rounds.append(seen[candidate.tool])
        seen[candidate.tool] += 1
    return [candidates[at] for at in np.argsort(rounds, kind="stable").tolist()]


def _step(index: int, state: str, offered: tuple[Candidate, ...], candidate: Candidate, after: Transition) -> Step:
    return Step(
        index=index,
        tool=candidate.tool,
        state=state,
        args=candidate.args,
        observation=after.observation,
        outcome=after.outcome,
        reward=after.reward,
        candidates=offered,
    )

"""The engine beside its baselines on the same unseen tasks, all with the same memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from types import MappingProxyType

from selector.demo.agents import Agent, RandomAgent, ReplayAgent
from selector.demo.engine_agent import EngineAgent
from selector.demo.knn import FreshKnnAgent, StepKnnAgent
from selector.demo.records import Example, LeftOut, count_left_out
from selector.demo.rollout import Progress, Rollout, game_of, roll_out_all
from selector.demo.summary import CurvePoint, Table, summarise
from trajstore.environment import Environment
from trajstore.schema import Task, Trajectory

TELLING_STEPS = 6
CURVE_SIZES = (0, 10, 30, 100, 300)
LEARNERS: Mapping[str, Callable[[Sequence[Trajectory], int], Agent]] = MappingProxyType(
    {learner.name: learner for learner in (ReplayAgent, StepKnnAgent, FreshKnnAgent)}
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the agents came to on the tasks, an episode of the `leader` to look at, and what that left out in all."""

    leader: str
    tasks: tuple[Task, ...]
    rollouts: tuple[Rollout, ...]
    table: Table
    example: Example | None
    left_out: tuple[LeftOut, ...]

    @property
    def rival(self) -> str:
        """The baseline with a memory that did best: by success over all games, then by reward."""
        rows = (self.table.row(name, self.table.games[-1]) for name in LEARNERS if name in self.table.agents)
        return max(rows, key=lambda row: (row.success.value, row.reward.value)).agent


def baselines(memory: Sequence[Trajectory], seed: int) -> tuple[Agent, ...]:
    """The agents that the engine is compared with."""
    return (RandomAgent(seed), *(learner(memory, seed) for learner in LEARNERS.values()))


def compare(
    environment: Environment,
    tasks: Sequence[Task],
    agents: Sequence[Agent],
    engine: EngineAgent,
    *,
    max_steps: int,
    on_progress: Progress | None = None,
) -> Comparison:
    """Roll all agents out over the tasks, and sum up."""
    rollouts: list[Rollout] = []
    episodes: list[Example] = []
    by_id = {task.task_id: task for task in tasks}
    everyone = (*agents, engine)
    for rollout in roll_out_all(environment, everyone, tasks, max_steps=max_steps, on_progress=on_progress):
        rollouts.append(rollout)
        if rollout.agent == engine.name:
            episodes.append(Example(by_id[rollout.task_id], rollout.success, tuple(engine.steps), {}))
    return Comparison(
        engine.name,
        tuple(tasks),
        tuple(rollouts),
        summarise(rollouts, leader=engine.name),
        max(episodes, key=_how_telling, default=None),
        count_left_out(step for episode in episodes for step in episode.steps),
    )


def interleaved(memory: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    """The trajectories in an order of which every beginning holds about as many of each game."""
    games = dict.fromkeys(game_of(trajectory.task) for trajectory in memory)
    by_game = ([one for one in memory if game_of(one.task) == game] for game in games)
    return tuple(one for one in chain.from_iterable(zip_longest(*by_game)) if one is not None)


def curve_sizes(stored: int) -> tuple[int, ...]:
    """How many trajectories are known at each point of a learning curve but the last, at which all `stored` are.

    >>> curve_sizes(540), curve_sizes(30)
    ((0, 10, 30, 100, 300), (0, 10))
    """
    return tuple(size for size in CURVE_SIZES if size < stored)


def point_of(
    trajectories: int, rollouts: Sequence[Rollout], tasks: Sequence[Task], agents: Sequence[str]
) -> CurvePoint:
    """The point of a learning curve that these rollouts make, of which only those of the tasks and agents count."""
    wanted = {task.task_id for task in tasks}
    counted = [one for one in rollouts if one.task_id in wanted and one.agent in agents]
    return CurvePoint(trajectories, summarise(counted))


def first_of_each_game(tasks: Sequence[Task], each: int) -> tuple[Task, ...]:
    """At most `each` tasks of every game, the first ones."""
    return tuple(_first_of_each_game(tasks, each))


def with_stored(example: Example, stored: Mapping[str, Trajectory]) -> Example:
    """The example with the stored trajectories behind its decisions; `stored` are the trajectories by id."""
    wanted = {step.trajectory for one in example.steps for step in one.decision.evidence}
    wanted |= {one.decision.path for one in example.steps if one.decision.path is not None}
    behind = {trajectory_id: stored[trajectory_id] for trajectory_id in sorted(wanted) if trajectory_id in stored}
    return Example(example.task, example.success, example.steps, behind)


def _first_of_each_game(tasks: Sequence[Task], each: int) -> Iterator[Task]:
    taken: dict[str, int] = {}
    for task in tasks:
        game = game_of(task)
        taken[game] = taken.get(game, 0) + 1
        if taken[game] <= each:
            yield task


def _how_telling(example: Example) -> tuple[bool, bool, int]:
    """Successes first, then short ones in which something was pruned, then those of a length that can be read."""
    steps = len(example.steps)
    has_pruned = any(step.decision.pruned for step in example.steps) and steps <= 2 * TELLING_STEPS
    return example.success, has_pruned, -abs(steps - TELLING_STEPS)

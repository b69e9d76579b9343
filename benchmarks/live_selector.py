"""The selector as it learns from what it does itself: nothing was stored before, and nobody shows it anything."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from selector import Selector, SelectorConfig
from selector.demo.agents import Agent
from selector.demo.collect import CollectSettings, record, rng_for
from selector.demo.engine_agent import EngineAgent
from selector.demo.world import World
from selector.errors import SelectorUsageError
from trajstore.environment import Observation, Transition
from trajstore.schema import Candidate, Task, Trajectory
from trajstore.store import TrajectoryStore

OWN = "own"
OWN_SETTINGS = CollectSettings(gold=0, detours=0, random=0, source=OWN)
LIVE = SelectorConfig(record_episodes=False, decisions=3000)
OnSteps = Callable[[int, int], None]


class OwnWalk:
    """An agent's episodes as walks that are written down."""

    agent = OWN

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def choose(self, _: World, seen: Observation | Transition) -> Candidate | None:
        """The agent's choice; None where nothing is offered."""
        return self._agent.choose(seen) if seen.candidates else None

    def observe(self, _: Candidate, after: Transition) -> None:
        """Tell the agent."""
        self._agent.observe(after)


def own_episode(agent: Agent, world: World, task: Task, *, max_steps: int, seed: int) -> Trajectory:
    """One episode of an agent as it is stored."""
    agent.begin(task)
    settings = replace(OWN_SETTINGS, max_steps=max_steps)
    made = record(OwnWalk(agent), world, task, settings, rng_for(seed, task.task_id))
    agent.end(success=made.success is True, reward=made.reward or 0.0)
    return made


def learn_live(
    world: World,
    tasks: Sequence[Task],
    store: TrajectoryStore,
    *,
    budget: int,
    max_steps: int,
    seed: int = 0,
    on_steps: OnSteps | None = None,
) -> int:
    """Act in the tasks, round after round in new order, and store each episode; returns the steps taken in all.

    That is `budget`, or a little more to end an episode, what is in the store already included.  At most 100 of the
    candidates of each step are stored.
    """
    if not tasks:
        raise SelectorUsageError("a selector learns live by acting and got no task: hand in at least one")
    selector = Selector(store, LIVE, seed=seed)
    played, taken = store.stats().trajectories, store.stats().steps
    while taken < budget:
        order = np.random.default_rng([seed, played // len(tasks)]).permutation(len(tasks))
        task = tasks[int(order[played % len(tasks)])]
        agent = EngineAgent(lambda asked: selector.episode(asked.text, group=asked.group), seed=seed + played, name=OWN)
        made = own_episode(agent, world, task, max_steps=max_steps, seed=seed + played)
        store.add(replace(made, metadata={"attempt": played}))  # the same once more is another attempt
        played, taken = played + 1, taken + len(made.steps)
        if on_steps is not None:
            on_steps(min(taken, budget), budget)
    return taken

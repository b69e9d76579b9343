"""The agents of the environment tables: what each is made of, and how it is trained."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

from drrn import CountingEnvironment, DrrnConfig, train_drrn
from environment_agents import (
    PolicyAgent,
    config_without,
    gold,
    markov,
    most_frequent,
    nothing,
    substituting_replay,
)
from environment_report import Condition
from live_selector import learn_live

from grpo import GRPOConfig, GRPOTrainer, LiveTasks, ToolPolicy
from grpo.errors import TrainingUsageError
from selector import Selector
from selector.demo.agents import Agent, RandomAgent, ReplayAgent
from selector.demo.engine_agent import EngineAgent
from selector.demo.knn import FreshKnnAgent, StepKnnAgent
from selector.demo.world import World
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore

Tell = Callable[[str, int, int], None]
NEVER = 1_000_000
VALIDATION_TASKS = 10
VALIDATE_EVERY = 2


@dataclass
class Given:
    """What an agent is made of: a world, what was stored, tasks to train in, and the condition that asks for it."""

    world: World
    memory: tuple[Trajectory, ...]
    tasks: tuple[Task, ...]
    condition: Condition
    tell: Tell
    policies: dict[Condition, tuple[ToolPolicy, float]]
    note: str = ""
    spared_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.environment = CountingEnvironment(self.world)

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.condition.seed

    @cached_property
    def store(self) -> TrajectoryStore:
        """The trajectories in a store of their own."""
        store = TrajectoryStore(":memory:")
        store.add_many(self.memory)
        return store

    def policy_agent(self, make: Callable[[], ToolPolicy]) -> PolicyAgent:
        """A policy on its own; untrained where there is too little to train on, which the note says."""
        return PolicyAgent(self.trained(make), self.seed, self.condition.agent, temperature=self.condition.temperature)

    def trained(self, make: Callable[[], ToolPolicy]) -> ToolPolicy:
        """The policy that is made; an untrained one where there is too little to train on."""
        try:
            return make()
        except TrainingUsageError as error:
            self.note = str(error)
            return ToolPolicy.untrained(seed=self.seed)

    def clone(self) -> ToolPolicy:
        """Behaviour cloning."""
        return ToolPolicy.from_store(self.store, seed=self.seed, on_progress=self.tell)

    def offline(self) -> ToolPolicy:
        """Cloned, then trained on the store alone; once for all agents with the same experience."""
        left_out = "failures" if self.condition.without == "failures" else ""
        key, started = replace(self.condition, agent="", without=left_out), time.perf_counter()
        if key in self.policies:
            policy, self.spared_seconds = self.policies[key]
            return policy
        config = GRPOConfig(updates=self.condition.updates, seed=self.seed)
        untrained = ToolPolicy.untrained(seed=self.seed)
        policy = GRPOTrainer(untrained, config, store=self.store, on_progress=self.tell).train().policy
        self.policies[key] = policy, time.perf_counter() - started
        return policy

    def online(self, *, replay: float = 0.0) -> ToolPolicy:
        """Trained by acting in train tasks within the budget of steps; the last tasks choose among its versions.

        It stops after a validation, since the version of the best one is what comes out.
        """
        kept = max(2, min(VALIDATION_TASKS, len(self.tasks) // 4))
        config = GRPOConfig(
            updates=NEVER,
            groups=4,
            max_steps=self.condition.max_steps,
            validate_every=VALIDATE_EVERY,
            patience=NEVER,
            replay=replay,
            seed=self.seed,
        )
        trainer = GRPOTrainer(
            ToolPolicy.untrained(seed=self.seed),
            config,
            environment=self.environment,
            tasks=LiveTasks(self.tasks[:-kept], self.tasks[-kept:], self.tasks[-1:]),
            trajectories=self.memory if replay else (),
            should_stop=self._spending(),
        )
        return trainer.train().policy

    def _spending(self) -> Callable[[int, Mapping[str, float]], bool]:
        """Says, after each validation, whether as many steps again as since the one before would exceed the budget."""
        taken, budget = [0], self.condition.budget

        def is_spent(updates: int, _metrics: Mapping[str, float]) -> bool:
            steps = self.environment.steps
            self.tell("training live", min(budget, steps), budget)
            if updates % VALIDATE_EVERY:
                return False
            taken.append(steps)
            return 2 * taken[-1] - taken[-2] > budget

        return is_spent

    def engine(self, policy: ToolPolicy | None = None) -> EngineAgent:
        """The selector; it stores nothing of what it does here."""
        config = config_without(self.condition.without)
        selector = Selector(self.store, config, seed=self.seed, policy=policy, on_progress=self.tell)
        selector.room("default")
        return EngineAgent(lambda task: selector.episode(task.text, group=task.group), seed=self.seed)

    def live_engine(self) -> EngineAgent:
        """The selector with what it did itself in train tasks within the budget of steps."""
        on_steps = partial(self.tell, "training live")
        budget, max_steps, own = self.condition.budget, self.condition.max_steps, TrajectoryStore(":memory:")
        self.environment.steps = learn_live(
            self.world, self.tasks, own, budget=budget, max_steps=max_steps, seed=self.seed, on_steps=on_steps
        )
        return replace(self, memory=tuple(own.trajectories())).engine()

    def drrn(self) -> Agent:
        """DRRN by acting in train tasks."""
        config = DrrnConfig(steps=self.condition.budget, max_steps=self.condition.max_steps)
        on_steps = partial(self.tell, "training live")
        return train_drrn(self.environment, self.tasks, config, seed=self.seed, on_steps=on_steps)


@dataclass(frozen=True, slots=True)
class Kind:
    """An agent of the tables: its name there, how it is made, and which fields of a condition mean anything to it."""

    name: str
    make: Callable[[Given], Agent]
    reads: frozenset[str] = frozenset()


STORED = frozenset({"experience", "stored"})
LIVE = frozenset({"budget", "temperature"})
KINDS: Mapping[str, Kind] = {
    "nothing": Kind("do nothing", lambda given: nothing()),
    "random": Kind("random", lambda given: RandomAgent(given.seed)),
    "frequent": Kind("most frequent", lambda given: most_frequent(given.memory, given.seed), STORED),
    "replay": Kind("replay", lambda given: ReplayAgent(given.memory, given.seed), STORED),
    "replay-words": Kind(
        "replay, words substituted", lambda given: substituting_replay(given.memory, given.seed), STORED
    ),
    "markov": Kind("Markov, order 2", lambda given: markov(given.memory, given.seed), STORED),
    "knn": Kind("step kNN", lambda given: StepKnnAgent(given.memory, given.seed), STORED),
    "knn-fresh": Kind("step kNN, no repeats", lambda given: FreshKnnAgent(given.memory, given.seed), STORED),
    "selector-empty": Kind("selector without experience", lambda given: given.engine()),
    "clone": Kind("behaviour cloning", lambda given: given.policy_agent(given.clone), STORED | {"temperature"}),
    "drrn": Kind("DRRN", lambda given: given.drrn(), frozenset({"budget"})),
    "grpo-offline": Kind(
        "GRPO offline", lambda given: given.policy_agent(given.offline), STORED | {"temperature", "updates"}
    ),
    "grpo-online": Kind("GRPO online", lambda given: given.policy_agent(given.online), LIVE),
    "grpo-both": Kind(
        "GRPO on both", lambda given: given.policy_agent(partial(given.online, replay=0.25)), STORED | LIVE
    ),
    "selector": Kind("selector", lambda given: given.engine(), STORED | {"without"}),
    "selector-live": Kind("selector on its own", lambda given: given.live_engine(), frozenset({"budget"})),
    "selector-policy": Kind(
        "selector with policy",
        lambda given: given.engine(given.trained(given.offline)),
        STORED | {"without", "updates"},
    ),
    "gold": Kind("gold", lambda given: gold(given.world)),
}
BY_NAME = {kind.name: kind for kind in KINDS.values()}

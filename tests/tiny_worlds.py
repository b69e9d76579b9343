"""What the selector's tests learn from: worlds of a few tools, small enough to reason about."""

from collections.abc import Sequence

import numpy as np
from tiny_logs import WordEmbedder

from selector.engine import Engine
from selector.knowledge import Assessment, Knowledge
from selector.learning import Learned, LearningConfig, know, learn
from selector.records import Decision, SelectorConfig
from selector.situation import Situation
from trajstore.embedding import Embedder
from trajstore.render import PastStep
from trajstore.schema import Candidate, Outcome, Step, Task, Trajectory

COLOURS = ("red", "blue", "green")


def attempt(
    *steps: tuple[str, str],
    task: str = "press the button",
    success: bool | None = True,
    family: str = "",
    group: str = "",
    outcome: Outcome = "ok",
    trajectory_id: str = "",
) -> Trajectory:
    """A trajectory of (state, tool) pairs."""
    made = tuple(Step(index=at, tool=tool, state=state, outcome=outcome) for at, (state, tool) in enumerate(steps))
    return Trajectory(
        task=Task(task, group=group, family=family), steps=made, success=success, trajectory_id=trajectory_id
    )


def coloured_presses(families: int, *, seed: int = 0, length: int = 4) -> list[Trajectory]:
    """The state names the right tool, in an order that says nothing."""
    rng = np.random.default_rng(seed)
    return [
        attempt(
            *((f"the lamp is {colour}", f"press_{colour}") for colour in rng.choice(COLOURS, length)),
            family=f"f{seed}-{number}",
            trajectory_id=f"t{seed}-{number}",
        )
        for number in range(families)
    ]


def routines(families: int, tools: Sequence[str], *, prefix: str = "f") -> list[Trajectory]:
    """The order of tools decides, and no text says anything."""
    return [
        attempt(*(("", tool) for tool in tools), family=f"{prefix}{number}", trajectory_id=f"{prefix}{number}")
        for number in range(families)
    ]


def learned_from(
    trajectories: Sequence[Trajectory], embedder: Embedder | None = None, config: SelectorConfig | None = None
) -> Learned:
    """Everything that can be learned from trajectories, with settings of a selector."""
    config = config or SelectorConfig()
    learning = LearningConfig(config.hold_out, config.decisions, config.penalties)
    return learn(trajectories, embedder or WordEmbedder(*COLOURS, "lamp"), retrieval=config.retrieval, config=learning)


def knowledge_of(trajectories: Sequence[Trajectory]) -> Knowledge:
    """What can be known of trajectories before any choice model is fitted."""
    return know(trajectories, WordEmbedder(*COLOURS, "lamp"))


def at(state: str = "", *tools: str, history: Sequence[PastStep] = (), task: str = "press the button") -> Situation:
    """A live decision among bare tools."""
    return Situation(task, state, tuple(history), tuple(map(Candidate, tools)))


def assess(learned: Learned, situation: Situation) -> Assessment:
    """What experience says of the situation."""
    return learned.knowledge.assess(situation, learned.knowledge.goal_similarities(situation))


def decide(learned: Learned, situation: Situation, config: SelectorConfig | None = None, *, seed: int = 0) -> Decision:
    """One decision of a fresh engine."""
    engine = Engine(learned, config or SelectorConfig(), np.random.default_rng(seed))
    return engine.decide(situation, learned.knowledge.goal_similarities(situation))

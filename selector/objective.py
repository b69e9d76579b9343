"""What tuning minimises: the surprise of a selector at what successful trajectories did, on tasks it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selector.engine import Engine
from selector.errors import SelectorUsageError
from selector.learning import LearningConfig, known_tools, learn
from selector.records import SelectorConfig
from selector.situation import Situation, situation_at
from selector.tuned import with_values
from selector.tuning import Measurement, Objective
from trajstore.embedding import Embedder, RememberingEmbedder
from trajstore.experience import holdout_unit, play_back
from trajstore.schema import Candidate, Trajectory

MOST_TRAJECTORIES = 600
MOST_DECISIONS = 400
LEARNED_DECISIONS = 800
SMALLEST_PROBABILITY = 1e-4
FEWEST_UNITS = 6


@dataclass(frozen=True, slots=True)
class Slices:
    """Three parts of a log that share no task family: to learn from, to tune on, and to confirm on."""

    learning: tuple[Trajectory, ...]
    tuning: tuple[Trajectory, ...]
    confirming: tuple[Trajectory, ...]


def cut(trajectories: Sequence[Trajectory], *, seed: int = 0) -> Slices:
    """Half of the families to learn from, a quarter each to tune and to confirm on; at most 600 trajectories in all."""
    units = [holdout_unit(one, at, "family") for at, one in enumerate(trajectories)]
    names = sorted(set(units))
    if len(names) < FEWEST_UNITS:
        raise SelectorUsageError(
            f"tuning needs trajectories of {FEWEST_UNITS} task families or more, got {len(names)}: ingest more of them"
        )
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    part_of = {names[name]: ("learning", "tuning", "learning", "confirming")[at % 4] for at, name in enumerate(order)}
    rank = {names[name]: at for at, name in enumerate(order)}
    kept = sorted(zip(units, trajectories, strict=True), key=lambda one: rank[one[0]])[:MOST_TRAJECTORIES]
    parts = {
        part: tuple(one for unit, one in kept if part_of[unit] == part) for part in ("learning", "tuning", "confirming")
    }
    for part in ("tuning", "confirming"):
        if not any(one.success and one.tools for one in parts[part]):
            raise SelectorUsageError(f"no successful trajectory is left for {part}: ingest more successful ones")
    return Slices(**parts)


def surprise(
    slices: Slices, asked: Sequence[Trajectory], embedder: Embedder, config: SelectorConfig, *, seed: int = 0
) -> Objective:
    """−ln P(the selector chooses what a successful trajectory did), averaged by task family, as an objective.

    P is the exact propensity, exploration and pruning included, at least 0.0001; every trial learns anew.
    """
    remembering = RememberingEmbedder(embedder)
    learning = LearningConfig("family", LEARNED_DECISIONS, config.penalties, seed)

    def objective(values: Mapping[str, float]) -> Measurement:
        tried = with_values(config, values)
        learned = learn(slices.learning, remembering, retrieval=tried.retrieval, config=learning)
        engine = Engine(learned, tried, np.random.default_rng(seed))
        return Measurement.of_units(_by_unit(engine, asked))

    return objective


def _by_unit(engine: Engine, asked: Sequence[Trajectory]) -> list[float]:
    """The mean surprise of each family's decisions."""
    tools = known_tools(engine.learned.knowledge.experience)
    share = MOST_DECISIONS / max(sum(len(one.steps) for one in asked if one.success), 1)
    rng = np.random.default_rng(0)
    losses: dict[str, list[float]] = {}
    for number, trajectory in enumerate(asked):
        if not trajectory.success:
            continue
        playback, unit = play_back(trajectory), holdout_unit(trajectory, number, "family")
        for position, step in enumerate(trajectory.steps):
            if step.kind == "tool" and rng.random() < share:
                situation = situation_at(playback, position, tools)
                losses.setdefault(unit, []).append(_surprise(engine, situation, Candidate(step.tool, step.args)))
    return [float(np.mean(values)) for values in losses.values()]


def _surprise(engine: Engine, situation: Situation, taken: Candidate) -> float:
    goals = engine.learned.knowledge.goal_similarities(situation)
    probabilities = engine.probabilities(situation, goals)
    chosen = [
        probabilities[at]
        for at, one in enumerate(situation.candidates)
        if one.tool == taken.tool and (not one.args or one.args == taken.args)
    ]
    return -float(np.log(max(sum(chosen), SMALLEST_PROBABILITY)))

"""What tuning minimises: how far a selector's choices are from what successful trajectories did on unseen tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selector.engine import Engine
from selector.errors import SelectorUsageError
from selector.learning import LearningConfig, known_tools, learn
from selector.records import SelectorConfig
from selector.situation import Situation, place_of, situation_at
from selector.tuned import with_values
from selector.tuning import Measurement, Objective
from trajstore.embedding import Embedder, RememberingEmbedder
from trajstore.experience import holdout_unit, play_back
from trajstore.schema import Trajectory

MOST_TRAJECTORIES = 600
MOST_DECISIONS = 400
LEARNED_DECISIONS = 800
FEWEST_UNITS = 8
PARTS = ("learning", "tuning", "learning", "confirming")


@dataclass(frozen=True, slots=True)
class Slices:
    """Three parts of a log that share no task family: to learn from, to tune on, and to confirm on."""

    learning: tuple[Trajectory, ...]
    tuning: tuple[Trajectory, ...]
    confirming: tuple[Trajectory, ...]


def cut(trajectories: Sequence[Trajectory], *, seed: int = 0) -> Slices:
    """Half of the families to learn from, a quarter each to tune and to confirm on; about 600 trajectories in all.

    Families bring equal numbers where there are too many, drawn by `seed`: a large one must not stand for all.
    """
    units = [holdout_unit(one, at, "family") for at, one in enumerate(trajectories)]
    names = sorted(set(units))
    if len(names) < FEWEST_UNITS:
        raise SelectorUsageError(
            f"tuning needs trajectories of {FEWEST_UNITS} task families or more, got {len(names)}: ingest more of them"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names)).tolist()[:MOST_TRAJECTORIES]
    members: dict[str, list[int]] = {}
    for number in rng.permutation(len(trajectories)).tolist():
        members.setdefault(units[number], []).append(number)
    each = MOST_TRAJECTORIES // len(order)
    parts: dict[str, tuple[Trajectory, ...]] = dict.fromkeys(PARTS, ())
    for at, name in enumerate(order):
        parts[PARTS[at % 4]] += tuple(trajectories[number] for number in sorted(members[names[name]][:each]))
    for part in ("tuning", "confirming"):
        if not any(one.success and one.tools for one in parts[part]):
            raise SelectorUsageError(f"no successful trajectory is left for {part}: ingest more successful ones")
    return Slices(**parts)


def distance(
    slices: Slices, asked: Sequence[Trajectory], embedder: Embedder, config: SelectorConfig, *, seed: int = 0
) -> Objective:
    """The quadratic score (Brier 1950) of the selector's choice probabilities, averaged by task family.

    1 − 2 P(y) + Σ P(a)², in [0, 2], with y what a successful trajectory did and P the exact propensities, exploration
    and pruning included: a proper score, so that it rewards exploring just as much as there is doubt.  Every trial
    learns anew.  Actions that the selector was never offered say nothing and are left out.
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
    """The mean score of each family's decisions."""
    tools = known_tools(engine.learned.knowledge.experience)
    share = MOST_DECISIONS / max(sum(len(one.steps) for one in asked if one.success), 1)
    rng = np.random.default_rng(0)
    scores: dict[str, list[float]] = {}
    for number, trajectory in enumerate(asked):
        if not trajectory.success:
            continue
        playback, unit = play_back(trajectory), holdout_unit(trajectory, number, "family")
        for position, step in enumerate(trajectory.steps):
            if step.kind == "tool" and rng.random() < share:
                situation = situation_at(playback, position, tools)
                place = place_of(situation, step.tool, step.args)
                if place is not None:
                    scores.setdefault(unit, []).append(_score(engine, situation, place))
    return [float(np.mean(values)) for values in scores.values()]


def _score(engine: Engine, situation: Situation, right: int) -> float:
    goals = engine.learned.knowledge.goal_similarities(situation)
    probabilities = engine.probabilities(situation, goals)
    return float(1.0 - 2.0 * probabilities[right] + probabilities @ probabilities)

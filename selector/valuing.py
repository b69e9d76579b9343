"""What a policy would have been worth on a store's own decision log.

Every logged decision is rebuilt from its trajectory and asked again of the policy in question, with that trajectory
left out of what the policy knows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from selector.decision_log import probabilities
from selector.engine import Engine
from selector.errors import SelectorUsageError
from selector.guard import NonInferiority
from selector.lift import ArmGroups, Lift, lift
from selector.ope import Estimate, LoggedDecisions, estimate
from selector.reward_model import cross_fitted_rewards
from selector.room import Room
from selector.situation import Situation, place_of, situation_at
from trajstore.experience import play_back
from trajstore.logbook import DecisionRow, EpisodeRow
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

Floats = NDArray[np.float64]
PolicyName = Literal["engine", "greedy", "uniform", "logged"]
POLICIES: tuple[str, ...] = get_args(PolicyName)
OnProgress = Callable[[int, int], None]
Embed = Callable[[str], NDArray[np.float32]]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class LoggedChoice:
    """One decision that was followed: where it stood, what was chosen, and the reward of its episode in [0, 1]."""

    situation: Situation
    trajectory: Trajectory
    place: int
    propensity: float
    probabilities: Floats
    reward: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """Decisions that say nothing of a policy's value, by why."""

    withheld: int = 0
    abstained: int = 0
    not_followed: int = 0
    not_rewarded: int = 0


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The usable decisions of a namespace, and what was left out."""

    choices: tuple[LoggedChoice, ...]
    skipped: Skipped


@dataclass(frozen=True, slots=True)
class Valuation:
    """Estimates of a policy's value on the followed decisions, what was left out, and what guidance brought."""

    policy: str
    decisions: int
    estimates: tuple[Estimate, ...]
    skipped: Skipped
    lift: Lift
    guard: NonInferiority
    fallback: str

    @property
    def skipped_words(self) -> str:
        """What was left out, in words."""
        counts = {name.replace("_", " "): count for name, count in asdict(self.skipped).items() if count}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none left out"

    @property
    def guard_words(self) -> str:
        """What the guard says."""
        return f"guard: {self.guard.verdict}; {self.fallback or self.guard.reason}"

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """As plain JSON data; bounds that are not finite are null."""
        found = {
            "policy": self.policy,
            "decisions": self.decisions,
            "estimates": [asdict(one) for one in self.estimates],
            "skipped": asdict(self.skipped),
            "lift": asdict(self.lift),
            "guard": {**asdict(self.guard), "fallback": self.fallback},
        }
        return cast("dict[str, Any]", _plain(found))


def value_of(
    store: TrajectoryStore, room: Room, policy: PolicyName, *, seed: int = 0, on_progress: OnProgress | None = None
) -> Valuation:
    """What a policy would have earned on the decisions of one namespace, and how guided episodes beat unaided ones."""
    log = read_log(store, room.namespace)
    engine = room.engine()
    logged, target_NK = as_arrays(log, target_probabilities(log, engine, policy, on_progress))
    q_NK = _predicted_rewards(log, logged, engine.learned.knowledge.experience.embed)
    estimates = estimate(logged, target_NK, q_NK=q_NK, seed=seed)
    guard = room.feedback.guard
    return Valuation(
        policy,
        len(log.choices),
        estimates,
        log.skipped,
        _lift(store, room.namespace, seed),
        guard.compare(),
        guard.fallback,
    )


def _predicted_rewards(log: DecisionLog, logged: LoggedDecisions, embed: Embed) -> Floats | None:
    """Predicted reward of each candidate, shape (N, K); None where one episode would have to predict itself."""
    episodes = len(np.unique(logged.episodes_N))
    if episodes < 2:
        return None
    tools_NK = tool_numbers(log, logged.offered_NK.shape[1])
    return cross_fitted_rewards(contexts(log, embed), tools_NK, logged, folds=min(FOLDS, episodes))


def _lift(store: TrajectoryStore, namespace: str, seed: int) -> Lift:
    arms: dict[str, list[EpisodeRow]] = {"guided": [], "held_out": []}
    for episode in store.logbook.episodes(namespace):
        if episode.combined is not None and (episode.arm == "held_out" or episode.mode != "shadow"):
            arms[episode.arm].append(episode)
    rewards = {name: [float(one.combined or 0.0) for one in episodes] for name, episodes in arms.items()}
    named = all(one.task_group for episodes in arms.values() for one in episodes)
    groups = ArmGroups(*(tuple(one.task_group for one in episodes) for episodes in arms.values())) if named else None
    return lift(rewards["guided"], rewards["held_out"], np.random.default_rng(seed), groups=groups)


def _plain(value: object) -> object:
    """JSON has no infinities."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(store: TrajectoryStore, namespace: str) -> DecisionLog:
    """Decisions of ended episodes that their agents followed, in the order of time."""
    rewards = {one.id: one for one in store.logbook.episodes(namespace)}
    reported = {decision: value for (decision, _), value in store.logbook.reports(namespace).items()}
    trajectories: dict[str, Trajectory] = {}
    choices, skipped = [], dict.fromkeys(Skipped.__dataclass_fields__, 0)
    for row in store.logbook.decisions(namespace):
        episode = rewards.get(row.episode)
        reward = reported.get(row.id, episode.combined if episode else None)
        why = _why_not(row, reward)
        if why or episode is None or reward is None:
            skipped[why or "not_rewarded"] += 1
            continue
        if episode.trajectory_id and episode.trajectory_id not in trajectories:
            trajectories[episode.trajectory_id] = store.get(episode.trajectory_id)
        trajectory = trajectories.get(episode.trajectory_id)  # none where the agent took no step
        choice = _choice(row, trajectory, min(max(reward, 0.0), 1.0)) if trajectory else None
        if choice is None:
            skipped["not_followed"] += 1
        else:
            choices.append(choice)
    return DecisionLog(tuple(choices), Skipped(**skipped))


def target_probabilities(
    log: DecisionLog, engine: Engine, policy: PolicyName, on_progress: OnProgress | None = None
) -> list[Floats]:
    """P(candidate) under a policy at each logged decision; shape (K,) each, sums to at most 1 (the rest defers)."""
    if policy not in POLICIES:
        raise SelectorUsageError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
    found = []
    for number, choice in enumerate(log.choices, start=1):
        found.append(choice.probabilities if policy == "logged" else _ask(choice, engine, policy))
        if on_progress is not None:
            on_progress(number, len(log.choices))
    return found


def as_arrays(log: DecisionLog, targets: Sequence[Floats]) -> tuple[LoggedDecisions, Floats]:
    """The log and a target policy as padded arrays; the last place stands for leaving the agent alone."""
    if not log.choices:
        raise SelectorUsageError(
            "no decisions to value: none was logged in an ended episode and followed; guide some episodes first"
        )
    widest = max(len(choice.probabilities) for choice in log.choices) + 1
    target_NK = np.stack([_padded(target, widest) for target in targets])
    logging_NK = np.stack([_padded(choice.probabilities, widest) for choice in log.choices])
    chosen_N, offered_NK = np.array([choice.place for choice in log.choices], np.int64), logging_NK > 0.0
    offered_NK[np.arange(len(chosen_N)), chosen_N] = True  # also where its probability was too small to be computed
    numbers: dict[str, int] = {}
    episodes = [numbers.setdefault(choice.trajectory.trajectory_id, len(numbers)) for choice in log.choices]
    logged = LoggedDecisions(
        rewards_N=np.array([choice.reward for choice in log.choices]),
        propensities_N=np.array([choice.propensity for choice in log.choices]),
        chosen_N=chosen_N,
        offered_NK=offered_NK,
        episodes_N=np.array(episodes, np.int64),
    )
    return logged, target_NK


def contexts(log: DecisionLog, embed: Embed) -> Floats:
    """The vector of each decision's state, shape (N, D)."""
    return np.stack([embed(choice.situation.state_text) for choice in log.choices]).astype(np.float64)


def tool_numbers(log: DecisionLog, widest: int) -> NDArray[np.int64]:
    """The number of each candidate's tool, shape (N, K); −1 beyond the last candidate, the last place is "defer"."""
    numbers: dict[str, int] = {"defer": 0}
    found = np.full((len(log.choices), widest), -1, np.int64)
    for at, choice in enumerate(log.choices):
        tools = [numbers.setdefault(candidate.tool, len(numbers)) for candidate in choice.situation.candidates]
        found[at, : len(tools)] = tools
    found[:, -1] = 0
    return found


def _why_not(row: DecisionRow, reward: float | None) -> str:
    if row.arm != "guided" or row.mode in ("shadow", "narrow"):
        return "withheld"
    if row.tool is None:
        return "abstained"
    return "not_rewarded" if reward is None else ""


def _choice(row: DecisionRow, trajectory: Trajectory, reward: float) -> LoggedChoice | None:
    """A logged decision rebuilt from its step; None where the agent did something else."""
    position = next((at for at, step in enumerate(trajectory.steps) if step.decision_id == row.id), None)
    if position is None or trajectory.steps[position].propensity is None:
        return None
    step = trajectory.steps[position]
    situation = situation_at(play_back(trajectory), position, ())
    place = place_of(situation, step.tool, step.args)
    if place is None:
        return None
    return LoggedChoice(
        situation, trajectory, place, row.propensity, probabilities(row, len(situation.candidates)), reward
    )


def _ask(choice: LoggedChoice, engine: Engine, policy: str) -> Floats:
    situation, knowledge = choice.situation, engine.learned.knowledge
    number = _last(knowledge.experience.trajectory_ids, choice.trajectory.trajectory_id)
    own = [] if number is None else [number]
    left, goals = knowledge.left_out(own), knowledge.goal_similarities(situation)
    if policy == "engine":
        return engine.probabilities(situation, goals, left)
    seen = engine.consider(situation, goals, left)
    if policy == "uniform":
        return np.asarray(seen.arms.allowed / seen.arms.allowed.sum(), np.float64)
    best = np.argmax(np.where(seen.arms.allowed, seen.posterior.mean, -1.0))
    return np.asarray(np.arange(len(seen.arms.allowed)) == best, np.float64)


def _last(ids: Sequence[str], wanted: str) -> int | None:
    return next((at for at in range(len(ids) - 1, -1, -1) if ids[at] == wanted), None)


def _padded(values: Floats, widest: int) -> Floats:
    """Probabilities with zeros behind them, and what is left to 1 in the last place."""
    padded = np.zeros(widest)
    padded[: len(values)] = values
    padded[-1] = max(0.0, 1.0 - float(values.sum()))
    return padded if padded[-1] > 1e-9 else padded / padded.sum()

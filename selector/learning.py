"""Turns stored trajectories into what the engine knows: experience, order models and a fitted choice model."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from selector.choice_model import ChoiceModel, action_features
from selector.clusters import find_clusters
from selector.corroboration import CorroborationConfig
from selector.decisive_words import MOST_DECISIONS, NONE_DECISIVE, DecisiveWords, find_decisive, moment_of
from selector.features import state_features
from selector.fitting import (
    EVERYTHING,
    Example,
    Familiar,
    Penalties,
    familiar_among,
    fit,
    fit_path_model,
    with_interplay,
)
from selector.follow import PathModel
from selector.gain import (
    paths_help,
    penalties_with_paths,
    said_helps,
    without_paths,
    without_said,
    without_words,
    words_help,
)
from selector.kin import Kinship
from selector.knowledge import CORROBORATION, Knowledge, Left
from selector.lessons import lessons, wrong_steps
from selector.reading import NO_WORDS, numbers_of
from selector.situation import Situation, place_of, situation_at
from selector.word_weights import NO_WEIGHTS, WordWeights
from trajstore.embedding import Embedder
from trajstore.experience import Experience, holdout_unit, play_back
from trajstore.retriever import Retriever, RetrieverConfig
from trajstore.schema import Candidate, Trajectory

HoldOut = Literal["group", "family"]
TRIAL_DECISIONS = 1000
SAME_TASK_SHARE = 0.5
USUAL_SHARE = 0.5
WRONG_DECISIONS = 0.25
OnExample = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """How the choice model is fitted: what is left out, with its kin or alone, and at most how many decisions count."""

    hold_out: HoldOut = "group"
    decisions: int = 8000
    penalties: Penalties = field(default_factory=Penalties)
    seed: int = 0
    with_kin: bool = True


@dataclass(frozen=True, slots=True)
class Learned:
    """Everything that a decision needs."""

    knowledge: Knowledge
    model: ChoiceModel
    paths: PathModel
    familiar: Familiar = EVERYTHING


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is fitted to stored decisions: the choice among candidates, the calibration of paths, and what is familiar.

    `familiar` are the similarities below which a moment is like nothing stored, `words` say how much the words of tasks
    matter where paths are compared with.
    """

    model: ChoiceModel
    paths: PathModel
    familiar: Familiar
    words: WordWeights = NO_WEIGHTS
    decisive: DecisiveWords = NONE_DECISIVE
    usual: np.ndarray = field(default_factory=lambda: NO_WORDS)


def learn(
    trajectories: Sequence[Trajectory],
    embedder: Embedder,
    *,
    retrieval: RetrieverConfig | None = None,
    config: LearningConfig | None = None,
    on_example: OnExample | None = None,
    corroboration: CorroborationConfig | None = CORROBORATION,
) -> Learned:
    """Learn from trajectories alone, without a store."""
    config = config or LearningConfig()
    knowledge = know(trajectories, embedder, retrieval=retrieval, corroboration=corroboration, seed=config.seed)
    knowledge.use_clusters(find_clusters(knowledge.retriever.states, seed=config.seed))
    fitted = fit_model(knowledge, trajectories, config, on_example)
    return Learned(knowledge, fitted.model, fitted.paths, fitted.familiar)


def know(
    trajectories: Sequence[Trajectory],
    embedder: Embedder,
    *,
    retrieval: RetrieverConfig | None = None,
    corroboration: CorroborationConfig | None = CORROBORATION,
    seed: int = 0,
) -> Knowledge:
    """What can be known of trajectories before anything is fitted to them."""
    experience = Experience(embedder.embed, embedder.identity.dimension)
    experience.extend(trajectories)
    knowledge = Knowledge(experience, Retriever(experience, retrieval, seed=seed), corroboration=corroboration)
    knowledge.learn(trajectories, first=0)
    return knowledge


def fit_model(
    knowledge: Knowledge,
    trajectories: Sequence[Trajectory],
    config: LearningConfig,
    on_example: OnExample | None = None,
) -> Fitted:
    """The choice model of what is known; `on_example` hears (decisions assessed, at most how many).

    The knowledge takes the words' weights from now on.
    """
    are_described = _are_described(trajectories)
    can_use_paths = are_described and _tells_tasks_apart(knowledge)
    knowledge.usual = usual_words(knowledge)
    words = knowledge.weigh_words(config.seed) if can_use_paths else NO_WEIGHTS
    knowledge.use_words(words)
    used = _what_helps(knowledge, trajectories, config, _Used(paths=can_use_paths, said=are_described))
    knowledge.decisive = decisive_words(knowledge, trajectories, config) if used.words else NONE_DECISIVE
    made = build_examples(knowledge, trajectories, config, with_paths=used.paths, with_said=used.said)
    examples = list(_reported(made, config.decisions, on_example))
    penalties = penalties_with_paths(config.penalties) if used.paths else config.penalties
    model = with_interplay(fit(examples, len(knowledge.experience.tools), penalties), examples, config.seed)
    paths, familiar = fit_path_model(examples, model), familiar_among(examples)
    return Fitted(model, paths, familiar, words, knowledge.decisive, knowledge.usual)


@dataclass(frozen=True, slots=True)
class _Used:
    """What can be used, or is: relations to stored paths, decisive words, what is said of asked things."""

    paths: bool = False
    words: bool = False
    said: bool = False


def _what_helps(knowledge: Knowledge, trajectories: Sequence[Trajectory], config: LearningConfig, can: _Used) -> _Used:
    """What helps to choose on some decisions of units left out, of what can be used: each beside those before it."""
    decisive = decisive_words(knowledge, trajectories, config, of_even_units=True)
    if not (can.said or decisive.words):
        return _Used()
    knowledge.decisive = decisive
    few, tools = replace(config, decisions=min(config.decisions, TRIAL_DECISIONS)), len(knowledge.experience.tools)
    examples = list(build_examples(knowledge, trajectories, few, with_paths=can.paths, with_said=can.said))
    plain = [without_said(without_words(one)) for one in examples]
    uses_paths = can.paths and paths_help(plain, tools, config.penalties)
    penalties = penalties_with_paths(config.penalties) if uses_paths else config.penalties
    if not uses_paths:
        examples = [without_paths(one) for one in examples]
    uses_words = bool(decisive.words) and words_help([without_said(one) for one in examples], tools, penalties)
    if not uses_words:
        examples = [without_words(one) for one in examples]
    return _Used(uses_paths, uses_words, can.said and said_helps(examples, tools, penalties))


def _are_described(trajectories: Sequence[Trajectory]) -> bool:
    """Whether any candidate says more of itself than its tool's name."""
    offered = (candidate for one in trajectories for step in one.steps for candidate in step.candidates)
    return any(candidate.args or candidate.text for candidate in offered)


def _tells_tasks_apart(knowledge: Knowledge) -> bool:
    """Whether most trajectories are of other tasks than the commonest: else "a task that sounds alike" means nothing.

    Paths of a game whose every task reads the same name more of the steps that successes took, and win fewer episodes.
    """
    goals = knowledge.experience.trajectory_column("goal")
    return bool(np.bincount(goals).max(initial=0) <= SAME_TASK_SHARE * len(goals))


def build_examples(
    knowledge: Knowledge,
    trajectories: Sequence[Trajectory],
    config: LearningConfig,
    *,
    with_paths: bool = False,
    with_said: bool = False,
) -> Iterator[Example]:
    """The decisions of successful trajectories, each assessed without its own unit and its kin.

    They come unit by unit.  They are compared with stored paths too where `with_paths` says so, and hold what is said
    of the things that the task names where `with_said` does.
    """
    units: dict[str, list[int]] = {}
    for number, trajectory in enumerate(trajectories):
        units.setdefault(holdout_unit(trajectory, number, config.hold_out), []).append(number)
    tools = known_tools(knowledge.experience)
    shares = decision_shares(knowledge, config.decisions)
    wrong = [wrong_steps(trajectory) for trajectory in trajectories]
    wrong_share = min(1.0, WRONG_DECISIONS * config.decisions / max(sum(map(len, wrong)), 1))
    rng, trust = np.random.default_rng(config.seed), knowledge.example_trust()
    sampling = _Sampling(tools, shares, wrong_share, rng, with_paths, with_said, trust)
    kinship = Kinship(trajectories, units)
    for unit, (name, members) in enumerate(units.items()):
        left = knowledge.left_out(kinship.of(name) if config.with_kin else members)
        for number in members:
            made = _examples_of(knowledge, trajectories[number], number, wrong[number], left, sampling)
            yield from (replace(one, unit=unit) for one in made)


def usual_words(knowledge: Knowledge) -> np.ndarray:
    """The numbers of the words that the tasks of most trajectories have; shape (U,)."""
    times = np.bincount(knowledge.experience.trajectory_column("goal"))
    total: Counter[int] = Counter()
    for goal, count in zip(knowledge.experience.goal_names, times.tolist(), strict=False):
        total.update(dict.fromkeys(numbers_of(goal).tolist(), count))
    most = USUAL_SHARE * times.sum()
    return np.array(sorted(number for number, count in total.items() if count > most), np.int64)


def decisive_words(
    knowledge: Knowledge, trajectories: Sequence[Trajectory], config: LearningConfig, *, of_even_units: bool = False
) -> DecisiveWords:
    """The words on which the next tool depended in at most MOST_DECISIONS decisions of successful trajectories.

    Or in those of units with even numbers alone, so that the others can be asked whether they help.
    """
    rng, weights = np.random.default_rng(config.seed), knowledge.experience.weights
    share = MOST_DECISIONS / max(sum(len(one.steps) for one in trajectories), 1)
    units: dict[str, int] = {}
    moments = []
    for number, trajectory in enumerate(trajectories):
        unit = units.setdefault(holdout_unit(trajectory, number, config.hold_out), len(units))
        if weights[number] <= 0.0 or (of_even_units and unit % 2):
            continue
        playback = play_back(trajectory)
        for position, step in enumerate(trajectory.steps):
            if rng.random() < share:
                moments.append(moment_of(situation_at(playback, position, ()), step.tool, unit))
    return find_decisive(moments)


def known_tools(experience: Experience) -> tuple[Candidate, ...]:
    """Every tool that was ever called, as a bare candidate."""
    names = experience.tools.names
    return tuple(Candidate(names[number]) for number in np.unique(experience.column("tool")).tolist())


def example(
    knowledge: Knowledge,
    situation: Situation,
    goals: np.ndarray,
    left: Left | None,
    chosen: int,
    *,
    with_paths: bool = False,
    with_said: bool = False,
) -> Example:
    """One decision as the choice model sees it; see `build_examples` for `with_paths` and `with_said`."""
    assessment = knowledge.assess(situation, goals, left=left)
    candidates = assessment.candidates
    tools = candidates.tools[candidates.tool_of]
    words = state_features(situation, knowledge.retriever.config.keys, knowledge.decisive)
    paths = assessment.paths
    related = knowledge.path_relations(situation, goals, left) if with_paths else None
    return Example(
        assessment.experts,
        words,
        tools,
        action_features(situation, related, knowledge.usual, with_said=with_said),
        chosen,
        1.0,
        paths.features_PF,
        paths.places,
        assessment.evidence.nearest,
        assessment.nearest_task,
    )


@dataclass(frozen=True, slots=True)
class _Sampling:
    """What is offered where the log is silent, shares of decisions, and what each is compared with.

    `shares` are those of each tool's right decisions, `wrong_share` is that of the wrong ones.
    `trust` says how far examples of each tool count, without and with a judge who is believed; shape (T, 2).
    """

    tools: tuple[Candidate, ...]
    shares: Mapping[str, float]
    wrong_share: float
    rng: np.random.Generator
    with_paths: bool
    with_said: bool
    trust: np.ndarray


def _examples_of(
    knowledge: Knowledge, trajectory: Trajectory, number: int, wrong: frozenset[int], left: Left, sampling: _Sampling
) -> Iterator[Example]:
    """The lessons of one trajectory as examples."""
    weights = knowledge.experience.weights
    trust, believed = (knowledge.experience.trajectory_column(name) for name in ("trust", "believed"))
    is_example = bool(weights[number] > 0)
    if not (is_example or wrong):
        return
    playback, goals, at_stake = play_back(trajectory), None, float(knowledge.experience.stakes[number])
    for lesson in lessons(playback, wrong, is_example=is_example, at_stake=at_stake):
        step, is_wrong = trajectory.steps[lesson.position], lesson.is_wrong
        share = sampling.wrong_share if is_wrong else sampling.shares.get(step.tool, 1.0)
        if sampling.rng.random() >= share:
            continue
        situation = situation_at(playback, lesson.position, sampling.tools)
        chosen = place_of(situation, step.tool, step.args)
        if chosen is None or len(situation.candidates) < 2 or (is_wrong and not situation.is_grounded):
            continue
        goals = knowledge.goal_similarities(situation) if goals is None else goals
        with_paths, with_said = sampling.with_paths, sampling.with_said
        made = example(knowledge, situation, goals, left, chosen, with_paths=with_paths, with_said=with_said)
        if is_wrong:
            counts = float(trust[number])
        else:
            tool = knowledge.experience.tools.known(step.tool)
            counts = float(weights[number] / weights.max() * sampling.trust[tool, int(believed[number])])
        yield replace(made, weight=lesson.weight * counts / share, is_wrong=is_wrong)


def decision_shares(knowledge: Knowledge, most: int) -> dict[str, float]:
    """The share in (0, 1] of each tool's decisions that is used, so that `most` of all are, or all of fewer.

    Half of them are spread evenly over decisions, half over tools: what is done rarely (to commit, to pay, to answer)
    is not lost among what is done all the time.  Whoever uses them weighs them by 1 / share (Horvitz & Thompson 1952).
    """
    experience = knowledge.experience
    weights = experience.weights[experience.column("trajectory")]
    counts = np.bincount(experience.column("tool")[weights > 0.0], minlength=len(experience.tools))
    called = np.flatnonzero(counts)
    even, own = 0.5 * most / max(int(counts.sum()), 1), 0.5 * most / max(len(called), 1)
    if 2.0 * even >= 1.0:
        return {}
    names = experience.tools.names
    return {names[tool]: min(1.0, even + own / float(counts[tool])) for tool in called.tolist()}


def _reported(examples: Iterable[Example], total: int, on_example: OnExample | None) -> Iterator[Example]:
    for count, made in enumerate(examples, start=1):
        if on_example is not None:
            on_example(count, total)
        yield made

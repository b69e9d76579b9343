"""Next-tool prediction on held-out families: the engine, each of its keys switched off, and the baselines."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selector.baselines import Decisions, predict_all
from selector.engine import Engine
from selector.errors import SelectorUsageError
from selector.learning import HoldOut, LearningConfig, known_tools, learn
from selector.live import Pruned
from selector.metrics import Numbers, Scores, difference_interval, judge, score
from selector.records import SelectorConfig
from selector.situation import Situation, situation_at
from trajstore.codec import content_hash
from trajstore.embedding import Embedder, RememberingEmbedder
from trajstore.experience import holdout_unit, play_back
from trajstore.retriever import Keys
from trajstore.schema import Candidate, Trajectory

FOLDS = 5
ENGINE = "engine"
KEYS = ("goal", "state", "order")
ARGUMENT_CHARACTERS, OBSERVATION_CHARACTERS = 300, 400
OnProgress = Callable[[str, int, int], None]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lead:
    """The engine's accuracy less the best baseline's (chosen for each k), with its 95 % interval."""

    baseline: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well each method did.

    `methods` by name; `ablation` the engine with one key off; `pruned_right` the share of right tools that pruning
    would have forbidden.
    """

    decisions: int
    methods: dict[str, Scores]
    ablation: dict[str, Scores]
    lead_at1: Lead
    lead_at3: Lead
    pruned_right: float


@dataclass(frozen=True, slots=True)
class Fold:
    """Trajectories to learn from, successful ones to be tested on, and the unit of each test: none is in both."""

    train: tuple[Trajectory, ...]
    test: tuple[Trajectory, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Predicted:
    """Probabilities (N, T) by method, the right tools, each decision's unit, and how many right ones were pruned."""

    probabilities: dict[str, Matrix]
    truth: Numbers
    units: tuple[str, ...]
    pruned_right: int


def evaluate(
    train: Sequence[Trajectory],
    test: Sequence[Trajectory],
    embedder: Embedder,
    *,
    split_by: HoldOut = "family",
    config: SelectorConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Predict every tool call of the successful test trajectories, never having learned from their group or family.

    Where train and test share units they are cut into five folds; otherwise there is one.
    """
    config = replace(config or SelectorConfig(), hold_out=split_by)
    train = [one for one in train if config.sources is None or one.source in config.sources]
    embedder = RememberingEmbedder(embedder)
    folds = [fold for fold in split(train, test, split_by) if any(_tool_calls(one) for one in fold.test)]
    if not folds:
        raise SelectorUsageError("no decisions to test: the test files hold no successful trajectory with a tool call")
    parts = [_predict(fold, embedder, config, on_progress or _silent) for fold in folds]
    return _summarise(parts)


def split(train: Sequence[Trajectory], test: Sequence[Trajectory], split_by: HoldOut) -> Iterator[Fold]:
    """Folds in which no unit is both learned from and tested on."""
    train, test = _named(train), _named(test)
    train_units = [holdout_unit(one, at, split_by) for at, one in enumerate(train)]
    test_units = [holdout_unit(one, at, split_by) for at, one in enumerate(test)]
    folds = FOLDS if set(train_units) & set(test_units) else 1
    units = sorted(set(test_units))
    order = np.random.default_rng(0).permutation(len(units))
    fold_of = {unit: int(place) % folds for unit, place in zip(units, order, strict=True)}
    for fold in range(folds):
        asked = [
            (one, unit) for one, unit in zip(test, test_units, strict=True) if fold_of[unit] == fold and one.success
        ]
        learned = [one for one, unit in zip(train, train_units, strict=True) if fold_of.get(unit) != fold]
        yield Fold(tuple(learned), tuple(one for one, _ in asked), tuple(unit for _, unit in asked))


def _named(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those without an id and a group are named by their content, so that a copy is known as one."""
    return [
        one if one.trajectory_id or one.task.group else replace(one, trajectory_id=content_hash(one))
        for one in trajectories
    ]


def _predict(fold: Fold, embedder: Embedder, config: SelectorConfig, tell: OnProgress) -> _Predicted:
    """One fold: the engine whole and without each key, and the baselines."""
    engine = _learn(fold, embedder, config, tell)
    tools = known_tools(engine.learned.knowledge.experience)
    numbers = {candidate.tool: number for number, candidate in enumerate(tools)}
    probabilities, pruned = {}, 0
    probabilities[ENGINE], pruned = _ask(engine, fold, tools, tell)
    for key in KEYS:
        partial = _learn(fold, embedder, without_key(config, key), tell)
        probabilities[f"no {key}"], _ = _ask(partial, fold, tools, tell)
    asked = _decisions(fold.test, numbers)
    probabilities |= predict_all(_decisions([one for one in fold.train if one.success], numbers), asked, len(tools))
    units = [unit for one, unit in zip(fold.test, fold.units, strict=True) for _ in range(_tool_calls(one))]
    return _Predicted(probabilities, asked.truth, tuple(units), pruned)


def without_key(config: SelectorConfig, key: str) -> SelectorConfig:
    """The same settings with one retrieval key off."""
    keys = config.retrieval.keys
    kept = Keys(*(0.0 if name == key else getattr(keys, name) for name in KEYS))
    return replace(config, retrieval=replace(config.retrieval, keys=kept))


def _learn(fold: Fold, embedder: Embedder, config: SelectorConfig, tell: OnProgress) -> Engine:
    if not any(one.success and _tool_calls(one) for one in fold.train):
        raise SelectorUsageError(
            "nothing to learn from: outside the tested units no successful training trajectory is left"
        )
    learning = LearningConfig(config.hold_out, config.decisions, config.penalties)
    learned = learn(
        fold.train,
        embedder,
        retrieval=config.retrieval,
        config=learning,
        on_example=lambda done, all_: tell("learning", done, all_),
        corroboration=config.corroboration,
    )
    return Engine(learned, config, np.random.default_rng(0), feedback=Pruned(learned.knowledge, config))


def _ask(engine: Engine, fold: Fold, tools: tuple[Candidate, ...], tell: OnProgress) -> tuple[Matrix, int]:
    """Probabilities (N, T) of the offered tools at every test decision, and how many right ones pruning forbids."""
    rows, pruned, total = [], 0, sum(map(_tool_calls, fold.test))
    for trajectory in fold.test:
        goals = engine.learned.knowledge.goal_similarities(Situation(trajectory.task.text, "", (), ()))
        for tool, situation in _situations(trajectory, tools):
            seen = engine.consider(situation, goals)
            rows.append(seen.posterior.mean)
            pruned += any(tools[place].tool == tool for place in seen.reasons)
            tell("testing", len(rows), total)
    probabilities = np.array(rows)
    return probabilities / probabilities.sum(axis=1, keepdims=True), pruned


def _situations(trajectory: Trajectory, tools: tuple[Candidate, ...]) -> Iterator[tuple[str, Situation]]:
    """The tool called and the situation before it, for each tool call, with every known tool offered."""
    playback = play_back(trajectory)
    for at, step in enumerate(trajectory.steps):
        if step.kind == "tool":
            yield step.tool, replace(situation_at(playback, at, tools), candidates=tools)


def _decisions(trajectories: Sequence[Trajectory], numbers: dict[str, int]) -> Decisions:
    """What the baselines see: the same decisions as text, order of tools and right tool."""
    texts, histories, truth = [], [], []
    order: dict[str, int] = dict(numbers)
    for trajectory in trajectories:
        called = tuple(order.setdefault(tool, len(order)) for tool in trajectory.tools)
        for at, step in enumerate(trajectory.steps):
            if step.kind == "tool":
                texts.append(baseline_text(trajectory, at))
                histories.append(called[:at])
                truth.append(numbers.get(step.tool, -1))
    return Decisions(tuple(texts), tuple(histories), np.array(truth, np.int64))


def baseline_text(trajectory: Trajectory, at: int) -> str:
    """Task, last two steps and newest state: the text of the floors in the project's reference."""
    steps = [
        f"{step.tool} {json.dumps(dict(step.args))[:ARGUMENT_CHARACTERS]} {step.observation[:OBSERVATION_CHARACTERS]}"
        for step in trajectory.steps[max(0, at - 2) : at]
    ]
    return " ".join([trajectory.task.text, *steps, trajectory.steps[at].state])


def _summarise(parts: Sequence[_Predicted]) -> Evaluation:
    names = {unit: number for number, unit in enumerate(sorted({unit for part in parts for unit in part.units}))}
    units = np.array([names[unit] for part in parts for unit in part.units], np.int64)
    judged = {name: [judge(part.probabilities[name], part.truth) for part in parts] for name in parts[0].probabilities}
    joined = {name: several[0].joined(several[1:]) for name, several in judged.items()}
    scores = {name: score(one, units) for name, one in joined.items()}
    ablation = {name: one for name, one in scores.items() if name.startswith("no ")}
    methods = {name: one for name, one in scores.items() if name not in ablation}
    baselines = [name for name in methods if name != ENGINE]
    leads = []
    for measure in ("at1", "at3"):
        best = max(baselines, key=lambda name: getattr(methods[name], measure))
        ours, theirs = getattr(joined[ENGINE], measure), getattr(joined[best], measure)
        leads.append(Lead(best, float((ours - theirs).mean()), *difference_interval(ours, theirs, units)))
    pruned = sum(part.pruned_right for part in parts) / len(units)
    return Evaluation(len(units), methods, ablation, leads[0], leads[1], pruned)


def _tool_calls(trajectory: Trajectory) -> int:
    return sum(step.kind == "tool" for step in trajectory.steps)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""

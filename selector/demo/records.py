"""The records of the demo: what it was asked to do, and what came of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from selector.demo.collect import CollectSettings
from selector.demo.engine_agent import ExplainedStep
from selector.demo.rollout import Rollout, game_of
from selector.demo.summary import CurvePoint, Table
from selector.demo.world import Fold
from selector.errors import SelectorUsageError
from trajstore.schema import Task, Trajectory


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo does; an empty `games` and each 0 stand for the environment's own value.

    `train_seeds` and `test_seeds` count tasks of each game; the train fold is learned from, `fold` is acted on, and the
    first `curve_seeds` of it are acted on again after fewer trajectories.  The report and, without `db`, the database
    are written into `out`.
    """

    environment: str = "textworld"
    games: tuple[str, ...] = ()
    train_seeds: int = 0
    test_seeds: int = 0
    curve_seeds: int = 0
    max_steps: int = 0
    seed: int = 0
    fold: Fold = "test"
    out: Path = Path("trajstore-demo")
    db: Path | None = None

    def __post_init__(self) -> None:
        if self.environment not in PRESETS:
            raise SelectorUsageError(f"environment must be one of {', '.join(PRESETS)}, got {self.environment!r}")
        if self.fold not in ("dev", "test"):
            raise SelectorUsageError(f"fold must be dev or test, got {self.fold!r}")
        for name in ("train_seeds", "test_seeds", "curve_seeds", "max_steps", "seed"):
            if getattr(self, name) < 0:
                raise SelectorUsageError(f"{name} must be 0 or more, got {getattr(self, name)}")

    @property
    def namespace(self) -> str:
        """The namespace that the demo's trajectories have for themselves, and their source."""
        return f"demo/{self.environment}"

    def completed(self) -> "DemoSettings":
        """The settings with the environment's own values filled in."""
        preset = PRESETS[self.environment]
        test_seeds = self.test_seeds or preset.test_seeds
        return replace(
            self,
            games=self.games or preset.games,
            train_seeds=self.train_seeds or preset.train_seeds,
            test_seeds=test_seeds,
            curve_seeds=min(self.curve_seeds or preset.curve_seeds, test_seeds),
            max_steps=self.max_steps or preset.max_steps,
            db=self.db or self.out / "demo.db",
        )

    def collecting(self) -> CollectSettings:
        """How trajectories are collected."""
        return replace(
            PRESETS[self.environment].collecting,
            max_steps=self.max_steps,
            source=self.namespace,
            namespace=self.namespace,
        )


@dataclass(frozen=True, slots=True)
class Preset:
    """An environment's own values."""

    games: tuple[str, ...]
    train_seeds: int
    test_seeds: int
    curve_seeds: int
    max_steps: int
    collecting: CollectSettings = field(default_factory=CollectSettings)


PRESETS: Mapping[str, Preset] = {
    "textworld": Preset(("mapreader", "cookingworld-small", "peckingorder"), 60, 40, 8, 50),
    "scienceworld": Preset(
        ("lifespan-longest-lived-then-shortest-lived", "find-plant", "power-component"),
        train_seeds=12,
        test_seeds=5,
        curve_seeds=2,
        max_steps=30,
        collecting=CollectSettings(gold=1, detours=1, random=0, detour_fraction=0.15),
    ),
}


@dataclass(frozen=True, slots=True)
class Collected:
    """What was collected of one game by one way of acting."""

    game: str
    agent: str
    trajectories: int
    successes: int
    steps: int


@dataclass(frozen=True, slots=True)
class Example:
    """An episode of the engine, step by step; `stored` are the trajectories behind its decisions by id."""

    task: Task
    success: bool
    steps: tuple[ExplainedStep, ...]
    stored: Mapping[str, Trajectory]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the engine pruned for one kind of reason: in how many `decisions`, how many `candidates`, and an example."""

    kind: str
    decisions: int
    candidates: int
    tools: tuple[str, ...]
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrunedTool:
    """A tool in a kind of state, of which `like` is a stored moment in words, and the `rival` that is better there.

    Its success, seen in `successes` of `counts` trajectories, is credibly at most `upper`, the rival's at least
    `rival_lower`, all in [0, 1]; `rival` is empty where the tool lies below the floor.
    """

    cluster: int
    like: str
    tool: str
    successes: float
    counts: float
    upper: float
    rival: str
    rival_lower: float


@dataclass(frozen=True, slots=True)
class Pruning:
    """What experience alone prunes.

    Of `tried` pairs of a tool and one of `clusters` kinds of state, `judged` have the `evidence` (trajectories) that
    pruning needs; pruned are those of them whose success is credibly below `share` of the best tool's there.  `nearest`
    is the one that came nearest to it without being pruned.
    """

    clusters: int
    tried: int
    judged: int
    evidence: float
    share: float
    tools: tuple[PrunedTool, ...]
    nearest: PrunedTool | None


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo came to; `seconds` by phase, `versions` by package, `path` is where the report was written.

    `engine_settings` are those of the engine that differ from its defaults, by name.  `curve` is the
    learning curve of the `leader` and the `rival` on the first tasks of each game.
    """

    settings: DemoSettings
    collected: tuple[Collected, ...]
    rollouts: tuple[Rollout, ...]
    table: Table
    leader: str
    rival: str
    curve: tuple[CurvePoint, ...]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    engine_settings: Mapping[str, object]
    abstentions: int
    example: Example | None
    left_out: tuple[LeftOut, ...]
    pruning: Pruning
    path: Path

    @property
    def decisions(self) -> int:
        """Decisions that the leader made on the unseen tasks."""
        return sum(one.decisions for one in self.rollouts if one.agent == self.leader)


def count_collected(memory: Sequence[Trajectory]) -> tuple[Collected, ...]:
    """What was collected, by game and way of acting."""

    def key(trajectory: Trajectory) -> tuple[str, str]:
        return game_of(trajectory.task), trajectory.agent

    groups = ((game, agent, list(group)) for (game, agent), group in groupby(sorted(memory, key=key), key=key))
    return tuple(
        Collected(
            game, agent, len(group), sum(bool(one.success) for one in group), sum(len(one.steps) for one in group)
        )
        for game, agent, group in groups
    )


def count_left_out(steps: Iterable[ExplainedStep]) -> tuple[LeftOut, ...]:
    """What was pruned in these steps, by the kind of reason, which its words up to the colon name."""
    decisions, tools = Counter[str](), dict[str, Counter[str]]()
    examples: dict[str, tuple[str, str]] = {}
    for step in steps:
        for one in step.decision.pruned:
            kind = kind_of(one.reason)
            tools.setdefault(kind, Counter()).update([one.candidate.tool])
            examples.setdefault(kind, (one.candidate.text or one.candidate.tool, one.reason))
        decisions.update({kind_of(one.reason) for one in step.decision.pruned})
    return tuple(
        LeftOut(
            kind, count, tools[kind].total(), tuple(name for name, _ in tools[kind].most_common(3)), *examples[kind]
        )
        for kind, count in decisions.most_common()
    )


def kind_of(reason: str) -> str:
    """The kind of a reason for pruning: its words up to the colon.

    >>> kind_of("loop: nothing new was done or seen in the last 6 steps"), kind_of("forbidden")
    ('loop', 'forbidden')
    """
    return reason.partition(":")[0]

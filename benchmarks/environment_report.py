"""Tables and figures from the JSON lines of benchmarks/environments_table.py.

    python benchmarks/environment_report.py FILE [--markdown FILE] [--figures FOLDER]

Every number is a mean over games of means over tasks and seeds, with 95 % intervals by resampling both: tasks and seeds
of each game are drawn again with replacement, each for itself (the pigeonhole bootstrap, Owen 2007).
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.demo.summary import COVERAGE, RESAMPLES, Interval
from selector.demo.world import Fold
from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
ALL_STORED = -1
USUAL_UPDATES = 100
MEASURES = ("score", "success")
SETTINGS = ("environment", "fold", "train", "tests", "max_steps", "collected", "collect_steps")


@dataclass(frozen=True, slots=True)
class Condition:
    """What was run: who acted in which game with which seed, on what it had learned.

    `collected` counts the trajectories of each kind made of a train task (gold, with detours, random), of at most
    `collect_steps` steps, `stored` those that were learned from (−1: all), `experience` whose they were, `without` what
    was left out, `budget` the environment steps of an agent that learns live, `updates` those of a policy that learns
    from a store, `temperature` that at which a policy is sampled.
    """

    environment: str
    game: str
    agent: str
    seed: int
    fold: Fold = "dev"
    train: int = 333
    tests: int = 100
    max_steps: int = 50
    collected: tuple[int, ...] = (1, 1, 1)
    collect_steps: int = 75
    experience: str = "own"
    stored: int = ALL_STORED
    without: str = ""
    budget: int = 0
    updates: int = USUAL_UPDATES
    temperature: float = 1.0

    @property
    def variant(self) -> str:
        """The agent in words, with what sets it apart from its usual form.

        >>> Condition("textworld", "coin", "selector", 0, experience="shuffled", without="goal").variant
        'selector, shuffled experience, without goal'
        """
        parts = [self.agent]
        parts += [f"{self.experience} experience"] if self.experience != "own" else []
        parts += [f"without {self.without}"] if self.without else []
        parts += [f"{self.updates} updates"] if self.updates != USUAL_UPDATES else []
        parts += [f"temperature {self.temperature:g}"] if self.temperature != 1.0 else []
        return ", ".join(parts)

    @property
    def most_stored(self) -> int:
        """At most how many trajectories were learned from."""
        return self.train * sum(self.collected) if self.stored == ALL_STORED else self.stored

    @property
    def setting(self) -> tuple[Any, ...]:  # Any: a field's own type
        """What must be equal for two lines to stand in one table."""
        return tuple(getattr(self, name) for name in SETTINGS)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One episode: `score` is the sum of its rewards, clipped to [0, 1]."""

    task: str
    success: bool
    score: float
    steps: int


@dataclass(frozen=True)
class Line:
    """What came of a condition.

    `trajectories` were learned from, of `experience_steps` in all; `environment_steps` were taken to learn live.
    `milliseconds` is the median of a decision, `decisions_per_second` their number over all time spent on them.  `note`
    says what kept the agent from learning, where something did.
    """

    condition: Condition
    trajectories: int
    experience_steps: int
    environment_steps: int
    learn_seconds: float
    act_seconds: float
    milliseconds: float
    decisions_per_second: float
    tasks: tuple[TaskResult, ...]
    note: str = ""

    @cached_property
    def steps_to_success(self) -> float:
        """Mean steps of the episodes that succeeded; NaN without any."""
        steps = [task.steps for task in self.tasks if task.success]
        return float(np.mean(steps)) if steps else float("nan")

    def values(self, measure: str) -> Floats:
        """Score or success of each task, in the order of their names; shape (T,)."""
        return np.array([float(getattr(task, measure)) for task in sorted(self.tasks, key=lambda task: task.task)])

    def to_json(self) -> str:
        """One line, with the means that a reader looks for first; the tasks by column, which takes half the space."""
        plain = {name: value for name, value in asdict(self).items() if name != "condition"}
        plain["tasks"] = {one.name: [getattr(task, one.name) for task in self.tasks] for one in fields(TaskResult)}
        means = {measure: float(self.values(measure).mean()) for measure in MEASURES}
        means |= {"steps": float(np.mean([task.steps for task in self.tasks]))}
        steps = None if np.isnan(self.steps_to_success) else self.steps_to_success
        return json.dumps(asdict(self.condition) | means | {"steps_to_success": steps} | plain)

    @classmethod
    def from_json(cls, text: str) -> "Line":
        """What `to_json` wrote."""
        plain = json.loads(text)
        known = {one.name: plain[one.name] for one in fields(Condition) if one.name in plain}
        known["collected"] = tuple(known["collected"])
        own = {one.name: plain[one.name] for one in fields(cls) if one.name not in ("condition", "tasks")}
        columns = (plain["tasks"][one.name] for one in fields(TaskResult))
        return cls(Condition(**known), **own, tasks=tuple(TaskResult(*row) for row in zip(*columns, strict=True)))


def listed(text: str) -> tuple[str, ...]:
    """The names in an option's value.

    >>> listed("coin,twc,"), listed("")
    (('coin', 'twc'), ())
    """
    return tuple(filter(None, text.split(",")))


def read_lines(path: Path) -> list[Line]:
    """All whole lines of a file, none where there is none: an interrupted run may leave half of its last one."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            found.append(Line.from_json(text))
    return found


def pigeonhole_interval(values_GST: Sequence[Floats], rng: np.random.Generator) -> Interval:
    """Mean over games of the mean over seeds and tasks, with a percentile interval; each game has shape (S, T).

    Seeds and tasks are drawn again independently of each other (Owen 2007, arXiv 0712.1111): tasks are shared by the
    seeds, so that their outcomes are not independent; the interval is on the safe side.

    >>> pigeonhole_interval([np.ones((2, 3)), np.zeros((1, 4))], np.random.default_rng(0))
    Interval(value=0.5, low=0.5, high=0.5)
    """
    if not values_GST or not all(values_ST.size for values_ST in values_GST):
        raise SelectorUsageError("an interval needs at least one game with at least one seed and task, got none")
    means_B = np.zeros(RESAMPLES)
    for values_ST in values_GST:
        seeds, tasks = values_ST.shape
        shares_BS = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), RESAMPLES) / seeds
        shares_BT = rng.multinomial(tasks, np.full(tasks, 1.0 / tasks), RESAMPLES) / tasks
        means_B += ((shares_BS @ values_ST) * shares_BT).sum(axis=1) / len(values_GST)
    low, high = np.quantile(means_B, [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0])
    return Interval(float(np.mean([values_ST.mean() for values_ST in values_GST])), float(low), float(high))


def interval_of(lines: Iterable[Line], measure: str) -> Interval:
    """A measure over all games of lines of one variant."""
    games: dict[str, list[Floats]] = {}
    for line in lines:
        games.setdefault(line.condition.game, []).append(line.values(measure))
    return pigeonhole_interval([np.stack(rows) for rows in games.values()], np.random.default_rng(0))


def variants(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines that learned from all that was stored, by variant; of an agent that learns live, those of most steps."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.condition.stored == ALL_STORED:
            found.setdefault(line.condition.variant, []).append(line)
    for name, mine in found.items():
        most = max(line.condition.budget for line in mine)
        found[name] = [line for line in mine if line.condition.budget == most]
    return found


def summary_table(lines: Sequence[Line]) -> str:
    """One row an agent: score, success, steps, speed, and what it was made of."""
    header = ["agent", "score", "success", "steps to success", "decisions/s", "ms a decision", "trajectories"]
    header += ["environment steps", "games", "seeds", "seconds to learn", "seconds to act"]
    rows = []
    for name, mine in variants(lines).items():
        steps = [line.steps_to_success for line in mine if not np.isnan(line.steps_to_success)]
        row = [name, _words(interval_of(mine, "score")), _words(interval_of(mine, "success"))]
        row += [f"{np.mean(steps):.1f}" if steps else "–", f"{_mean(mine, 'decisions_per_second'):,.0f}"]
        row += [f"{_mean(mine, 'milliseconds'):.2f}", f"{_mean(mine, 'trajectories'):,.0f}"]
        row += [f"{_mean(mine, 'environment_steps'):,.0f}"]
        row += [str(len({getattr(line.condition, one) for line in mine})) for one in ("game", "seed")]
        rows.append([*row, *(f"{_mean(mine, name):.1f}" for name in ("learn_seconds", "act_seconds"))])
    return _markdown(header, rows)


def game_table(lines: Sequence[Line], measure: str) -> str:
    """One row an agent, one column a game (turned where there are more than a dozen): mean ± half an interval."""
    found, games = variants(lines), list(dict.fromkeys(line.condition.game for line in lines))

    def cell(name: str, game: str) -> str:
        mine = [line for line in found[name] if line.condition.game == game]
        return _briefly(interval_of(mine, measure)) if mine else "–"

    if len(games) > 12:
        return _markdown((measure, *found), [[game, *(cell(name, game) for name in found)] for game in games])
    return _markdown((measure, *games), [[name, *(cell(name, game) for game in games)] for name in found])


def report(lines: Sequence[Line]) -> str:
    """All tables of a file in Markdown, one part for each setting."""
    parts = []
    for setting in dict.fromkeys(line.condition.setting for line in lines):
        mine = [line for line in lines if line.condition.setting == setting]
        parts.append("## " + ", ".join(f"{name} {value}" for name, value in zip(SETTINGS, setting, strict=True)))
        parts.append(summary_table(mine))
        parts += [game_table(mine, measure) for measure in MEASURES]
        parts += [curve_table(mine, by) for by in CURVES if curves(mine, by)]
    return "\n\n".join(parts)


CURVES: Mapping[str, Callable[[Line], int]] = {
    "trajectories": lambda line: line.condition.most_stored,
    "environment steps": lambda line: line.condition.budget,
}


def curves(lines: Iterable[Line], by: str, measure: str = "score") -> dict[str, dict[int, Interval]]:
    """A measure against what was learned from, by variant; those with at least two points."""
    points: dict[str, dict[int, list[Line]]] = {}
    for line in lines:
        points.setdefault(line.condition.variant, {}).setdefault(CURVES[by](line), []).append(line)
    common = {name: _of_common_games(found) for name, found in points.items() if len(found) > 1}
    return {
        name: {at: interval_of(mine, measure) for at, mine in sorted(found.items())}
        for name, found in common.items()
        if any(found.values())
    }


def _of_common_games(points: Mapping[int, Sequence[Line]]) -> dict[int, list[Line]]:
    """The lines at each point of games that have a line at every point: means of unlike games are not compared."""
    games = set.intersection(*({line.condition.game for line in mine} for mine in points.values()))
    return {at: [line for line in mine if line.condition.game in games] for at, mine in points.items()}


def curve_table(lines: Sequence[Line], by: str) -> str:
    """Score by variant against what was learned from."""
    found = curves(lines, by)
    places = _places(found)
    rows = [[name, *(_briefly(points[at]) if at in points else "–" for at in places)] for name, points in found.items()]
    return _markdown((f"score by {by}", *(f"{at:,}" for at in places)), rows)


def _places(found: Mapping[str, Mapping[int, Interval]]) -> list[int]:
    """Everywhere that any of the curves has a point, in order."""
    return sorted({at for points in found.values() for at in points})


def draw(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Bars of the score by agent, and learning curves where there are any, one file a setting; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for setting in dict.fromkeys(line.condition.setting for line in lines):
        mine = [line for line in lines if line.condition.setting == setting]
        stem = f"{setting[0]}-{setting[1]}-{setting[2]}"
        written.append(_draw_bars(mine, folder / f"{stem}-score.png"))
        written += [
            _draw_curves(mine, by, folder / f"{stem}-by-{by.split()[0]}.png") for by in CURVES if curves(mine, by)
        ]
    return written


def _draw_bars(lines: Sequence[Line], path: Path) -> Path:
    found = {name: interval_of(mine, "score") for name, mine in variants(lines).items()}
    figure, panel = _panel((7.5, 1.0 + 0.34 * len(found)))
    for place, one in enumerate(reversed(found.values())):
        panel.barh(place, one.value, color="#7d8fa9", height=0.62)
        panel.plot([one.low, one.high], [place, place], color="#2b3442", linewidth=2)
    panel.set_yticks(range(len(found)), list(reversed(found)))
    panel.set_ylim(-0.6, len(found) - 0.4)
    panel.set_xlabel("mean score over games, with 95 % interval")
    panel.set_xlim(0.0, 1.02)
    figure.savefig(path, dpi=150)
    return path


def _draw_curves(lines: Sequence[Line], by: str, path: Path) -> Path:
    figure, panel = _panel((7.5, 4.2))
    found = curves(lines, by)
    for name, points in found.items():
        places = list(points)
        (drawn,) = panel.plot(places, [one.value for one in points.values()], "o-", label=name)
        bounds = [one.low for one in points.values()], [one.high for one in points.values()]
        panel.fill_between(places, *bounds, color=drawn.get_color(), alpha=0.15, linewidth=0)
    panel.set_xscale("symlog", linthresh=10)
    ticks = _places(found)
    panel.set_xticks(ticks, [f"{at:,}" for at in ticks])
    panel.set_xlabel(f"{by} learned from")
    panel.set_ylabel("mean score over games")
    panel.set_ylim(-0.02, 1.02)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return path


def _panel(size: tuple[float, float]) -> tuple[Any, Any]:  # Any: matplotlib's own
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - takes a second to load
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = FigureCanvasAgg(Figure(figsize=size, layout="constrained")).figure
    panel = figure.add_subplot()
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


def _mean(lines: Sequence[Line], name: str) -> float:
    return float(np.mean([getattr(line, name) for line in lines]))


def _words(one: Interval) -> str:
    return f"{one.value:.3f} ({one.low:.2f}–{one.high:.2f})"


def _briefly(one: Interval) -> str:
    return f"{one.value:.2f} ± {(one.high - one.low) / 2:.2f}"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def main() -> None:
    """Read, print, write, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("file", "--markdown", "--figures"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    lines = read_lines(options.file)
    print(report(lines))
    if options.markdown:
        options.markdown.write_text(report(lines) + "\n", encoding="utf-8")
    for path in draw(lines, options.figures) if options.figures else ():
        print(f"figure: {path}")


if __name__ == "__main__":
    main()

"""The command `trajstore demo`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as PrintedTable

from selector.demo.records import DemoReport, DemoSettings
from selector.demo.summary import Interval
from trajstore.output import Tell, progress_bars, say

# What a bar is called while a phase lasts, and what is said when it is over (texts are embedded in several passes).
PHASES = {
    "collect": ("Collecting trajectories", "Collected {:,} trajectories"),
    "embedding": ("Embedding", ""),
    "learning": ("Learning", "Learned"),
    "act": ("Acting on unseen tasks", "Played {:,} episodes on unseen tasks"),
    "curve": ("Acting after fewer trajectories", "Played {:,} episodes after fewer trajectories"),
}


def demo(  # noqa: PLR0913 - one argument for one option
    *,
    environment: Annotated[str, typer.Option(help="textworld or scienceworld.")] = "textworld",
    game: Annotated[list[str] | None, typer.Option(help="A game; may be given several times.")] = None,
    train_seeds: Annotated[int, typer.Option(help="Training tasks of each game.", min=0)] = 0,
    test_seeds: Annotated[int, typer.Option(help="Unseen tasks of each game.", min=0)] = 0,
    curve_seeds: Annotated[int, typer.Option(help="Unseen tasks of each game in the learning curve.", min=0)] = 0,
    max_steps: Annotated[int, typer.Option(help="Steps an episode may take.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the report and the database.")] = Path("trajstore-demo"),
    db: Annotated[Path | None, typer.Option(help="Database file; by default demo.db in the folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Collect in a published environment, learn, and act on unseen tasks beside the baselines."""
    from selector.demo.run import run_demo  # noqa: PLC0415 - loads the engine, which other commands need not wait for

    settings = DemoSettings(
        environment, tuple(game or ()), train_seeds, test_seeds, curve_seeds, max_steps, seed, out=out, db=db
    )
    with _told() as on_progress:
        report = run_demo(settings, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(as_data(report), indent=2))
    else:
        _print_table(report)


def as_data(report: DemoReport) -> dict[str, object]:
    """The report as plain JSON data."""
    return {
        "report": str(report.path),
        "database": str(report.settings.db),
        "table": [asdict(row) for row in report.table.rows],
        "leads": [asdict(lead) for lead in report.table.leads],
        "curve": [
            {"trajectories": point.trajectories, "table": [asdict(row) for row in point.table.rows]}
            for point in report.curve
        ],
        "left_out": [asdict(one) for one in report.left_out],
        "pruning": asdict(report.pruning),
        "collected": [asdict(one) for one in report.collected],
        "abstentions": report.abstentions,
        "seconds": dict(report.seconds),
    }


@contextmanager
def _told(clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Give a function that hears (phase, done, to do): it moves a bar, and says once when a phase is over."""
    begun: dict[str, float] = {}
    over = set[str]()
    with progress_bars() as tell:

        def on_progress(phase: str, done: int, total: int) -> None:
            doing, did = PHASES.get(phase, (phase, phase))
            begun.setdefault(phase, clock())
            tell(doing, done, total)
            if did and done >= total and phase not in over:
                over.add(phase)
                say(f"{did.format(total)} in {clock() - begun[phase]:.0f} s")

        yield on_progress


def _print_table(report: DemoReport) -> None:
    printed = PrintedTable(title=f"{report.settings.environment}, {report.settings.fold} fold", title_justify="left")
    printed.add_column("game")
    printed.add_column("agent")
    for heading in ("success", "95 % interval", "reward", "steps to success", "ms a decision"):
        printed.add_column(heading, justify="right")
    for row in report.table.rows:
        steps = "-" if row.steps_to_success is None else f"{row.steps_to_success:.1f}"
        printed.add_row(
            row.game,
            row.agent,
            f"{row.success.value:.2f}",
            _bounds(row.success),
            f"{row.reward.value:.2f}",
            steps,
            f"{row.milliseconds_per_decision:.2f}",
            style="bold" if row.agent == report.leader else "",
            end_section=row.agent == report.table.agents[-1],
        )
    console = Console()
    console.print(printed)
    console.print(f"Report: {report.path}", soft_wrap=True)


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.2f} to {interval.high:.2f}"

"""A figure of how tuning converged: the best value so far against trials, several tuners side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError
from selector.tuning import TuningReport

Floats = NDArray[np.float64]


def best_so_far(report: TuningReport) -> Floats:
    """Value of the best trial (lowest upper bound) up to each trial; shape (N,).

    The value may rise where a later trial is measured more surely.
    """
    uppers_N = np.array([trial.measurement.upper for trial in report.trials])
    values_N = np.array([trial.measurement.value for trial in report.trials])
    is_new_N = uppers_N < np.concatenate([[np.inf], np.minimum.accumulate(uppers_N)[:-1]])
    return np.asarray(values_N[np.maximum.accumulate(np.where(is_new_N, np.arange(len(values_N)), 0))], np.float64)


def plot_convergence(reports: Mapping[str, TuningReport], path: Path, *, objective: str = "objective") -> None:
    """Write a figure (its kind by the suffix of `path`): one line for each tuner, its trials as points.

    `reports` by the name of the tuner, at least one; `objective` labels the axis.  Raises ImportError without
    matplotlib.
    """
    if not reports:
        raise SelectorUsageError("a figure needs at least one report, got none: tune first")
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the figure needs it

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for number, (name, report) in enumerate(reports.items()):
        trials_N = np.arange(1, len(report.trials) + 1)
        colour = f"C{number}"
        axes.step(trials_N, best_so_far(report), where="post", color=colour, label=f"{name}, best so far")
        axes.errorbar(
            trials_N,
            [trial.measurement.value for trial in report.trials],
            yerr=[trial.measurement.standard_error for trial in report.trials],
            fmt=".",
            alpha=0.4,
            color=colour,
        )
    _mark_start(axes, reports)
    axes.set(xlabel="trial", ylabel=f"{objective} (lower is better)")
    axes.legend()
    figure.savefig(path)


def _mark_start(axes: object, reports: Mapping[str, TuningReport]) -> None:
    start = next((report.start_measurement for report in reports.values() if report.start_measurement), None)
    if start is not None:
        axes.axhline(start.value, color="grey", linestyle=":", label="start settings")  # type: ignore[attr-defined]

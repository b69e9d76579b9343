"""The commands about the selector itself: value, tune, pruned and restore."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from selector.errors import SelectorUsageError
from selector.gp_tuner import gp_or_random
from selector.objective import cut, distance
from selector.selector import Selector
from selector.tuned import SETTINGS, save_tuned, tuned_config, values_of
from selector.tuning import RandomTuner, Trial, TuningReport, confirm
from selector.tuning import tune as tune_by
from selector.tuning_report import plot_convergence
from trajstore.commands import DatabaseOption, JsonOption, NamespaceOption, open_existing_store
from trajstore.filters import TrajectoryFilter
from trajstore.output import print_json, print_table, progress_bars, say
from trajstore.recollection import stored_embedder

SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]


def value(
    *,
    db: DatabaseOption,
    policy: Annotated[
        Literal["engine", "greedy", "uniform", "logged"], typer.Option(help="Whose value is asked.")
    ] = "engine",
    seed: SeedOption = 0,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate what a policy would have been worth on the logged decisions, and what guidance brought.

    Episodes that were held out (SelectorConfig(held_out=0.1)) are compared with guided ones.
    """
    from selector.valuing import value_of  # noqa: PLC0415 - its libraries take a while to import

    with open_existing_store(db) as store, progress_bars() as tell:
        selector = Selector(store, seed=seed, on_progress=tell)
        found = value_of(
            store, selector.room(namespace or "default"), policy, seed=seed, on_progress=lambda *at: tell("asking", *at)
        )
    if as_json:
        print_json(found.to_json())
        return
    rows = [
        [
            one.estimator,
            f"{one.value:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            f"{one.effective_sample_size:.0f}",
            f"{100 * one.unsupported_mass:.1f} %",
            "yes" if one.is_trusted else "no",
        ]
        for one in found.estimates
    ]
    print_table(
        ["estimator", "value", "95 %", "effective sample", "unsupported", "trusted"],
        rows,
        title=f"value of {policy} on {found.decisions:,} followed decisions ({found.skipped_words})",
    )
    for reason in dict.fromkeys(one.reason for one in found.estimates if not one.is_trusted):
        say(f"not trusted: {reason}")
    say(found.lift.summary)
    say(found.guard_words)


def tune(
    *,
    db: DatabaseOption,
    trials: Annotated[int, typer.Option(min=2, help="Measurements by each of the two tuners.")] = 30,
    seed: SeedOption = 0,
    namespace: NamespaceOption = None,
    figure: Annotated[str, typer.Option(metavar="PATH", help="Where to draw how it converged.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Tune the selector's settings by Bayesian optimisation, beside random search; confirmed settings are kept.

    Minimised is the quadratic score of its choices against what successful trajectories of unseen task families did.
    What is found counts only where it is better on families that tuning has not seen either.
    """
    with open_existing_store(db) as store, progress_bars() as tell:
        config, embedder = tuned_config(store), stored_embedder(store)
        slices = cut(list(store.trajectories(TrajectoryFilter(namespace=namespace or "default"))), seed=seed)
        objective = distance(slices, slices.tuning, embedder, config, seed=seed)
        start, reports = values_of(config), {}
        chosen = gp_or_random(SETTINGS, np.random.default_rng(seed))
        tuners = {"Gaussian process": chosen.tuner, "random search": RandomTuner(SETTINGS, np.random.default_rng(seed))}
        for name, tuner in tuners.items():

            def on_trial(trial: Trial, name: str = name) -> None:
                tell(name, trial.number + 1, trials)

            reports[name] = tune_by(objective, SETTINGS, tuner, trials, start=start, on_trial=on_trial)
        report = reports["Gaussian process"]
        confirmed = confirm(distance(slices, slices.confirming, embedder, config, seed=seed), report)
        if confirmed.is_confirmed:
            save_tuned(store, report.best)
    if figure:
        plot_convergence(reports, Path(figure), objective="quadratic score")
    summary = {
        "best": report.best if confirmed.is_confirmed else start,
        "objective_before": confirmed.before.value,
        "objective_after": confirmed.after.value if confirmed.is_confirmed else confirmed.before.value,
        "is_confirmed": confirmed.is_confirmed,
        "reason": confirmed.reason,
        "tuner": chosen.reason or "Gaussian process",
        "tuned": {name: _tuned(one) for name, one in reports.items()},
    }
    if as_json:
        print_json(summary)
    else:
        _print_tuning(summary, start, report)


def pruned(*, db: DatabaseOption, namespace: NamespaceOption = None, as_json: JsonOption = False) -> None:
    """List what is pruned: which tool in which kind of state, why, and until when."""
    with open_existing_store(db) as store:
        room = Selector(store).room(namespace or "default")  # judges what was stored since
        rows = [row for row in room.prunings() if row.is_pruned]
        labels = {row.cluster: room.cluster_label(row.cluster) for row in rows}
    if as_json:
        print_json(
            {
                "pruned": [
                    {**asdict(row), "state_cluster": row.cluster, "state_label": labels[row.cluster]} for row in rows
                ]
            }
        )
        return
    print_table(
        ["state cluster", "like", "tool", "status", "until"],
        [[row.cluster, labels[row.cluster][:40], row.tool, row.status, _moment(row.until)] for row in rows],
    )
    for row in rows:
        say(f"{row.tool} in state cluster {row.cluster}: {row.reason}")


def restore(
    *,
    db: DatabaseOption,
    tool: Annotated[str, typer.Option(help="The tool to use again.", show_default=False)],
    cluster: Annotated[int | None, typer.Option(min=-1, help="In this state cluster; everywhere if not given.")] = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Use a pruned tool again, until new evidence speaks against it more strongly."""
    with open_existing_store(db) as store:
        feedback = Selector(store).room(namespace or "default").feedback
        wanted = [
            row.cluster
            for row in store.logbook.prunings(namespace or "default")
            if row.tool == tool and row.is_pruned and cluster in (None, row.cluster)
        ]
        if not wanted:
            raise SelectorUsageError(f"tool {tool!r} is not pruned there; trajstore pruned --db {db} lists what is")
        for number in wanted:
            feedback.restore(number, tool)
    if as_json:
        print_json({"restored": [{"tool": tool, "state_cluster": number} for number in wanted]})
    else:
        print_table(["restored", "state cluster"], [[tool, number] for number in wanted])


def _tuned(report: TuningReport) -> dict[str, Any]:  # Any: JSON
    return {
        "best": report.best,
        "value": report.best_measurement.value,
        "standard_error": report.best_measurement.standard_error,
        "trials": [[trial.measurement.value, trial.measurement.standard_error] for trial in report.trials],
    }


def _print_tuning(summary: dict[str, Any], start: dict[str, float], report: TuningReport) -> None:  # Any: JSON
    rows = [[name, f"{start[name]:.3g}", f"{report.best[name]:.3g}"] for name in start]
    print_table(["setting", "start", "best found"], rows)
    print_table(
        ["tuner", "best on the tuning slice", "± se"],
        [[name, f"{one['value']:.4f}", f"{one['standard_error']:.4f}"] for name, one in summary["tuned"].items()],
    )
    kept = "kept with the store" if summary["is_confirmed"] else "not kept"
    say(f"on families that tuning has not seen: {summary['reason']}; the settings are {kept}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes") if np.isfinite(seconds) else "restored"

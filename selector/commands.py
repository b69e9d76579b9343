"""The commands of the selector: choose and evaluate; the others are joined to them here."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from selector.decision_log import as_json as decision_json
from selector.demo.commands import demo
from selector.mcp_commands import mcp, mcp_proxy
from selector.metrics import Scores
from selector.policy_commands import pruned, restore, tune, value
from selector.records import Decision
from selector.selector import Selector
from trajstore.commands import DatabaseOption, JsonOption, NamespaceOption, open_existing_store, split_names
from trajstore.embedding import HASHED, make_embedder
from trajstore.ingest import Rejection, read_trajectories
from trajstore.output import print_json, print_table, progress_bars, say
from trajstore.schema import Trajectory

app = typer.Typer()
for command in (demo, value, tune, pruned, restore, mcp, mcp_proxy):
    app.command()(command)

PathsOption = Annotated[list[str], typer.Option(metavar="PATH", help="Trajectories; may be given several times.")]


@app.command()
def choose(  # noqa: PLR0913 - one argument for one option
    *,
    db: DatabaseOption,
    task: Annotated[str, typer.Option(help="What the agent is asked to do.", show_default=False)],
    state: Annotated[str, typer.Option(help="What it knows now.")] = "",
    tools: Annotated[str, typer.Option(help="Tools on offer, by comma; all known ones where none are named.")] = "",
    history: Annotated[str, typer.Option(help="Tools called so far, by comma.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same choice.")] = 0,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the next tool, and say how probably it is right and why."""
    with open_existing_store(db) as store, progress_bars() as tell:
        selector = Selector(store, seed=seed, on_progress=tell)
        decision = selector.choose(
            task, state, tools=split_names(tools), history=split_names(history), namespace=namespace or "default"
        )
    if as_json:
        print_json(decision_json(decision))
    else:
        _print_decision(decision)


@app.command()
def evaluate(
    *,
    train: PathsOption,
    test: PathsOption,
    split_by: Annotated[Literal["group", "family"], typer.Option(help="What train and test never share.")] = "family",
    where: Annotated[str, typer.Option(metavar="KEY=VALUE", help="Only records with this in their metadata.")] = "",
    embedder: Annotated[str, typer.Option(metavar="NAME", help="hashed, or a sentence-transformers model.")] = HASHED,
    as_json: JsonOption = False,
) -> None:
    """Predict the tools of held-out families: the engine, each of its keys switched off, and the baselines.

    Where train and test share families they are cut into five folds.
    """
    from selector.evaluation import evaluate as evaluate_on  # noqa: PLC0415 - scikit-learn takes a second to import

    with progress_bars() as tell:
        evaluation = evaluate_on(
            _read(train, where), _read(test, where), make_embedder(embedder), split_by=split_by, on_progress=tell
        )
    if as_json:
        print_json(asdict(evaluation))
        return
    methods = evaluation.methods | evaluation.ablation
    print_table(
        ["method", "@1", "95 %", "@3", "95 %", "log-loss", "ece"],
        [_score_row(name, scores) for name, scores in methods.items()],
        title=f"{evaluation.decisions:,} decisions; the last rows are the engine without one key",
    )
    leads = {"@1": evaluation.lead_at1, "@3": evaluation.lead_at3}
    print_table(
        ["lead", "over the best baseline", "points", "95 %"],
        [
            [name, lead.baseline, f"{100 * lead.value:+.1f}", f"{100 * lead.low:+.1f} to {100 * lead.high:+.1f}"]
            for name, lead in leads.items()
        ],
    )
    print_table(["right tools that pruning would forbid"], [[f"{100 * evaluation.pruned_right:.2f} %"]])


def _read(paths: list[str], where: str) -> list[Trajectory]:
    """Every readable trajectory that matches; what cannot be read is counted on stderr."""
    key, _, wanted = where.partition("=")
    found, rejected = [], 0
    for one in read_trajectories(paths):
        if isinstance(one, Rejection):
            rejected += 1
        elif not where or str(one.metadata.get(key, "")) == wanted:
            found.append(one)
    if rejected:
        say(f"{rejected:,} records cannot be read and were left out; trajstore ingest lists them with their reasons")
    return found


def _print_decision(decision: Decision) -> None:
    chosen = decision.tool or "(abstains: let the agent choose)"
    columns = ["tool", "source", "propensity", "reason"]
    print_table(columns, [[chosen, decision.source, f"{decision.propensity:.3f}", decision.reason]])
    rows = [
        [
            one.candidate.tool,
            f"{one.probability:.3f}",
            f"{one.interval[0]:.2f}–{one.interval[1]:.2f}",
            f"{one.evidence:.1f}",
        ]
        for one in decision.ranked
    ]
    print_table(["candidate", "probability", "90 % interval", "evidence"], rows)
    if decision.pruned:
        print_table(["pruned", "reason"], [[one.candidate.tool, one.reason] for one in decision.pruned])


def _score_row(name: str, scores: Scores) -> list[str]:
    at1, at3 = (
        [f"{100 * value:.1f}", f"{100 * low:.1f}–{100 * high:.1f}"]
        for value, (low, high) in ((scores.at1, scores.at1_interval), (scores.at3, scores.at3_interval))
    )
    return [name, *at1, *at3, f"{scores.log_loss:.3f}", f"{scores.ece:.3f}"]

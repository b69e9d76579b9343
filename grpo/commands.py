"""The commands of the trainer: train and serve."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from grpo.serve_command import serve
from trajstore.commands import DatabaseOption, JsonOption, NamespaceOption, open_existing_store
from trajstore.output import print_json, print_table, progress_bars, say
from trajstore.recollection import stored_embedder

app = typer.Typer()
SCORES = ("at1", "at3", "log_loss", "value")
ROWS = {
    "before": "before: who acted",
    "cloned": "cloned successes",
    "after": "after: trained",
    "gain": "after less before",
    "gain_over_cloned": "after less cloned",
}


@app.command()
def train(
    *,
    db: DatabaseOption,
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of checkpoints, logs and the policy.")],
    config: Annotated[str, typer.Option(metavar="FILE", help="Settings of GRPOConfig as TOML.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "",
    updates: Annotated[int | None, typer.Option(min=1, help="Updates at most.", show_default=False)] = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a tool policy by GRPO on the trajectories of a store; run it again to go on where it stopped.

    Whole families of tasks are kept back: scores are of tasks that training has not seen.
    """
    from grpo.config import GRPOConfig  # noqa: PLC0415 - commands of other packages need not wait for this one
    from grpo.tool_policy import ToolPolicy  # noqa: PLC0415 - as above
    from grpo.trainer import GRPOTrainer  # noqa: PLC0415 - torch takes seconds to import

    settings = GRPOConfig.from_toml(config) if config else GRPOConfig()
    named = {"device": device, "updates": updates}
    settings = settings.replaced({name: value for name, value in named.items() if value})
    with open_existing_store(db) as store, progress_bars() as tell:
        policy = ToolPolicy.untrained(stored_embedder(store), seed=settings.seed)
        trainer = GRPOTrainer(
            policy, settings, store=store, namespace=namespace or "default", folder=out, on_progress=tell
        )
        report = trainer.train()
    if as_json:
        print_json(
            {
                "updates": report.updates,
                "trajectories": report.trajectories,
                "metrics": report.metrics,
                "monotonicity": report.monotonicity,
                "checkpoint": report.checkpoint,
            }
        )
        return
    print_table(
        ["on unseen tasks", "first choice right", "in three", "log loss", "estimated reward"],
        [[words, *_cells(report.metrics[name])] for name, words in ROWS.items()],
        title=f"{report.updates} updates on {report.trajectories:,} trajectories",
    )
    say(f"the policy is in {report.checkpoint}" + (", as far as it was trained" if report.was_stopped else ""))


def _cells(scores: Any) -> list[str]:  # Any: metrics are plain data
    found: Mapping[str, Mapping[str, float]] = scores
    return [f"{found[name]['value']:.3f} ({found[name]['low']:.3f} to {found[name]['high']:.3f})" for name in SCORES]


app.command()(serve)

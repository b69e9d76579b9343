"""The command `serve`: training jobs over JSON-RPC."""

from typing import Annotated

import typer

from trajstore.commands import DatabaseOption, open_existing_store
from trajstore.errors import MissingDependency
from trajstore.opening import open_database
from trajstore.output import say

INSTALL = "pip install 'trajstore[serve]'"


def serve(
    *,
    db: DatabaseOption,
    host: Annotated[str, typer.Option(help="Address to listen at; any but this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8765,
    token: Annotated[
        str,
        typer.Option(
            envvar="TRAJSTORE_TOKEN",
            show_default=False,
            help="What clients must send; the variable is safer, since others see arguments.",
        ),
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Training jobs that run at the same time.")] = 1,
) -> None:
    """Train on request: JSON-RPC 2.0 at /rpc (training.start_grpo, get_status, list, cancel, get_metrics).

    Jobs run in processes of their own, which go on when the service stops; one that was killed is taken up again from
    its checkpoint.
    """
    try:
        from grpo.serving import ServeSettings  # noqa: PLC0415 - the web packages take a while, and are optional
        from grpo.serving import serve as serve_jobs  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise MissingDependency(f"the service needs {error.name}, which is not installed: {INSTALL}") from error
    settings = ServeSettings(host, port, token, jobs)
    open_existing_store(db).close()
    database = open_database(db)
    try:
        serve_jobs(
            database, settings, lambda url: say(f"training jobs of {database.path} at {url}; Ctrl-C ends the service")
        )
    finally:
        database.close()

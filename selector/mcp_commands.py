"""The commands that speak the Model Context Protocol: mcp, and mcp-proxy."""

from typing import Annotated, Literal

import typer

from selector.adapters.advisor import Advisor
from selector.adapters.episode_work import AdvisorSettings
from selector.errors import SelectorUsageError
from trajstore.commands import DatabaseOption, NamespaceOption
from trajstore.output import say

Modes = Literal["shadow", "suggest", "narrow", "force"]
ModeOption = Annotated[
    Modes | None, typer.Option(help="How much agents see; that of the store's settings if not given.")
]


def mcp(
    *,
    db: DatabaseOption,
    mode: ModeOption = None,
    http: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Answer over HTTP; 0 takes any free port.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; any but this machine's own needs names.")] = (
        "127.0.0.1"
    ),
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name by which clients reach it; may be given often.")
    ] = None,
    namespace: NamespaceOption = None,
) -> None:
    """Serve experience to agents by the Model Context Protocol: over stdin and stdout, or with --http over HTTP.

    Its tools are recommend, record_step, finish_trajectory and search_trajectories.  A store is made where none is.
    """
    from selector.adapters.mcp_server import make_server  # noqa: PLC0415 - the SDK takes a second, and is optional
    from selector.adapters.mcp_serving import Address, run_until_closed, serve_http  # noqa: PLC0415 - as above

    if http is None and allow_host:
        raise SelectorUsageError("--allow-host is for HTTP: give --http PORT too, or leave it out")
    address = Address(host, http or 0, tuple(allow_host or ()))
    advisor = Advisor.open(db, mode, AdvisorSettings(namespace=namespace or "default"))
    server = make_server(advisor)
    if http is None:
        run_until_closed(server.run_stdio_async(), server.close)
        return
    try:
        serve_http(server, address, lambda url: say(f"experience of {db} at {url}; Ctrl-C ends the server"))
    finally:
        server.close()

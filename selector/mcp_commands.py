"""The commands that speak the Model Context Protocol: mcp, and mcp-proxy."""

import os
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


def mcp_proxy(  # noqa: PLR0913 - one argument for one option
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND ARGS...", help="What starts the MCP server.")
    ] = None,
    *,
    db: DatabaseOption,
    mode: ModeOption = None,
    url: Annotated[str, typer.Option(metavar="URL", help="An MCP server over HTTP, instead of a command.")] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VARIABLE", help="A header for --url, its value from the environment."),
    ] = None,
    task: Annotated[str, typer.Option(help="The task of clients that do not tell theirs.")] = "",
    has_hints: Annotated[bool, typer.Option("--hints/--no-hints", help="Put hints into what calls return.")] = True,
    hides: Annotated[bool, typer.Option("--hide/--no-hide", help="Do not list refused tools.")] = False,
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, help="How long an answer may wait for a decision.")
    ] = 0.1,
    namespace: NamespaceOption = None,
) -> None:
    """Stand in front of any MCP server: pass everything on, learn from its calls, and guide whoever makes them.

    Speaks over stdin and stdout; the server is started with the same environment.  A store is made where none is.
    """
    from selector.adapters.mcp_proxy import GuidingProxy  # noqa: PLC0415 - the SDK takes a second, and is optional
    from selector.adapters.mcp_routes import ProxySettings  # noqa: PLC0415 - as above
    from selector.adapters.mcp_serving import run_until_closed, serve_proxy  # noqa: PLC0415 - as above
    from selector.adapters.mcp_upstream import headers_from, reached, started  # noqa: PLC0415 - as above

    if bool(command) == bool(url):
        raise SelectorUsageError("give either -- COMMAND ARGS... or --url URL, and not both")
    if header and not url:
        raise SelectorUsageError("--header is for --url: a server that is started has no headers")
    upstream = reached(url, headers_from(header or [], os.environ)) if url else started(command or [])
    settings = AdvisorSettings(namespace=namespace or "default", budget_seconds=budget, keeps_tools=not hides)
    proxy = GuidingProxy(Advisor.open(db, mode, settings), ProxySettings(task, has_hints))
    run_until_closed(serve_proxy(proxy, upstream), proxy.close)

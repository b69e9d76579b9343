"""How MCP is served: over stdin and stdout, or over HTTP at an address that only the right names reach."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from selector.adapters.needs import needs

try:
    import uvicorn
    from mcp.client import Transport
    from mcp.server.mcpserver import MCPServer
    from mcp.server.stdio import stdio_server
    from mcp.server.transport_security import TransportSecuritySettings
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.mcp_proxy import GuidingProxy
from selector.errors import SelectorUsageError
from trajstore.errors import StoreUnavailable
from trajstore.loopback import is_loopback
from trajstore.output import say

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE_SECONDS = 2
FLUSH_SECONDS = 0.1  # for what was just sent to be written
STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `allowed` are the names under which clients reach it beside those of this machine itself.

    Port 0 takes any free one.  A host that others reach needs names: without them a page of the web could be answered
    that has its own name point here (DNS rebinding).
    """

    host: str = "127.0.0.1"
    port: int = 0
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.allowed and not is_loopback(self.host):
            raise SelectorUsageError(
                f"host {self.host!r} can be reached by others: name each host by which they may with --allow-host"
            )


def guarded(allowed: Sequence[str] = ()) -> TransportSecuritySettings:
    """Only requests to these names, with any port or none, and from pages of them or from no page, are answered.

    >>> guarded(["tools.example"]).allowed_hosts[-2:]
    ['tools.example', 'tools.example:*']
    """
    names = [pattern for name in (*LOOPBACK, *allowed) for pattern in (name, f"{name}:*")]
    origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in names]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=names, allowed_origins=origins)


def serve_http(server: MCPServer, address: Address, on_ready: Callable[[str], None]) -> None:
    """Answer at /mcp until a signal ends it; `on_ready` is told the URL.  `StoreUnavailable`: the address is taken."""
    app = server.streamable_http_app(host=address.host, transport_security=guarded(address.allowed))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    with _bound(address) as listening:
        on_ready(url_of(address.host, listening.getsockname()[1]))
        uvicorn.Server(config).run(sockets=[listening])


def url_of(host: str, port: int) -> str:
    """Where the server answers.

    >>> url_of("::1", 8765)
    'http://[::1]:8765/mcp'
    """
    return f"http://[{host}]:{port}/mcp" if ":" in host else f"http://{host}:{port}/mcp"


def run_until_closed(work: Coroutine[object, object, None], store: Callable[[], None]) -> None:
    """Run what serves stdin and stdout; `store` is called at its end, and before a signal ends the process.

    A thread that waits for stdin cannot be stopped, so after a signal the process ends by that signal.
    """

    async def served() -> None:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            with suppress(NotImplementedError):  # Windows has no such handlers
                loop.add_signal_handler(number, _store_and_end, store, number)
        await work

    try:
        asyncio.run(served())
    finally:
        store()


async def serve_proxy(proxy: GuidingProxy, upstream: Transport) -> None:
    """Stand between whoever is at stdin and stdout and a server, until one of them goes away.

    `stdio_client` and `streamable_http_client` of the SDK give an `upstream`.  Where it is the server that has gone, or
    cannot be reached, the process ends: the client's end of stdin cannot be closed from here.
    """
    async with stdio_server() as client:
        try:
            async with upstream as server:
                if await proxy.run(client, server) == "client":
                    for stream in client:  # whoever reads and writes for them waits for that
                        await stream.aclose()
                    return
            problem = "it has gone away"
        except Exception as error:  # noqa: BLE001 - whatever a server or the way to it fails with, its client must hear of it
            problem = str(_first(error)) or type(_first(error)).__name__
        proxy.close()
        say(f"the MCP server behind the proxy is lost: {problem}")
        await asyncio.sleep(FLUSH_SECONDS)
        os._exit(1)


def _first(error: BaseException) -> BaseException:
    """The first error of a group, or the one there is.

    >>> _first(ExceptionGroup("several", [ValueError("a"), KeyError("b")]))
    ValueError('a')
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _store_and_end(store: Callable[[], None], number: signal.Signals) -> None:
    store()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise StoreUnavailable(
            f"{address.host}:{address.port} cannot be had ({error.strerror}): give another --http port, 0 for any"
        ) from error

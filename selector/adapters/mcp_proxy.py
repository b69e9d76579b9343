"""A proxy in front of any MCP server: it passes every message on, watches the calls, and puts advice into the answers.

What it does not understand goes through as it is, in both directions and in both versions of the protocol.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from selector.adapters.needs import needs

try:
    import anyio
    from mcp.shared.message import ClientMessageMetadata, SessionMessage
    from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.advisor import Advisor
from selector.adapters.mcp_messages import http_headers
from selector.adapters.mcp_routes import Incoming, ProxySettings, Routed, Streams
from selector.adapters.mcp_session import GuidedSession

Side = Literal["client", "server"]


class GuidingProxy:
    """Guides any number of connections, each of which is a session of its own.

    `settings` say what the task is where a client does not tell, and whether hints are given.
    """

    def __init__(self, advisor: Advisor, settings: ProxySettings | None = None) -> None:
        self._advisor, self._settings = advisor, settings or ProxySettings()
        self._sessions: set[GuidedSession] = set()

    async def run(self, client: Streams, server: Streams) -> Side:
        """Pass messages between a client and a server until one of them goes away: which one is returned.

        Then the episode is abandoned.
        """
        session = GuidedSession(self._advisor, self._settings)
        self._sessions.add(session)
        try:
            async with anyio.create_task_group() as pumps:
                pump = _Pump(client, server, session, pumps.cancel_scope)
                pumps.start_soon(pump.from_client)
                pumps.start_soon(pump.from_server)
        finally:
            self._sessions.discard(session)
            session.close()
        return pump.gone

    def close(self) -> None:
        """Abandon what is open, and close the advisor; again it does nothing."""
        for session in list(self._sessions):
            session.close()
        self._advisor.close()


class _Pump:
    """Moves the messages of one connection; the end of either side, `gone`, is the end of both."""

    def __init__(self, client: Streams, server: Streams, session: GuidedSession, both: anyio.CancelScope) -> None:
        (self._from_client, self._to_client), (self._from_server, self._to_server) = client, server
        self._session, self._both = session, both
        self.gone: Side = "client"

    async def from_client(self) -> None:
        await self._move(self._from_client, self._session.from_client)
        self._both.cancel()

    async def from_server(self) -> None:
        await self._move(self._from_server, self._session.from_server)
        self.gone = "server"
        self._session.close("tool_error")
        self._both.cancel()

    async def _move(self, source: Incoming, route: Callable[[JSONRPCMessage], Awaitable[Routed]]) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for item in source:
                if isinstance(item, SessionMessage):  # anything else is a line that is no message
                    await self._send(await route(item.message))

    async def _send(self, routed: Routed) -> None:
        self.gone = "server"  # where it cannot be written to
        for message in routed.to_server:
            await self._to_server.send(SessionMessage(message, self._stamp(message)))
        self.gone = "client"
        for message in routed.to_client:
            await self._to_client.send(SessionMessage(message))

    def _stamp(self, message: JSONRPCMessage) -> ClientMessageMetadata | None:
        """What a message over HTTP must say in its headers; other ways to a server do not look at it."""
        if not isinstance(message, JSONRPCRequest | JSONRPCNotification):
            return None
        params, session = message.params or {}, self._session
        schema = session.tools.schemas.get(str(params.get("name")))
        return ClientMessageMetadata(headers=http_headers(message.method, params, session.version, schema))

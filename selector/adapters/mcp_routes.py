"""What a proxy of the Model Context Protocol is told, remembers of requests that are on their way, and passes on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from selector.adapters.needs import needs

try:
    from mcp.shared.message import SessionMessage
    from mcp.types import JSONRPCMessage
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.advisor import AdvisedEpisode

FINISH = "trajstore/finish"
"""A request that the proxy answers itself: ends the trajectory, with `success` and `reward` where they are known."""


class Incoming(Protocol):
    """Messages that arrive, as the SDK hands them over; an exception stands for what is no message."""

    def __aiter__(self) -> AsyncIterator[SessionMessage | Exception]:
        """One after the other."""
        ...

    async def aclose(self) -> None:
        """Take no more."""
        ...


class Outgoing(Protocol):
    """Where messages go."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send one."""
        ...

    async def aclose(self) -> None:
        """Send no more."""
        ...


Streams: TypeAlias = tuple[Incoming, Outgoing]
"""The two ends of a connection, as every transport of the SDK gives them."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How a proxy guides.

    `task` is the task of clients that do not tell theirs ("": the name of the server).  `has_hints` says whether hints
    are put at the end of what calls return.  The first list of tools may wait `patience_seconds` until the store's
    experience is learned.  After a pause of `pause_seconds` another trajectory begins.
    """

    task: str = ""
    has_hints: bool = True
    patience_seconds: float = 5.0
    pause_seconds: float = 1800.0


@dataclass(frozen=True, slots=True)
class Routed:
    """Messages to pass on, in order."""

    to_server: tuple[JSONRPCMessage, ...] = ()
    to_client: tuple[JSONRPCMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is on its way."""

    episode: AdvisedEpisode
    tool: str
    args: object


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of tools that was asked for."""

    is_first: bool
    modern: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """The first words of a connection."""


def problem_with(episode: AdvisedEpisode | None, success: object, reward: object) -> str:
    """What is wrong with a wish to finish, "" where nothing is."""
    if episode is None:
        return "no trajectory is open: it begins with the first list of tools or the first call"
    if success is not None and not isinstance(success, bool):
        return f"success must be true, false or null, got {success!r}"
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float) or not 0 <= reward <= 1):
        return f"reward must lie in [0, 1], got {reward!r}"
    return ""

"""The HTTP service of training jobs: who may ask, how much, and the server that answers at `/rpc`.

Access is decided on the headers alone, before any of the body is read.  On a loopback address the Host header must be
a loopback name, so that a web page whose name was pointed there afterwards (DNS rebinding) reaches nothing.
"""

import asyncio
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grpo.errors import TrainingFailed, TrainingUsageError
from grpo.job_methods import FORBIDDEN, training_methods
from grpo.job_supervisor import COMMAND, JobSupervisor
from grpo.job_table import LEASE_SECONDS, JobTable
from grpo.json_rpc import INVALID_REQUEST, failure_bytes
from trajstore.connection import AnyDatabase
from trajstore.loopback import is_loopback

BODY_BYTES = 16 << 20
BODY_SECONDS = 30
CONNECTIONS = 64
SHORTEST_TOKEN = 16
JSON = "application/json"

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where to listen and for whom: port 0 takes any that is free, an empty token asks for none.

    `command` is what a job's process runs, before its own arguments.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str = ""
    running_limit: int = 1
    lease_seconds: float = LEASE_SECONDS
    command: Sequence[str] = COMMAND

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise TrainingUsageError(
                f"host {self.host!r} can be reached by others, and there is no token: set TRAJSTORE_TOKEN, or --token"
            )
        if self.token and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise TrainingUsageError(
                f"a token must be {SHORTEST_TOKEN} ASCII characters or more, got {len(self.token)}: make a random one"
            )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away, with its HTTP status."""

    status: int
    reason: str

    def response(self) -> Response:
        """The refusal as an answer of JSON-RPC."""
        code = FORBIDDEN if self.status in (401, 403) else INVALID_REQUEST
        headers = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        return Response(failure_bytes(code, self.reason), self.status, headers, JSON)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask: whoever knows the token (anyone where it is empty), under a loopback name where that is asked."""

    token: str = ""
    is_loopback: bool = True

    def refusal(self, headers: Headers) -> Refusal | None:
        """Why a request with these headers is turned away; None where it is let in."""
        host = headers.get("host", "")
        if self.is_loopback and not is_loopback(host_name(host)):
            return Refusal(403, "the Host header must name localhost, since the service listens there alone")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Refusal(403, "requests of web pages of other origins are refused")
        if self.token and not self._is_known(headers.get("authorization", "")):
            return Refusal(401, "the header Authorization: Bearer TOKEN is missing, or its token is wrong")
        return None

    def _is_known(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        is_equal = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return scheme.lower() == "bearer" and is_equal


class Guard:
    """Lets in what `access` lets in, for every route and before anything is read of the body."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        refusal = self._access.refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal.response())(scope, receive, send)


def make_app(
    respond: Callable[[bytes], bytes | None],
    access: Access,
    *,
    body_bytes: int = BODY_BYTES,
    lifespan: Lifespan | None = None,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application: POST `/rpc` answered by `respond` in a thread, and other routes behind the same guard."""

    async def rpc(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != JSON:
            return Refusal(415, f"the content type must be {JSON}").response()
        body = await _body(request, body_bytes)
        if isinstance(body, Refusal):
            return body.response()
        answer = await run_in_threadpool(respond, body)
        return Response(status_code=204) if answer is None else Response(answer, media_type=JSON)

    return Starlette(
        routes=[Route("/rpc", rpc, methods=["POST"]), *routes],
        middleware=[Middleware(Guard, access=access)],
        lifespan=lifespan,
    )


def serve(database: AnyDatabase, settings: ServeSettings, on_ready: Callable[[str], None]) -> None:
    """Answer until a signal ends it; jobs that run go on without it.  `on_ready` is told the address.

    Raises `TrainingFailed` where the address cannot be had.
    """
    jobs = JobTable(database, lease_seconds=settings.lease_seconds)
    supervisor = JobSupervisor(jobs, running_limit=settings.running_limit, command=settings.command)
    access = Access(settings.token, is_loopback=is_loopback(settings.host))
    dispatcher = training_methods(jobs, supervisor.wake)
    with _bound(settings.host, settings.port) as listening:
        url = url_of(settings.host, listening.getsockname()[1])
        app = make_app(dispatcher.respond, access, lifespan=_supervised(supervisor, lambda: on_ready(url)))
        uvicorn.Server(_config(app)).run(sockets=[listening])


def host_name(header: str) -> str:
    """The name in a Host header, without its port.

    >>> host_name("LocalHost:8765"), host_name("[::1]:8765"), host_name("127.0.0.1")
    ('localhost', '::1', '127.0.0.1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def url_of(host: str, port: int) -> str:
    """Where the service answers.

    >>> url_of("::1", 8765)
    'http://[::1]:8765/rpc'
    """
    return f"http://[{host}]:{port}/rpc" if ":" in host else f"http://{host}:{port}/rpc"


async def _body(request: Request, limit: int) -> bytes | Refusal:
    """The body, read no further than the limit and no longer than `BODY_SECONDS`."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        return Refusal(413, f"the body must not be larger than {limit} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    return Refusal(413, f"the body must not be larger than {limit} bytes")
    except TimeoutError:
        return Refusal(408, f"the body must arrive within {BODY_SECONDS} seconds")
    return bytes(body)


def _supervised(supervisor: JobSupervisor, on_ready: Callable[[], None]) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        thread = threading.Thread(target=supervisor.run, name="supervisor of jobs")
        thread.start()
        on_ready()
        try:
            yield
        finally:
            supervisor.stop()
            await run_in_threadpool(thread.join)

    return lifespan


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise TrainingFailed(f"{host}:{port} cannot be listened at: {error}; give another --host or --port") from error


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )

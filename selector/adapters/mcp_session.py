"""One connection between a client and a server, as an episode: what goes by is observed, and advice goes with it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from selector.adapters.needs import needs

try:
    from mcp.types import (
        INVALID_PARAMS,
        ErrorData,
        JSONRPCError,
        JSONRPCMessage,
        JSONRPCNotification,
        JSONRPCRequest,
        JSONRPCResponse,
        RequestId,
    )
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.mcp_messages import (
    Json,
    Judged,
    complete,
    envelope_of,
    is_interim,
    is_modern,
    judged,
    judged_error,
    refusal_of,
    server_name,
    told,
    with_episode,
    with_hint,
    without_ours,
)
from selector.adapters.mcp_routes import FINISH, Call, Listing, Opening, ProxySettings, Routed, problem_with
from selector.adapters.mcp_tools import ListedTools, in_order
from selector.adapters.ranking import by_evidence
from trajstore.schema import Outcome

OWN_LIST = "trajstore-tools"
LIST_CHANGED = "notifications/tools/list_changed"

Answer: TypeAlias = JSONRPCResponse | JSONRPCError


class GuidedSession:
    """What is known of one connection; `version` is that of its handshake, "" before one and where there is none."""

    def __init__(
        self, advisor: Advisor, settings: ProxySettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._advisor, self._settings = advisor, settings
        self._clock, self._heard_at = clock, clock()
        self._lock = asyncio.Lock()
        self._pending: dict[RequestId, Call | Listing | Opening] = {}
        self._held: dict[RequestId, JSONRPCRequest] = {}
        self._episode: AdvisedEpisode | None = None
        self._task, self._state = settings.task, ""
        self._asked: tuple[str, ListedTools] | None = None
        self._order: Mapping[str, int] | None = None
        self._hidden: frozenset[str] | None = None
        self._is_patient, self._has_own_list = True, False
        self.tools = ListedTools()
        self.version = ""

    async def from_client(self, message: JSONRPCMessage) -> Routed:
        """What becomes of a client's message."""
        with self._advisor.complaints.instead_of_raising("a message of an MCP client could not be followed"):
            if isinstance(message, JSONRPCRequest):
                return await self._request(message)
            if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
                return self._cancelled(message)
        return Routed(to_server=(message,))

    async def from_server(self, message: JSONRPCMessage) -> Routed:
        """What becomes of a server's message."""
        with self._advisor.complaints.instead_of_raising("a message of an MCP server could not be followed"):
            if isinstance(message, JSONRPCResponse | JSONRPCError):
                return await self._answer(message)
            if isinstance(message, JSONRPCNotification) and message.method == LIST_CHANGED:
                self.tools = replace(self.tools, is_complete=False)
        return Routed(to_client=(message,))

    def close(self, outcome: Outcome = "cancelled") -> None:
        """The connection has ended: so have its calls, with this outcome, and its episode is left."""
        for pending in self._pending.values():
            if isinstance(pending, Call) and pending.episode is self._episode:
                pending.episode.observe(pending.tool, pending.args, outcome, error="the connection ended")
        self._pending.clear()
        self._leave()

    async def _request(self, request: JSONRPCRequest) -> Routed:
        if request.method == FINISH:
            return Routed(to_client=(await self._finish(request),))
        params = request.params or {}
        self._hear(params)
        if request.params is not None:
            request = JSONRPCRequest(
                jsonrpc="2.0", id=request.id, method=request.method, params=without_ours(request.params)
            )
        if request.method == "tools/call" and isinstance(params.get("name"), str):
            return await self._call(request)
        if request.method == "tools/list":
            self._pending[request.id] = Listing(not params.get("cursor"), is_modern(params))
        elif request.method in ("initialize", "server/discover"):
            self._pending[request.id] = Opening()
        return Routed(to_server=(request,))

    async def _call(self, request: JSONRPCRequest) -> Routed:
        """Pass a call on, refuse it, or hold it until the server has said which tools it has."""
        if not self.tools.specs and (self._held or not self._has_own_list):
            self._held[request.id] = request
            return Routed(to_server=() if self._has_own_list else (self._own_list(request),))
        params = request.params or {}
        name, args = params["name"], params.get("arguments")
        async with self._lock:
            await self._decide()
            episode = self._open()
            reason = episode.refusal(name, args)
            if not reason:
                self._pending[request.id] = Call(episode, name, args)
                return Routed(to_server=(request,))
            episode.observe(name, args, "blocked", error=reason)
            hint, news = await self._go_on()
        result = with_hint(refusal_of(name, reason, modern=is_modern(params)), hint)
        result = with_episode(result, episode.episode_id)
        return Routed(to_client=(JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result), *news))

    def _own_list(self, request: JSONRPCRequest) -> JSONRPCRequest:
        """A client that knows the tools from before lists none: the proxy asks for them itself, once."""
        self._has_own_list = True
        params = envelope_of(request.params or {})
        return JSONRPCRequest(jsonrpc="2.0", id=OWN_LIST, method="tools/list", params=params)

    async def _answer(self, answer: Answer) -> Routed:
        if answer.id == OWN_LIST:
            return await self._release(answer)
        pending = self._pending.pop(answer.id, None) if answer.id is not None else None
        if isinstance(pending, Call):
            return await self._called(pending, answer)
        if isinstance(answer, JSONRPCResponse):
            if isinstance(pending, Listing):
                return await self._listed(pending, answer)
            if isinstance(pending, Opening):
                return Routed(to_client=(self._opened(answer),))
        return Routed(to_client=(answer,))

    async def _release(self, answer: Answer) -> Routed:
        """The tools are known, or cannot be: go on with the calls that waited for them."""
        if isinstance(answer, JSONRPCResponse):
            self._take_page(answer.result, is_first=True)
        await self._until_learned()
        held, self._held = list(self._held.values()), {}
        routed = [await self._call(request) for request in held]
        return Routed(
            tuple(message for one in routed for message in one.to_server),
            tuple(message for one in routed for message in one.to_client),
        )

    async def _called(self, call: Call, answer: Answer) -> Routed:
        """Observe what came of a call, and put the advice for the next step at its end."""
        if isinstance(answer, JSONRPCResponse) and is_interim(answer.result):
            return Routed(to_client=(answer,))
        if call.episode is not self._episode:
            return Routed(to_client=(answer,))
        found = self._judged(call, answer)
        call.episode.observe(call.tool, call.args, found.outcome, found.observation, error=found.error)
        async with self._lock:
            hint, news = await self._go_on()
        if isinstance(answer, JSONRPCError):
            return Routed(to_client=(answer, *news))
        result = with_episode(with_hint(answer.result, hint), call.episode.episode_id)
        return Routed(to_client=(JSONRPCResponse(jsonrpc="2.0", id=answer.id, result=result), *news))

    def _judged(self, call: Call, answer: Answer) -> Judged:
        is_known = self.tools.knows(call.tool)
        fits = self._is_no_failure(answer) or self.tools.fits(call.tool, call.args)
        if isinstance(answer, JSONRPCError):
            return judged_error(answer.error, is_known=is_known, fits=fits)
        return judged(answer.result, is_known=is_known, fits=fits)

    @staticmethod
    def _is_no_failure(answer: Answer) -> bool:
        return isinstance(answer, JSONRPCResponse) and not answer.result.get("isError")

    async def _listed(self, listing: Listing, answer: JSONRPCResponse) -> Routed:
        """Put listed tools in the order of evidence, the same for as long as the trajectory lasts."""
        tools = self._take_page(answer.result, is_first=listing.is_first)
        await self._until_learned()
        async with self._lock:
            advice = await self._decide()
        if self._order is None:
            self._order = {name: place for place, name in enumerate(by_evidence(advice))}
        self._hidden = frozenset(advice.refused) if advice.is_narrowed else frozenset()
        shown = [tool for tool in in_order(tools, self._order) if tool.get("name") not in self._hidden]
        if shown == tools:
            return Routed(to_client=(answer,))
        result = answer.result | {"tools": shown}
        if listing.modern:  # it is this client's list alone, and where tools are hidden it does not last
            result |= {"cacheScope": "private"} | ({} if self._advisor.settings.keeps_tools else {"ttlMs": 0})
        return Routed(to_client=(JSONRPCResponse(jsonrpc="2.0", id=answer.id, result=result),))

    def _take_page(self, result: Json, *, is_first: bool) -> list[Json]:
        listed = result.get("tools")
        tools = [tool for tool in listed if isinstance(tool, dict)] if isinstance(listed, list) else []
        self.tools = self.tools.with_page(tools, is_first=is_first, is_last=not result.get("nextCursor"))
        self._hear_name(result)
        return tools

    def _opened(self, answer: JSONRPCResponse) -> JSONRPCResponse:
        """Learn the server's name; where the list of its tools will change, the client is told that it may."""
        result = answer.result
        self.version = str(result.get("protocolVersion", ""))
        self._hear_name(result)
        capabilities = result.get("capabilities")
        if self._advisor.settings.keeps_tools or not self.version or not isinstance(capabilities, dict):
            return answer
        tools = {**(capabilities.get("tools") or {}), "listChanged": True}
        result = result | {"capabilities": {**capabilities, "tools": tools}}
        return JSONRPCResponse(jsonrpc="2.0", id=answer.id, result=result)

    def _cancelled(self, message: JSONRPCNotification) -> Routed:
        request_id = (message.params or {}).get("requestId")
        if not isinstance(request_id, str | int):
            return Routed(to_server=(message,))
        if self._held.pop(request_id, None) is not None:
            return Routed()
        pending = self._pending.pop(request_id, None)
        if isinstance(pending, Call) and pending.episode is self._episode:
            pending.episode.observe(pending.tool, pending.args, "cancelled")
            self._asked = None
        return Routed(to_server=(message,))

    async def _finish(self, request: JSONRPCRequest) -> Answer:
        """End the trajectory with the client's word."""
        params = request.params or {}
        success, reward = params.get("success"), params.get("reward")
        if problem := problem_with(self._episode, success, reward):
            return JSONRPCError(jsonrpc="2.0", id=request.id, error=ErrorData(code=INVALID_PARAMS, message=problem))
        episode, self._episode = self._episode, None
        self._forget_advice()
        trajectory_id = await episode.afinish(success, reward) if episode else ""
        result = complete({"trajectoryId": trajectory_id}, modern=is_modern(params))
        return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)

    def _hear(self, params: Json) -> None:
        """Take in what the client says of task and state; another task, or one after a pause, is another episode."""
        said, before, self._heard_at = told(params), self._heard_at, self._clock()
        has_paused = self._heard_at - before > self._settings.pause_seconds and not self._is_busy
        if has_paused:
            self._leave()
        if said.task and said.task != self._task:
            self._leave()
            self._task, self._state = said.task, ""
        self._state = said.state or self._state

    def _hear_name(self, result: Json) -> None:
        """Without a task of the client's it is named after the server."""
        if not self._task and (name := server_name(result)):
            self._task = f"Use the tools of {name}."

    def _leave(self) -> None:
        if self._episode is not None:
            self._episode.abandon()
        self._episode = None
        self._forget_advice()

    def _forget_advice(self) -> None:
        self._asked, self._order = None, None

    def _open(self) -> AdvisedEpisode:
        if self._episode is None:
            self._episode = self._advisor.episode(self._task or "Use the tools of a server.", self.tools.specs)
        return self._episode

    async def _decide(self) -> Advice:
        """The advice for the next call; calls that are made at once share theirs."""
        episode, question = self._open(), (self._state or self._task, self.tools)
        if self._asked == question or self._is_busy:
            return episode.advice
        self._asked = question
        return await episode.arecommend(question[0], self.tools.specs)

    async def _go_on(self) -> tuple[str, tuple[JSONRPCMessage, ...]]:
        """After a step: the hint for the next one, and whether the list of tools has changed."""
        if self._is_busy:
            return "", ()
        self._asked = None
        advice = await self._decide()
        refused = frozenset(advice.refused) if advice.is_narrowed else frozenset()
        has_changed = self.version and self._hidden is not None and refused != self._hidden
        self._hidden = refused if has_changed else self._hidden
        news = (JSONRPCNotification(jsonrpc="2.0", method=LIST_CHANGED),) if has_changed else ()
        return advice.hint if self._settings.has_hints else "", news

    @property
    def _is_busy(self) -> bool:
        return any(isinstance(one, Call) and one.episode is self._episode for one in self._pending.values())

    async def _until_learned(self) -> None:
        if self._is_patient and self._advisor.mode != "shadow":
            learned = asyncio.wrap_future(self._advisor.submit(lambda: None))
            await asyncio.wait({learned}, timeout=self._settings.patience_seconds)
        self._is_patient = False

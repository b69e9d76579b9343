"""JSON-RPC 2.0: the bytes of a request to the bytes of its answer (https://www.jsonrpc.org/specification).

Parameters are checked by msgspec before anything is carried out, unknown ones refused by name.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trajstore.errors import TrajstoreError, UsageError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

BATCH_LIMIT = 50
Json = Any
"""Whatever a JSON text holds, until msgspec has checked it."""
Id = int | float | str | None
Codes = Sequence[tuple[type[TrajstoreError], int]]

log = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True):
    """One request; without an `id` it is a notification, which nobody waits for."""

    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, Json] | list[Json] = {}
    id: Id | msgspec.UnsetType = msgspec.UNSET


class Error(msgspec.Struct, frozen=True):
    """Why there is no result."""

    code: int
    message: str


class Success(msgspec.Struct, frozen=True):
    """The answer to a request that was carried out."""

    result: Json
    id: Id
    jsonrpc: str = "2.0"


class Failure(msgspec.Struct, frozen=True):
    """The answer to a request that was not carried out; `id` is None where the request's could not be read."""

    error: Error
    id: Id
    jsonrpc: str = "2.0"


Answer = Success | Failure


@dataclass(frozen=True, slots=True)
class Method:
    """What a method takes, a msgspec struct, and does; with `needs_id` it is not carried out for a notification."""

    params: type[msgspec.Struct]
    carry_out: Callable[[Any], Json]  # Any: an instance of `params`
    needs_id: bool = False


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Methods by name, and the code of each kind of error that they raise: the first kind that fits counts.

    An error of no such kind is the service's own: the log has it, and the client learns only that it happened.
    """

    methods: Mapping[str, Method]
    codes: Codes = ()

    def respond(self, body: bytes) -> bytes | None:
        """The answer to a request or to a batch of them; None where nothing is to be answered."""
        try:
            message: Json = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            return failure_bytes(PARSE_ERROR, f"the body is not JSON: {error}")
        if not isinstance(message, list):
            return _encoded(self._answer(message))
        if not 0 < len(message) <= BATCH_LIMIT:
            return failure_bytes(INVALID_REQUEST, f"a batch must hold 1 to {BATCH_LIMIT} requests, got {len(message)}")
        answers = [answer for one in message if (answer := self._answer(one)) is not None]
        return msgspec.json.encode(answers) if answers else None

    def _answer(self, message: Json) -> Answer | None:
        try:
            request = msgspec.convert(message, Request)
        except msgspec.ValidationError as error:
            return Failure(Error(INVALID_REQUEST, f"this is no request of JSON-RPC 2.0: {error}"), _id_of(message))
        if isinstance(request.id, msgspec.UnsetType):
            method = self.methods.get(request.method)
            if method is not None and not method.needs_id:
                self._carried_out(request, None)
            return None
        return self._carried_out(request, request.id)

    def _carried_out(self, request: Request, request_id: Id) -> Answer:
        method = self.methods.get(request.method)
        if method is None:
            message = f"there is no method {request.method[:100]!r}, only {', '.join(self.methods)}"
            return Failure(Error(UNKNOWN_METHOD, message), request_id)
        try:
            result = method.carry_out(_checked(request.params, method.params))
        except Exception as error:  # noqa: BLE001 - the boundary to the client: an error is data here
            return Failure(self._explained(error, request.method), request_id)
        return Success(result, request_id)

    def _explained(self, error: Exception, method: str) -> Error:
        code = next((code for kind, code in self.codes if isinstance(error, kind)), None)
        if code is not None:
            return Error(code, str(error))
        if isinstance(error, UsageError | msgspec.ValidationError):
            return Error(INVALID_PARAMS, str(error))
        log.error("%s failed", method, exc_info=error)
        return Error(INTERNAL_ERROR, f"{method} failed on the side of the service; its log says why")


def failure_bytes(code: int, message: str) -> bytes:
    """The answer to what could not be read as a request.

    >>> failure_bytes(-32700, "not JSON")
    b'{"error":{"code":-32700,"message":"not JSON"},"id":null,"jsonrpc":"2.0"}'
    """
    return msgspec.json.encode(Failure(Error(code, message), None))


def _checked(params: Json, kind: type[msgspec.Struct]) -> msgspec.Struct:
    if isinstance(params, list):
        raise UsageError("params must be an object of named values, got an array: name each of them")
    return msgspec.convert(params, kind)


def _encoded(answer: Answer | None) -> bytes | None:
    return None if answer is None else msgspec.json.encode(answer)


def _id_of(message: Json) -> Id:
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, int | float | str) and not isinstance(found, bool) else None

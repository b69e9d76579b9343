"""What messages of the Model Context Protocol say of an episode, and how advice is written into them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selector.adapters.needs import needs

try:
    from mcp.shared.inbound import (
        MCP_METHOD_HEADER,
        MCP_NAME_HEADER,
        MCP_PROTOCOL_VERSION_HEADER,
        NAME_BEARING_METHODS,
        encode_header_value,
        find_invalid_x_mcp_header,
        mcp_param_headers,
        x_mcp_header_map,
    )
    from mcp.types import INVALID_PARAMS, REQUEST_TIMEOUT, ErrorData
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from selector.adapters.plain import plain_text
from trajstore.schema import Outcome

Json = dict[str, Any]  # Any: JSON has no better name here

TASK = "trajstore/task"
"""Key of `_meta` in a request: what the agent is asked to do."""
STATE = "trajstore/state"
"""Key of `_meta` in a request: what it knows now."""
EPISODE = "trajstore/episode"
"""Key of `_meta` in the result of a call: the id to report the episode's success by."""

RESERVED = "io.modelcontextprotocol/"
VERSION = f"{RESERVED}protocolVersion"
OURS = "trajstore/"


@dataclass(frozen=True, slots=True)
class Told:
    """What a request says of task and state, "" where it says nothing."""

    task: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a call."""

    outcome: Outcome
    observation: str = ""
    error: str | None = None


def told(params: Mapping[str, Any]) -> Told:
    """Task and state as the client says them.

    >>> told({"_meta": {"trajstore/task": "Book a flight."}})
    Told(task='Book a flight.', state='')
    """
    meta = params.get("_meta")
    meta = meta if isinstance(meta, Mapping) else {}
    texts = [text if isinstance(text := meta.get(key), str) else "" for key in (TASK, STATE)]
    return Told(*(plain_text(text).strip() for text in texts))


def without_ours(params: Json) -> Json:
    """Parameters without what is meant for trajstore alone: task and state are no business of the server's.

    >>> without_ours({"name": "look", "_meta": {"trajstore/task": "Book a flight.", "progressToken": 1}})
    {'name': 'look', '_meta': {'progressToken': 1}}
    """
    meta = params.get("_meta")
    if not isinstance(meta, Mapping) or not any(str(key).startswith(OURS) for key in meta):
        return params
    rest = {key: value for key, value in meta.items() if not str(key).startswith(OURS)}
    return {key: value for key, value in params.items() if key != "_meta"} | ({"_meta": rest} if rest else {})


def is_modern(params: Mapping[str, Any]) -> bool:
    """Whether a request is of protocol 2026, where each names its version."""
    meta = params.get("_meta")
    return isinstance(meta, Mapping) and VERSION in meta


def envelope_of(params: Mapping[str, Any]) -> Json:
    """What a request of our own must carry of one that a client made: the protocol's version and who is asking.

    >>> envelope_of({"name": "look", "_meta": {"progressToken": 1}})
    {}
    """
    meta = params.get("_meta")
    if not isinstance(meta, Mapping) or VERSION not in meta:
        return {}
    kept = {key: value for key, value in meta.items() if str(key).startswith(RESERVED)}
    return {"_meta": kept}


def server_name(result: Mapping[str, Any]) -> str:
    """The name by which a server opens a connection, "" where it gives none.

    >>> server_name({"serverInfo": {"name": "files", "version": "1"}})
    'files'
    """
    meta = result.get("_meta")
    info = result.get("serverInfo") or (meta.get(f"{RESERVED}serverInfo") if isinstance(meta, Mapping) else None)
    name = info.get("name") if isinstance(info, Mapping) else None
    return plain_text(name).strip() if isinstance(name, str) else ""


def is_interim(result: Mapping[str, Any]) -> bool:
    """Whether a result of protocol 2026 only asks for more: its call is not over."""
    return result.get("resultType") == "input_required"


def judged(result: Mapping[str, Any], *, is_known: bool, fits: bool) -> Judged:
    """What a result says of its call, of a tool that is listed or not and with arguments that fit its schema or not.

    >>> judged({"content": [{"type": "text", "text": "42"}]}, is_known=True, fits=True)
    Judged(outcome='ok', observation='42', error=None)
    >>> judged({"content": [], "isError": True}, is_known=False, fits=True).outcome
    'unknown_tool'
    """
    text = observation_of(result)
    if not result.get("isError"):
        return Judged("ok" if result.get("resultType", "complete") == "complete" else "unknown", text)
    return Judged(_mistake(is_known=is_known, fits=fits), text, text)


def judged_error(error: ErrorData, *, is_known: bool, fits: bool) -> Judged:
    """What an error of the protocol says of its call.

    >>> judged_error(ErrorData(code=-32602, message="Unknown tool: look"), is_known=False, fits=True).outcome
    'unknown_tool'
    """
    if error.code == REQUEST_TIMEOUT:
        return Judged("timeout", "", error.message)
    if error.code == INVALID_PARAMS:
        return Judged("invalid_args" if is_known else "unknown_tool", "", error.message)
    return Judged(_mistake(is_known=is_known, fits=fits), "", error.message)


def _mistake(*, is_known: bool, fits: bool) -> Outcome:
    if not is_known:
        return "unknown_tool"
    return "tool_error" if fits else "invalid_args"


def observation_of(result: Mapping[str, Any]) -> str:
    r"""What a result shows, as text; what is no text by its kind.

    >>> observation_of({"content": [{"type": "text", "text": "a"}, {"type": "image", "mimeType": "image/png"}]})
    'a\n[image image/png]'
    >>> observation_of({"content": [], "structuredContent": {"sum": 42}})
    '{"sum": 42}'
    """
    content = result.get("content")
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    text = "\n".join(_shown(block) for block in blocks)
    return plain_text(text or result.get("structuredContent"))


def _shown(block: Mapping[str, Any]) -> str:
    if isinstance(text := block.get("text"), str):
        return text
    return f"[{block.get('type', 'content')} {block.get('mimeType') or block.get('uri') or ''}".rstrip() + "]"


def with_hint(result: Json, hint: str) -> Json:
    """A call's result with a text for the model at its end.

    >>> with_hint({"content": []}, "Go on with `look`.")["content"]
    [{'type': 'text', 'text': 'Go on with `look`.', 'annotations': {'audience': ['assistant']}}]
    """
    if not hint or not isinstance(result.get("content"), list):
        return result
    return {**result, "content": [*result["content"], _text(hint, audience=["assistant"])]}


def with_episode(result: Json, episode_id: str) -> Json:
    """A call's result that names the episode it belongs to, where a program reads it and the model does not.

    >>> with_episode({"content": []}, "4f")["_meta"]
    {'trajstore/episode': '4f'}
    """
    meta = result.get("_meta") or {}
    return {**result, "_meta": {**meta, EPISODE: episode_id}} if episode_id and isinstance(meta, dict) else result


def refusal_of(tool: str, reason: str, *, modern: bool) -> Json:
    """The result of a call that must not run.

    >>> refusal_of("look", "it is dark", modern=False)["content"][0]["text"]
    'The tool `look` was not called: it is dark. Call another one.'
    """
    text = f"The tool `{tool}` was not called: {reason}. Call another one."
    return complete({"content": [_text(text)], "isError": True}, modern=modern)


def complete(result: Json, *, modern: bool) -> Json:
    """A result of our own, as the protocol's version wants it."""
    return result | ({"resultType": "complete"} if modern else {})


def _text(text: str, audience: list[str] | None = None) -> Json:
    return {"type": "text", "text": text} | ({"annotations": {"audience": audience}} if audience else {})


def http_headers(method: str, params: Mapping[str, Any], version: str, schema: object = None) -> dict[str, str]:
    """The headers that a request over HTTP must carry; `version` is that of a handshake, "" before one.

    >>> http_headers("tools/list", {}, "2025-11-25")
    {'mcp-protocol-version': '2025-11-25'}
    """
    if not is_modern(params):
        return {MCP_PROTOCOL_VERSION_HEADER: version} if version and method != "initialize" else {}
    headers = {MCP_PROTOCOL_VERSION_HEADER: str(params["_meta"][VERSION]), MCP_METHOD_HEADER: method}
    name = params.get(NAME_BEARING_METHODS.get(method, ""))
    if isinstance(name, str):
        headers[MCP_NAME_HEADER] = encode_header_value(name)
    if method == "tools/call" and isinstance(schema, dict) and find_invalid_x_mcp_header(schema) is None:
        headers |= mcp_param_headers(x_mcp_header_map(schema), params.get("arguments") or {})
    return headers

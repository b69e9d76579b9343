"""What runtimes hand over, as what can be stored: plain text and plain JSON."""

import json
import math
from collections.abc import Mapping
from typing import Any

Json = Any  # JSON has no better name here

MOST_CHARACTERS = 1_000_000
MOST_LEVELS = 32


def plain_text(value: object) -> str:
    """A value as a text of at most a million characters: a text as it is, anything else as JSON, else as it prints.

    >>> plain_text({"a": 1}), plain_text("b"), plain_text(None)
    ('{"a": 1}', 'b', '')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json.dumps(_plain(value, MOST_LEVELS), ensure_ascii=False)
    return value.encode("utf-8", "replace").decode()[:MOST_CHARACTERS]


def plain_json(value: object) -> dict[str, Json]:
    """Arguments as a JSON object: that of a text that holds one, {"input": value} for what is none.

    >>> plain_json('{"a": 1}'), plain_json("{a"), plain_json({"b": {1, 1}}), plain_json(None)
    ({'a': 1}, {'input': '{a'}, {'b': [1]}, {})
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            return {"input": plain_text(value)}
    plain = _plain({} if value is None else value, MOST_LEVELS)
    return plain if isinstance(plain, dict) else {"input": plain}


def _plain(value: object, levels: int) -> Json:
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, str) or levels == 0:
        return plain_text(str(value))
    if isinstance(value, Mapping):
        return {plain_text(str(key)): _plain(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, levels - 1) for inner in value]
    return _plain(_dumped(value), levels - 1)


def _dumped(value: object) -> object:
    """A record of pydantic or a dataclass as its fields; what has none as it prints."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    fields = getattr(value, "__dataclass_fields__", None)
    return {name: getattr(value, name) for name in fields} if fields else str(value)

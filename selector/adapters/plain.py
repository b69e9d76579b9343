"""What runtimes hand over, as what can be stored: plain text and plain JSON."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

Json = Any  # JSON has no better name here
Entry = TypeVar("Entry")

MOST_CHARACTERS = 1_000_000
MOST_LEVELS = 32
MOST_ENTRIES = 100_000
MOST_BITS = 4096
LEFT_OUT = "…"


def plain_text(value: object) -> str:
    """A value as a text of at most a million characters: a text as it is, anything else as JSON, else as it prints.

    Never fails: what cannot be read says so, and what is deeper or larger than the limits is left out.

    >>> plain_text({"a": 1}), plain_text("b"), plain_text(None)
    ('{"a": 1}', 'b', '')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json.dumps(_read(value), ensure_ascii=False)
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
    plain = _read({} if value is None else value)
    return plain if isinstance(plain, dict) else {"input": plain}


def printed(value: object) -> str:
    """A value as it prints, or its type where it does not.

    >>> printed(ValueError("too long"))
    'too long'
    """
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the border to the host: whatever its objects raise when they are printed
        return f"<{type(value).__name__} that cannot be printed>"


def _read(value: object) -> Json:
    try:
        return _Reading().plain(value, MOST_LEVELS)
    except Exception:  # noqa: BLE001 - as above, when they are read
        return plain_text(printed(value))


class _Reading:
    """One value being read; what holds itself many times over would else never end."""

    def __init__(self) -> None:
        self._entries = 0

    def plain(self, value: object, levels: int) -> Json:
        self._entries += 1
        if value is None or isinstance(value, bool | int | float | str):
            return _scalar(value)
        if levels == 0 or self._entries > MOST_ENTRIES:
            return LEFT_OUT
        if isinstance(value, Mapping):
            return {plain_text(printed(key)): self.plain(inner, levels - 1) for key, inner in self._some(value.items())}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(inner, levels - 1) for inner in self._some(value)]
        return self.plain(_dumped(value), levels - 1)

    def _some(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Entries as long as there is room for them, and one more."""
        for entry in entries:
            yield entry
            if self._entries > MOST_ENTRIES:
                return


def _scalar(value: float | str | None) -> Json:
    if isinstance(value, str):
        return plain_text(str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return hex(value) if isinstance(value, int) and value.bit_length() > MOST_BITS else value


def _dumped(value: object) -> object:
    """A record of pydantic or a dataclass as its fields; what has none, or does not give them, as it prints."""
    if isinstance(value, type):
        return printed(value)
    try:
        dump = getattr(value, "model_dump", None)
        if callable(dump):
            return dump(mode="json")
        fields = getattr(value, "__dataclass_fields__", None)
        return {name: getattr(value, name) for name in fields} if fields else printed(value)
    except Exception:  # noqa: BLE001 - as above
        return printed(value)

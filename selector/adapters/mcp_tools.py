"""The tools that an MCP server has listed: what they are called, and which arguments fit them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selector.adapters.needs import needs

try:
    from jsonschema.validators import validator_for
    from referencing import Registry
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error

from trajstore.schema import ToolSpec

Json = dict[str, Any]  # Any: JSON has no better name here


@dataclass(frozen=True, slots=True)
class ListedTools:
    """What is known of a server's tools; `is_complete` once its last page was read."""

    specs: tuple[ToolSpec, ...] = ()
    schemas: Mapping[str, object] = field(default_factory=dict)
    is_complete: bool = False

    def with_page(self, tools: Sequence[Json], *, is_first: bool, is_last: bool) -> "ListedTools":
        """With one more page; a first one begins anew."""
        before = ListedTools() if is_first else self
        schemas = {str(tool.get("name")): tool.get("inputSchema") for tool in tools}
        return ListedTools(before.specs + specs_of(tools), {**before.schemas, **schemas}, is_last)

    def knows(self, tool: str) -> bool:
        """Whether the server has this tool, as far as is known."""
        return tool in self.schemas or not self.is_complete

    def fits(self, tool: str, args: object) -> bool:
        """Whether arguments fit a tool, as far as is known."""
        return fits_schema(args, self.schemas.get(tool))


def specs_of(tools: Sequence[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """Listed tools as what may be chosen."""
    named = (tool for tool in tools if isinstance(tool.get("name"), str) and tool["name"])
    return tuple(ToolSpec(tool["name"], str(tool.get("description") or tool.get("title") or "")) for tool in named)


def in_order(tools: Sequence[Json], order: Mapping[str, int]) -> list[Json]:
    """Listed tools by their places; those without one come last, as the server had them.

    >>> in_order([{"name": "a"}, {"name": "b"}, {"name": "c"}], {"c": 0, "a": 1})
    [{'name': 'c'}, {'name': 'a'}, {'name': 'b'}]
    """
    return sorted(tools, key=lambda tool: order.get(str(tool.get("name")), len(order)))


def fits_schema(args: object, schema: object) -> bool:
    """Whether arguments fit a JSON schema; so do all where it cannot be read.  Nothing is fetched to find out.

    >>> fits_schema({"amount": "many"}, {"properties": {"amount": {"type": "integer"}}})
    False
    """
    if not isinstance(schema, dict):
        return True
    try:
        return bool(validator_for(schema)(schema, registry=Registry()).is_valid({} if args is None else args))
    except Exception:  # noqa: BLE001 - a server may list any schema, and its own word counts then
        return True

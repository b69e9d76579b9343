"""Which trajectories and steps are meant, as conditions that the database itself applies."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trajstore.errors import UsageError

OF_SOURCES = "\x1fsources "  # no namespace that anybody would type


@dataclass(frozen=True, slots=True)
class TrajectoryFilter:
    """Which trajectories: every condition that is not None must hold."""

    namespace: str | None = None
    source: str | None = None
    tool: str | None = None
    success: bool | None = None
    family: str | None = None
    group: str | None = None
    ids: tuple[str, ...] | None = None

    def sql(self) -> tuple[str, list[Any]]:
        """The conditions as SQL with its values."""
        equal = {
            "namespace": self.namespace,
            "source": self.source,
            "success": None if self.success is None else int(self.success),
            "family": self.family,
            "task_group": self.group,
        }
        conditions = [f"{column} = ?" for column, value in equal.items() if value is not None]
        values: list[Any] = [value for value in equal.values() if value is not None]
        if self.tool is not None:
            conditions.append("EXISTS (SELECT 1 FROM steps s WHERE s.trajectory_seq = trajectories.seq AND s.tool = ?)")
            values.append(self.tool)
        if self.ids is not None:
            conditions.append(f"id IN ({', '.join('?' * len(self.ids)) or 'NULL'})")
            values += self.ids
        return " AND ".join(conditions) or "TRUE", values


EVERYTHING = TrajectoryFilter()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which steps a search may find: those of some sources, and calls of some tools; empty ones allow all."""

    sources: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


ALL_STEPS = Wanted()


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose experience: that of a namespace, and of it only what some sources said (None: all that it holds).

    Whatever is made of it is kept under its `name`, so that what others said is in nothing that this one uses.

    `UsageError` where no source is named.

    >>> Scope("default").name, Scope("default", ("b", "a")) == Scope("default", ("a", "b", "a"))
    ('default', True)
    """

    namespace: str
    sources: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.sources, str) or self.sources == ():
            raise UsageError(f"sources must be a tuple with at least one name, got {self.sources!r}; None means all")
        if self.sources is not None:
            object.__setattr__(self, "sources", tuple(sorted(set(self.sources))))

    @property
    def name(self) -> str:
        """What names it among all others; a namespace's own name is that of all that it holds."""
        if self.sources is None:
            return self.namespace
        told = json.dumps([self.namespace, self.sources]).encode()
        return f"{self.namespace}{OF_SOURCES}{hashlib.blake2b(told, digest_size=8).hexdigest()}"

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """Which trajectories belong to it, as SQL with its values."""
        if self.sources is None:
            return "namespace = ?", [self.namespace]
        marks = ", ".join("?" * len(self.sources))
        return f"namespace = ? AND source IN ({marks})", [self.namespace, *self.sources]


def names_of_scopes(names: Iterable[str]) -> tuple[str, ...]:
    """Those names that are of some sources of a namespace.

    >>> len(names_of_scopes(["default", Scope("default", ("a",)).name]))
    1
    """
    return tuple(name for name in names if OF_SOURCES in name)

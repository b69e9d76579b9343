"""Which trajectories and steps are meant, as conditions that the database itself applies."""

from dataclasses import dataclass
from typing import Any


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

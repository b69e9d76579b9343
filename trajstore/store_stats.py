"""How much is in a store."""

from collections.abc import Mapping
from dataclasses import dataclass

from trajstore.connection import Connection


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much is stored; `tools`, `sources` and `namespaces` count steps or trajectories by name."""

    trajectories: int
    steps: int
    successes: int
    tools: Mapping[str, int]
    sources: Mapping[str, int]
    namespaces: Mapping[str, int]


def read_stats(connection: Connection) -> StoreStats:
    """Count what is stored."""
    trajectories, successes = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE success = 1) FROM trajectories"
    ).fetchone()
    (steps,) = connection.execute("SELECT count(*) FROM steps").fetchone()
    tools = connection.execute("SELECT tool, count(*) n FROM steps GROUP BY 1 ORDER BY n DESC, 1").fetchall()
    counted = [
        connection.execute(
            f"SELECT {column}, count(*) n FROM trajectories GROUP BY 1 ORDER BY n DESC, 1"  # noqa: S608 - constants
        ).fetchall()
        for column in ("source", "namespace")
    ]
    return StoreStats(trajectories, steps, successes, dict(tools), dict(counted[0]), dict(counted[1]))

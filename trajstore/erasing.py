"""Deletes trajectories with everything that was learned from them."""

from collections.abc import Iterable

from trajstore.connection import Connection
from trajstore.filters import OF_SOURCES
from trajstore.vectors import drop_vectors

BY_ID, BY_SOURCE, BY_NAMESPACE = "id = ?", "source = ?", "namespace = ?"


def erase(connection: Connection, condition: str, value: str, text_hashes: Iterable[bytes]) -> int:
    """Delete the chosen trajectories, their decisions, these vectors and what was derived; returns how many went."""
    chosen = f"SELECT id FROM trajectories WHERE {condition}"  # noqa: S608 - conditions are constants
    episodes = f"SELECT id FROM episodes WHERE trajectory_id IN ({chosen})"  # noqa: S608 - as above
    namespaces = f"SELECT DISTINCT namespace FROM trajectories WHERE {condition}"  # noqa: S608 - as above
    # What is pruned was learned from what goes too; it is learned anew from what stays.
    pruned = f"DELETE FROM prunings WHERE namespace LIKE ? OR namespace IN ({namespaces})"  # noqa: S608 - as above
    connection.execute(pruned, [f"%{OF_SOURCES}%", value])
    for table in ("calls", "decisions"):
        connection.execute(f"DELETE FROM {table} WHERE episode IN ({episodes})", [value])  # noqa: S608 - as above
    connection.execute(f"DELETE FROM episodes WHERE trajectory_id IN ({chosen})", [value])  # noqa: S608 - as above
    removed = int(connection.execute(f"DELETE FROM trajectories WHERE {condition}", [value]).rowcount)  # noqa: S608 - as above
    if condition == BY_NAMESPACE:  # its unfinished episodes have no trajectory
        for table in ("decisions", "episodes", "calls", "prunings", "counters"):
            connection.execute(f"DELETE FROM {table} WHERE namespace = ?", [value])  # noqa: S608 - as above
    if removed:
        drop_vectors(connection, text_hashes)
        count_removal(connection)
    return removed


def count_removal(connection: Connection) -> None:
    """Let every process know that rows which it may have read are gone."""
    connection.execute("UPDATE settings SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE name = 'removals'")


def count_revision(connection: Connection) -> None:
    """Let every process know that a row which it may have read was judged since."""
    connection.execute("UPDATE settings SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE name = 'revisions'")

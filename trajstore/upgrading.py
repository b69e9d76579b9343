"""Brings a file to the schema of this version: all migrations in one transaction, after copying the file."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

from sqlite_utils import Database as SqliteUtils

from trajstore.copying import publish_copy
from trajstore.faultpoints import faultpoint
from trajstore.migrations import APPLICATION_ID, SCHEMA_VERSION, migrations
from trajstore.transactions import transaction


def copy_before_upgrade(path: str, version: int) -> Path:
    """Where the copy of a file of an older schema version is kept.

    >>> copy_before_upgrade("agent.db", 2).name
    'agent.db.v2.backup'
    """
    return Path(f"{path}.v{version}.backup")


def upgrade(connection: Connection, path: str, connect: Callable[[Path | str], Connection]) -> None:
    """Apply what migrations are missing; other processes wait, and a new or current file is not copied."""
    if schema_version(connection) == SCHEMA_VERSION:
        return
    with transaction(connection):
        version = schema_version(connection)
        if version < SCHEMA_VERSION:  # otherwise another process was faster
            if version:
                _keep(path, version, connect)
            _migrate(connection)
        faultpoint("before migration commits")
    faultpoint("after migration commits")


def schema_version(connection: Connection) -> int:
    """The version of the schema; 0 of a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: Connection) -> None:
    migrations.apply(SqliteUtils(connection))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _keep(path: str, version: int, connect: Callable[[Path | str], Connection]) -> None:
    """Copy the file while its writers are kept out; what a second connection reads is what was committed.

    The copy that an earlier attempt made, before it was cut short, is replaced.
    """
    with contextlib.closing(connect(path)) as source:
        publish_copy(source, copy_before_upgrade(path, version), connect, lambda _: None)

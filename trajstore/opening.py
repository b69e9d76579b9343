"""Opens a store's database: a SQLite file, or a schema on a PostgreSQL server where the path is its address."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from trajstore.addresses import SCHEMES, is_on_server
from trajstore.connection import AnyDatabase
from trajstore.database import BUSY_SECONDS, Database
from trajstore.errors import MissingDependency, UsageError

INSTALL = "pip install 'trajstore[postgres]'"


def open_database(path: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> AnyDatabase:
    """Open the database at a path or an address, making its tables where there are none.

    >>> open_database(":memory:").path
    ':memory:'
    """
    address = str(path)
    _require_known_scheme(address)
    if is_on_server(address):
        database: AnyDatabase = _postgres().PostgresDatabase(address, busy_seconds=busy_seconds)
        return database
    return Database(path, busy_seconds=busy_seconds)


def is_database_there(path: str) -> bool:
    """Whether there is a database at a path or an address.

    >>> is_database_there("no such file")
    False
    """
    _require_known_scheme(path)
    return bool(_postgres().is_there(path)) if is_on_server(path) else Path(path).exists()


def public_path(path: str) -> str:
    """A path or an address without any password, for people to read.

    >>> public_path("agent.db")
    'agent.db'
    """
    return str(_postgres().public(path)) if is_on_server(path) else path


def _require_known_scheme(address: str) -> None:
    scheme, mark, _ = address.partition("://")
    if mark and not is_on_server(address):
        raise UsageError(f"a store is a file or at an address with {SCHEMES[0]}, not with {scheme}://")


def _postgres() -> ModuleType:
    if importlib.util.find_spec("psycopg") is None:
        raise MissingDependency(f"stores on a PostgreSQL server need psycopg, which is not installed: {INSTALL}")
    return importlib.import_module("trajstore.postgres")

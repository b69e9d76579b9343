"""A store's database on a PostgreSQL server with pgvector: a pool of connections, and one writer at a time.

Every write begins with the store's advisory lock.  So what a writer reads stays true until it has written, rows become
visible in the order of their numbers (a reader that goes on from the last number misses none), and no two clients ever
end each other's transactions.
"""

import contextlib
import os
import re
import threading
import weakref
from collections.abc import Iterator, Mapping

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trajstore.addresses import public_address, split_address
from trajstore.connection import Connection
from trajstore.errors import StoreUnavailable, UsageError
from trajstore.group_commit import GroupCommit
from trajstore.postgres_connections import Idle, Pool, PostgresConnection, adapt_vectors, connect
from trajstore.postgres_errors import translated
from trajstore.postgres_schema import lock_command, migrate, version_of

SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
TABLES = "trajectories, steps, step_texts, vectors, decisions, episodes, calls, reports, prunings, artifacts"
# Each asks for what a server can tell of damage, in one column.
CHECKS = (
    "SELECT 'index ' || c.relname || ' is not valid' FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema AND NOT i.indisvalid "
    "AND NOT starts_with(c.relname, 'vectors_near_')",  # a graph may be in the making
    "SELECT checksum_failures || ' pages failed their checksum' FROM pg_stat_database "
    "WHERE datname = current_database() AND checksum_failures > 0",
    "SELECT 'broken reference in steps' FROM steps s WHERE NOT EXISTS "
    "(SELECT 1 FROM trajectories t WHERE t.seq = s.trajectory_seq) LIMIT 1",
)


class PostgresDatabase:
    """A store on a PostgreSQL server; see `trajstore.connection.AnyDatabase`.

    `address` is postgresql://user@host:5432/database, with `?schema=NAME` for another schema than "trajstore".  A write
    waits up to `busy_seconds` for those of other clients.  A pooler between must pool by session: the settings of a
    connection are its own.
    """

    is_on_server = True

    def __init__(self, address: str, *, busy_seconds: float) -> None:
        self._parameters, self._schema = parsed(address)
        self.path = public_address(self._parameters, self._schema)
        self._busy_seconds = busy_seconds
        self._own = threading.local()
        self._is_closed = False
        self._begin = b""
        self._pool = self._new_pool()
        self.group = GroupCommit(self.writing)
        with translated(self.path), contextlib.closing(self._connect_raw()) as raw:
            migrate(raw, self._schema, self.path)
            self._begin = lock_command(raw, self._schema)
        _OPEN.add(self)

    @property
    def secrets(self) -> Mapping[str, str]:
        """The password that the address held, as the variable that PostgreSQL's library reads."""
        password = self._parameters.get("password")
        return {"PGPASSWORD": password} if password else {}

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection for reads; within a write of the same thread, that of the write."""
        with translated(self.path), self._lent() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Lend a connection for reads that all see the same moment; within a write, they see what it wrote."""
        with translated(self.path), self._lent() as connection:
            if connection.is_in_transaction:
                yield connection
                return
            with _transaction(connection, SNAPSHOT):
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection within a transaction that holds the store's lock: all of it is kept, or nothing."""
        with translated(self.path), self._lent() as connection, _transaction(connection, self._begin):
            yield connection

    def erase_traces(self) -> None:
        """Free the space of deleted rows; the server's write-ahead log and its backups keep them for a while."""
        try:
            with self.reading() as connection:
                connection.execute(f"VACUUM {TABLES}")
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error}; the rows are erased, and the server frees their space when it next cleans up"
            ) from error

    def findings(self) -> tuple[str, ...]:
        """Indexes that are not valid, pages that failed their checksum, broken references."""
        with self.reading() as connection:
            rows = [row for check in CHECKS for row in connection.execute(check, {"schema": self._schema})]
        return tuple(str(row[0]) for row in rows)

    def close(self) -> None:
        """Close the connections; closing twice is harmless."""
        self._is_closed = True
        self._pool.close()

    def renew_after_fork(self) -> None:
        """Give a forked child connections of its own."""
        _OF_PARENTS.append(self._pool.abandon())
        if held := getattr(self._own, "connection", None):
            _OF_PARENTS.append([Idle(held, 0.0)])
        self._own = threading.local()
        self._pool = self._new_pool()
        self.group = GroupCommit(self.writing)

    def _new_pool(self) -> Pool:
        return Pool(self._connect, wait_seconds=self._busy_seconds)

    def _connect_raw(self) -> "psycopg.Connection[tuple[object, ...]]":
        return connect(self._parameters, self._schema, self._busy_seconds)

    def _connect(self) -> PostgresConnection:
        raw = self._connect_raw()
        adapt_vectors(raw)
        return PostgresConnection(raw)

    @contextlib.contextmanager
    def _lent(self) -> Iterator[PostgresConnection]:
        if self._is_closed:
            raise StoreUnavailable(f"{self.path} is closed; open it again with TrajectoryStore({self.path!r})")
        held: PostgresConnection | None = getattr(self._own, "connection", None)
        if held is not None:
            yield held
            return
        with self._pool.lend() as connection:
            self._own.connection = connection
            try:
                yield connection
            finally:
                self._own.connection = None


@contextlib.contextmanager
def _transaction(connection: PostgresConnection, begin: bytes) -> Iterator[None]:
    raw = connection.raw
    try:
        raw.execute(begin)
        yield
        raw.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # the first error tells more
            raw.execute("ROLLBACK")
        raise


def parsed(address: str) -> tuple[dict[str, str], str]:
    """The connection parameters and the schema of an address; no message repeats what may hold a password."""
    split = split_address(address)
    if not SCHEMA_NAME.fullmatch(split.schema):
        raise UsageError(f"schema must be a name of small letters, digits and _, got {split.schema!r}")
    try:
        parameters = conninfo_to_dict(split.connection)
    except psycopg.Error:
        parameters = {}
    port = str(parameters.get("port", "5432"))
    if not parameters or not all(part.isdecimal() for part in port.split(",")):
        raise UsageError(
            "the address of the server cannot be read: write postgresql://user@host:5432/database, with %40 for an @ "
            "in a name; the password belongs in PGPASSWORD or in ~/.pgpass"
        ) from None
    return {name: str(value) for name, value in parameters.items()}, split.schema


def public(address: str) -> str:
    """An address without its secrets; it names the same store."""
    return public_address(*parsed(address))


def is_there(address: str) -> bool:
    """Whether a store is at an address; `StoreUnavailable` where the server does not answer."""
    parameters, schema = parsed(address)
    with translated(public_address(parameters, schema)), contextlib.closing(connect(parameters, schema, 10.0)) as raw:
        return version_of(raw, schema) is not None


_OPEN: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()
# To close a parent's connection would end it for the parent too: they are kept from the garbage collector.
_OF_PARENTS: list[list[Idle]] = []


def _renew_all_after_fork() -> None:
    for database in _OPEN:
        database.renew_after_fork()


os.register_at_fork(after_in_child=_renew_all_after_fork)

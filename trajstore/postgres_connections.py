"""Connections to a PostgreSQL server: how they are set, what cells they carry, and a pool of them.

The pool has no threads of its own, so that a fork leaves it whole, and connects when it is asked: a server that is
gone says why at once.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import pq, sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.types import TypeInfo

from trajstore.connection import Cursor, Packed
from trajstore.errors import StoreUnavailable
from trajstore.postgres_dialect import escaped, statement, unescaped

CONNECT_SECONDS = "10"
# A client that was stopped within a write lets the others go on.
IDLE_TRANSACTION_SECONDS = 60
ASK_AFTER_SECONDS = 1.0
POOL_SIZE = 8
SEARCH_BREADTH = 400
SCANNED_TUPLES = 200_000
SMALL_WHOLE_NUMBER = 21  # the type that PostgreSQL fits to any column of whole numbers
# Ours first, then where the extension for vectors lies.
SEARCH_PATH = """
SELECT set_config('search_path', concat_ws(', ', quote_ident({schema}), 'public', (
    SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector'
)), FALSE)
"""
TEXT_TYPES = ("text", "varchar", "name")
Raw = psycopg.Connection[tuple[Any, ...]]  # Any: cells


class PostgresConnection:
    """A connection that takes the statements of the store; see `trajstore.connection.Connection`."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def execute(self, text: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Cursor:  # Any: cells
        """Carry out one statement with its values."""
        return self.raw.execute(statement(text), parameters, binary=True)

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction was begun and has not ended."""
        return self.raw.info.transaction_status != pq.TransactionStatus.IDLE

    def executemany(self, text: str, parameters: Any, /) -> Cursor:  # Any: rows of cells
        """Carry out one statement for each row of values."""
        cursor = self.raw.cursor(binary=True)
        cursor.executemany(statement(text), parameters)
        return cursor


@dataclass(slots=True)
class Idle:
    """A connection that nobody uses, and since when."""

    connection: PostgresConnection
    since: float


class Pool:
    """Lends connections, at most `size` at a time; one that was idle for a while is asked whether it still lives."""

    def __init__(
        self,
        connect: Callable[[], PostgresConnection],
        *,
        size: int = POOL_SIZE,
        wait_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._wait_seconds = wait_seconds
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[Idle] = []
        self._size = size
        self._is_closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[PostgresConnection]:
        """Lend a connection; what is left in a transaction or broken is not used again."""
        if not self._free.acquire(timeout=self._wait_seconds):
            raise StoreUnavailable(
                f"all {self._size} connections of this process are in use for {self._wait_seconds:g} seconds; "
                "let fewer threads use the store, or try again"
            )
        try:
            connection = self._taken() or self._connect()
            try:
                yield connection
            finally:
                self._put_back(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the connections: those that are lent when they come back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().connection.raw.close()

    def abandon(self) -> list[Idle]:
        """The connections themselves, which a forked child must not close: its parent uses them."""
        return self._idle

    def _taken(self) -> PostgresConnection | None:
        while True:
            try:
                idle = self._idle.pop()
            except IndexError:
                return None
            if self._monotonic() - idle.since < ASK_AFTER_SECONDS or _lives(idle.connection.raw):
                return idle.connection
            idle.connection.raw.close()

    def _put_back(self, connection: PostgresConnection) -> None:
        if not self._is_closed and not connection.is_in_transaction:
            self._idle.append(Idle(connection, self._monotonic()))
        else:
            connection.raw.close()


def connect(parameters: Mapping[str, str], schema: str, busy_seconds: float) -> Raw:
    """Connect, and set what the store relies on: every commit on disk, waits that end, names in one schema."""
    named = {"connect_timeout": CONNECT_SECONDS, "application_name": "trajstore", **parameters}
    raw = psycopg.connect(**named, client_encoding="UTF8", autocommit=True)  # type: ignore[arg-type]  # all are texts
    try:
        _set(raw, schema, busy_seconds)
    except BaseException:
        raw.close()
        raise
    _adapt(raw)
    return raw


def _set(raw: Raw, schema: str, busy_seconds: float) -> None:
    settings = {
        "synchronous_commit": sql.Literal("on"),
        "lock_timeout": sql.Literal(f"{max(1, round(1000 * busy_seconds))}ms"),
        "idle_in_transaction_session_timeout": sql.Literal(f"{IDLE_TRANSACTION_SECONDS}s"),
        "default_transaction_isolation": sql.Literal("read committed"),
        "hnsw.iterative_scan": sql.Literal("strict_order"),
        "hnsw.ef_search": sql.Literal(SEARCH_BREADTH),
        "hnsw.max_scan_tuples": sql.Literal(SCANNED_TUPLES),
    }
    commands = [
        sql.SQL("SET {} = {}").format(sql.Identifier(*name.split(".")), value) for name, value in settings.items()
    ]
    raw.execute(sql.SQL("; ").join([*commands, sql.SQL(SEARCH_PATH).format(schema=sql.Literal(schema))]))


def _lives(raw: Raw) -> bool:
    try:
        raw.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _adapt(raw: Raw) -> None:
    """Cells as SQLite gives them: texts with any character, whole numbers for truth values, vectors as bytes."""
    raw.adapters.register_dumper(str, TextDumper)
    raw.adapters.register_dumper(bool, TruthDumper)
    for name in TEXT_TYPES:
        raw.adapters.register_loader(name, TextLoader)


def adapt_vectors(raw: Raw) -> None:
    """Let a connection carry vectors; the extension must be there."""
    found = TypeInfo.fetch(raw, "halfvec")
    if found is None:
        raise StoreUnavailable("the server has no type halfvec; install pgvector 0.7 or newer on it")
    raw.adapters.register_dumper(Packed, type("_Dumper", (VectorDumper,), {"oid": found.oid}))
    raw.adapters.register_loader(found.oid, VectorLoader)


class TextDumper(Dumper):
    """A text with the characters that PostgreSQL cannot hold escaped."""

    def dump(self, obj: str) -> Buffer:
        """The bytes to send."""
        return escaped(obj).encode()


class TextLoader(Loader):
    """The text that was escaped."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> str:
        """The text of the bytes that came."""
        return unescaped(str(data, "utf-8"))


class TruthDumper(Dumper):
    """True as 1 and False as 0: the columns hold whole numbers, as SQLite's do."""

    oid = SMALL_WHOLE_NUMBER

    def dump(self, obj: bool) -> Buffer:  # noqa: FBT001 - what is dumped
        """The digit to send."""
        return b"1" if obj else b"0"


class VectorDumper(Dumper):
    """A vector of 16-bit floats as pgvector sends it: how many entries, two zero bytes, the entries big-endian."""

    format = pq.Format.BINARY

    def dump(self, obj: Packed) -> Buffer:
        """The bytes to send."""
        entries = np.frombuffer(obj, "<f2")
        return len(entries).to_bytes(2, "big") + b"\0\0" + entries.astype(">f2").tobytes()


class VectorLoader(Loader):
    """The entries little-endian, as they were packed."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> bytes:
        """The packed vector of the bytes that came."""
        return np.frombuffer(data, ">f2", offset=4).astype("<f2").tobytes()

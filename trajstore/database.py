"""The one file that opens SQLite: one connection a process, one lock, and errors that a person can act on."""

import contextlib
import importlib
import importlib.util
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from sqlite3 import Connection
from types import ModuleType

from trajstore.checkpoints import Checkpoints
from trajstore.errors import DamagedStore, NewerStore, StoreUnavailable, UsageError
from trajstore.faultpoints import faultpoint
from trajstore.group_commit import GroupCommit
from trajstore.migrations import APPLICATION_ID, SCHEMA_VERSION
from trajstore.transactions import transaction
from trajstore.upgrading import upgrade

BUSY_SECONDS = 30.0
RETRY_SECONDS = 0.02
FORK_SECONDS = 10.0  # how long a fork waits for the threads that are using a file
MEMORY = ":memory:"
SqliteConnection = Connection
# SQLite reports these as mistakes in a statement, but in a file that is marked as ours only damage makes them.
SIGNS_OF_DAMAGE = ("could not decode", "no such table", "no such column", "malformed")
PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "secure_delete = ON",
    "wal_autocheckpoint = 0",  # see trajstore/checkpoints.py
)
# One statement sees one state of the file, also while another process is just creating the tables.
IDENTITY = """
SELECT (SELECT count(*) FROM sqlite_master), application_id, user_version
FROM pragma_application_id, pragma_user_version
"""


def sqlite_module() -> ModuleType:
    """pysqlite3 where it is installed (it brings a newer SQLite), else the standard library's module."""
    name = "pysqlite3" if importlib.util.find_spec("pysqlite3") else "sqlite3"
    return importlib.import_module(name)


class Database:
    """A SQLite file with the project's tables, shared by the threads of a process and reopened after a fork.

    A forked child has its own copy of a database in memory.  A write waits up to `busy_seconds` for other processes.
    """

    is_on_server = False

    def __init__(self, path: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = str(path)
        self._busy_seconds = busy_seconds
        self._sqlite = sqlite_module()
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._is_closed = False
        self._is_held = False
        self._is_stranded = False
        self._checkpoints = Checkpoints(self.path)
        self.group = GroupCommit(self.writing)
        _require_file_path(self.path)
        _OPEN.add(self)
        with self.reading():
            pass

    @property
    def secrets(self) -> Mapping[str, str]:
        """Nothing: whoever may read the file can open it."""
        return {}

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend the connection for reads; other threads wait."""
        with self._lock, self._translated():
            yield self._open()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Lend the connection for reads that all see the same moment; within a write, they see what it wrote."""
        with self._lock, self._translated():
            connection = self._open()
            if connection.in_transaction:
                yield connection
                return
            with transaction(connection, "BEGIN"):
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend the connection within one BEGIN IMMEDIATE transaction: all of it is kept, or nothing."""
        with self._lock, self._translated():
            connection = self._open()
            with transaction(connection):
                yield connection
            if self.path != MEMORY:
                self._checkpoints.after_commit(connection, self._plain_connection)

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def erase_traces(self) -> None:
        """Write every page anew and empty the write-ahead log, so that deleted rows leave no copy in either.

        `secure_delete` alone is not enough: where SQLite moves rows between pages, a copy may stay in a page's gap.
        """
        with self.reading() as connection:
            try:
                connection.execute("VACUUM")
            except self._sqlite.OperationalError as error:
                raise StoreUnavailable(
                    f"{self.path}: the rows are erased, but bytes of them may be left ({error}); "
                    "free some space, or stop other processes, and run trajstore forget again"
                ) from error
            faultpoint("pages written anew")
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StoreUnavailable(
                f"{self.path}: the rows are erased, but {self.path}-wal keeps copies while another process reads it; "
                "stop that process and run trajstore forget again"
            )

    def findings(self) -> tuple[str, ...]:
        """What SQLite's own check finds wrong; nothing where all is well."""
        with self.reading() as connection:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
            rows += [(f"broken reference in {row[0]}",) for row in connection.execute("PRAGMA foreign_key_check")]
        return tuple(str(row[0]) for row in rows if row[0] != "ok")

    def suspend(self) -> None:
        """Before a fork: wait until no thread uses the file, and close it.

        SQLite keeps what locks it holds in the process's memory; a child that inherits this takes locks for held that
        are not, and what it then writes can be lost (sqlite.org/howtocorrupt.html, section 2.6).
        """
        self._is_held = self._lock.acquire(timeout=FORK_SECONDS)
        connection = self._connection
        if self._is_held and self.path != MEMORY and connection is not None and not connection.in_transaction:
            connection.close()
            self._connection = None

    def resume(self) -> None:
        """After a fork, in the parent: let the threads go on; the file is opened again on next use."""
        if self._is_held:
            self._lock.release()

    def resume_in_child(self) -> None:
        """After a fork, in the child: have a lock of its own; what was in use at that moment stays unusable."""
        self._lock = threading.RLock()
        self.group = GroupCommit(self.writing)
        is_in_use = self._connection is not None and (self.path != MEMORY or not self._is_held)
        if is_in_use:
            _OF_PARENTS.append(self._connection)
            self._connection = None
            self._is_stranded = True
            _STRANDED.add(_real(self.path))
        elif self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _open(self) -> Connection:
        if self._is_closed:
            raise StoreUnavailable(f"{self.path} is closed; open it again with TrajectoryStore({self.path!r})")
        if self._is_stranded or (_STRANDED and self.path != MEMORY and _real(self.path) in _STRANDED):
            raise StoreUnavailable(
                f"{self.path} was in use by another thread when this process was forked, and cannot be used in it; "
                "fork while no thread uses the store, or start processes with the method spawn"
            )
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _plain_connection(self, path: Path | str) -> Connection:
        connection: Connection = self._sqlite.connect(
            str(path), timeout=self._busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        return connection

    def _connect(self) -> Connection:
        connection = self._plain_connection(self.path)
        try:
            self._refuse_foreign(connection)
            self._use_write_ahead_log(connection)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            upgrade(connection, self.path, self._plain_connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_write_ahead_log(self, connection: Connection) -> None:
        """Switch a new file over; SQLite does not wait here by itself when another process is switching it too."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except self._sqlite.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _refuse_foreign(self, connection: Connection) -> None:
        tables, owner, version = connection.execute(IDENTITY).fetchone()
        if tables and owner != APPLICATION_ID:
            raise StoreUnavailable(
                f"{self.path} is a SQLite database of another program; "
                "give a new path, or a database that trajstore wrote"
            )
        if version > SCHEMA_VERSION:
            raise NewerStore(
                f"{self.path} has schema version {version}, and this trajstore knows up to {SCHEMA_VERSION}: "
                "upgrade trajstore"
            )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors about the file as the project's, each naming the file and what helps."""
        try:
            yield
        except self._sqlite.OperationalError as error:
            if any(sign in str(error).lower() for sign in SIGNS_OF_DAMAGE):
                raise DamagedStore(_damage(self.path, str(error))) from error
            raise StoreUnavailable(f"{self.path} cannot be used: {error}; {_remedy(str(error))}") from error
        except self._sqlite.DatabaseError as error:
            if type(error) is not self._sqlite.DatabaseError and self._is_sound():
                raise  # its subclasses mean a mistake of ours, unless the file is damaged
            raise DamagedStore(_damage(self.path, str(error))) from error
        except UnicodeDecodeError as error:  # SQLite's message quotes a schema that is no text any more
            raise DamagedStore(_damage(self.path, "its schema cannot be read")) from error

    def _is_sound(self) -> bool:
        """Ask SQLite's own check, which reads the whole file."""
        if self._connection is None:
            return True
        try:
            return bool(self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
        except self._sqlite.Error:
            return False


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()
# SQLite forbids a child even to close its parent's connections: they are kept from the garbage collector.
_OF_PARENTS: list[Connection | None] = []
_STRANDED: set[str] = set()


def _all(act: Callable[[Database], None]) -> Callable[[], None]:
    def act_on_all() -> None:
        for database in tuple(_OPEN):
            act(database)

    return act_on_all


os.register_at_fork(
    before=_all(Database.suspend),
    after_in_parent=_all(Database.resume),
    after_in_child=_all(Database.resume_in_child),
)


def _remedy(message: str) -> str:
    if "locked" in message:
        return "another process holds it for long: try again"
    if "full" in message or "disk I/O" in message:
        return "free some space, nothing was written"
    return "check that the folder exists, and that it and the file can be written"


def _damage(path: str, message: str) -> str:
    if "not a database" in message:
        return f"{path} is not a SQLite database; give a new path, or a database that trajstore wrote"
    message = message.partition(" with text")[0]  # the text itself may be long, and of many lines
    return f"{path} is damaged: {message}; run trajstore doctor, or restore a backup"


def _real(path: str) -> str:
    return os.path.realpath(path)


def _require_file_path(path: str) -> None:
    """Refuse what cannot be a file.

    Only SQLite opens the file: to open and close it here would drop the locks of this process's other connections.
    """
    if not path:
        raise UsageError(f"the path of a store must not be empty; {MEMORY} keeps one in memory")
    if path == MEMORY:
        return
    if Path(path).is_dir():
        raise StoreUnavailable(f"{path} is a folder; give the path of a database file")
    if Path(path).is_file() and Path(path).stat().st_size == 1:  # SQLite takes a single byte for an empty file
        raise DamagedStore(_damage(path, "not a database"))

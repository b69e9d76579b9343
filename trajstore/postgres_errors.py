"""PostgreSQL's errors as the project's, each naming the store and what helps."""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors

from trajstore.errors import DamagedStore, InvalidRecord, StoreUnavailable, TrajstoreError

Kind = tuple[type[psycopg.Error], type[TrajstoreError], str]

WAITED = "another client holds it for long: try again"
SPACE = "free some space on the server, nothing was written"
SERVER = "check that the server runs, and that host and port are right"
LOGIN = "check user and password (PGPASSWORD, or a line in ~/.pgpass)"

# In order: the first that fits; whatever else a server says of a statement is a mistake of ours, and goes through.
KINDS: tuple[Kind, ...] = (
    (errors.LockNotAvailable, StoreUnavailable, WAITED),
    (errors.DeadlockDetected, StoreUnavailable, WAITED),
    (errors.SerializationFailure, StoreUnavailable, WAITED),
    (errors.DiskFull, StoreUnavailable, SPACE),
    (errors.TooManyConnections, StoreUnavailable, "raise max_connections on the server, or close other clients"),
    (errors.ProgramLimitExceeded, InvalidRecord, "ids, namespaces, sources and tools must be shorter than 2,700 bytes"),
    (errors.InvalidCatalogName, StoreUnavailable, "make the database first: createdb"),
    (errors.InvalidPassword, StoreUnavailable, LOGIN),
    (errors.InvalidAuthorizationSpecification, StoreUnavailable, LOGIN),
    (errors.InsufficientPrivilege, StoreUnavailable, "let the user create in the database, and use its schema"),
    (errors.ReadOnlySqlTransaction, StoreUnavailable, "give the address of the server that takes writes"),
    (errors.UndefinedFile, StoreUnavailable, "install pgvector 0.7 or newer on the server"),
    (errors.UndefinedTable, DamagedStore, ""),
    (errors.UndefinedColumn, DamagedStore, ""),
    (errors.DataCorrupted, DamagedStore, ""),
    (errors.IndexCorrupted, DamagedStore, ""),
    (psycopg.OperationalError, StoreUnavailable, SERVER),
    (psycopg.InternalError, DamagedStore, ""),
)
# Where no connection comes about, the library tells the reasons by their words alone.
WORDS = (("password", LOGIN), ("role", LOGIN), ("does not exist", "make the database first: createdb"))


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what the server says about the store as the project's errors."""
    try:
        yield
    except psycopg.Error as error:
        found = translation(path, error)
        if found is None:
            raise
        raise found from error


def translation(path: str, error: psycopg.Error) -> TrajstoreError | None:
    """The project's error; None for a mistake in a statement.

    >>> print(translation("postgresql://host/db", errors.LockNotAvailable("canceling statement due to lock timeout")))
    postgresql://host/db cannot be used: canceling statement due to lock timeout; another client holds it for long: \
try again
    """
    for kind, ours, remedy in KINDS:
        if isinstance(error, kind):
            said = _first_line(error)
            if ours is DamagedStore:
                return ours(f"{path} is damaged: {said}; run trajstore doctor, or restore a backup")
            by_word = (other for word, other in WORDS if error.sqlstate is None and word in said)
            return ours(f"{path} cannot be used: {said}; {next(by_word, remedy)}")
    return None


def _first_line(error: psycopg.Error) -> str:
    """What happened, without the statement that the library shows below it; of several hosts, the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "the connection was lost"
    return (lines[-1].removeprefix("- ") if lines[0].startswith("Multiple") else lines[0]).rstrip(".,:")

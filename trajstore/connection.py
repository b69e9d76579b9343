"""What a store needs of a database: connections lent for reading and for writing.

SQLite's own connections meet these protocols as they are.  Statements are written in the SQL that SQLite and
PostgreSQL share, with `?` or `:name` where a value stands; `TRUE` for a condition that always holds, `ON CONFLICT`
for rows that are there already, `RETURNING` for the number of a new row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Packed(bytes):
    """A vector as it is stored: 16-bit floats, little-endian."""

    __slots__ = ()


class Cursor(Protocol):
    """What a statement gave: rows, as tuples of plain cells."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:  # Any: cells
        """The next row; None after the last."""
        ...

    def fetchmany(self, size: int = 1, /) -> list[Any]:  # Any: as above
        """Up to `size` further rows."""
        ...

    def fetchall(self) -> list[Any]:  # Any: as above
        """All further rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...  # Any: as above


class Connection(Protocol):
    """Carries out statements."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ..., /) -> Cursor:  # Any: cells
        """Carry out one statement with its values."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:  # Any: as above
        """Carry out one statement for each row of values."""
        ...


class Group(Protocol):
    """Changes of several threads in one transaction."""

    def run(self, work: Callable[[Connection], T], /) -> T:
        """Carry out `work`, perhaps twice, and return its answer once it is on disk."""
        ...


class AnyDatabase(Protocol):
    """A database with the project's tables, shared by the threads of a process and opened anew after a fork."""

    @property
    def path(self) -> str:
        """Where it lies: what opens it again, without any password."""
        ...

    @property
    def is_on_server(self) -> bool:
        """Whether a server keeps it, rather than a file of this machine."""
        ...

    @property
    def secrets(self) -> Mapping[str, str]:
        """Environment variables that another process needs in order to open `path`."""
        ...

    @property
    def group(self) -> Group:
        """Carries out changes of several threads in one commit."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Lend a connection for reads."""
        ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Lend a connection for several reads that all see the same moment; within a write, that of the write."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Lend a connection within a transaction, one writer at a time: all of it is kept, or nothing."""
        ...

    def erase_traces(self) -> None:
        """Make the space of deleted rows free, so that they leave no copy there."""
        ...

    def findings(self) -> tuple[str, ...]:
        """What the database's own checks find wrong; nothing where all is well."""
        ...

    def close(self) -> None:
        """Give all connections back; closing twice is harmless."""
        ...

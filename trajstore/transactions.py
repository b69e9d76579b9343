"""One transaction of a SQLite connection: all of it is kept, or nothing."""

import contextlib
from collections.abc import Iterator
from sqlite3 import Connection

from trajstore.faultpoints import faultpoint


@contextlib.contextmanager
def transaction(connection: Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[Connection]:
    """Lend the connection until the block ends: its changes are then committed, or after an error undone."""
    connection.execute(begin)
    try:
        faultpoint("transaction begun")
        yield connection
        faultpoint("before commit")
        connection.execute("COMMIT")
        faultpoint("after commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

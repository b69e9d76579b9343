"""Moves what the write-ahead log holds into the database, by whoever holds the lock of writers.

SQLite 3.7.0 to 3.51.2 can damage a file when one connection checkpoints while another commits and starts the log anew
(the WAL-reset bug, sqlite.org/wal.html).  So SQLite's own checkpoints are off: ours run on a second connection while
the first keeps every writer out, and no two of them at once.
"""

import contextlib
import os
from collections.abc import Callable
from sqlite3 import Connection

from trajstore.faultpoints import faultpoint

LOG_BYTES = 4 * 1024 * 1024
COMMITS = 250  # a log that was started anew keeps its length, so that its growth alone does not tell


class Checkpoints:
    """Decides after each commit of one process whether it is time, and checkpoints then."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._log = f"{path}-wal"
        self._bytes = 0
        self._commits = 0

    def after_commit(self, connection: Connection, connect: Callable[[str], Connection]) -> None:
        """Checkpoint where the log has grown; a failure is no failure of the commit, and is tried again later."""
        self._commits += 1
        length = self._length()
        if length - self._bytes < LOG_BYTES and (length < LOG_BYTES or self._commits < COMMITS):
            return
        with contextlib.suppress(connection.Error):  # the commit is safe in the log
            checkpoint(connection, lambda: connect(self._path))
        self._bytes, self._commits = self._length(), 0

    def _length(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0


def checkpoint(connection: Connection, connect: Callable[[], Connection]) -> None:
    """Copy the log into the database as far as readers allow, with all writers kept out meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        faultpoint("before checkpoint")
        with contextlib.closing(connect()) as second:
            second.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log, which the pragma does not
            second.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        faultpoint("after checkpoint")
    finally:
        connection.execute("ROLLBACK")

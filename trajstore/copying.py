"""Copies of a database that are whole or not there: written beside their place, checked, synced, renamed."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from sqlite3 import Connection
from tempfile import mkstemp

from trajstore.errors import DamagedStore
from trajstore.faultpoints import faultpoint

SUFFIX = ".part"
Check = Callable[[Path], None]


def publish_copy(source: Connection, place: Path, connect: Callable[[Path], Connection], check: Check) -> None:
    """Copy what is committed in `source` to `place`, taking that of a file there, while others go on writing.

    `check` raises where the copy must not be published; until then nothing changes at `place`.
    """
    with unpublished(place) as copy:
        copy_pages(source, copy, connect)
        check(copy)
        publish(copy, place)


@contextlib.contextmanager
def unpublished(place: Path) -> Iterator[Path]:
    """A path beside `place` for a file that is not done yet; it is gone afterwards unless it was published."""
    handle, name = mkstemp(prefix=f"{place.name}.", suffix=SUFFIX, dir=place.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{name}{ending}").unlink(missing_ok=True)


def copy_pages(source: Connection, copy: Path, connect: Callable[[Path], Connection]) -> None:
    """Copy every page in one pass of SQLite's backup interface: one consistent state; one file without a log."""
    with contextlib.closing(connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
        faultpoint("copy written")
        require_sound(target, copy)


def require_sound(connection: Connection, path: Path) -> None:
    """Raise `DamagedStore` where SQLite's own check finds something wrong."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedStore(f"the copy {path} is damaged ({found}), and was not kept; run trajstore doctor on its source")


def publish(copy: Path, place: Path) -> None:
    """Give a finished file its name, for good."""
    sync(copy)
    faultpoint("copy synced")
    copy.replace(place)
    faultpoint("copy renamed")
    sync(place.parent)
    faultpoint("copy published")


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk; no connection of this process may have the file open."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

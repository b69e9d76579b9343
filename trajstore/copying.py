"""Copies of a database that are whole or not there: written beside their place, checked, synced, renamed."""

import contextlib
import os
from collections.abc import Callable, Iterator
from glob import escape
from pathlib import Path
from sqlite3 import Connection
from tempfile import mkstemp

from trajstore.errors import DamagedStore, StoreUnavailable
from trajstore.faultpoints import faultpoint

SUFFIX = ".part"
OLD_SECONDS = 3600.0
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
    _remove_old_parts(Path(name), place)
    try:
        yield Path(name)
    finally:
        for leftover in place.parent.glob(f"{escape(Path(name).name)}*"):
            leftover.unlink(missing_ok=True)


def _remove_old_parts(newest: Path, place: Path) -> None:
    """What copies that were killed left; one that was touched within the hour may still be at work."""
    now = newest.stat().st_mtime
    for part in place.parent.glob(f"{escape(place.name)}.*{SUFFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if now - part.stat().st_mtime > OLD_SECONDS:
                part.unlink()


def copy_pages(source: Connection, copy: Path, connect: Callable[[Path], Connection]) -> None:
    """Copy every page in one pass of SQLite's backup interface: one consistent state; one file without a log."""
    try:
        with contextlib.closing(connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            faultpoint("copy written")
            _require_sound(target, copy)
    except source.OperationalError as error:
        raise StoreUnavailable(f"{copy} cannot be written: {error}; free some space, or give another path") from error
    except source.DatabaseError as error:
        raise DamagedStore(f"what was to be copied is damaged: {error}; nothing was kept") from error


def _require_sound(connection: Connection, path: Path) -> None:
    """Raise `DamagedStore` where SQLite's own check finds something wrong."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedStore(
            f"the copy {path} is damaged ({found}), and was not kept; run trajstore doctor on its source"
        )


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

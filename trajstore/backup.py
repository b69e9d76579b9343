"""Backs a store up while others write to it, and restores it; neither leaves anything half done.

A backup is one SQLite file, which opens as a store like any other.  It keeps what the store
forgets later: forget it there too.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from sqlite3 import Connection

from trajstore.copying import copy_pages, publish, publish_copy, sync, unpublished
from trajstore.database import MEMORY, sqlite_module
from trajstore.doctor import damaged_rows
from trajstore.erasing import count_removal
from trajstore.errors import DamagedStore, StoreError, StoreUnavailable, UsageError
from trajstore.faultpoints import faultpoint
from trajstore.store import TrajectoryStore

COUNTS = "SELECT (SELECT count(*) FROM trajectories), (SELECT count(*) FROM steps)"


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup or a restored store holds; `set_aside` is where a damaged file was moved that lay in its place."""

    trajectories: int
    steps: int
    set_aside: str | None = None


def backup(store: TrajectoryStore, place: Path, *, overwriting: bool = False) -> BackupReport:
    """Write a copy of the store to `place`, and check every record of it before it gets that name.

    `UsageError` where `place` is taken, unless `overwriting`; `DamagedStore` where the store is damaged: then `place`
    is left as it is.
    """
    if store.path == MEMORY:
        raise UsageError("a store in memory has no file to back up; give the path of a database file")
    _require_free(place, Path(store.path), overwriting=overwriting)
    with store.lent_connection() as source:
        publish_copy(source, place, connect_plainly, check_store)
    return _report(place)


def restore(backup_file: Path, place: Path, *, overwriting: bool = False) -> BackupReport:
    """Make the store at `place` what the backup holds, in one step: it is wholly the old one or wholly the new one.

    A sound store there (`overwriting`) is replaced in one transaction, which processes that have it open see like any
    other change; a damaged one is moved aside, never deleted.
    """
    if not backup_file.is_file():
        raise StoreUnavailable(f"there is no backup {str(backup_file)!r}; trajstore backup --db DB OUT makes one")
    _require_free(place, backup_file, overwriting=overwriting)
    with unpublished(place) as copy:
        with contextlib.closing(connect_plainly(backup_file)) as source:
            copy_pages(source, copy, connect_plainly)
        check_store(copy)
        removals = _removals(place)
        if removals is None:
            set_aside = _set_aside(place)
            publish(copy, place)
        else:
            set_aside = None
            _replace_content(copy, place, removals)
    return _report(place, set_aside)


def check_store(path: Path) -> None:
    """Raise `DamagedStore` where any row of the store at `path` is not what was written."""
    with TrajectoryStore(path) as copy:
        damaged = damaged_rows(copy)
    with contextlib.closing(connect_plainly(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    if damaged:
        raise DamagedStore(
            f"{len(damaged):,} rows are not what was written, the first is {damaged[0]}: nothing was kept"
        )


def connect_plainly(path: Path) -> Connection:
    """A connection that changes nothing of the file by itself."""
    connection: Connection = sqlite_module().connect(str(path), isolation_level=None)
    return connection


def _require_free(place: Path, other: Path, *, overwriting: bool) -> None:
    if place.exists() and place.samefile(other):
        raise UsageError(f"{str(place)!r} is the store and the backup at once; give two different paths")
    if place.is_dir():
        raise UsageError(f"{str(place)!r} is a folder; give the path of a file")
    if place.exists() and not overwriting:
        raise UsageError(f"{str(place)!r} exists already; give another path, or --force to replace it")
    if not place.parent.is_dir():
        raise StoreUnavailable(f"there is no folder {str(place.parent)!r}; make it, or give another path")


def _removals(place: Path) -> int | None:
    """How often the store at `place` removed trajectories; None where there is no sound store."""
    if not place.exists():
        return None
    try:
        with TrajectoryStore(place) as store:
            return None if store.integrity_findings() else store.removals
    except StoreError:
        return None


def _replace_content(copy: Path, place: Path, removals: int) -> None:
    """Copy the pages of one file over those of a store in use, within one transaction of that store."""
    with contextlib.closing(connect_plainly(copy)) as source:
        while int(source.execute("SELECT value FROM settings WHERE name = 'removals'").fetchone()[0]) <= removals:
            count_removal(source)  # so that whoever has the store in memory reads it anew
        with TrajectoryStore(place) as store, store.lent_connection() as target:
            faultpoint("before restore")
            source.backup(target)
            faultpoint("after restore")


def _set_aside(place: Path) -> str | None:
    """Move what lies at `place` to a free name, its log first: a log must never meet another database."""
    parts = [ending for ending in ("-wal", "-shm", "") if Path(f"{place}{ending}").exists()]
    if not parts:
        return None
    aside = next(name for name in _names_aside(place) if not any(Path(f"{name}{part}").exists() for part in parts))
    for ending in parts:
        Path(f"{place}{ending}").rename(f"{aside}{ending}")
        faultpoint("moved aside")
    sync(place.parent)
    return aside


def _names_aside(place: Path) -> Iterator[str]:
    return (f"{place}.damaged{'' if number == 1 else number}" for number in count(1))


def _report(path: Path, set_aside: str | None = None) -> BackupReport:
    with contextlib.closing(connect_plainly(path)) as connection:
        trajectories, steps = connection.execute(COUNTS).fetchone()
        return BackupReport(trajectories, steps, set_aside)

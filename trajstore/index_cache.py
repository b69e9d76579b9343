"""The index file beside the database: a cache that any process may throw away.

It is named by its content's hash, written to a temporary name and renamed, and trusted only while the store's own
record of it agrees in hash, in the rows it holds and in the embedder.  Anything else is rebuilt from the rows.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trajstore.copying import publish, unpublished
from trajstore.errors import DamagedStore
from trajstore.faultpoints import faultpoint
from trajstore.filters import names_of_scopes
from trajstore.index import IndexKind, VectorIndex
from trajstore.snapshot import SnapshotCache
from trajstore.store import TrajectoryStore

LAYOUT = "1"  # raised whenever the same trajectories would give other rows or vectors than before


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """What the store knows of an index: the hash of its file (None where it has none), its kind and its vectors.

    `trajectories` says of how many, the first of the namespace, and `rows_key` of which.
    """

    digest: str | None
    kind: IndexKind
    vectors: int
    trajectories: int
    rows_key: str

    def is_of(self, trajectory_ids: Sequence[str], fingerprint: str) -> bool:
        """Whether it is the index of the first of these trajectories, embedded by this embedder."""
        return self.rows_key == rows_key(trajectory_ids[: self.trajectories], fingerprint)


class IndexCache:
    """Keeps the index of one namespace, or of another `Scope` by its name.

    Small exact indexes are made anew in milliseconds and not kept.
    """

    def __init__(self, store: TrajectoryStore, namespace: str) -> None:
        self._store = store
        self._name = f"index/{namespace}"
        self._folder = store.index_folder
        self._prefix = hashlib.blake2b(namespace.encode(), digest_size=6).hexdigest()

    def load_for(
        self, trajectory_ids: Sequence[str], fingerprint: str, kind: IndexKind | None = None
    ) -> VectorIndex | None:
        """The index of these trajectories, or of the first of them where others came since; None where there is none.

        Whatever is not what was recorded, or of another kind than asked for, counts as none.
        """
        record = self.record()
        if record is None or not record.is_of(trajectory_ids, fingerprint) or kind not in (None, record.kind):
            return None
        return self._load(record)

    def is_usable(self) -> bool:
        """Whether the file that was recorded is there and whole, or none was recorded."""
        record = self.record()
        return record is None or record.digest is None or self._load(record) is not None

    def has_file(self) -> bool:
        """Whether the file that was recorded is there, or none was recorded."""
        file = self.file()
        return file is None or file.is_file()

    def record(self) -> IndexRecord | None:
        """What was recorded last; None where there is nothing that can be read."""
        recorded = self._store.artifact(self._name, LAYOUT)
        try:
            return None if recorded is None else IndexRecord(**json.loads(recorded))
        except (ValueError, TypeError):
            return None

    def file(self) -> Path | None:
        """Where the index that was recorded should lie; None where it is none that is kept as a file."""
        record = self.record()
        return None if record is None else self._place(record)

    def save(self, index: VectorIndex, rows_key: str, trajectories: int) -> None:
        """Keep the file of an index, then record it as that of these rows; older files of this namespace go last.

        A process that dies on the way leaves the older index recorded, or this one, and its file beside it.
        """
        digest = None
        if index.kind != "flat" and self._folder is not None:
            with contextlib.suppress(OSError):  # a folder that cannot be written only costs a rebuild
                digest = self._publish(self._folder, index)
        record = IndexRecord(digest, index.kind, len(index), trajectories, rows_key)
        self._store.put_artifact(self._name, LAYOUT, json.dumps(asdict(record)).encode())
        faultpoint("index recorded")
        self._sweep(digest)

    def _load(self, record: IndexRecord) -> VectorIndex | None:
        place = self._place(record)
        try:
            return None if place is None else VectorIndex.load(place, str(record.digest))
        except (OSError, DamagedStore):
            return None

    def _place(self, record: IndexRecord) -> Path | None:
        if record.digest is None or self._folder is None:
            return None
        return self._folder / self._name_of(record.digest)

    def _name_of(self, digest: str) -> str:
        return f"{self._prefix}-{digest}.faiss"

    def _publish(self, where: Path, index: VectorIndex) -> str:
        where.mkdir(exist_ok=True)
        with unpublished(where / f"{self._prefix}-graph") as part:
            digest = index.write(part)
            faultpoint("index written")
            publish(part, where / self._name_of(digest))
        return digest

    def _sweep(self, digest: str | None) -> None:
        """Remove the files of this namespace but one; what another process was still writing only costs a rebuild."""
        kept = None if digest is None else self._name_of(digest)
        for old in self._folder.glob(f"{self._prefix}-*") if self._folder is not None and self._folder.is_dir() else ():
            if old.name != kept:
                with contextlib.suppress(OSError):
                    old.unlink()


def index_status(store: TrajectoryStore) -> dict[str, str | int | bool]:
    """Kind and number of vectors of all namespaces' indexes.

    `fresh` where each holds exactly the rows there are, and its file is there: otherwise the newest rows are compared
    one by one, or the index is made anew, when it is next needed.
    """
    if store.is_on_server:
        return _status_on_server(store)
    identity = store.embedder_identity()
    fingerprint = identity.fingerprint if identity else ""
    caches = {name: IndexCache(store, name) for name in store.stats().namespaces}
    records = {name: record for name, cache in caches.items() if (record := cache.record()) is not None}
    fresh = (
        name in records
        and records[name].rows_key == rows_key(store.ids(name), fingerprint)
        and cache.has_file()
        and SnapshotCache(store, name).has_file()
        for name, cache in caches.items()
    )
    return {
        "kind": "+".join(sorted({record.kind for record in records.values()})) or "none",
        "vectors": sum(record.vectors for record in records.values()),
        "fresh": all(fresh),
    }


def _status_on_server(store: TrajectoryStore) -> dict[str, str | int | bool]:
    identity, index = store.embedder_identity(), store.server_index
    count = index.count()
    is_fresh = identity is not None and index.is_complete(identity.fingerprint)
    return {
        "kind": "none" if identity is None or not count else index.kind(identity.dimension),
        "vectors": count,
        "fresh": is_fresh or not store.stats().trajectories,
    }


def unusable_files(store: TrajectoryStore) -> tuple[Path, ...]:
    """Files that indexes and snapshots should lie in, and that are missing or damaged."""
    files = [(cache.file(), cache.is_usable()) for cache in _caches(store)]
    return tuple(file for file, is_usable in files if file is not None and not is_usable)


def unrecorded_files(store: TrajectoryStore) -> tuple[Path, ...]:
    """Files beside the database that hold nothing of its rows: unfinished, or of rows that are gone."""
    if store.index_folder is None:
        return ()
    kept = {cache.file() for cache in _caches(store)}
    return tuple(sorted(file for file in store.index_folder.glob("*") if file not in kept))


def _caches(store: TrajectoryStore) -> list[IndexCache | SnapshotCache]:
    """Those of all namespaces, and of what some sources said in one."""
    scopes = {name.partition("/")[2] for name in names_of_scopes(store.artifact_names())}
    return [
        cache(store, name) for name in (*store.stats().namespaces, *scopes) for cache in (IndexCache, SnapshotCache)
    ]


def rows_key(trajectory_ids: Sequence[str], fingerprint: str) -> str:
    """What an index is known by: the trajectories whose rows it holds, in order, and who embedded them."""
    digest = hashlib.blake2b("\n".join([LAYOUT, fingerprint, *trajectory_ids]).encode(), digest_size=16)
    return digest.hexdigest()

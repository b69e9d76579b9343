"""The index file beside the database: a cache that any process may throw away.

It is named by its content's hash, written to a temporary name and renamed, and trusted only while the store's own
record of it agrees in hash, in the rows it holds and in the embedder.  Anything else is rebuilt from the rows.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trajstore.errors import DamagedStore
from trajstore.index import IndexKind, VectorIndex, content_digest
from trajstore.store import TrajectoryStore

LAYOUT = "1"  # raised whenever the same trajectories would give other rows or vectors than before


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """What the store knows of an index: the hash of its file (None where it has none), its kind and its vectors."""

    digest: str | None
    kind: IndexKind
    vectors: int


class IndexCache:
    """Keeps the graph index of one namespace; small exact indexes are made anew in milliseconds and not kept."""

    def __init__(self, store: TrajectoryStore, namespace: str) -> None:
        self._store = store
        self._name = f"index/{namespace}"
        self._folder = store.index_folder
        self._prefix = hashlib.blake2b(namespace.encode(), digest_size=6).hexdigest()

    def load(self, rows_key: str) -> VectorIndex | None:
        """The index of exactly these rows; None where there is none, or it is not what was recorded."""
        file = self.file(rows_key)
        if file is None:
            return None
        try:
            return VectorIndex.load(file, file.stem.removeprefix(f"{self._prefix}-"))
        except (OSError, DamagedStore):
            return None

    def record(self, rows_key: str) -> IndexRecord | None:
        """What was recorded of the index of exactly these rows; None where there is nothing that can be read."""
        recorded = self._store.artifact(self._name, rows_key)
        try:
            return None if recorded is None else IndexRecord(**json.loads(recorded))
        except (ValueError, TypeError):
            return None

    def file(self, rows_key: str) -> Path | None:
        """Where the index of exactly these rows should lie; None where it is none that is kept as a file."""
        record = self.record(rows_key)
        if record is None or record.digest is None or self._folder is None:
            return None
        return self._folder / self._name_of(record.digest)

    def save(self, index: VectorIndex, rows_key: str) -> None:
        """Record an index of these rows, and keep the file of a graph; older files of this namespace go."""
        digest = None
        if index.kind == "hnsw" and self._folder is not None:
            content = index.to_bytes()
            digest = content_digest(content)
            try:
                self._publish(self._folder, self._name_of(digest), content)
            except OSError:
                digest = None  # a folder that cannot be written only costs a rebuild
        record = IndexRecord(digest, index.kind, len(index))
        self._store.put_artifact(self._name, rows_key, json.dumps(asdict(record)).encode())

    def _name_of(self, digest: str) -> str:
        return f"{self._prefix}-{digest}.faiss"

    def _publish(self, where: Path, name: str, content: bytes) -> None:
        where.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{self._prefix}-", suffix=".part", dir=where)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(where / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        for old in where.glob(f"{self._prefix}-*"):
            if old.name != name:
                old.unlink(missing_ok=True)
        folder = os.open(where, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def index_status(store: TrajectoryStore) -> dict[str, str | int | bool]:
    """Kind and number of vectors of all namespaces' indexes; `fresh` where each holds exactly the rows there are."""
    if store.is_on_server:
        return _status_on_server(store)
    records = [cache.record(key) for cache, key in _caches(store)]
    found = [record for record in records if record is not None]
    return {
        "kind": "+".join(sorted({record.kind for record in found})) or "none",
        "vectors": sum(record.vectors for record in found),
        "fresh": len(found) == len(records),
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
    """Files that indexes of the rows there are should lie in, and that are missing or damaged."""
    files = [(cache.file(key), cache.load(key)) for cache, key in _caches(store)]
    return tuple(file for file, index in files if file is not None and index is None)


def unrecorded_files(store: TrajectoryStore) -> tuple[Path, ...]:
    """Files beside the database that hold no index of the rows there are: unfinished, or of rows that are gone."""
    if store.index_folder is None:
        return ()
    kept = {cache.file(key) for cache, key in _caches(store)}
    return tuple(sorted(file for file in store.index_folder.glob("*") if file not in kept))


def _caches(store: TrajectoryStore) -> Iterator[tuple[IndexCache, str]]:
    identity = store.embedder_identity()
    fingerprint = identity.fingerprint if identity else ""
    for namespace in store.stats().namespaces:
        yield IndexCache(store, namespace), rows_key(store.ids(namespace), fingerprint)


def rows_key(trajectory_ids: Sequence[str], fingerprint: str) -> str:
    """What an index is known by: the trajectories whose rows it holds, in order, and who embedded them."""
    digest = hashlib.blake2b("\n".join([LAYOUT, fingerprint, *trajectory_ids]).encode(), digest_size=16)
    return digest.hexdigest()

"""The columns and vectors of a namespace in a file beside the database, so that opening it reads no row again.

Like an index file it is a cache: named by its hash, written to a temporary name and renamed, and trusted only while
the store's own record of it agrees in hash, in embedder, in the trajectories that it holds and in how often any were
removed or judged anew.  Anything else is read from the rows.  It has the texts of tasks, calls and sequences of tools,
but of states only vectors and hashes; what is forgotten takes the file along.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trajstore.array_file import ArrayFile, read_arrays, write_arrays
from trajstore.contents import Contents
from trajstore.copying import publish, unpublished
from trajstore.errors import DamagedStore
from trajstore.experience import suffix_keys
from trajstore.faultpoints import faultpoint
from trajstore.layers import is_near
from trajstore.marks import Mark
from trajstore.recalled import Recollection
from trajstore.retriever import Retriever
from trajstore.scaling import SCALED, Scaled
from trajstore.store import TrajectoryStore
from trajstore.trajectory_table import TrajectoryContent

LAYOUT = "2"  # raised whenever the same trajectories would give other columns than before
LEAST_ROWS = 20_000  # fewer are read from the database in a second or two
VECTORS, RARITY = "scaled ", "rarity"


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """What the store knows of a snapshot: the hash of its file, where the store stood, how much it holds.

    `rows_key` says which trajectories, `fingerprint` who embedded them, `hashing` how this Python numbers suffixes.
    """

    digest: str
    last: int
    removals: int
    revisions: int
    trajectories: int
    rows: int
    indexed: int
    rows_key: str
    fingerprint: str
    hashing: str

    @property
    def mark(self) -> Mark:
        """Where the store stood."""
        return Mark(self.last, self.removals, self.revisions)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Columns and vectors up to a mark of the store."""

    record: SnapshotRecord
    contents: Contents
    scaled: Scaled

    @property
    def trajectories(self) -> int:
        """How many trajectories it holds, the first that there are."""
        return self.record.trajectories


@dataclass(frozen=True, slots=True)
class Taken:
    """What a snapshot is made of, as it stood at a mark: nothing of it changes when more is learned."""

    mark: Mark
    fingerprint: str
    rows: int
    content: tuple[TrajectoryContent, ...]
    contents: Contents
    scaled: Scaled

    @classmethod
    def of(cls, loaded: Recollection, fingerprint: str) -> "Taken":
        """What an experience and its retriever hold."""
        experience = loaded.experience
        return cls(
            loaded.mark, fingerprint, len(experience), loaded.content, experience.contents(), loaded.retriever.scaled
        )


class SnapshotCache:
    """Keeps the snapshot of one namespace; a store without a folder (on a server, in memory) has none."""

    def __init__(self, store: TrajectoryStore, namespace: str) -> None:
        self._store = store
        self._name = f"snapshot/{namespace}"
        self._folder = store.index_folder
        self._prefix = f"rows-{hashlib.blake2b(namespace.encode(), digest_size=6).hexdigest()}"

    def load_for(self, content: Sequence[TrajectoryContent], mark: Mark, fingerprint: str) -> Snapshot | None:
        """What was kept of the trajectories that there are, or of the first of them; None where it is not that."""
        record = self.record()
        if record is None or not mark.only_adds_to(record.mark):
            return None
        if (record.fingerprint, record.hashing) != (fingerprint, hashing()):
            return None
        if record.rows_key != content_key(content[: record.trajectories]):
            return None
        file = self._read(record)
        return None if file is None else _snapshot(record, file)

    def save(self, taken: Taken) -> None:
        """Keep what was taken; nothing where the folder cannot be written, or rows were removed since the mark."""
        if self._folder is None:
            return
        mark, scaled = taken.mark, taken.scaled
        arrays = taken.contents.to_arrays() | {RARITY: scaled.rarity}
        arrays |= {f"{VECTORS}{name}": grown.values for name, grown in scaled.vectors.items()}
        rows_key, trajectories = content_key(taken.content), len(taken.content)
        with contextlib.suppress(OSError):
            digest = self._publish(self._folder, arrays, {"weights": taken.contents.weights})
            counted = mark.last, mark.removals, mark.revisions, trajectories, taken.rows, scaled.indexed
            with self._gone_unless_recorded(self._place(self._folder, digest)):
                self._record(SnapshotRecord(digest, *counted, rows_key, taken.fingerprint, hashing()))

    def is_due(self, known: Snapshot | None, retriever: Retriever) -> bool:
        """Whether there are rows enough, and what was loaded is nothing, or of few of them, or of another index."""
        rows = len(retriever.states)
        if self._folder is None or rows < LEAST_ROWS:
            return False
        return known is None or known.record.indexed != retriever.indexed or not is_near(known.record.rows, rows)

    def is_usable(self) -> bool:
        """Whether the file that was recorded is there and whole, or none was recorded."""
        record = self.record()
        return record is None or self._read(record) is not None

    def has_file(self) -> bool:
        """Whether the file that was recorded is there, or none was recorded."""
        file = self.file()
        return file is None or file.is_file()

    def file(self) -> Path | None:
        """Where the snapshot that was recorded should lie; None where none is."""
        record = self.record()
        return None if record is None or self._folder is None else self._place(self._folder, record.digest)

    def record(self) -> SnapshotRecord | None:
        """What was recorded last; None where there is nothing that can be read."""
        recorded = self._store.artifact(self._name, LAYOUT)
        try:
            return None if recorded is None else SnapshotRecord(**json.loads(recorded))
        except (ValueError, TypeError):
            return None

    def _read(self, record: SnapshotRecord) -> ArrayFile | None:
        try:
            return (
                None if self._folder is None else read_arrays(self._place(self._folder, record.digest), record.digest)
            )
        except (OSError, ValueError, KeyError, TypeError, DamagedStore):
            return None

    def _place(self, folder: Path, digest: str) -> Path:
        return folder / f"{self._prefix}-{digest}.arrays"

    def _publish(self, folder: Path, arrays: dict[str, np.ndarray], about: dict[str, object]) -> str:
        folder.mkdir(exist_ok=True)
        with unpublished(folder / self._prefix) as part:
            digest = write_arrays(part, arrays, about)
            faultpoint("snapshot written")
            publish(part, self._place(folder, digest))
        return digest

    def _record(self, record: SnapshotRecord) -> None:
        """Record a file that was published, then remove the older ones; the file itself where rows went meanwhile."""
        content = {self._name: json.dumps(asdict(record)).encode()}
        is_kept = self._store.put_artifacts(LAYOUT, content, removals=record.removals)
        faultpoint("snapshot recorded")
        self._sweep(record.digest if is_kept else None)

    @contextlib.contextmanager
    def _gone_unless_recorded(self, file: Path) -> Iterator[None]:
        """A file of which the store was never told goes: what is forgotten meanwhile would stay in it."""
        try:
            yield
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _sweep(self, digest: str | None) -> None:
        folder = self._folder
        if folder is None:
            return
        kept = None if digest is None else self._place(folder, digest)
        for old in folder.glob(f"{self._prefix}-*"):
            if old != kept:
                with contextlib.suppress(OSError):
                    old.unlink()


def content_key(content: Sequence[TrajectoryContent]) -> str:
    """What a snapshot is known by: the trajectories that it holds, in order, and what they hold."""
    lines = "\n".join(f"{one.id} {one.content_hash}" for one in content)
    return hashlib.blake2b(lines.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def hashing() -> str:
    """How this Python numbers suffixes of steps: other versions may number them otherwise."""
    return " ".join(map(str, suffix_keys((3, 1, 2))))


def _snapshot(record: SnapshotRecord, file: ArrayFile) -> Snapshot | None:
    try:
        vectors = {name: file.arrays[f"{VECTORS}{name}"] for name in SCALED}
        scaled = Scaled(record.indexed, np.asarray(file.arrays[RARITY].values, np.float32), vectors)
        return Snapshot(record, Contents.of(file), scaled)
    except (KeyError, ValueError, TypeError):
        return None

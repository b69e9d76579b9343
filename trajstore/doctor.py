"""Examines a store and mends it: the file, the records, the vectors, the index beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Literal

from trajstore.codec import content_hash
from trajstore.database import sqlite_module
from trajstore.embedding import Embedder, text_hash
from trajstore.errors import DamagedStore, InvalidRecord, UnknownTrajectory
from trajstore.experience import embedded_texts
from trajstore.filters import TrajectoryFilter
from trajstore.index_cache import index_status, unrecorded_files, unusable_files
from trajstore.live_embedder import refresh_student
from trajstore.recollection import recollect, stored_embedder
from trajstore.schema import Trajectory
from trajstore.server_search import refresh
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import VectorCache

Severity = Literal["info", "warning", "error"]
OnProgress = Callable[[int, int], None]
FIXED_SQLITE = (3, 51, 3)
READ_CHUNK = 200
EMBED_CHUNK = 512
SHOWN = 20
BACKUP = "restore a backup, or export what can still be read"
MOUNTS = Path("/proc/self/mounts")
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs"}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing, how bad it is, and what helps."""

    what: str
    severity: Severity
    remedy: str


@dataclass(frozen=True, slots=True)
class _Texts:
    """Hashes of all texts that are embedded, and of those among them that have letters or digits."""

    all: frozenset[bytes]
    with_words: frozenset[bytes]


def examine(store: TrajectoryStore) -> tuple[Finding, ...]:
    """Everything found; an "error" means that data is damaged."""
    on_file = () if store.is_on_server else (_copies, _place, _library)
    checks = (_file, _records, _rows, _vectors, _index, *on_file)
    return tuple(finding for check in checks for finding in _findings(check, store))


def repair(store: TrajectoryStore, embedder: Embedder | None = None, on_progress: OnProgress | None = None) -> None:
    """Embed what has no sound vector (everything, where `embedder` is another one); make indexes and student anew.

    Work that was done is kept when it is interrupted: running it again goes on from there.  No record is ever deleted:
    `DamagedStore` names the first that cannot be read.
    """
    chosen = embedder or stored_embedder(store)
    if store.embedder_identity() not in (None, chosen.identity):
        store.replace_embedder(chosen.identity)
    _embed_missing(store, chosen, on_progress)
    if store.is_on_server:
        refresh(store, chosen)
        refresh_student(store)
        return
    for namespace in store.stats().namespaces:
        recollect(store, chosen, namespace)
    refresh_student(store)
    for leftover in unrecorded_files(store):
        leftover.unlink(missing_ok=True)


def damaged_rows(store: TrajectoryStore) -> tuple[str, ...]:
    """Every row that is not what was written, in words."""
    broken = [f"trajectory {trajectory_id!r}" for trajectory_id in _broken_trajectories(store)]
    return (*broken, *(f"{cell!r:.80} in {table}" for table, cell in store.changed_rows()))


def network_file_system(path: Path, mounts: str) -> str | None:
    r"""The kind of network file system that a path lies on, by a table like /proc/self/mounts; None on a local one.

    >>> network_file_system(Path("/home/me/agent.db"), "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0")
    'nfs4'
    """
    fields = [line.split() for line in mounts.splitlines()]
    holding = [(point, kind) for _, point, kind, *_ in fields if path.is_relative_to(_unescaped(point))]
    kind = max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _findings(check: Callable[[TrajectoryStore], Iterator[Finding]], store: TrajectoryStore) -> tuple[Finding, ...]:
    """What a check finds; damage that keeps it from reading on is a finding too, and the other checks go on."""
    try:
        return tuple(check(store))
    except DamagedStore as error:
        return (Finding(str(error), "error", BACKUP),)
    except (AttributeError, TypeError, ValueError) as error:  # a cell has become one of another type
        return (Finding(f"{store.path} is damaged ({error})", "error", BACKUP),)


def _file(store: TrajectoryStore) -> Iterator[Finding]:
    for wrong in store.integrity_findings():
        checker = "the server" if store.is_on_server else "SQLite"
        yield Finding(f"{checker}'s check says: {wrong}", "error", BACKUP)


def _records(store: TrajectoryStore) -> Iterator[Finding]:
    broken = _broken_trajectories(store)
    for trajectory_id in broken[:SHOWN]:
        yield Finding(
            f"trajectory {trajectory_id!r} is not what was added",
            "error",
            f"restore a backup, or erase it: trajstore forget --db {store.path} --id {trajectory_id}",
        )
    if len(broken) > SHOWN:
        yield Finding(f"{len(broken) - SHOWN:,} more trajectories are not what was added", "error", BACKUP)


def _rows(store: TrajectoryStore) -> Iterator[Finding]:
    """Vectors and what else is derived can be made anew; they have checks of their own."""
    found = Counter(table for table, _ in store.changed_rows())
    for table in found.keys() - {"vectors", "artifacts"}:
        yield Finding(f"{found[table]:,} rows of {table} are not what was written", "error", BACKUP)
    if found["artifacts"]:
        what = f"{found['artifacts']:,} things that were learned are damaged"
        yield Finding(what, "info", "they are learned anew when next needed")


def _vectors(store: TrajectoryStore) -> Iterator[Finding]:
    texts, found = _texts(store), store.check_vectors()
    repairing = f"trajstore doctor --db {store.path} --repair"
    if found.broken:
        yield Finding(f"{len(found.broken):,} vectors are damaged", "error", f"{repairing} embeds their texts again")
    if missing := len(texts.all - found.unit - found.zero - found.broken):
        remedy = f"they are embedded when next needed, or now: {repairing}"
        yield Finding(f"{missing:,} texts have no vector yet", "info", remedy)
    if blind := len(texts.with_words & found.zero):
        what = f"{blind:,} texts with words have a zero vector, so that nothing is similar to them"
        yield Finding(
            what, "warning", f"another embedder may know their words: {repairing} --embedder all-MiniLM-L6-v2"
        )
    if unused := len(_unused(found.unit | found.zero, texts)):
        yield Finding(f"{unused:,} vectors are of texts that are gone", "info", f"{repairing} removes them")


def _index(store: TrajectoryStore) -> Iterator[Finding]:
    if store.stats().trajectories and not index_status(store)["fresh"]:
        yield Finding("the index does not hold the newest rows", "info", "it is made anew when next needed")
    for file in unusable_files(store):
        yield Finding(f"index file {file.name} is missing or damaged", "info", "it is made anew when next needed")
    if leftovers := len(unrecorded_files(store)):
        remedy = f"trajstore doctor --db {store.path} --repair removes them"
        yield Finding(f"{leftovers} index files that nobody uses lie beside the database", "info", remedy)


def _copies(store: TrajectoryStore) -> Iterator[Finding]:
    path = Path(store.path)
    for copy in sorted(path.parent.glob(f"{escape(path.name)}.v*.backup")):
        remedy = "delete it once the upgrade has proved itself: it keeps what is forgotten since"
        yield Finding(f"{copy} is a copy of the store from before an upgrade", "info", remedy)


def _place(store: TrajectoryStore) -> Iterator[Finding]:
    if not MOUNTS.exists():
        return
    kind = network_file_system(Path(store.path).resolve(), MOUNTS.read_text(errors="replace"))
    if kind is not None:
        what = f"{store.path} lies on a network file system ({kind}), where SQLite's locks may not hold"
        yield Finding(what, "warning", "move it to a disk of the computer that uses it, while nothing has it open")


def _library(store: TrajectoryStore) -> Iterator[Finding]:
    version = sqlite_module().sqlite_version
    if tuple(map(int, version.split("."))) < FIXED_SQLITE:
        what = (
            f"SQLite {version} can damage a file when a program other than trajstore checkpoints it (fixed in 3.51.3)"
        )
        yield Finding(what, "info", "write to it with trajstore alone, or pip install pysqlite3, which is used then")


def _embed_missing(store: TrajectoryStore, embedder: Embedder, on_progress: OnProgress | None) -> None:
    texts, found = _texts(store), store.check_vectors()
    useless = found.broken | _unused(found.unit | found.zero, texts)
    if useless:
        store.drop_vectors(useless)
    missing, done = texts.all - found.unit - found.zero, 0
    vectors = VectorCache(store, embedder)
    for chunk in _chosen_texts(store, missing):
        vectors.embed(chunk)
        done += len(chunk)
        if on_progress is not None:
            on_progress(done, len(missing))


def _texts(store: TrajectoryStore) -> _Texts:
    hashes: set[bytes] = set()
    with_words: set[bytes] = set()
    for trajectory in _readable(store):
        texts = {text_hash(text): text for text in embedded_texts(trajectory)}
        hashes |= texts.keys()
        with_words |= {key for key, text in texts.items() if any(map(str.isalnum, text))}
    return _Texts(frozenset(hashes), frozenset(with_words))


def _chosen_texts(store: TrajectoryStore, text_hashes: Set[bytes]) -> Iterator[list[str]]:
    """The texts with these hashes, each once, in chunks."""
    left = set(text_hashes)

    def texts() -> Iterator[str]:
        for trajectory in store.trajectories():
            for text in embedded_texts(trajectory):
                if (key := text_hash(text)) in left:
                    left.remove(key)
                    yield text

    remaining = texts()
    while chunk := list(islice(remaining, EMBED_CHUNK)):
        yield chunk


def _unused(stored: Set[bytes], texts: _Texts) -> Set[bytes]:
    return stored - texts.all


def _readable(store: TrajectoryStore) -> Iterator[Trajectory]:
    return (trajectory for _, trajectory in _by_id(store, store.content_hashes()) if trajectory is not None)


def _broken_trajectories(store: TrajectoryStore) -> list[str]:
    hashes = store.content_hashes()
    broken = [
        trajectory_id
        for trajectory_id, trajectory in _by_id(store, hashes)
        if trajectory is None or not _has_hash(trajectory, hashes[trajectory_id])
    ]
    still = store.content_hashes() if broken else {}  # another process may have removed some meanwhile
    return [trajectory_id for trajectory_id in broken if trajectory_id in still]


def _has_hash(trajectory: Trajectory, stored: str) -> bool:
    try:
        return content_hash(trajectory) == stored
    except InvalidRecord:  # a text has become bytes
        return False


def _by_id(store: TrajectoryStore, hashes: dict[str, str]) -> Iterator[tuple[str, Trajectory | None]]:
    """Each id with its trajectory, None where that cannot be read."""
    ids = iter(hashes)
    while chunk := tuple(islice(ids, READ_CHUNK)):
        found = _read_chunk(store, chunk)
        yield from ((trajectory_id, found.get(trajectory_id)) for trajectory_id in chunk)


def _read_chunk(store: TrajectoryStore, ids: tuple[str, ...]) -> dict[str, Trajectory]:
    try:
        return {one.trajectory_id: one for one in store.trajectories(TrajectoryFilter(ids=ids))}
    except DamagedStore:
        return {trajectory_id: one for trajectory_id in ids if (one := _read_one(store, trajectory_id)) is not None}


def _read_one(store: TrajectoryStore, trajectory_id: str) -> Trajectory | None:
    try:
        return store.get(trajectory_id)
    except (DamagedStore, UnknownTrajectory):
        return None


def _unescaped(mount_point: str) -> str:
    """The kernel writes blanks in names as octal numbers."""
    return mount_point.replace("\\040", " ").replace("\\011", "\t")

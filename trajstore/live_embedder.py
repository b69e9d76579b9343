"""Embeds live texts without the slow model: by a student that the store keeps, where that is good enough.

The student is an artifact of the store, bound to the embedder's identity and to the count of removals: what is erased
takes it along, and so does another embedder.  Its report is kept apart, with the hash of the table.  A student that is
missing, damaged, or of a store that has grown by half since is fitted in a daemon thread.  Until then, and wherever its
recall may lie below `LEAST_RECALL`, live texts go through the full embedder.

`LEAST_RECALL` is from `benchmarks/student.py --next-tool "tau2 retail"`: with students of recall@10 0.48 and 0.38 the
next tool is predicted as well as with the full model (+0.4 points each, 95 % within −1.9 to +2.4), with students of
0.26 and 0.19 by 1.5 points worse (−4.2 to +1.0).  Texts nearly as near as the ten nearest are nearly as good evidence.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.embedding import HASHED, Embedder
from trajstore.errors import DamagedStore, TrajstoreError
from trajstore.identity import EmbedderIdentity
from trajstore.store import TrajectoryStore
from trajstore.student import Student, from_bytes, to_bytes
from trajstore.student_corpus import Corpus, read_corpus

TABLE, REPORT = "student", "student-report"
LAYOUT = "1"  # raised whenever the same table would give other vectors than before
GROWTH = 1.5
LEAST_TEXTS = 300
LEAST_TASKS = 20
MOST_TEXTS = 30_000  # that neighbours are sought among when a student is measured
LEAST_RECALL = 0.35
MEMORY = ":memory:"


@dataclass(frozen=True, slots=True)
class StudentReport:
    """What is known of a student: its recall@10 on hidden texts with a 95 % interval, and how many texts were stored.

    `similarity` is the share of the neighbours' similarity that it finds (`student_fit.Recall`), `digest` the hash of
    its table.  The numbers are None where the texts were too few to fit one and measure it.
    """

    texts: int
    recall_at_10: float | None = None
    low: float | None = None
    high: float | None = None
    similarity: float | None = None
    digest: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it may stand in for the full model."""
        return self.low is not None and self.low >= LEAST_RECALL

    @property
    def reason(self) -> str:
        """Why it is used, or is not."""
        if self.low is None:
            return f"{self.texts:,} texts are too few: it takes {LEAST_TEXTS:,} of {LEAST_TASKS} tasks"
        if self.is_good:
            return f"its recall is credibly at least {LEAST_RECALL}"
        return f"its recall is not credibly at least {LEAST_RECALL}, so the full model embeds live texts"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store keeps: the report, and the student itself where it may be used."""

    report: StudentReport
    student: Student | None


class StudentRefresh(threading.Thread):
    """Fits a store's student in the background; `kept` is what came of it, None until then and where it failed."""

    def __init__(self, store: TrajectoryStore, identity: EmbedderIdentity) -> None:
        super().__init__(name="trajstore-student", daemon=True)
        self._store, self._identity = store, identity
        self.kept: Kept | None = None

    def run(self) -> None:
        """Fit, on a connection of its own where the store is a file: nobody waits for its reads."""
        try:
            if self._store.path == MEMORY or self._store.is_on_server:
                self.kept = refit(self._store, self._identity)
                return
            with TrajectoryStore(self._store.path) as own:
                self.kept = refit(own, self._identity)
        except (TrajstoreError, ImportError, MemoryError, np.linalg.LinAlgError) as error:
            logging.getLogger(__name__).info("no student was fitted, the full model embeds live texts: %s", error)


class LiveEmbedder:
    """Embeds by the store's student as soon as there is one to be used, else by the full embedder; see `Embedder`.

    The hashed embedder is as fast as a student: it has none.
    """

    def __init__(self, store: TrajectoryStore, full: Embedder, *, has_student: bool = True) -> None:
        self.identity = full.identity
        self._store, self._full = store, full
        self._has_student = has_student and self.identity.name != HASHED
        self._kept = load(store, self.identity) if self._has_student else None
        self._refresh: StudentRefresh | None = None

    @property
    def student(self) -> Student | None:
        """What live texts are embedded by; None where that is the full model."""
        if self._refresh is not None and self._refresh.kept is not None:
            self._kept, self._refresh = self._refresh.kept, None
        return None if self._kept is None else self._kept.student

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder.embed`."""
        return (self.student or self._full).embed(texts)

    def refresh(self) -> None:
        """Begin to fit a student in the background, where the store has none of its size; the old one serves on."""
        if self._has_student and is_due(self._store, self._kept):
            self._refresh = _start(self._store, self.identity)


def refresh_student(store: TrajectoryStore) -> None:
    """Fit the student of the store's embedder now, where one is due; returns when it is kept."""
    identity = store.embedder_identity()
    if identity is not None and identity.name != HASHED and is_due(store, load(store, identity)):
        _start(store, identity).join()


def embedder_status(store: TrajectoryStore) -> dict[str, Any]:
    """The name of the store's embedder ("" before the first vector), and what is known of its student.

    `student` has `recall_at_10`, `low`, `high`, `similarity`, `texts`, `used`, and the `reason` why it is used, or not.
    """
    identity = store.embedder_identity()
    kept = None if identity is None else load(store, identity)
    report = StudentReport(store.count_vectors()) if kept is None else kept.report
    told = {name: value for name, value in asdict(report).items() if name != "digest"}
    reason = report.reason
    if identity is None or identity.name == HASHED:
        reason = "the hashed embedder is as fast as a student"
    elif kept is None and report.texts >= LEAST_TEXTS:
        reason = f"none is kept yet: it is fitted when next needed, or now: trajstore doctor --db {store.path} --repair"
    is_used = kept is not None and kept.student is not None
    return {"name": identity.name if identity else "", "student": told | {"used": is_used, "reason": reason}}


def is_due(store: TrajectoryStore, kept: Kept | None) -> bool:
    """Whether there are texts enough for a student, and half as many again as when the kept one was fitted."""
    return store.count_vectors() >= (LEAST_TEXTS if kept is None else GROWTH * kept.report.texts)


def load(store: TrajectoryStore, identity: EmbedderIdentity) -> Kept | None:
    """What the store keeps of this embedder's student; None where that is nothing, or damaged."""
    key = _key(identity, store.removals)
    report = _report(store.artifact(REPORT, key))
    if report is None or not report.is_good:
        return None if report is None else Kept(report, None)
    content = store.artifact(TABLE, key)
    if content is None or _digest(content) != report.digest:
        return None
    try:
        return Kept(report, Student(from_bytes(content)))
    except DamagedStore:
        return None


def refit(store: TrajectoryStore, identity: EmbedderIdentity) -> Kept | None:
    """Fit a student to the stored texts and keep it; None where texts were erased meanwhile."""
    removals, texts = store.removals, store.count_vectors()
    corpus = read_corpus(store, identity, every=max(1, -(-texts // MOST_TEXTS)))
    kept, content = _fitted(corpus, texts)
    contents = {REPORT: json.dumps(asdict(kept.report)).encode(), TABLE: content}
    return kept if store.put_artifacts(_key(identity, removals), contents, removals=removals) else None


def _fitted(corpus: Corpus, texts: int) -> tuple[Kept, bytes]:
    """The student of a corpus with its report, and its bytes: none where it must not be used."""
    if len(corpus) < LEAST_TEXTS or len(np.unique(corpus.units_N)) < LEAST_TASKS:
        return Kept(StudentReport(texts), None), b""
    from trajstore.student_fit import fit_student  # noqa: PLC0415 - SciPy, which only fitting needs

    fitting = fit_student(corpus)
    (measured,) = fitting.recalls
    content = to_bytes(fitting.student.table)
    numbers = measured.value, measured.low, measured.high, measured.similarity
    report = StudentReport(texts, *numbers, _digest(content))
    return (Kept(report, fitting.student), content) if report.is_good else (Kept(report, None), b"")


def _report(content: bytes | None) -> StudentReport | None:
    try:
        return None if content is None else StudentReport(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _key(identity: EmbedderIdentity, removals: int) -> str:
    """What a student is known by: whose vectors it imitates, and how often trajectories were erased before."""
    return _digest(repr((LAYOUT, identity, removals)).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


_running: dict[str, StudentRefresh] = {}  # a store is loaded often, and one fit of it at a time is enough
_lock = threading.Lock()


def _start(store: TrajectoryStore, identity: EmbedderIdentity) -> StudentRefresh:
    """The refresh that runs for this store, a new one where none does."""
    name = f"{store.path}-{id(store)}" if store.path == MEMORY else store.path
    with _lock:
        for ended in [one for one, refresh in _running.items() if not refresh.is_alive()]:
            del _running[ended]
        if name not in _running:
            _running[name] = StudentRefresh(store, identity)
            _running[name].start()
        return _running[name]

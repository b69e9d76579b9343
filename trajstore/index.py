"""Nearest vectors by inner product: the one file that FAISS enters through.

Exact while small.  Then every row has a short code, 4 bits for two entries (product quantization, Jégou, Douze &
Schmid 2011), all of which are read in registers (André, Kermarrec & Le Scouarnec 2015), and the nearest by code are
compared in 16-bit entries.  When large, a graph (HNSW, Malkov & Yashunin 2018) with such entries.  An index never
changes: rows that came later are scanned exactly beside it, and removals rebuild it.  FAISS is imported when an index
is first built or loaded.
"""

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.errors import DamagedStore
from trajstore.neighbours import Neighbours

IndexKind = Literal["flat", "codes", "hnsw", "hnsw-sq8"]
CODES_FROM_ROWS = 5_000
GRAPH_FROM_ROWS = 50_000
COMPRESS_FROM_ROWS = 2_000_000
TRAINED_ROWS = 100_000
DIGEST_BYTES = 16
GRAPH_LINKS = 32
BUILD_BREADTH, WIDE_BUILD_BREADTH = 80, 160
WIDE_FROM_ROWS = 300_000
BLOCK = 1 << 16
SEARCH_BREADTH = 128
COMPRESSED_BREADTH = 256
PROBED, A_FEW, WIDER = 64, 8, 4
CODED_ENTRIES, CODE_BITS = 2, 4
LEAST_COMPARED, COMPARED_TIMES = 320, 4.0
CODING_STEPS, CODING_ROWS = 10, 1024
EXACT_SHARE = 8
Vectors = NDArray[np.float32]


class VectorIndex:
    """An immutable index over the rows of one matrix."""

    def __init__(self, index: Any, kind: IndexKind) -> None:  # Any: FAISS ships no types
        self._index = index
        self.kind = kind

    @classmethod
    def build(cls, vectors: Vectors, kind: IndexKind | None = None) -> "VectorIndex":
        """Index the rows of `vectors`, shape (N, D), float32 and finite; None for the kind that fits their number."""
        faiss = load_faiss()
        if not all(np.isfinite(vectors[first : first + BLOCK]).all() for first in range(0, len(vectors), BLOCK)):
            raise DamagedStore("the vectors to index hold values that are not finite; run trajstore doctor --repair")
        kind = kind or fitting_kind(len(vectors))
        kind = "flat" if kind == "codes" and not _has_codes(vectors) else kind
        index = _empty(faiss, kind, vectors.shape[1])
        if kind.startswith("hnsw"):
            index.hnsw.efConstruction = build_breadth(len(vectors))
        with _threads(faiss, _most_threads()):
            if not index.is_trained:
                index.train(_training(vectors, CODING_ROWS if kind == "codes" else TRAINED_ROWS))
            index.add(vectors)
        return cls(index, kind)

    @classmethod
    def load(cls, path: Path, digest: str) -> "VectorIndex":
        """Map an index file, refusing one whose content is not the one recorded (`DamagedStore`).

        Processes that map the same file share one copy of it; reading it for its hash has brought it into memory.
        """
        if file_digest(path) != digest:
            raise DamagedStore(f"index file {path.name} does not match its recorded hash; it is rebuilt from the rows")
        faiss = load_faiss()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:  # all that FAISS raises
            raise DamagedStore(f"index file {path.name} holds no index; it is rebuilt from the rows") from error
        return cls(index, _kind_of(faiss, index))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Entries of a vector."""
        return int(self._index.d)

    def pages(self) -> list[NDArray[np.generic]]:
        """What a search of a graph reads, without a copy: its links, then its entries.  Nothing of other kinds."""
        if not self.kind.startswith("hnsw"):
            return []
        faiss = load_faiss()
        read = self._index.hnsw.neighbors, faiss.downcast_index(self._index.storage).codes
        return [np.asarray(_Owned(faiss.rev_swig_ptr(one.data(), one.size()), self._index)) for one in read]

    def search(
        self, query: Vectors, k: int, allowed: Allowed | None = None, *, most_breadth: int | None = None
    ) -> Neighbours:
        """The `k` rows nearest to `query`, shape (D,), of those that are `allowed`, where not all are.

        Similarities by 8-bit entries are too rough to be told (NaN).  The fewer of the rows around the query are
        allowed, the more broadly a graph is searched: it gives up, and finds none, where that takes more than
        `most_breadth`.
        """
        most = min(k, len(self) if allowed is None else allowed.count)
        if most < 1:
            return Neighbours.nothing()
        if allowed is None:
            return self._found(query, most)
        if self.kind == "codes":
            return self._among_codes(query, most, allowed)
        faiss = load_faiss()
        bitmap = faiss.IDSelectorBitmap(allowed.bits)
        if self.kind == "flat":
            return self._found(query, most, faiss.SearchParameters(sel=bitmap))
        limit = len(self) if most_breadth is None else most_breadth
        breadth = self._breadth(query, most, allowed, limit)
        if most_breadth is not None and breadth > limit:
            return Neighbours.nothing()
        return self._found(query, most, faiss.SearchParametersHNSW(sel=bitmap, efSearch=breadth))

    def _among_codes(self, query: Vectors, most: int, allowed: Allowed) -> Neighbours:
        """The nearest allowed rows: behind the few that are not, or exactly."""
        others = len(self) - allowed.count
        if others <= most:
            found = self._found(query, most + others)
            return found.at(np.flatnonzero(allowed.has(found.rows))[:most])
        faiss = load_faiss()
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed.bits))
        return self._told(*self._index.refine_index.search(_one(query), most, params=chosen))

    def _breadth(self, query: Vectors, most: int, allowed: Allowed, limit: int) -> int:
        """How broadly a graph is searched for some allowed rows: all of it where none of those around are allowed.

        Their share among all rows says too little: where one's own trajectories are not allowed, or another source has
        said all there is about a task, a graph would give up amid those, with whatever it has come by.
        """
        usual, share = max(int(self._index.hnsw.efSearch), most), allowed.count / len(self)
        if usual <= share * limit:
            share = min(share, self._share_around(query, allowed, limit))
        return min(int(usual / share), len(self)) if share else len(self)

    def _share_around(self, query: Vectors, allowed: Allowed, limit: int) -> float:
        """Which share of the rows around a query is allowed: of so many that a few are, or of all up to a limit."""
        probed = PROBED
        while True:
            around = self._found(query, probed, load_faiss().SearchParametersHNSW(efSearch=probed)).rows
            seen = int(np.count_nonzero(allowed.has(around)))
            if seen >= A_FEW or WIDER * probed > limit:
                return seen / max(len(around), 1)
            probed *= WIDER

    def _found(self, query: Vectors, most: int, parameters: Any = None) -> Neighbours:  # Any: FAISS ships no types
        if self.kind == "codes":
            return self._told(*self._search_codes(_one(query), most))
        return self._told(*self._index.search(_one(query), most, params=parameters))

    def _told(self, similarities: Vectors, rows: NDArray[np.int64]) -> Neighbours:
        found = int(np.count_nonzero(rows[0] >= 0))  # what is missing stands at the end
        if self.kind == "hnsw-sq8":
            similarities.fill(np.nan)
        return Neighbours(rows[0, :found], similarities[0, :found])

    def _search_codes(self, query: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """The nearest of those that are nearest by code; of all where most are asked for, which codes only delay.

        Of all too where codes find too few: they tell nothing apart for a query without a direction (all zeros).
        """
        index = self._index
        if k <= len(self) // EXACT_SHARE:
            times = max(COMPARED_TIMES, LEAST_COMPARED / k)
            parameters = load_faiss().IndexRefineSearchParameters(k_factor=times)
            found: tuple[Vectors, NDArray[np.int64]] = index.search(query, k, params=parameters)
            if (found[1] >= 0).all():
                return found
        exact: tuple[Vectors, NDArray[np.int64]] = index.refine_index.search(query, k)
        return exact

    def write(self, path: Path) -> str:
        """Write the index to a file; returns the hash that it is known by.  `OSError` where it cannot be written."""
        try:
            load_faiss().write_index(self._index, str(path))
        except RuntimeError as error:  # all that FAISS raises
            raise OSError(f"{path.name} cannot be written: {error}") from error
        return file_digest(path)


class _Owned:
    """An array's memory, and the object that it belongs to: whatever array is made of this keeps it alive."""

    def __init__(self, array: NDArray[np.generic], owner: object) -> None:
        self.__array_interface__, self.owner = array.__array_interface__, owner


def _one(query: Vectors) -> Vectors:
    """One query as FAISS takes many; shape (1, D)."""
    return query[None].astype(np.float32)


def inner_products(query: Vectors, matrix: Vectors, rows: NDArray[np.int64], others: Vectors) -> Vectors:
    """Inner products of `query` (D,) with some rows of `matrix` (N, D), then with all of `others` (B, D); (rows + B,).

    No row is copied.  All vectors must be float32, and all arrays contiguous.
    """
    found = np.empty(len(rows) + len(others), np.float32)
    if len(rows):
        faiss = load_faiss()
        pointers = (faiss.swig_ptr(one) for one in (found, query, matrix, rows))
        faiss.fvec_inner_products_by_idx(*pointers, matrix.shape[1], 1, len(rows))
    np.dot(others, query, out=found[len(rows) :])
    return found


def nearest_exactly(query: Vectors, matrix: Vectors, rows: NDArray[np.int64], k: int) -> Neighbours:
    """Of some rows of `matrix` (N, D) the `k` nearest to `query` (D,), in no order; all where there are no more.

    >>> matrix = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> nearest_exactly(matrix[0], matrix, np.array([1, 2]), 1).rows.tolist()
    [2]
    """
    return Neighbours(rows, inner_products(query, matrix, rows, matrix[:0])).nearest(k)


def fitting_kind(rows: int) -> IndexKind:
    """What suits a number of rows: exact, by codes, a graph, at last one with 8 bits an entry, whichever is quickest.

    >>> fitting_kind(1_000), fitting_kind(10_000), fitting_kind(50_000), fitting_kind(5_000_000)
    ('flat', 'codes', 'hnsw', 'hnsw-sq8')
    """
    if rows < GRAPH_FROM_ROWS:
        return "flat" if rows < CODES_FROM_ROWS else "codes"
    return "hnsw" if rows < COMPRESS_FROM_ROWS else "hnsw-sq8"


def build_breadth(rows: int) -> int:
    """How many rows a graph of so many looks at to link each: more where each has more near ones than links.

    >>> build_breadth(100_000), build_breadth(1_000_000)
    (80, 160)
    """
    return BUILD_BREADTH if rows < WIDE_FROM_ROWS else WIDE_BUILD_BREADTH


def file_digest(path: Path) -> str:
    """The hash that an index file is known by (BLAKE2b, 32 hex digits)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def load_faiss() -> Any:  # Any: FAISS ships no types
    """Import FAISS, with one thread for searches: teams of spinning threads fight over few cores."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    return faiss


_forked: list[int] = []
# A team of threads that ran before a fork is not there in the child, which would wait for it for ever.
os.register_at_fork(after_in_child=lambda: _forked.append(os.getpid()))


def _most_threads() -> int:
    return 1 if _forked else os.cpu_count() or 1


class _threads:  # noqa: N801 - a context manager reads as a verb
    """More threads for a bulk build, one again afterwards."""

    def __init__(self, faiss: Any, count: int) -> None:  # Any: as above
        self._faiss, self._count = faiss, count

    def __enter__(self) -> None:
        self._faiss.omp_set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        self._faiss.omp_set_num_threads(1)


def _empty(faiss: Any, kind: IndexKind, dimension: int) -> Any:  # Any: as above
    entry = faiss.ScalarQuantizer.QT_8bit if kind == "hnsw-sq8" else faiss.ScalarQuantizer.QT_fp16
    if kind in ("flat", "codes"):
        exact = faiss.IndexScalarQuantizer(dimension, entry, faiss.METRIC_INNER_PRODUCT)
        return exact if kind == "flat" else _coded(faiss, exact)
    index = faiss.IndexHNSWSQ(dimension, entry, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = COMPRESSED_BREADTH if kind == "hnsw-sq8" else SEARCH_BREADTH
    return index


def _coded(faiss: Any, exact: Any) -> Any:  # Any: as above
    """Codes of the rows before an index that compares those that are nearest by code."""
    codes = faiss.IndexPQFastScan(exact.d, exact.d // CODED_ENTRIES, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    centres = codes.pq.cp
    centres.niter, centres.max_points_per_centroid, centres.min_points_per_centroid = CODING_STEPS, CODING_ROWS, 1
    return faiss.IndexRefine(codes, exact)


def _has_codes(vectors: Vectors) -> bool:
    """Whether there are rows enough to find codes in, of entries that can share a code."""
    return len(vectors) >= 1 << CODE_BITS and vectors.shape[1] % CODED_ENTRIES == 0


def _training(vectors: Vectors, most: int) -> Vectors:
    """At most so many rows, spread over all; one of zeros where there is none."""
    every = -(-len(vectors) // most) or 1
    return vectors[::every] if len(vectors) else np.zeros((1, vectors.shape[1]), np.float32)


def _kind_of(faiss: Any, index: Any) -> IndexKind:  # Any: as above
    if isinstance(index, faiss.IndexRefine):
        return "codes"
    if not isinstance(index, faiss.IndexHNSW):
        return "flat"
    storage = faiss.downcast_index(index.storage)
    return "hnsw-sq8" if storage.sq.qtype == faiss.ScalarQuantizer.QT_8bit else "hnsw"

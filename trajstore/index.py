"""Nearest vectors by inner product: the one file that FAISS enters through.

Exact while small, a graph (HNSW, Malkov & Yashunin 2018) with 16-bit entries when large.  An index never changes: rows
that came later are scanned exactly beside it, and removals rebuild it.  FAISS is imported when an index is first built
or loaded.
"""

import hashlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DamagedStore

IndexKind = Literal["flat", "hnsw"]
GRAPH_FROM_ROWS = 20_000
GRAPH_LINKS = 32
BUILD_BREADTH = 80
SEARCH_BREADTH = 128
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Row numbers and similarities, nearest first; shape (k,) each, k no larger than the rows there are."""

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


class VectorIndex:
    """An immutable index over the rows of one matrix."""

    def __init__(self, index: Any, kind: IndexKind) -> None:  # Any: FAISS ships no types
        self._index = index
        self.kind = kind

    @classmethod
    def build(cls, vectors: Vectors, *, graph_from_rows: int = GRAPH_FROM_ROWS) -> "VectorIndex":
        """Index the rows of `vectors`, shape (N, D), float32 and finite."""
        faiss = load_faiss()
        if not np.isfinite(vectors).all():
            raise DamagedStore("the vectors to index hold values that are not finite; run trajstore doctor --repair")
        kind: IndexKind = "hnsw" if len(vectors) >= graph_from_rows else "flat"
        dimension = vectors.shape[1]
        index = _graph(faiss, dimension) if kind == "hnsw" else _exact(faiss, dimension)
        with _threads(faiss, os.cpu_count() or 1):
            if not index.is_trained:
                index.train(vectors[:10_000])
            index.add(vectors)
        return cls(index, kind)

    @classmethod
    def load(cls, path: Path, digest: str) -> "VectorIndex":
        """Read an index file, refusing one whose content is not the one recorded (`DamagedStore`)."""
        content = path.read_bytes()
        if content_digest(content) != digest:
            raise DamagedStore(f"index file {path.name} does not match its recorded hash; it is rebuilt from the rows")
        faiss = load_faiss()
        try:
            index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        except RuntimeError as error:  # all that FAISS raises
            raise DamagedStore(f"index file {path.name} holds no index; it is rebuilt from the rows") from error
        return cls(index, "hnsw" if isinstance(index, faiss.IndexHNSW) else "flat")

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Entries of a vector."""
        return int(self._index.d)

    def search(self, query: Vectors, k: int) -> Neighbours:
        """The `k` rows nearest to `query`, shape (D,)."""
        if not len(self) or k < 1:
            return Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32))
        similarities, rows = self._index.search(query[None].astype(np.float32), min(k, len(self)))
        found = rows[0] >= 0
        return Neighbours(rows[0][found], similarities[0][found])

    def to_bytes(self) -> bytes:
        """The file's content."""
        return bytes(load_faiss().serialize_index(self._index).tobytes())


def inner_products(query: Vectors, matrix: Vectors, rows: NDArray[np.int64]) -> Vectors:
    """Inner products of `query` (D,) with some rows of `matrix` (N, D), without copying them; shape (rows,).

    Both must be float32 and contiguous.
    """
    found = np.zeros(len(rows), np.float32)
    if len(rows):
        faiss = load_faiss()
        pointers = (faiss.swig_ptr(one) for one in (found, query, matrix, rows))
        faiss.fvec_inner_products_by_idx(*pointers, matrix.shape[1], 1, len(rows))
    return found


def content_digest(content: bytes) -> str:
    """The hash that an index file is known by (BLAKE2b, 32 hex digits)."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def load_faiss() -> Any:  # Any: FAISS ships no types
    """Import FAISS, with one thread for searches: teams of spinning threads fight over few cores."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    return faiss


class _threads:  # noqa: N801 - a context manager reads as a verb
    """More threads for a bulk build, one again afterwards."""

    def __init__(self, faiss: Any, count: int) -> None:  # Any: as above
        self._faiss, self._count = faiss, count

    def __enter__(self) -> None:
        self._faiss.omp_set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        self._faiss.omp_set_num_threads(1)


def _exact(faiss: Any, dimension: int) -> Any:  # Any: as above
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _graph(faiss: Any, dimension: int) -> Any:  # Any: as above
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    index.hnsw.efSearch = SEARCH_BREADTH
    return index

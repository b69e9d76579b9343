"""Fits a student to the store's own texts and their full-model vectors, and measures it on texts hidden from the fit.

The table T minimises ‖X T − (Y − m)‖² + λ ‖T‖², ridge regression of the full model's vectors Y on the weighted rows X
of the texts (`student.weighted_rows`).  There are fewer texts than rows, so it is solved in its dual form,

    T = Xᵀ (X Xᵀ + λ I)⁻¹ (Y − m),

a system of as many equations as there are texts (Saunders, Gammerman and Vovk 1998).  λ and the reach are
those with the highest recall on texts that are neither fitted nor measured.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from trajstore.embedding import Embedder
from trajstore.student import (
    MOST_WORDS,
    PAIRS,
    PIECES,
    Student,
    StudentTable,
    piece_places,
    quantised,
    weighted_rows,
    words_of,
)
from trajstore.student_corpus import SHARED, Corpus

Floats = NDArray[np.float32]
Sparse = Any  # a SciPy matrix; SciPy ships no types

NEIGHBOURS = 10
FOLDS = 5
PENALTIES = (0.03, 0.1, 0.3)
REACHES = (120, 1000)
TEXTS_TO_SELECT_ON = 2000
LEAST_OCCURRENCES = 2
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Recall:
    """The mean share of the full model's `k` nearest texts that a student finds too, with a 95 % interval.

    `similarity` is how much of the neighbours' similarity it finds: that of its own `k` nearest in the full model's
    eyes, on a scale from 0, any texts, to 1, the nearest ones.
    """

    k: int
    value: float
    low: float
    high: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The weight λ of the penalty, and how many words of a text count."""

    penalty: float
    reach: int


@dataclass(frozen=True, slots=True)
class Fitting:
    """A student of all texts, and the recall of one that was fitted without the `queries` hidden texts."""

    student: Student
    recalls: tuple[Recall, ...]
    settings: Settings
    queries: int


def fit_student(corpus: Corpus, ks: Sequence[int] = (NEIGHBOURS,)) -> Fitting:
    """Choose the settings, measure them on hidden texts, and fit all texts."""
    is_hidden = folds(corpus.units_N) == 0
    hidden, seen = corpus.part(is_hidden), corpus.part(~is_hidden)
    settings = _select(seen)
    measured = Student(fit_table(seen, settings))
    recalls = tuple(recall(measured, hidden, seen, k) for k in ks)
    return Fitting(Student(fit_table(corpus, settings)), recalls, settings, len(hidden))


def fit_table(corpus: Corpus, settings: Settings) -> StudentTable:
    """The table that fits all texts of a corpus best under a penalty."""
    (table,) = fit_tables(corpus, settings.reach, [settings.penalty])
    return table


def folds(units_N: NDArray[np.int64], count: int = FOLDS) -> NDArray[np.int64]:
    """A fold in 0..count−1 for each text: whole units, in an order that only their numbers decide.

    >>> folds(np.array([7, 7, 8, 9]), 3).tolist()
    [2, 2, 1, 0]
    """
    units, place = np.unique(units_N, return_inverse=True)
    order = sorted(range(len(units)), key=lambda at: hashlib.blake2b(str(units[at]).encode()).digest())
    fold = np.empty(len(units), np.int64)
    fold[order] = np.arange(len(units)) % count
    return np.asarray(np.where(units_N == SHARED, count - 1, fold[place]), np.int64)


def fit_tables(corpus: Corpus, reach: int, penalties: Sequence[float]) -> Iterator[StudentTable]:
    """The table that fits all texts of a corpus best, for each penalty."""
    words = [words_of(text, reach) for text in corpus.texts]
    vocabulary = _vocabulary(words)
    known, pieces_VP = len(vocabulary), _pieces(vocabulary)
    X = _design(words, vocabulary, pieces_VP)
    kernel_NN, mean_D = (X @ X.T).toarray(), corpus.vectors_ND.mean(axis=0)
    for penalty in penalties:
        rows_RD = X.T @ _dual(kernel_NN, corpus.vectors_ND - mean_D, penalty)
        rows_RD[:known] += pieces_VP @ rows_RD[known : known + PIECES]
        yield StudentTable(corpus.identity, tuple(vocabulary), *quantised(rows_RD), mean_D, reach)


def recall(student: Embedder, asked: Corpus, stored: Corpus, k: int) -> Recall:
    """How well the student's vectors of the asked texts find the full model's nearest of the stored texts."""
    true_NS = asked.vectors_ND @ stored.vectors_ND.T
    found_NS = student.embed(asked.texts) @ stored.vectors_ND.T
    best, own = (np.argpartition(-one, k, axis=1)[:, :k] for one in (true_NS, found_NS))
    shares = np.array([len(set(a) & set(b)) / k for a, b in zip(best.tolist(), own.tolist(), strict=True)])
    any_text = float(true_NS.mean())
    nearest, seen = (float(np.take_along_axis(true_NS, at, axis=1).mean()) - any_text for at in (best, own))
    low, high = clustered_interval(shares, asked.units_N)
    return Recall(k, float(shares.mean()), low, high, seen / max(nearest, 1e-9))


def clustered_interval(values_N: NDArray[np.float64], units_N: NDArray[np.int64]) -> tuple[float, float]:
    """A 95 % interval in [0, 1] for a mean of values that are dependent within units.

    The variance is that of the units' sums of residuals, G / (G − 1) · Σ_g (Σ_i e_gi)² / N² (Liang and Zeger 1986).

    >>> clustered_interval(np.array([0.5, 0.5, 0.5]), np.array([0, 1, 2]))
    (0.5, 0.5)
    """
    mean = float(values_N.mean())
    _, place = np.unique(units_N, return_inverse=True)
    sums = np.bincount(place, values_N - mean)
    if len(sums) < 2:
        return 0.0, 1.0
    variance = len(sums) / (len(sums) - 1) * float(sums @ sums) / len(values_N) ** 2
    reach = NORMAL_95 * variance**0.5
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def _select(corpus: Corpus) -> Settings:
    """The settings with the highest recall on a fold, by students of three others; some of the texts are enough."""
    fold = folds(corpus.units_N, max(4, -(-4 * len(corpus) // TEXTS_TO_SELECT_ON)))
    asked, stored = corpus.part(fold == 0), corpus.part((fold > 0) & (fold < 4))
    found: dict[Settings, float] = {}
    for reach in REACHES:
        for penalty, table in zip(PENALTIES, fit_tables(stored, reach, PENALTIES), strict=True):
            found[Settings(penalty, reach)] = recall(Student(table), asked, stored, NEIGHBOURS).value
    return max(found, key=lambda settings: found[settings])


def _vocabulary(words: Sequence[Sequence[str]]) -> dict[str, int]:
    """Numbers of the commonest words that more than one text has."""
    texts_with = Counter(word for several in words for word in set(several))
    common = sorted(texts_with, key=lambda word: (-texts_with[word], word))[:MOST_WORDS]
    return {word: number for number, word in enumerate(common) if texts_with[word] >= LEAST_OCCURRENCES}


def _design(words: Sequence[Sequence[str]], vocabulary: Mapping[str, int], pieces_VP: Sparse) -> Sparse:
    """X: the weighted rows of each text, where a known word has the rows of its pieces beside its own."""
    X, known = (
        _sparse([weighted_rows(several, vocabulary) for several in words], len(vocabulary) + PIECES + PAIRS),
        len(vocabulary),
    )
    own, pieces, pairs = X[:, :known], X[:, known : known + PIECES], X[:, known + PIECES :]
    return sparse.hstack([own, pieces + own @ pieces_VP, pairs], format="csr")


def _pieces(vocabulary: Iterable[str]) -> Sparse:
    """What each word has of each piece: 1 / √n where it has n pieces."""
    places = [np.array(piece_places(word), np.int64) for word in vocabulary]
    return _sparse([(at, np.full(len(at), len(at) ** -0.5, np.float32)) for at in places], PIECES)


def _sparse(rows: Sequence[tuple[NDArray[np.int64], Floats]], width: int) -> Sparse:
    """Rows of (places, values) as a sparse matrix; what meets at one place is added up."""
    if not rows:
        return sparse.csr_matrix((0, width), dtype=np.float32)
    row = np.repeat(np.arange(len(rows)), [len(places) for places, _ in rows])
    places, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return sparse.csr_matrix((values, (row, places)), shape=(len(rows), width))


def _dual(kernel_NN: Floats, targets_ND: Floats, penalty: float) -> Floats:
    """(K + λ I)⁻¹ Y."""
    ridged = kernel_NN + np.float32(penalty) * np.eye(len(kernel_NN), dtype=np.float32)
    return np.linalg.solve(ridged, targets_ND)  # SciPy's Cholesky is faster, and holds up other threads meanwhile

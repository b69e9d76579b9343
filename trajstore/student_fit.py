"""Fits a student to the store's own texts and their full-model vectors, and measures it on texts hidden from the fit.

The table T minimises ‖X T − (Y − m)‖² + λ ‖T‖², ridge regression of the full model's vectors Y on the weighted rows X
of the texts (`student.weighted_rows`).  There are fewer texts than rows, so it is solved in its dual form,

    T = Xᵀ (X Xᵀ + λ I)⁻¹ (Y − m),

a system of as many equations as there are texts (Saunders, Gammerman and Vovk 1998).  λ and the reach are those with
the highest recall on other texts than it is measured on.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

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
PARTS = 100
PENALTIES = (0.03, 0.1, 0.3)
REACHES = (120, 1000)
MOST_TEXTS = 5000
FEW_TEXTS = 2000
LEAST_OCCURRENCES = 2
CHUNK = 256


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
    """A student of all texts, and the recall of students that were fitted without the `queries` hidden texts."""

    student: Student
    recalls: tuple[Recall, ...]
    settings: Settings
    queries: int


@dataclass(frozen=True, slots=True)
class Found:
    """What N hidden texts found: the share of the true neighbours, and similarities with three kinds of texts.

    `nearest_N` are means over the true neighbours, `found_N` over those that the student finds, `any_N` over all texts.
    """

    shares_N: NDArray[np.float64]
    nearest_N: NDArray[np.float64]
    found_N: NDArray[np.float64]
    any_N: NDArray[np.float64]
    units_N: NDArray[np.int64]


def fit_student(corpus: Corpus, ks: Sequence[int] = (NEIGHBOURS,), *, most: int = MOST_TEXTS) -> Fitting:
    """Measure students on hidden texts, and fit one to all texts: to whole tasks of about `most` texts in all.

    Neighbours are sought among all texts that are not hidden.  Of up to `FEW_TEXTS` each is hidden once, in five rounds
    with settings of their own; of more, a fifth.
    """
    is_taken = _taken(corpus.units_N, most)
    taken, others = corpus.part(is_taken), corpus.part(~is_taken)
    fold = folds(taken.units_N)
    rounds = range(FOLDS) if len(taken) <= FEW_TEXTS else range(1)
    measured = [_measure(taken, fold == hidden, others, ks) for hidden in rounds]
    recalls = tuple(summary(found, k) for k, *found in zip(ks, *measured, strict=True))
    settings = _select(taken)
    queries = sum(int((fold == hidden).sum()) for hidden in rounds)
    return Fitting(Student(fit_table(taken, settings)), recalls, settings, queries)


def fit_table(corpus: Corpus, settings: Settings) -> StudentTable:
    """The table that fits all texts of a corpus best under a penalty."""
    (table,) = fit_tables(corpus, settings.reach, [settings.penalty])
    return table


def folds(units_N: NDArray[np.int64], count: int = FOLDS) -> NDArray[np.int64]:
    """A fold in 0..count−1 for each text: whole units, in an order that only their numbers decide; −1 for shared texts.

    >>> folds(np.array([7, 7, 8, 9]), 3).tolist()
    [2, 2, 1, 0]
    """
    units, place = np.unique(units_N, return_inverse=True)
    order = sorted(range(len(units)), key=lambda at: hashlib.blake2b(str(units[at]).encode()).digest())
    fold = np.empty(len(units), np.int64)
    fold[order] = np.arange(len(units)) % count
    return np.asarray(np.where(units_N == SHARED, -1, fold[place]), np.int64)


def fit_tables(corpus: Corpus, reach: int, penalties: Sequence[float]) -> Iterator[StudentTable]:
    """The table that fits all texts of a corpus best, for each penalty."""
    words = [words_of(text, reach) for text in corpus.texts]
    vocabulary = _vocabulary(words)
    known, pieces_VP = len(vocabulary), _pieces(vocabulary)
    X = _design(words, vocabulary, pieces_VP)
    kernel_NN, mean_D = _kernel(X), corpus.vectors_ND.mean(axis=0)
    for penalty in penalties:
        rows_RD = X.T @ _dual(kernel_NN, corpus.vectors_ND - mean_D, penalty)
        rows_RD[:known] += pieces_VP @ rows_RD[known : known + PIECES]
        yield StudentTable(corpus.identity, tuple(vocabulary), *quantised(rows_RD), mean_D, reach)


def recall(student: Embedder, asked: Corpus, stored: Corpus, k: int) -> Recall:
    """How well the student's vectors of the asked texts find the full model's nearest of the stored texts."""
    return summary([find(student, asked, stored, k)], k)


def find(student: Embedder, asked: Corpus, stored: Corpus, k: int) -> Found:
    """Seek the `k` nearest of the stored texts by the student's vectors of the asked ones, and by the full model's."""
    students_ND = student.embed(asked.texts)
    parts = [
        _found(asked.vectors_ND[at : at + CHUNK], students_ND[at : at + CHUNK], stored.vectors_ND, k)
        for at in range(0, len(asked), CHUNK)
    ]
    shares_N, nearest_N, found_N, any_N = np.concatenate([np.zeros((4, 0)), *parts], axis=1)
    return Found(shares_N, nearest_N, found_N, any_N, asked.units_N)


def summary(found: Sequence[Found], k: int) -> Recall:
    """Recall over several rounds of hidden texts."""
    names = ("shares_N", "nearest_N", "found_N", "any_N", "units_N")
    shares, nearest, seen, any_text, units = (np.concatenate([getattr(one, name) for one in found]) for name in names)
    low, high = clustered_interval(shares, units)
    above = max(float((nearest - any_text).mean()), 1e-9)
    return Recall(k, float(shares.mean()), low, high, float((seen - any_text).mean()) / above)


def clustered_interval(values_N: NDArray[np.float64], units_N: NDArray[np.int64]) -> tuple[float, float]:
    """A 95 % interval in [0, 1] for a mean of values that are dependent within G units; all of it for one unit.

    The variance is that of the units' sums of residuals, G / (G − 1) · Σ_g (Σ_i e_gi)² / N² (Liang and Zeger 1986), the
    quantile that of Student's t with G − 1 degrees of freedom.

    >>> clustered_interval(np.array([0.5, 0.5, 0.5]), np.array([0, 1, 2]))
    (0.5, 0.5)
    """
    mean = float(values_N.mean())
    _, place = np.unique(units_N, return_inverse=True)
    sums = np.bincount(place, values_N - mean)
    if len(sums) < 2:
        return 0.0, 1.0
    variance = len(sums) / (len(sums) - 1) * float(sums @ sums) / len(values_N) ** 2
    reach = float(special.stdtrit(len(sums) - 1, 0.975)) * variance**0.5
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def _taken(units_N: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Which texts are fitted: shared ones and whole tasks, as long as there are not more than `most`."""
    is_taken = folds(units_N, PARTS) * len(units_N) < PARTS * most
    return np.asarray(is_taken & (np.cumsum(is_taken) <= most), np.bool_)


def _found(true_ND: Floats, students_ND: Floats, stored_SD: Floats, k: int) -> NDArray[np.float64]:
    """The rows of `Found` but for the units; shape (4, N)."""
    true_NS, seen_NS = true_ND @ stored_SD.T, students_ND @ stored_SD.T
    best, own = (np.argpartition(-one, k, axis=1)[:, :k] for one in (true_NS, seen_NS))
    shares = [len(set(a) & set(b)) / k for a, b in zip(best.tolist(), own.tolist(), strict=True)]
    similar = [np.take_along_axis(true_NS, at, axis=1).mean(axis=1) for at in (best, own)]
    return np.array([shares, *similar, true_NS.mean(axis=1)], np.float64)


def _measure(taken: Corpus, is_hidden: NDArray[np.bool_], others: Corpus, ks: Sequence[int]) -> list[Found]:
    """What the hidden texts find by a student of the other texts that were taken, for each k."""
    hidden, seen = taken.part(is_hidden), taken.part(~is_hidden)
    student = Student(fit_table(seen, _select(seen)))
    return [find(student, hidden, seen.joined(others), k) for k in ks]


def _select(corpus: Corpus) -> Settings:
    """The settings with the highest recall on a fold, by students of three others; some of the texts are enough."""
    fold = folds(corpus.units_N, max(4, -(-4 * len(corpus) // FEW_TEXTS)))
    asked, stored = corpus.part(fold == 0), corpus.part((fold != 0) & (fold < 4))
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


def _kernel(X: Sparse) -> Floats:
    """X Xᵀ, made block by block: as a sparse matrix it would take thrice the room."""
    transposed, kernel_NN = X.T.tocsr(), np.empty((X.shape[0], X.shape[0]), np.float32)
    for at in range(0, len(kernel_NN), CHUNK):
        kernel_NN[at : at + CHUNK] = (X[at : at + CHUNK] @ transposed).toarray()
    return kernel_NN


def _dual(kernel_NN: Floats, targets_ND: Floats, penalty: float) -> Floats:
    """(K + λ I)⁻¹ Y; K is changed meanwhile, for a copy would be large."""
    diagonal = kernel_NN.diagonal().copy()
    np.fill_diagonal(kernel_NN, diagonal + penalty)
    solved = np.linalg.solve(kernel_NN, targets_ND)  # SciPy's Cholesky is faster, and holds up other threads meanwhile
    np.fill_diagonal(kernel_NN, diagonal)
    return solved

"""A static student of a slow embedder: a table of vectors, summed over a text's words, in the space of the full model.

With t the damped counts 1 + ln(n) of a text's terms, its words and (times `PAIR_WEIGHT`) pairs of neighbouring words,
scaled to length 1, the student's vector is

    v = normalised(m + Σ_terms t · U[term]),

where m is the mean of the full model's vectors, and U holds a row for each word of the store's vocabulary and for each
place that pairs are hashed into.  A word that is not in the vocabulary is the sum of its pieces' rows over the square
root of their number: hashed n-grams of letters, as in fastText (Bojanowski et al. 2017, arXiv 1607.04606).  Rows are
kept in 8 bits an entry with a scale each; embedding needs NumPy alone.
"""

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trajstore.embedding import normalised, word_hash
from trajstore.errors import DamagedStore
from trajstore.identity import EmbedderIdentity

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

MOST_WORDS = 1 << 14  # with pieces and pairs 28,672 rows: 11.1 MB at 384 entries
PIECES = 1 << 12
PAIRS = 1 << 13
PAIR_WEIGHT = 0.7
PIECE_LETTERS = 4
LONGEST_WORD = 40
_WORD = re.compile(r"[^\W\d_]+|\d+")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: its products spread neighbouring numbers
_HIGH_BITS = np.uint64(40)


@dataclass(frozen=True, slots=True)
class StudentTable:
    """A student's numbers: a row for each of `words`, then `PIECES` and `PAIRS` rows.

    `rows_RD` are to be multiplied by `scales_R`; `mean_D` is the mean of the full model's vectors.  Only the first
    `reach` words of a text count: a transformer cuts long texts too.
    """

    identity: EmbedderIdentity
    words: tuple[str, ...]
    rows_RD: NDArray[np.int8]
    scales_R: Floats
    mean_D: Floats
    reach: int


class Student:
    """Embeds texts into the space of the full model, whose identity it bears; see `Embedder`."""

    def __init__(self, table: StudentTable) -> None:
        self.identity = table.identity
        self.table = table
        self._numbers = {word: number for number, word in enumerate(table.words)}

    def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors of shape (len(texts), D), float32; a text without letters or digits gets the zero vector."""
        vectors = np.zeros((len(texts), self.identity.dimension), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            rows, weights = weighted_rows(words_of(text, self.table.reach), self._numbers)
            if len(rows):
                scaled = weights * self.table.scales_R[rows]
                vector[:] = self.table.mean_D + scaled @ self.table.rows_RD[rows].astype(np.float32)
        return normalised(vectors)


def words_of(text: str, reach: int) -> list[str]:
    """The first `reach` words and numbers of a text, in lower case, the longest ones cut.

    >>> words_of("Cancel flight HAT123!", 3)
    ['cancel', 'flight', 'hat']
    """
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.lower())[:reach]]


def weighted_rows(words: Sequence[str], numbers: Mapping[str, int]) -> tuple[Places, Floats]:
    """Rows of a table with these word numbers that make up a text, and their weights: t, or t / √n for n pieces."""
    counts = Counter(words)
    pairs, pair_counts = _pairs(words)
    damped = damped_counts(np.fromiter(counts.values(), np.float32, len(counts)), pair_counts)
    rows: list[int] = []
    weights: list[float] = []
    for word, weight in zip(counts, damped.tolist(), strict=False):
        number = numbers.get(word)
        if number is not None:
            rows.append(number)
            weights.append(weight)
        elif pieces := piece_places(word):
            rows += [len(numbers) + place for place in pieces]
            weights += [weight / len(pieces) ** 0.5] * len(pieces)
    places = np.concatenate([np.array(rows, np.int64), len(numbers) + PIECES + pairs])
    return places, np.concatenate([np.array(weights, np.float32), damped[len(counts) :]])


def damped_counts(word_counts: Floats, pair_counts: Floats) -> Floats:
    """1 + ln(n) for words, then for pairs times `PAIR_WEIGHT`, scaled together to length 1.

    >>> damped_counts(np.ones(4, np.float32), np.zeros(0, np.float32)).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    damped = 1.0 + np.log(np.concatenate([word_counts, pair_counts]))
    damped[len(word_counts) :] *= PAIR_WEIGHT
    return np.asarray(damped / max(float(np.linalg.norm(damped)), 1e-9), np.float32)


@lru_cache(maxsize=1 << 16)
def piece_places(word: str) -> tuple[int, ...]:
    """Where the pieces of a word are hashed to: its n-grams of `PIECE_LETTERS`, its ends marked.

    >>> len(piece_places("flight")), piece_places("a") == piece_places("a")
    (5, True)
    """
    marked = f"<{word}>".encode()
    starts = range(max(1, len(marked) - PIECE_LETTERS + 1))
    return tuple(zlib.crc32(marked[start : start + PIECE_LETTERS]) % PIECES for start in starts)


def quantised(rows_RD: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Rows as whole numbers in [−127, 127] with a scale each, so that scale · row is within scale / 2 of the row.

    >>> quantised(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))[0].tolist()
    [[64, -127], [0, 0]]
    """
    scales = np.abs(rows_RD).max(axis=1, initial=0.0) / 127.0
    whole = np.rint(rows_RD / np.where(scales > 0, scales, 1.0)[:, None])
    return whole.astype(np.int8), scales.astype(np.float32)


def to_bytes(table: StudentTable) -> bytes:
    """A table as a NumPy archive without pickles."""
    told = json.dumps({"identity": asdict(table.identity), "reach": table.reach, "words": table.words})
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        told=np.frombuffer(told.encode("utf-8", "surrogatepass"), np.uint8),
        rows=table.rows_RD,
        scales=table.scales_R,
        mean=table.mean_D,
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> StudentTable:
    """The table that `to_bytes` wrote; `DamagedStore` where the bytes are anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            told = json.loads(archive["told"].tobytes().decode("utf-8", "surrogatepass"))
            numbers = archive["rows"], archive["scales"], archive["mean"]
        table = StudentTable(EmbedderIdentity(**told["identity"]), tuple(told["words"]), *numbers, int(told["reach"]))
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedStore("the stored student cannot be read; it is fitted anew from the stored texts") from error
    if not _is_whole(table):
        raise DamagedStore("the stored student has another layout than this version; it is fitted anew")
    return table


def _pairs(words: Sequence[str]) -> tuple[Places, Floats]:
    """Places of the pairs of neighbouring words, each once, and how often each occurs."""
    codes = np.fromiter(map(word_hash, words), np.uint64, len(words))
    mixed = (codes[:-1] * _MIX + codes[1:]) * _MIX >> _HIGH_BITS
    places, counts = np.unique(mixed % np.uint64(PAIRS), return_counts=True)
    return places.astype(np.int64), counts.astype(np.float32)


def _is_whole(table: StudentTable) -> bool:
    rows, dimension = len(table.words) + PIECES + PAIRS, table.identity.dimension
    shapes = table.rows_RD.shape, table.scales_R.shape, table.mean_D.shape
    is_typed = table.rows_RD.dtype == np.int8 and table.scales_R.dtype == table.mean_D.dtype == np.float32
    is_finite = bool(np.isfinite(table.scales_R).all() and np.isfinite(table.mean_D).all())
    return is_typed and is_finite and shapes == ((rows, dimension), (rows,), (dimension,))

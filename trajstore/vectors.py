"""The table of vectors: by text hash, 16 bits an entry, beside the identity of the embedder that made them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.checksums import row_checksum
from trajstore.connection import Connection, Packed
from trajstore.errors import DamagedStore, InvalidRecord, UsageError
from trajstore.identity import EmbedderIdentity

LOOK_UPS = 900  # in one question
SCAN_FROM = 10_000  # above this many, one pass over the table is faster than that many look-ups
CHECK_CHUNK = 1000
PUT_VECTOR = (
    "INSERT INTO vectors (embedder_id, text_hash, vector, checksum) SELECT id, ?, ?, ? FROM embedders WHERE TRUE "
    "ON CONFLICT (text_hash, embedder_id) DO UPDATE SET vector = excluded.vector, checksum = excluded.checksum"
)
LENGTH_TOLERANCE = 0.02  # 16 bits an entry keep the length of a unit vector to within 0.001


@dataclass(frozen=True, slots=True)
class VectorCheck:
    """Text hashes of the stored vectors by their state: unit vectors, zero ones, and what no embedder makes."""

    unit: frozenset[bytes]
    zero: frozenset[bytes]
    broken: frozenset[bytes]


def read_identity(connection: Connection) -> EmbedderIdentity | None:
    """Whose vectors are stored; None before the first."""
    row = connection.execute("SELECT name, dimension, fingerprint FROM embedders").fetchone()
    if row is not None and tuple(map(type, row)) != (str, int, str):
        raise DamagedStore(
            f"the embedder's identity is damaged ({row!r:.80}); run trajstore doctor, or restore a backup"
        )
    return EmbedderIdentity(*row) if row else None


def write_identity(connection: Connection, identity: EmbedderIdentity) -> None:
    """Drop all vectors and what was derived from them, and say whose will be stored instead."""
    connection.execute("DELETE FROM embedders")
    connection.execute("DELETE FROM artifacts")
    values = [identity.name, identity.dimension, identity.fingerprint]
    connection.execute("INSERT INTO embedders (name, dimension, fingerprint) VALUES (?, ?, ?)", values)


def read_vectors(connection: Connection, text_hashes: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
    """Stored vectors by text hash; what is not there, or is not what was written, is left out."""
    identity = read_identity(connection)
    size = 2 * identity.dimension if identity else 0
    wanted = set(text_hashes)
    if len(wanted) > SCAN_FROM:
        rows: Iterable[Any] = connection.execute("SELECT text_hash, vector, checksum FROM vectors")  # Any: cells
    else:
        rows = _looked_up(connection, list(wanted))
    return {
        key: np.frombuffer(cells[0], "<f2") for key, *cells in rows if key in wanted and _is_whole(key, cells, size)
    }


def _looked_up(connection: Connection, keys: list[bytes]) -> Iterator[Any]:  # Any: cells
    for start in range(0, len(keys), LOOK_UPS):
        chunk = keys[start : start + LOOK_UPS]
        marks = ", ".join("?" * len(chunk))
        sql = f"SELECT text_hash, vector, checksum FROM vectors WHERE text_hash IN ({marks})"  # noqa: S608 - only marks
        yield from connection.execute(sql, chunk)


def write_vectors(connection: Connection, vectors: Mapping[bytes, NDArray[np.floating]]) -> None:
    """Store vectors of the embedder that was named; one that cannot be right is refused, with all others."""
    identity = read_identity(connection)
    if identity is None:
        raise UsageError("vectors need the identity of their embedder: call set_embedder before put_vectors")
    packed = ((key, _packed(vector, identity)) for key, vector in vectors.items())
    connection.executemany(PUT_VECTOR, [(key, vector, row_checksum(key, vector)) for key, vector in packed])


def check_vectors(connection: Connection) -> VectorCheck:
    """Look at every stored vector once."""
    identity = read_identity(connection)
    size = 2 * identity.dimension if identity else 0
    unit: set[bytes] = set()
    zero: set[bytes] = set()
    broken: set[bytes] = set()
    cursor = connection.execute("SELECT text_hash, vector, checksum FROM vectors")
    while chunk := cursor.fetchmany(CHECK_CHUNK):
        sized = [(key, cells[0]) for key, *cells in chunk if _is_whole(key, cells, size)]
        broken |= {key for key, *_ in chunk} - {key for key, _ in sized}
        lengths = np.linalg.norm(_stacked(sized, size), axis=1).tolist()
        unit |= {key for (key, _), length in zip(sized, lengths, strict=True) if abs(length - 1) < LENGTH_TOLERANCE}
        zero |= {key for (key, _), length in zip(sized, lengths, strict=True) if length == 0}
        broken |= {key for key, _ in sized} - unit - zero
    return VectorCheck(frozenset(unit), frozenset(zero), frozenset(broken))


def drop_vectors(connection: Connection, text_hashes: Iterable[bytes]) -> None:
    """Delete the vectors of these texts, and what was derived from any vector."""
    connection.executemany("DELETE FROM vectors WHERE text_hash = ?", [(key,) for key in text_hashes])
    connection.execute("DELETE FROM artifacts")


def _is_whole(key: bytes, cells: Sequence[Any], size: int) -> bool:
    vector, checksum = cells
    return isinstance(vector, bytes) and len(vector) == size and row_checksum(key, vector) == checksum


def _stacked(sized: Sequence[tuple[bytes, bytes]], size: int) -> NDArray[np.float32]:
    joined = np.frombuffer(b"".join(vector for _, vector in sized), "<f2")
    return joined.reshape(len(sized), size // 2).astype(np.float32)


def _packed(vector: NDArray[np.floating], identity: EmbedderIdentity) -> Packed:
    with np.errstate(over="ignore"):
        packed = np.asarray(vector).astype("<f2")
    if packed.shape != (identity.dimension,):
        raise InvalidRecord(f"a vector of {identity.name!r} must have {identity.dimension} entries, got {packed.shape}")
    if not np.isfinite(packed).all():
        raise InvalidRecord(f"a vector of {identity.name!r} must have finite entries of at most 65504, got {vector}")
    return Packed(packed.tobytes())

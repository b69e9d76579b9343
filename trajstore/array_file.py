"""Arrays in one file that is mapped, not read: each with spare room behind it, and a checksum.

A header of JSON says where each array lies and what its CRC-32 is; the file is known by the header's BLAKE2b hash, so
that every byte that is used is covered.  CRC-32 finds what a disk or a torn write does, at several times the speed of
a cryptographic hash; whoever may write the file may write the database beside it too.

The spare room is a hole that takes no disk.  A process that maps the file writes there into pages of its own: arrays
grow by as much without being copied, and other processes never see it.
"""

import hashlib
import json
import math
import mmap
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import DamagedStore

MAGIC = b"trajrows"
ALIGNED = max(mmap.ALLOCATIONGRANULARITY, 1 << 16)
PIECE = 1 << 20
LEAST_SPARE, SPARE_SHARE = 2048, 8
CHECKERS = 2
DIGEST_BYTES = 16
LARGEST_HEADER = 1 << 24
Array = NDArray[Any]  # Any: each array has its own type


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies: NumPy's name of its type, its shape, rows that there is room for, first byte, CRC-32."""

    dtype: str
    shape: tuple[int, ...]
    room: int
    offset: int
    crc: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.dtype(self.dtype).itemsize * math.prod(self.shape[1:]))


@dataclass(frozen=True, slots=True)
class Grown:
    """An array with spare room: `data` has more rows than the `length` that were written."""

    data: Array
    length: int

    @property
    def values(self) -> Array:
        """The rows that were written, without a copy."""
        return self.data[: self.length]


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """What a file holds: `about` it as plain JSON, and its arrays by name."""

    about: Mapping[str, Any]  # Any: plain JSON data
    arrays: Mapping[str, Grown]


def write_arrays(path: Path, arrays: Mapping[str, Array], about: Mapping[str, object]) -> str:
    """Write arrays, each of one dimension or more, to a file; returns the hash that it is known by."""
    at, places = ALIGNED, dict[str, Place]()
    with path.open("wb") as file:
        for name, array in arrays.items():
            places[name] = _write(file, np.ascontiguousarray(array), at)
            at = _aligned(at + places[name].room * places[name].row_bytes)
        file.seek(at)
        header = json.dumps(
            {"about": about, "arrays": {name: asdict(place) for name, place in places.items()}}
        ).encode()
        file.write(header)
        file.seek(0)
        file.write(MAGIC + at.to_bytes(8, "little") + len(header).to_bytes(8, "little"))
    return _digest(header)


def read_arrays(path: Path, digest: str) -> ArrayFile:
    """Check a file against its hash and map it; `DamagedStore` where it is not what was written."""
    with path.open("rb") as file:
        header = _header(file)
        if _digest(header) != digest:
            raise _damaged(path)
        known = json.loads(header)
        places = {name: Place(**place | {"shape": tuple(place["shape"])}) for name, place in known["arrays"].items()}
        with ThreadPoolExecutor(CHECKERS) as checkers:
            are_whole = list(checkers.map(lambda place: _crc(path, place) == place.crc, places.values()))
        if not all(are_whole):
            raise _damaged(path)
        return ArrayFile(known["about"], {name: _mapped(file, place) for name, place in places.items()})


def _write(file: BinaryIO, array: Array, offset: int) -> Place:
    file.seek(offset)
    crc, content = 0, array.reshape(-1).view(np.uint8).data
    for first in range(0, len(content), PIECE):
        piece = content[first : first + PIECE]
        crc = zlib.crc32(piece, crc)
        file.write(piece)
    room = len(array) + max(LEAST_SPARE, len(array) // SPARE_SHARE)
    return Place(array.dtype.str, array.shape, room, offset, crc)


def _header(file: BinaryIO) -> bytes:
    """The header's bytes; none where the file does not begin as it must."""
    start = file.read(len(MAGIC) + 16)
    if len(start) < len(MAGIC) + 16 or not start.startswith(MAGIC):
        return b""
    at, length = (int.from_bytes(start[place : place + 8], "little") for place in (len(MAGIC), len(MAGIC) + 8))
    if length > LARGEST_HEADER or at >= 1 << 62:
        return b""
    file.seek(at)
    return file.read(length)


def _crc(path: Path, place: Place) -> int:
    crc, left = 0, place.shape[0] * place.row_bytes
    with path.open("rb", buffering=0) as file:
        file.seek(place.offset)
        while left and (piece := file.read(min(PIECE, left))):
            crc, left = zlib.crc32(piece, crc), left - len(piece)
    return crc


def _mapped(file: BinaryIO, place: Place) -> Grown:
    shape = (place.room, *place.shape[1:])
    size = max(place.room * place.row_bytes, 1)
    buffer = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY, offset=place.offset)
    data = np.frombuffer(buffer, np.dtype(place.dtype), math.prod(shape)).reshape(shape)
    return Grown(data, place.shape[0])


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNED) * ALIGNED


def _digest(header: bytes) -> str:
    return hashlib.blake2b(header, digest_size=DIGEST_BYTES).hexdigest()


def _damaged(path: Path) -> DamagedStore:
    return DamagedStore(f"{path.name} is not what was written; the rows are read from the database instead")

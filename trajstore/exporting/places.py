"""Where an export goes: a file that is whole or not there, packed where its name ends in .gz, or stdout."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trajstore.addresses import is_on_server
from trajstore.copying import publish, unpublished
from trajstore.database import MEMORY
from trajstore.errors import StoreUnavailable, UsageError
from trajstore.faultpoints import faultpoint

STDOUT = "-"
PACKED_SUFFIX = ".gz"
MEMBER_BYTES = 1 << 20
DENSEST_MEMBER = 100
"""How many times its size a gzip member may unpack to; an ingest refuses files of more than 250 times."""
Write = Callable[[str], object]


def require_free(place: Path, store_path: str, *, overwriting: bool) -> None:
    """Raise `UsageError` where `place` is taken (unless `overwriting`), is no file, or is the store itself."""
    name = str(place)
    if not place.parent.is_dir():
        raise StoreUnavailable(f"there is no folder {str(place.parent)!r}; make it, or give another path")
    if not place.exists():
        return
    if not place.is_file():
        raise UsageError(f"{name!r} is no regular file; give the path of a file, or {STDOUT} for stdout")
    is_kept = store_path != MEMORY and not is_on_server(store_path)
    if is_kept and place.samefile(store_path):
        raise UsageError(f"{name!r} is the store itself; give another path")
    if not overwriting:
        raise UsageError(f"{name!r} exists already; give another path, or --force to replace it")


@contextmanager
def written_file(place: Path) -> Iterator[Write]:
    """Give what writes text into a new file, as `new_file` makes one; it is packed where its name ends in .gz."""
    with new_file(place) as part, part.open("wb") as file:
        if place.name.endswith(PACKED_SUFFIX):
            packer = _Packer(file)
            yield packer.write
            packer.finish()
        else:
            yield lambda text: file.write(text.encode())


@contextmanager
def new_file(place: Path) -> Iterator[Path]:
    """Give the path of a file to write, which gets the name `place` once all of it is on disk.

    `StoreUnavailable` where it cannot be written; then, as after any other error, `place` stays as it was.
    """
    with _explained(place), unpublished(place) as part:
        yield part
        faultpoint("export written")
        publish(part, place)


def write_to_stdout(text: str) -> None:
    """Write to whoever reads this process's output."""
    sys.stdout.write(text)


def packed(block: bytes) -> bytes:
    """A gzip member of a block, without time or name, which unpacks to at most `DENSEST_MEMBER` times its size.

    >>> gzip.decompress(packed(b"ab" * 9)) == b"ab" * 9, len(packed(bytes(1_000_000))) > 10_000
    (True, True)
    """
    member = gzip.compress(block, compresslevel=6, mtime=0)
    if len(block) <= DENSEST_MEMBER * len(member):
        return member
    # Coded letter by letter, nothing becomes shorter than an eighth.
    packer = zlib.compressobj(6, zlib.DEFLATED, 31, 8, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(block) + packer.flush()


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Name the file in an error of the operating system that was raised while making or publishing it."""
    try:
        yield
    except StoreUnavailable:
        raise
    except OSError as error:
        raise StoreUnavailable(
            f"{place} cannot be written: {error.strerror or error}; free some space, or give another path"
        ) from error


class _Packer:
    """Packs text as UTF-8 into gzip members of about a mebibyte."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._block = bytearray()

    def write(self, text: str) -> None:
        """Take in some text."""
        self._block += text.encode()
        while len(self._block) >= MEMBER_BYTES:
            self._file.write(packed(bytes(self._block[:MEMBER_BYTES])))
            del self._block[:MEMBER_BYTES]

    def finish(self) -> None:
        """Write what is left."""
        self._file.write(packed(bytes(self._block)))

"""Files to documents: plain and gzip, line by line or whole, so that damage costs only what is damaged."""

import gzip
import io
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from trajstore.errors import UsageError
from trajstore.ingest.decoding import Decoded, beginning, decode
from trajstore.ingest.records import Document, Rejection

Layout = Literal["lines", "document"]

HEAD_BYTES = 1 << 20
LARGEST_RECORD_BYTES = 1 << 29
DENSEST_GZIP = 250
"""How many times its size a gzip file may unpack to; logs stay far below, and 1,032 is what the format can do."""
MOST_EMPTY_LINES = 100_000
FREE_SHARE = 0.5
"""How much of the free disk a pipe may fill while it is copied."""
DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".traj", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".traj.gz")
_CHUNK_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_STDIN = "-"
_UNREADABLE = (EOFError, OSError, zlib.error)


class _TooDense(OSError):
    """A file unpacks to far more than any log: reading on could fill memory or take for ever."""


class _GzipContent(gzip.GzipFile):
    """The content of a gzip file, up to `DENSEST_GZIP` times as long as what it was unpacked from."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed
        self._most_bytes = HEAD_BYTES

    def read1(self, size: int = -1) -> bytes:
        """The next piece, unless there were too many."""
        self._require_sparse()
        return super().read1(size)

    def readline(self, size: int | None = -1) -> bytes:
        """The next line, up to `size` bytes."""
        most_bytes = LARGEST_RECORD_BYTES if size is None or size < 0 else size
        line = io.BytesIO()
        while line.tell() < most_bytes:
            self._require_sparse()
            part = super().readline(min(HEAD_BYTES, most_bytes - line.tell()))
            line.write(part)
            if not part or part.endswith(b"\n"):
                break
        return line.getvalue()

    def _require_sparse(self) -> None:
        if self.tell() > self._most_bytes:
            self._most_bytes = HEAD_BYTES + DENSEST_GZIP * self._packed.tell()
            if self.tell() > self._most_bytes:
                raise _TooDense


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read: its name for messages, where it lies, its size, and whether a folder (not the user) named it."""

    name: str
    path: Path
    total_bytes: int
    is_from_folder: bool = False


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far a file has been read, in bytes on the disk."""

    name: str
    read_bytes: int
    total_bytes: int


Progress = Callable[[FileProgress], None]


def input_files(paths: Iterable[str | Path], spool: Path) -> list[InputFile]:
    """The files behind `paths`: folders are walked for data files; pipes and "-" are copied into the folder `spool`.

    Raises `UsageError` before anything is read where a path is missing or a folder holds no data file.
    """
    return [file for position, path in enumerate(paths) for file in _files_at(str(path), spool / str(position))]


def _files_at(name: str, spooled: Path) -> list[InputFile]:
    path = Path(name)
    if name == _STDIN:
        return [_spooled("stdin", sys.stdin.buffer, spooled)]
    if path.is_dir():
        return _files_in(path)
    if not path.exists():
        raise UsageError(f"there is no file {name!r} to read")
    if not path.is_file():
        with _readable(path) as pipe:
            return [_spooled(name, pipe, spooled)]
    return [InputFile(name, path, path.stat().st_size)]


def _spooled(name: str, pipe: IO[bytes], spooled: Path) -> InputFile:
    most_bytes = int(FREE_SHARE * shutil.disk_usage(spooled.parent).free)
    with spooled.open("wb") as copy:
        while chunk := pipe.read(_CHUNK_BYTES):
            if copy.tell() + len(chunk) > most_bytes:
                raise UsageError(f"{name} is longer than {most_bytes >> 20:,} MiB, half of the free disk: give a file")
            copy.write(chunk)
    return InputFile(name, spooled, spooled.stat().st_size)


def _files_in(folder: Path) -> list[InputFile]:
    found = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(DATA_SUFFIXES) and path.is_file())
    if not found:
        raise UsageError(f"the folder {str(folder)!r} holds no file that ends in {', '.join(DATA_SUFFIXES[:4])} or .gz")
    return [InputFile(str(path), path, path.stat().st_size, is_from_folder=True) for path in found]


@contextmanager
def _readable(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _opened(file: InputFile) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file as it lies on the disk (for its position), and its content unpacked."""
    with _readable(file.path) as packed:
        is_gzip = packed.read(2) == _GZIP_MAGIC
        packed.seek(0)
        if not is_gzip:
            yield packed, packed
            return
        with _GzipContent(packed) as content:
            yield packed, content  # type: ignore[misc]  # GzipFile has all of IO[bytes] that is used here


def head_of(file: InputFile) -> str:
    """The first mebibyte of a file's text, unpacked; bytes that are no UTF-8 are replaced."""
    with _opened(file) as (_, content):
        return b"".join(_chunks(content, HEAD_BYTES)).decode("utf-8-sig", errors="replace")


def _chunks(content: IO[bytes], most_bytes: int) -> Iterator[bytes]:
    """What can be read, up to `most_bytes`; ends without complaint where the file is damaged."""
    taken = 0
    while taken < most_bytes:
        try:
            chunk = _read(content)
        except _UNREADABLE:
            return
        if not chunk:
            return
        taken += len(chunk)
        yield chunk


def _read(content: IO[bytes]) -> bytes:
    """The next piece of a file, without waiting for more than there is: damage further on does not cost it."""
    chunk: bytes = content.read1(_CHUNK_BYTES)  # type: ignore[attr-defined]  # plain and gzip files have it
    return chunk


def layout_of(head: str) -> Layout:
    r"""Whether a file that begins with `head` is read line by line (JSONL) or as one JSON document.

    >>> layout_of('{"a": 1}\n{"a": 2}\n'), layout_of('{\n "a": 1\n}\n'), layout_of('{"a": \n{"a": 2}\n{"a": 3}\n')
    ('lines', 'document', 'lines')
    """
    lines = [line for line in head.split("\n", 3) if line.strip()]
    if len(lines) == 1:
        is_whole = len(head) < HEAD_BYTES and (lines[0].startswith("[") or not head.endswith("\n"))
        return "document" if is_whole else "lines"
    if not lines or not decode(lines[0]).problem:
        return "lines"
    is_only_brackets = not lines[0].strip(" \t\r[{")
    second_is_object = isinstance(decode(lines[1]).value, dict)
    return "lines" if second_is_object and not is_only_brackets else "document"


def documents(
    file: InputFile, layout: Layout, cut_levels: int = 0, progress: Progress | None = None
) -> Iterator[Document | Rejection]:
    """The documents of a file; damage becomes a rejection, and what was whole before it is kept."""
    with _opened(file) as (packed, content):
        is_empty = True
        for piece in _lines(file.name, content) if layout == "lines" else _whole(file.name, content):
            is_empty = False
            if progress is not None:
                progress(FileProgress(file.name, packed.tell(), file.total_bytes))
            yield from _decoded(file.name, piece, cut_levels)
        if is_empty:
            yield Rejection(file.name, "the file is empty")


@dataclass(frozen=True, slots=True)
class _Piece:
    """The bytes of one document, and what went wrong while they were read (empty where nothing did)."""

    where: str
    data: bytes
    problem: str = ""


def _lines(name: str, content: IO[bytes]) -> Iterator[_Piece]:
    number = empty = 0
    while empty < MOST_EMPTY_LINES:
        number, empty = number + 1, empty + 1
        try:
            line = content.readline(LARGEST_RECORD_BYTES)
            is_too_long = _skip_rest(line, content)
        except _UNREADABLE as error:
            yield _Piece(f"{name}:{number}", b"", _file_problem(error))
            return
        if not line:
            return
        if line.strip():
            empty = 0
        if is_too_long:
            yield _Piece(f"{name}:{number}", b"", f"the record is longer than {LARGEST_RECORD_BYTES >> 20} MiB")
        elif line.strip():
            yield _Piece(f"{name}:{number}", line)
    yield _Piece(f"{name}:{number}", b"", f"{MOST_EMPTY_LINES:,} empty lines in a row end here, and no log has more")


def _skip_rest(line: bytes, content: IO[bytes]) -> bool:
    """Whether a line was cut for its length; if so, the rest of it is passed over."""
    is_too_long = len(line) == LARGEST_RECORD_BYTES and not line.endswith(b"\n")
    rest = line
    while is_too_long and rest and not rest.endswith(b"\n"):
        rest = content.readline(LARGEST_RECORD_BYTES)
    return is_too_long


def _whole(name: str, content: IO[bytes]) -> Iterator[_Piece]:
    buffer = io.BytesIO()
    problem = ""
    try:
        while chunk := _read(content):
            buffer.write(chunk)
            if buffer.tell() > LARGEST_RECORD_BYTES:
                problem = f"the document is longer than {LARGEST_RECORD_BYTES >> 20} MiB: write one record a line"
                break
    except _UNREADABLE as error:
        problem = _file_problem(error)
    yield _Piece(name, buffer.getvalue(), problem)


def _decoded(file: str, piece: _Piece, cut_levels: int) -> Iterator[Document | Rejection]:
    problem = piece.problem
    try:
        text = piece.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = problem or f"this is not UTF-8 text: byte {error.start} is 0x{piece.data[error.start]:02x}"
        text = piece.data[: error.start].decode("utf-8-sig")
    decoded = Decoded(problem=problem) if problem else decode(text)
    if not decoded.problem:
        yield Document(file, piece.where, decoded.value, is_suspect=decoded.is_suspect)
        return
    part = beginning(text, cut_levels) if cut_levels else None
    if part is not None:
        yield Document(file, piece.where, part, is_cut=True, is_suspect=True)
    yield Rejection(piece.where, decoded.problem)


def _file_problem(error: Exception) -> str:
    if isinstance(error, _TooDense):
        return f"the gzip file unpacks to more than {DENSEST_GZIP} times its size, which no log does: unpack it by hand"
    if isinstance(error, EOFError):
        return "the gzip file ends early"
    if isinstance(error, (zlib.error, gzip.BadGzipFile)):
        return f"the gzip file is damaged here: {error}"
    return f"the file cannot be read further: {error}"

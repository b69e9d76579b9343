"""Pages of mapped files that decisions will read, brought into memory before they do.

A page that nobody touched yet costs its first reader some microseconds, or a read from disk, and a decision reads
thousands.  Pages that were touched through a map also outlive those that were merely read, for their hash or in a scan,
when memory grows short.
"""

import mmap
import threading
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

MEMORY = Path("/proc/meminfo")
SHARE = 0.5
PIECE = 1 << 26


def bring_in_soon(arrays: Sequence[NDArray[Any]]) -> threading.Thread | None:  # Any: of whatever type
    """Touch all pages of arrays, the first of them that fit, from a thread of its own.

    What fits is together at most half of the memory that is available; None where not even the first does, or nobody
    says how much that is: then each page comes when it is first read.
    """
    room = SHARE * available_bytes()
    ends = accumulate(array.nbytes for array in arrays)
    fitting = [array for array, end in zip(arrays, ends, strict=True) if end <= room]
    if not fitting:
        return None
    thread = threading.Thread(target=_touch_all, args=(fitting,), name="trajstore pages", daemon=True)
    thread.start()
    return thread


def available_bytes() -> int:
    """Memory that can be had without swapping, as Linux estimates it (MemAvailable); 0 where that is not known."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return 0


def _touch_all(arrays: Sequence[NDArray[Any]]) -> None:  # Any: as above
    """Read a byte of each page; NumPy lets other threads run meanwhile."""
    for array in arrays:
        content = array.reshape(-1).view("u1")
        for first in range(0, len(content), PIECE):
            content[first : first + PIECE : mmap.PAGESIZE].max()

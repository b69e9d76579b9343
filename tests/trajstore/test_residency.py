"""Pages of mapped files: those that fit are brought into this process, the others are not."""

import gc
import mmap
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from trajstore import residency
from trajstore.index import VectorIndex
from trajstore.residency import available_bytes, bring_in_soon

MAPS = Path("/proc/self/smaps")
KILOBYTES = 4096
only_linux = pytest.mark.skipif(not MAPS.exists(), reason="tells by Linux's account of this process's pages")


def mapped(path: Path) -> np.ndarray:
    path.write_bytes(bytes(1024 * KILOBYTES))
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.float32)


def resident(path: Path) -> int:
    """Kilobytes of a mapped file that this process has touched."""
    _, _, own = MAPS.read_text().partition(f"{path}\n")
    return next(int(line.split()[1]) for line in own.splitlines() if line.startswith("Rss:"))


@only_linux
def test_every_page_is_brought_in(tmp_path):
    array = mapped(tmp_path / "one")
    assert resident(tmp_path / "one") == 0
    bring_in_soon([array.reshape(-1, 16)]).join()
    assert resident(tmp_path / "one") == KILOBYTES


@only_linux
@pytest.mark.parametrize("fits", [0, 1, 2])
def test_the_first_arrays_that_fit_in_half_of_the_memory_are_brought_in(tmp_path, monkeypatch, fits):
    (tmp_path / "memory").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {2 * KILOBYTES * fits} kB\n")
    monkeypatch.setattr(residency, "MEMORY", tmp_path / "memory")
    arrays = [mapped(tmp_path / name) for name in ("one", "two")]
    thread = bring_in_soon(arrays)
    assert (thread is None) is (fits == 0)
    if thread is not None:
        thread.join()
    assert [resident(tmp_path / name) for name in ("one", "two")] == [KILOBYTES * (fits > at) for at in (0, 1)]


@pytest.mark.parametrize("content", [None, "", "MemTotal: 8 kB\n", "MemAvailable:\n", "MemAvailable: much\n"])
def test_nothing_is_brought_in_where_nobody_says_how_much_memory_there_is(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "memory").write_text(content)
    monkeypatch.setattr(residency, "MEMORY", tmp_path / "memory")
    assert available_bytes() == 0
    assert bring_in_soon([np.ones(3)]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says")
def test_linux_says_how_much_memory_there_is():
    assert available_bytes() > 1 << 20


@pytest.mark.parametrize(("kind", "bytes_of_a_row"), [("flat", 0), ("codes", 0), ("hnsw", 32), ("hnsw-sq8", 16)])
def test_the_pages_of_a_graph_hold_its_entries(tmp_path, kind, bytes_of_a_row):
    vectors = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    index = VectorIndex.build(vectors, kind)
    index = VectorIndex.load(tmp_path / "i", index.write(tmp_path / "i"))
    assert sum(page.nbytes for page in index.pages()[1:]) == 100 * bytes_of_a_row
    assert len(index.pages()) == (2 if bytes_of_a_row else 0)


def test_the_pages_of_a_graph_outlive_it(tmp_path):
    index = VectorIndex.build(np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32), "hnsw")
    index = VectorIndex.load(tmp_path / "i", index.write(tmp_path / "i"))
    kept, content = weakref.ref(index), (pages := index.pages())[1].tobytes()
    del index
    gc.collect()
    assert kept() is None
    assert pages[1].tobytes() == content

"""Each text is embedded once, and what was embedded is kept whatever happens later."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from trajectory_samples import TEXTS

from trajstore.embedding import HashedEmbedder, text_hash
from trajstore.errors import EmbedderMismatch
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import CHUNK, VectorCache

DIMENSION = 32


class CountingEmbedder(HashedEmbedder):
    """Hashed words, with a list of every text that was asked for; it gives up after `patience` texts."""

    def __init__(self, dimension: int = DIMENSION, patience: int = 1_000_000) -> None:
        super().__init__(dimension)
        self.asked: list[str] = []
        self.patience = patience

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(self.asked) + len(texts) > self.patience:
            raise KeyboardInterrupt
        self.asked += texts
        return super().embed(texts)


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXTS, max_size=8))
def test_vectors_are_those_of_the_embedder_rounded_to_16_bits_in_the_order_of_the_texts(texts: list[str]):
    expected = HashedEmbedder(DIMENSION).embed(texts).astype(np.float16).astype(np.float32)
    with TrajectoryStore(":memory:") as store:
        cache = VectorCache(store, HashedEmbedder(DIMENSION))
        first, again = cache.embed(texts), cache.embed(texts)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)
    assert first.shape == (len(texts), DIMENSION)


def test_no_text_is_embedded_twice_not_even_by_another_process(store_path: Path):
    embedder = CountingEmbedder()
    with TrajectoryStore(store_path) as store:
        VectorCache(store, embedder).embed(["one", "two", "one"])
    with TrajectoryStore(store_path) as store:
        VectorCache(store, embedder).embed(["two", "three"])
    assert embedder.asked == ["one", "two", "three"]


def test_what_was_embedded_before_an_interruption_is_kept(store: TrajectoryStore):
    texts = [f"text {number}" for number in range(2 * CHUNK + 10)]
    embedder = CountingEmbedder(patience=CHUNK)
    with pytest.raises(KeyboardInterrupt):
        VectorCache(store, embedder).embed(texts)
    embedder.patience = 1_000_000
    VectorCache(store, embedder).embed(texts)
    assert sorted(embedder.asked) == sorted(texts)


def test_progress_counts_only_what_is_new(store: TrajectoryStore):
    told: list[tuple[int, int]] = []
    cache = VectorCache(store, HashedEmbedder(DIMENSION), lambda done, to_do: told.append((done, to_do)))
    cache.embed([str(number) for number in range(CHUNK + 5)])
    cache.embed(["1", "new"])
    assert told == [(CHUNK, CHUNK + 5), (CHUNK + 5, CHUNK + 5), (1, 1)]


def test_another_embedder_is_refused_before_it_embeds_anything(store: TrajectoryStore):
    VectorCache(store, HashedEmbedder(DIMENSION)).embed(["one"])
    other = CountingEmbedder(dimension=64)
    with pytest.raises(
        EmbedderMismatch, match=re.escape(f"trajstore doctor --db {store.path} --repair --embedder hashed")
    ):
        VectorCache(store, other)
    assert other.asked == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # a server's column takes nothing but vectors
def test_a_vector_that_lost_its_size_is_made_again(store: TrajectoryStore):
    cache = VectorCache(store, HashedEmbedder(DIMENSION))
    (whole,) = cache.embed(["one"])
    with store._database.writing() as connection:
        connection.execute("UPDATE vectors SET vector = x'00' WHERE text_hash = ?", [text_hash("one")])
    np.testing.assert_array_equal(cache.embed(["one"])[0], whole)

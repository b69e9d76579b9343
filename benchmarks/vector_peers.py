"""Other vector stores behind one function each: it takes vectors (N, D) of length 1, and gives a search.

A search takes a vector (D,) and k, and returns the numbers of the k nearest rows by inner product.  Each package is
imported when it is asked for; none is a dependency of the project.  What embeds texts by itself is given an embedder
that hands out these vectors, and no language model.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Search = Callable[[Floats, int], Sequence[int]]
BATCH = 5_000


def chromadb(vectors: Floats) -> Search:
    """A persistent collection, HNSW with its defaults in the space of inner products."""
    import chromadb as package  # noqa: PLC0415 - only where it is asked for

    client = package.PersistentClient(tempfile.mkdtemp())
    rows = client.create_collection("rows", configuration={"hnsw": {"space": "ip"}})
    for first in range(0, len(vectors), BATCH):
        block = vectors[first : first + BATCH]
        numbers = [str(number) for number in range(first, first + len(block))]
        rows.add(ids=numbers, embeddings=block, documents=numbers)
    return lambda query, k: [int(one) for one in rows.query(query_embeddings=[query], n_results=k)["ids"][0]]


def lancedb(vectors: Floats) -> Search:
    """A table on disk with an IVF-HNSW-SQ index."""
    import lancedb as package  # noqa: PLC0415 - as above

    table = package.connect(tempfile.mkdtemp()).create_table(
        "rows", [{"number": number, "vector": row} for number, row in enumerate(vectors)]
    )
    table.create_index(metric="dot", index_type="IVF_HNSW_SQ")
    return lambda query, k: [
        row["number"] for row in table.search(query).metric("dot").refine_factor(2).limit(k).to_list()
    ]


def qdrant(vectors: Floats) -> Search:
    """The client's local mode."""
    import qdrant_client as package  # noqa: PLC0415 - as above
    from qdrant_client import models  # noqa: PLC0415 - as above

    client = package.QdrantClient(path=tempfile.mkdtemp())
    client.create_collection("rows", models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT))
    for first in range(0, len(vectors), BATCH):
        block = vectors[first : first + BATCH]
        numbers = range(first, first + len(block))
        points = [models.PointStruct(id=n, vector=row.tolist()) for n, row in zip(numbers, block, strict=True)]
        client.upsert("rows", points)
    return lambda query, k: [int(p.id) for p in client.query_points("rows", query.tolist(), limit=k).points]


def hnswlib(vectors: Floats) -> Search:
    """The graph alone: 16 links, breadth 100 while building and 128 while searching."""
    import hnswlib as package  # noqa: PLC0415 - as above

    index = package.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), ef_construction=100, M=16)
    index.add_items(vectors)
    index.set_ef(128)
    index.set_num_threads(1)
    return lambda query, k: index.knn_query(query, k)[0][0].tolist()


def usearch(vectors: Floats) -> Search:
    """The graph alone, 16 bits an entry."""
    from usearch.index import Index  # noqa: PLC0415 - as above

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
    index.add(np.arange(len(vectors)), vectors)
    return lambda query, k: index.search(query, k).keys.tolist()


class Given:
    """Hands out given vectors in place of an embedder: the row that a text numbers, or `query` for any other text."""

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors
        self.query = vectors[:1].tolist()[0] if len(vectors) else []

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """The vector of one text; what it is for changes nothing."""
        return self._vectors[int(text)].tolist() if text.isdecimal() else self.query

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of several texts."""
        return [self.embed(text) for text in texts]


def mem0(vectors: Floats) -> Search:
    """`Memory.search` on its default local store, filled through the store's own door: no model is asked to infer."""
    os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": tempfile.mkdtemp()}
    from mem0 import Memory  # noqa: PLC0415 - as above

    nowhere = {"provider": "openai", "config": {"api_key": "none"}}  # made, and never asked
    stored = {"path": tempfile.mkdtemp(), "on_disk": True, "embedding_model_dims": vectors.shape[1]}
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "qdrant", "config": stored},
            "llm": nowhere,
            "embedder": nowhere,
            "history_db_path": ":memory:",
        }
    )
    given = memory.embedding_model = Given(vectors)
    for first in range(0, len(vectors), BATCH):
        block = vectors[first : first + BATCH]
        numbers = range(first, first + len(block))
        payloads = [{"data": str(number), "user_id": "agent", "hash": str(number)} for number in numbers]
        ids = [f"00000000-0000-0000-0000-{number:012}" for number in numbers]
        memory.vector_store.insert(vectors=block.tolist(), payloads=payloads, ids=ids)

    def search(query: Floats, k: int) -> list[int]:
        given.query = query.tolist()
        found = memory.search("what next", filters={"user_id": "agent"}, top_k=k, threshold=0.0)
        return [int(one["memory"]) for one in found["results"]]

    return search


def langgraph(vectors: Floats) -> Search:
    """The store in memory, with an index over the texts of its items."""
    from langgraph.store.base import PutOp  # noqa: PLC0415 - as above
    from langgraph.store.memory import InMemoryStore  # noqa: PLC0415 - as above

    given = Given(vectors)
    store = InMemoryStore(index={"dims": vectors.shape[1], "embed": given, "fields": ["text"]})
    store.batch([PutOp(("agent",), str(number), {"text": str(number)}) for number in range(len(vectors))])

    def search(query: Floats, k: int) -> list[int]:
        given.query = query.tolist()
        return [int(one.key) for one in store.search(("agent",), query="what next", limit=k)]

    return search


PEERS: Mapping[str, Callable[[Floats], Search]] = {
    one.__name__: one for one in (chromadb, lancedb, qdrant, mem0, langgraph, hnswlib, usearch)
}

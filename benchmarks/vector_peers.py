"""Other vector stores behind one function each: it takes vectors (N, D) of length 1, and gives a search.

A search takes a vector (D,) and k, and returns the numbers of the k nearest rows by inner product.  Each package is
imported when it is asked for; none is a dependency of the project.
"""

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


PEERS: Mapping[str, Callable[[Floats], Search]] = {
    one.__name__: one for one in (chromadb, lancedb, qdrant, hnswlib, usearch)
}

"""A search among some rows: inside the index, one by one, and as the engine chooses between the two, by their share.

    python benchmarks/filtered_search.py [--rows 30000] [--shares 0.9,0.5,0.1] [--queries 100] [--quick] [--json]

The rows are unit vectors (256 entries) around places of which each has fifty rows; the allowed ones are drawn at
random.  For the 160 rows that a decision compares: milliseconds of the processor in the median, and the share of the
160 nearest allowed rows found.  "graph" and "flat" search within one index, "exact" compares the allowed rows one by
one, "engine" takes what `trajstore.layers` takes; "afterwards" asks the graph for 160 rows of all and drops the others.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.embedding import normalised
from trajstore.index import VectorIndex, nearest_exactly
from trajstore.layers import Layers
from trajstore.retriever import RetrieverConfig

DIMENSION, AT_A_PLACE, SPREAD = 256, 50, 0.7
POOL = RetrieverConfig().pool
Floats = NDArray[np.float32]
Search = Callable[[Floats], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Found:
    """One way of searching among one share of the rows."""

    rows: int
    share: float
    way: str
    milliseconds: float
    recall: float


def main() -> None:
    """Measure and print."""
    options = parse()
    rng = np.random.default_rng(0)
    places = rng.normal(size=(max(1, options.rows // AT_A_PLACE), DIMENSION)).astype(np.float32)
    vectors, queries = drawn(rng, places, options.rows), drawn(rng, places, options.queries)
    graph, flat = VectorIndex.build(vectors, "hnsw"), VectorIndex.build(vectors, "flat")
    for share in options.shares:
        allowed = Allowed(rng.random(options.rows) < share)
        for found in measure(ways(graph, flat, vectors, allowed), vectors, queries, allowed):
            text = f"{found.share:6.1%} {found.way:18} {found.milliseconds:8.3f} ms, recall@{POOL} {found.recall:.3f}"
            print(json.dumps(asdict(found)) if options.json else text, flush=True)


def drawn(rng: np.random.Generator, places: Floats, count: int) -> Floats:
    """Unit vectors around some places."""
    noise = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    return normalised(places[rng.integers(len(places), size=count)] + np.float32(SPREAD) * noise)


def ways(graph: VectorIndex, flat: VectorIndex, vectors: Floats, allowed: Allowed) -> Mapping[str, Search]:
    """What is compared."""
    chosen = {"graph": Layers(graph), "flat": Layers(flat)}
    return {
        "graph": lambda query: graph.search(query, POOL, allowed).rows,
        "flat": lambda query: flat.search(query, POOL, allowed).rows,
        "exact": lambda query: nearest_exactly(query, vectors, allowed.rows, POOL).rows,
        "engine with graph": lambda query: chosen["graph"].search(query, POOL, vectors, allowed).rows,
        "engine with flat": lambda query: chosen["flat"].search(query, POOL, vectors, allowed).rows,
        "afterwards": lambda query: allowed.among(graph.search(query, POOL).rows),
    }


def measure(searches: Mapping[str, Search], vectors: Floats, queries: Floats, allowed: Allowed) -> Iterator[Found]:
    """Time and recall of each way; what they share is made before the clock starts."""
    nearest = [allowed.rows[np.argsort(-(vectors[allowed.rows] @ query))[:POOL]] for query in queries]
    for way, search in searches.items():
        search(queries[0])
        taken, recalls = [], []
        for query, expected in zip(queries, nearest, strict=True):
            began = time.process_time()
            found = search(query)
            taken.append(1000.0 * (time.process_time() - began))
            recalls.append(np.isin(expected, found).mean() if len(expected) else 1.0)
        share = allowed.count / len(vectors)
        yield Found(len(vectors), share, way, float(np.median(taken)), float(np.mean(recalls)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument(
        "--shares",
        type=lambda text: [float(one) for one in text.split(",")],
        default=[0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.001],
    )
    parser.add_argument("--quick", action="store_true", help="6,000 rows and 20 queries")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.queries = 6_000, 20
    return options


if __name__ == "__main__":
    main()

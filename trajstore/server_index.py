"""The index that a PostgreSQL server keeps: as which texts each step was embedded, and a graph over their vectors.

Whoever asks holds neither vectors nor index.  A namespace of few texts is compared in full, a large one through
pgvector's HNSW graph (Malkov & Yashunin 2018), which goes on until enough texts of the namespace were found: the
namespace is a condition of the query, and nothing of another one ever leaves the server.  So are sources and tools,
where some are asked for: what is left of the namespace decides how it is searched, and a rare source is found in full.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trajstore.connection import AnyDatabase, Connection, Packed
from trajstore.embedding import text_hash
from trajstore.experience import play_back
from trajstore.filters import ALL_STEPS, Wanted
from trajstore.render import render_goal
from trajstore.schema import Trajectory
from trajstore.trajectory_table import read_chunk

Key = Literal["state", "goal"]
KEYS: tuple[Key, Key] = ("state", "goal")

LAYOUT = "1"  # raised whenever the same steps would be embedded as other texts than before
GRAPH_FROM_TEXTS = 20_000
TEXTS_PER_TRAJECTORY = 2  # the graph gives texts, and several near ones may be of one trajectory
LINKS, BUILD_BREADTH = 16, 64
MEGABYTES = (64, 4096)  # the least and the most memory that is asked of the server
GRAPH_DIMENSIONS = 4000  # more entries than these pgvector's graph does not take
MARK = "server-index"
EVERYTHING = "TRUE"
LINK = (
    "INSERT INTO step_texts (step_seq, trajectory_seq, namespace, state_hash, goal_hash) "
    "SELECT s.seq, s.trajectory_seq, t.namespace, ?, ? FROM steps s JOIN trajectories t ON t.seq = s.trajectory_seq "
    "WHERE s.trajectory_seq = ? AND s.step_index = ? ON CONFLICT (step_seq) DO UPDATE "
    "SET namespace = excluded.namespace, state_hash = excluded.state_hash, goal_hash = excluded.goal_hash"
)
# Vectors of moments alone stay out of the graph.
SEARCHED = "UPDATE vectors SET is_searched = 1 WHERE text_hash IN (?, ?) AND is_searched = 0"
COUNT_LINKED = (
    "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
    "WHERE CAST(settings.value AS BIGINT) < CAST(excluded.value AS BIGINT)"
)
BLIND = (
    "seq IN (SELECT trajectory_seq FROM step_texts l WHERE "
    "NOT EXISTS (SELECT 1 FROM vectors v WHERE v.text_hash = l.state_hash) "
    "OR NOT EXISTS (SELECT 1 FROM vectors v WHERE v.text_hash = l.goal_hash))"
)
# Both give the texts of one namespace that are near, by inner product: of unit vectors, the cosine.
EXACTLY = """
WITH mine AS MATERIALIZED (
    SELECT DISTINCT l.{key}_hash AS text_hash FROM step_texts l {joined} WHERE l.namespace = :namespace {wanted}
),
near AS MATERIALIZED (
    SELECT v.text_hash, -({vector} <#> :query) AS similarity FROM mine JOIN vectors v USING (text_hash)
    WHERE {is_indexed}
)
"""
BY_GRAPH = """
WITH near AS MATERIALIZED (
    SELECT v.text_hash, -({vector} <#> :query) AS similarity FROM vectors v
    WHERE {is_indexed} AND (
        SELECT TRUE FROM step_texts l {joined}
        WHERE l.namespace = :namespace AND l.{key}_hash = v.text_hash {wanted} LIMIT 1
    ) ORDER BY {vector} <#> :query LIMIT :texts
)
"""
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(?)"
BUILDERS = "1953655667, hashtext('graph of ' || current_schema())"
GRAPH = (
    "CREATE INDEX CONCURRENTLY vectors_near_{dimension} ON vectors "
    "USING hnsw ((vector::halfvec({dimension})) halfvec_ip_ops) "
    f"WITH (m = {LINKS}, ef_construction = {BUILD_BREADTH}) "
    "WHERE vector_dims(vector) = {dimension} AND is_searched = 1"
)
FEW = """
SELECT count(*) FROM (SELECT 1 FROM step_texts l {joined} WHERE l.namespace = :namespace {wanted} LIMIT :limit) few
"""
# By way of its steps a rare source leads to its texts through indexes alone.
JOINED = "JOIN steps s ON s.seq = l.step_seq JOIN trajectories t ON t.seq = s.trajectory_seq"
OF_SOURCES, OF_TOOLS = "AND t.source = ANY(:sources::text[])", "AND s.tool = ANY(:tools::text[])"
NEAREST_STEPS = """
, best AS (
    SELECT DISTINCT ON (l.trajectory_seq) l.trajectory_seq, l.step_seq, n.similarity
    FROM near n JOIN step_texts l ON l.namespace = :namespace AND l.{key}_hash = n.text_hash {joined}
    WHERE TRUE {wanted}
    ORDER BY l.trajectory_seq, n.similarity DESC, l.step_seq
),
top AS (SELECT * FROM best ORDER BY similarity DESC, trajectory_seq LIMIT :trajectories)
SELECT t.id, s.step_index, top.similarity
FROM top JOIN steps s ON s.seq = top.step_seq JOIN trajectories t ON t.seq = top.trajectory_seq
ORDER BY top.similarity DESC, top.trajectory_seq
"""


@dataclass(frozen=True, slots=True)
class NearStep:
    """The step of a trajectory that is nearest to a vector, and their similarity."""

    trajectory: str
    step: int
    similarity: float


class ServerIndex:
    """The index of a store on a server; a namespace of more than `graph_from_texts` texts is searched by the graph."""

    def __init__(self, database: AnyDatabase, *, graph_from_texts: int = GRAPH_FROM_TEXTS) -> None:
        self._database = database
        self._graph_from_texts = graph_from_texts

    def unlinked(self, limit: int) -> list[tuple[int, Trajectory]]:
        """Trajectories whose texts are not known yet, with their numbers."""
        with self._database.snapshot() as connection:
            return read_chunk(connection, _linked(connection), limit, EVERYTHING, [])

    def blind(self, after: int, limit: int) -> list[tuple[int, Trajectory]]:
        """Trajectories after a number with a text that has lost its vector."""
        with self._database.snapshot() as connection:
            return read_chunk(connection, after, limit, BLIND, [])

    def link(self, chunk: Sequence[tuple[int, Trajectory]]) -> None:
        """Write down as which texts the steps of trajectories are embedded; steps that are gone are left out."""
        rows = [row for seq, trajectory in chunk for row in _links(seq, trajectory)]
        with self._database.writing() as connection:
            connection.executemany(LINK, rows)
            connection.executemany(SEARCHED, [row[:2] for row in rows])
            connection.execute(COUNT_LINKED, [_counter(), str(max(seq for seq, _ in chunk))])

    def is_complete(self, fingerprint: str) -> bool:
        """Whether all texts were seen to have vectors of this embedder since vectors were last dropped."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT key FROM artifacts WHERE name = ?", [MARK]).fetchone()
            newest = connection.execute("SELECT coalesce(max(seq), 0) FROM trajectories").fetchone()
            return row is not None and row[0] == fingerprint and newest[0] <= _linked(connection)

    def count(self) -> int:
        """How many steps are in the index."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM step_texts").fetchone()[0])

    def kind(self, dimension: int) -> str:
        """Whether there is a graph over the vectors ("hnsw"), or all are compared ("flat")."""
        with self._database.reading() as connection:
            found = connection.execute(IS_VALID, [f"vectors_near_{dimension}"]).fetchone()
        return "hnsw" if found and found[0] else "flat"

    def build_graph(self, dimension: int) -> None:
        """Build the graph where there are enough vectors and none yet; later vectors enter it as they are stored.

        Others may write meanwhile.  Where another client builds it already, there is nothing to do.
        """
        with self._database.reading() as connection:
            connection.execute("ANALYZE trajectories, steps, step_texts, vectors")
            (count,) = connection.execute("SELECT count(*) FROM vectors WHERE is_searched = 1").fetchone()
            is_wanted = self._graph_from_texts <= count and dimension <= GRAPH_DIMENSIONS
            if is_wanted and self.kind(dimension) == "flat":
                _build_graph(connection, count, dimension)

    def nearest(
        self, namespace: str, key: Key, vector: NDArray[np.floating], k: int, wanted: Wanted = ALL_STEPS
    ) -> tuple[NearStep, ...]:
        """Of each of the `k` trajectories nearest to a unit vector, shape (D,), the nearest step; nearest first.

        Only trajectories with a step that is `wanted` are found, and only such steps.
        """
        parts = _parts(key, len(vector), wanted)
        packed = Packed(np.asarray(vector).astype("<f2").tobytes())
        limit = self._graph_from_texts
        values = {"namespace": namespace, "query": packed, "texts": TEXTS_PER_TRAJECTORY * k, "trajectories": k}
        values |= {"sources": list(wanted.sources), "tools": list(wanted.tools), "limit": limit}
        with self._database.snapshot() as connection:
            (few,) = connection.execute(FEW.format(**parts), values).fetchone()
            rows = _found(connection, EXACTLY if few < limit else BY_GRAPH, parts, values)
            if few >= limit and len(rows) < k:  # the graph gave up before it had enough of them
                rows = _found(connection, EXACTLY, parts, values)
        return tuple(NearStep(trajectory, step, float(similarity)) for trajectory, step, similarity in rows)


def _build_graph(connection: Connection, count: int, dimension: int) -> None:
    (is_ours,) = connection.execute(f"SELECT pg_try_advisory_lock({BUILDERS})").fetchone()
    if not is_ours:
        return
    try:
        connection.execute(f"DROP INDEX IF EXISTS vectors_near_{dimension}")  # what an interrupted build left
        connection.execute(f"SET maintenance_work_mem = '{graph_megabytes(count, dimension)}MB'")
        connection.execute(GRAPH.format(dimension=dimension))
    finally:
        connection.execute("RESET maintenance_work_mem")
        connection.execute(f"SELECT pg_advisory_unlock({BUILDERS})")


def graph_megabytes(count: int, dimension: int) -> int:
    """Memory that a graph takes while it is built: with less it is built on disk, which takes many times as long.

    >>> graph_megabytes(1000, 512), graph_megabytes(1_000_000, 512)
    (64, 2281)
    """
    each = 2 * dimension + 48 * LINKS + 600  # entries, links in all layers, and what pgvector keeps beside them
    return min(max(count * each // (1 << 20), MEGABYTES[0]), MEGABYTES[1])


def _links(seq: int, trajectory: Trajectory) -> Iterable[tuple[bytes, bytes, int, int]]:
    playback, goal = play_back(trajectory), text_hash(render_goal(trajectory.task.text))
    for at, step in enumerate(trajectory.steps):
        if step.kind == "tool":
            yield text_hash(playback.state_text(at)), goal, seq, step.index


def _linked(connection: Connection) -> int:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", [_counter()]).fetchone()
    return int(row[0]) if row else 0


def _counter() -> str:
    return f"linked/{LAYOUT}"


def _parts(key: Key, dimension: int, wanted: Wanted) -> dict[str, str]:
    """What a query is put together from: which texts, of which vectors, and which steps."""
    conditions = [OF_SOURCES] if wanted.sources else []
    conditions += [OF_TOOLS] if wanted.tools else []
    return {
        "key": key,
        "vector": f"v.vector::halfvec({dimension})",
        "is_indexed": f"vector_dims(v.vector) = {dimension} AND v.is_searched = 1",
        "joined": JOINED if conditions else "",
        "wanted": " ".join(conditions),
    }


def _found(
    connection: Connection, query: str, parts: dict[str, str], values: dict[str, object]
) -> list[tuple[str, int, float]]:
    return connection.execute((query + NEAREST_STEPS).format(**parts), values).fetchall()

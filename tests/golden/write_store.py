"""Writes a store of the current schema as SQL text: `python tests/golden/write_store.py tests/golden/store_v1.sql`.

Run it once for each released schema version, never again for the same one.
"""

import sqlite3
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from trajectory_samples import EVERYTHING_USED, make_trajectory  # noqa: E402 - the paths come first

from trajstore.identity import EmbedderIdentity  # noqa: E402 - as above
from trajstore.logbook import CallRow, DecisionRow, EpisodeRow, PruningRow  # noqa: E402 - as above
from trajstore.migrations import APPLICATION_ID, SCHEMA_VERSION  # noqa: E402 - as above
from trajstore.store import TrajectoryStore  # noqa: E402 - as above

# SQL text ends a string at NUL, and git may change ends of lines.
FIRST = replace(
    EVERYTHING_USED,
    task=replace(EVERYTHING_USED.task, text="Réserve un vol 🛫"),
    steps=(replace(EVERYTHING_USED.steps[0], observation="It's \N{PILE OF POO}"), EVERYTHING_USED.steps[1]),
)
TRAJECTORIES = {"first": FIRST, "second": make_trajectory(success=None, created_at=2.0)}
IDENTITY = EmbedderIdentity("three words", 3, "three-words-v1")
VECTOR = np.array([0.5, -1.0, 0.25])
DECISION = DecisionRow("d1", "e1", 0, "tenant", 1.0, "defer", None, None, 0.5, "[]", "[]", "[]", "too little evidence")
EPISODE = EpisodeRow(
    "e1", "tenant", "first", success=False, reward=0.5, kpis='{"cost_usd":0.02}', stop_reason="gave up", finished_at=2.0
)


CALL = CallRow("tenant", "e1", "search", failed=True, called_at=3.0, seq=1)
PRUNING = PruningRow("tenant", 3, "search", "quarantined", "fails here", 0.0, 9.0, 0.2, "book", 0.6, 4.0, 64.0, 1)


def fill(store: TrajectoryStore) -> None:
    """Store one of everything."""
    for trajectory_id, trajectory in TRAJECTORIES.items():
        store.add(replace(trajectory, trajectory_id=trajectory_id))
    store.set_embedder(IDENTITY)
    store.put_vectors({b"0123456789abcdef": VECTOR})
    store.logbook.add([DECISION])
    store.logbook.end_episode(EPISODE)
    store.logbook.add(calls=[CALL])
    store.logbook.report("d1", "final", 0.5, 5.0)
    store.logbook.put_prunings([PRUNING])
    store.put_artifact("index/tenant", "key", b"\x00\xff")


def dump(path: Path) -> str:
    """A database file as SQL text, with the numbers in its header."""
    with sqlite3.connect(path) as connection:
        lines = [*connection.iterdump(), f"PRAGMA application_id = {APPLICATION_ID};"]
    return "\n".join([*lines, f"PRAGMA user_version = {SCHEMA_VERSION};", ""])


def main(target: str) -> None:
    """Write the dump."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        with TrajectoryStore(path) as store:
            fill(store)
        Path(target).write_text(dump(path), newline="\n")


if __name__ == "__main__":
    main(sys.argv[1])

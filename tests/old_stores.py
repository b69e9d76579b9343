"""Stores as each schema version left them."""

import sqlite3
from pathlib import Path

from trajstore.migrations import SCHEMA_VERSION

GOLDEN = Path(__file__).parent / "golden"


def write_old_store(path: Path, version: int = SCHEMA_VERSION) -> None:
    """Write the store of a version to `path`: two trajectories, and one row in every other table of that version."""
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / f"store_v{version}.sql").read_text())
    connection.close()

"""The store's own tests hold for every database that it can lie in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trajstore.store import TrajectoryStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store that is kept may be made: a file, and on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "agent.db")
    return str(request.getfixturevalue("postgres_address"))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[TrajectoryStore]:
    """An empty store: in memory, and on a server."""
    address = ":memory:" if request.param == "sqlite" else request.getfixturevalue("postgres_address")
    with TrajectoryStore(address) as opened:
        yield opened

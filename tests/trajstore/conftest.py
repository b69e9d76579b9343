"""The store's own tests hold for every database that it can lie in."""

from collections.abc import Iterator

import pytest

from trajstore.store import TrajectoryStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[TrajectoryStore]:
    """An empty store: in memory, and on a server."""
    address = ":memory:" if request.param == "sqlite" else request.getfixturevalue("postgres_address")
    with TrajectoryStore(address) as opened:
        yield opened

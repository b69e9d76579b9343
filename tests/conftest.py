"""Fixtures that every area of the tests shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from postgres_server import PostgresServer, running_server, why_not

from trajstore.store import TrajectoryStore

# A law holds however busy the machine is.  What runs before a commit is the same for everyone; `make test-slow` looks
# for new examples.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("searching", deadline=None)
settings.load_profile("repeatable")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def store() -> Iterator[TrajectoryStore]:
    """A store in memory, empty."""
    with TrajectoryStore(":memory:") as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests of this process; skips where none can be made."""
    if reason := why_not():
        pytest.skip(reason)
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_address(postgres_server: PostgresServer) -> str:
    """Where a store may be made on a server."""
    return postgres_server.new_address()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store that is kept may be made: a file, and on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "agent.db")
    return str(request.getfixturevalue("postgres_address"))


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "agent.db"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real trajectories; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real trajectories in {SHARED_DATA}")
    return SHARED_DATA

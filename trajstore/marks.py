"""Where a store stands, so that a copy in memory can tell what it lacks."""

from dataclasses import dataclass

from trajstore.connection import Connection
from trajstore.errors import DamagedStore

MARK = """
SELECT (SELECT coalesce(max(seq), 0) FROM trajectories),
    (SELECT value FROM settings WHERE name = 'removals'), (SELECT value FROM settings WHERE name = 'revisions')
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a store stands: the highest number of a trajectory, and how often any were removed or judged anew."""

    last: int
    removals: int
    revisions: int

    def only_adds_to(self, earlier: "Mark") -> bool:
        """Whether all that came since an earlier mark are trajectories with higher numbers."""
        return (self.removals, self.revisions) == (earlier.removals, earlier.revisions) and self.last >= earlier.last

    def __str__(self) -> str:
        return f"{self.last}-{self.removals}-{self.revisions}"


BEGINNING = Mark(0, 0, 0)


def read_mark(connection: Connection) -> Mark:
    """Where the store stands now; `DamagedStore` where its counts cannot be read."""
    last, removals, revisions = connection.execute(MARK).fetchone()
    return Mark(last, _count("removals", removals), _count("revisions", revisions))


def _count(name: str, value: object) -> int:
    if not str(value).isdecimal():
        raise DamagedStore(f"the count of {name} is damaged ({value!r:.80}); restore a backup")
    return int(str(value))

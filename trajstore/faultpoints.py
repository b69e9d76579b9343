"""Named moments at which a process may die, so that the tests can try each of them.

They stand before and after whatever makes a change last: a commit, a sync, a rename.  Nothing happens at them unless
`watch` was called; then one check against None is all that they cost.
"""

from collections.abc import Callable

_watcher: Callable[[str], None] | None = None


def faultpoint(name: str) -> None:
    """Tell the watcher, where there is one, that this moment has come."""
    if _watcher is not None:
        _watcher(name)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Let `watcher` hear of every moment in this process from now on; None ends it."""
    global _watcher  # noqa: PLW0603 - one switch for the whole process, as the operating system's faults are
    _watcher = watcher

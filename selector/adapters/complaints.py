"""What goes wrong inside guidance, said once in the log: no failure here may become one of the agent's runtime."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from selector.adapters.plain import printed

log = logging.getLogger("selector.adapters")


class Complaints:
    """Remembers what was said; safe to share between threads."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def once(self, what: str, problem: object) -> None:
        """Log a problem as a warning, the first time that something of this kind goes wrong."""
        with self._lock:
            is_new = what not in self._said
            self._said.add(what)
        if is_new:
            log.warning("%s; the agent goes on without that (said once): %s", what, printed(problem))

    @contextmanager
    def instead_of_raising(self, what: str) -> Iterator[None]:
        """Say what is raised inside, and go on after it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the border to the host: no failure of guidance may pass it
            self.once(what, named(error))


def named(error: BaseException) -> str:
    """An error as one text.

    >>> named(ValueError("too long"))
    'ValueError: too long'
    """
    return f"{type(error).__name__}: {printed(error)}"

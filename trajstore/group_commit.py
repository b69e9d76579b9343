"""One commit for all threads that wait for one: a sync of the disk costs as much for many changes as for one.

Whoever finds nobody committing takes along what the others have asked for meanwhile (DeWitt et al., SIGMOD 1984).
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trajstore.connection import Connection
from trajstore.faultpoints import faultpoint

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Request(Generic[T]):
    """A change that a thread waits for."""

    work: Callable[[Connection], T]
    is_done: bool = False
    answer: T | None = None


class GroupCommit:
    """Carries out changes within transactions of `writing`; each is kept when `run` returns, and no error is shared."""

    def __init__(self, writing: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._writing = writing
        self._waiting: list[_Request[Any]] = []  # Any: each change has its own answer
        self._queue = threading.Lock()
        self._turn = threading.Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` and return its answer once it is on disk.

        `work` may be called twice: where one change of a transaction fails, none is kept and each has its own.
        """
        mine = _Request(work)
        with self._queue:
            self._waiting.append(mine)
        with self._turn:
            if not mine.is_done:
                self._commit_with(mine)
        return mine.answer  # type: ignore[return-value]  # it is done, so the answer is that of `work`

    def _commit_with(self, mine: _Request[Any]) -> None:
        with self._queue:
            together, self._waiting = self._waiting, []
        try:
            self._commit(together)
        except BaseException as error:
            with self._queue:
                self._waiting = [one for one in together if one is not mine] + self._waiting
            if len(together) == 1 or not isinstance(error, Exception):
                raise
            self._commit([mine])

    def _commit(self, requests: Sequence[_Request[Any]]) -> None:
        with self._writing() as connection:
            for one in requests:
                one.answer = one.work(connection)
            faultpoint("group written")
        for one in requests:
            one.is_done = True

"""What must begin anew in a forked child: threads, and the locks that they held, are not there."""

import os
from typing import Protocol, TypeVar
from weakref import WeakSet


class Resumable(Protocol):
    """Something that goes on in a forked child."""

    def resume_in_child(self) -> None:
        """After a fork, in the child: let go of what only the parent has."""
        ...


Kind = TypeVar("Kind", bound=Resumable)


def resumed_in_children() -> "WeakSet[Kind]":
    """An empty set, whose members resume in every child that is forked from now on."""
    members: WeakSet[Kind] = WeakSet()

    def resume_all() -> None:
        for one in tuple(members):
            one.resume_in_child()

    os.register_at_fork(after_in_child=resume_all)
    return members

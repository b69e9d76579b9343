"""Repetition that successes near here show: waiting until an egg has hatched is no loop."""

import numpy as np

from selector.loops import Loop
from trajstore.experience import Experience
from trajstore.retriever import Evidence

LEAST_SHOWN = 2


def is_shown(loop: Loop, evidence: Evidence, experience: Experience) -> bool:
    """Whether LEAST_SHOWN examples near here made one call of the loop's tool as often in a row, and then once more.

    Only for a call that is made again and again: of a cycle of several calls examples say nothing.
    """
    tool = experience.tools.known(next(iter(loop.tools)))
    if loop.kind != "same call" or tool < 0:
        return False
    tools, actions, owners = (experience.column(name) for name in ("tool", "action", "trajectory"))
    rows = evidence.rows[(evidence.rows >= loop.repeats) & (tools.take(evidence.rows) == tool)]
    rows = rows[experience.trajectory_column("weight").take(owners.take(rows)) > 0.0]
    before = rows[:, None] - np.arange(1, loop.repeats + 1)
    is_same = (actions.take(before) == actions.take(rows)[:, None]) & (
        owners.take(before) == owners.take(rows)[:, None]
    )
    return len(np.unique(owners.take(rows[is_same.all(axis=1)]))) >= LEAST_SHOWN

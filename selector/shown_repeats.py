"""Repetition that successes near here show: to wait until an egg has hatched, or water boils, is no loop."""

import numpy as np
from numpy.typing import NDArray

from selector.loops import Loop
from trajstore.experience import Experience
from trajstore.retriever import Evidence

LEAST_SHOWN = 2


def times_shown(tool: str, evidence: Evidence, experience: Experience) -> int:
    """How many times LEAST_SHOWN examples near here had made the very call of the tool before they made it again.

    What was called when the state was another one is no repetition: a jug is filled again once it was poured out.
    """
    names = "tool", "action", "trajectory", "moment"
    tools, actions, owners, moments = (experience.column(name) for name in names)
    rows = _examples(evidence, experience)
    rows = rows[tools.take(rows) == experience.tools.known(tool)]
    ends = experience.trajectory_column("end")
    times: dict[int, int] = {}
    for row, owner in zip(rows.tolist(), owners.take(rows).tolist(), strict=True):
        first = int(ends[owner - 1]) if owner else 0
        same = (actions[first:row] == actions[row]) & (moments[first:row] == moments[row])
        times[owner] = max(times.get(owner, 0), int(same.sum()))
    most = sorted(times.values(), reverse=True)
    return most[LEAST_SHOWN - 1] if len(most) >= LEAST_SHOWN else 0


def is_shown(loop: Loop, evidence: Evidence, experience: Experience) -> bool:
    """Whether LEAST_SHOWN examples near here made calls of the loop's tools as often over and over, and then once more.

    Of steps that only bring nothing new, in no order, examples say nothing.
    """
    known = np.array([experience.tools.known(tool) for tool in loop.tools])
    if loop.kind == "no progress" or (known < 0).any():
        return False
    tools, actions, owners = (experience.column(name) for name in ("tool", "action", "trajectory"))
    length = loop.length * loop.repeats
    rows = _examples(evidence, experience)
    rows = rows[rows >= length]
    steps = rows[:, None] - np.arange(length + 1)  # the step itself, and so many before it
    rounds = np.arange(length + 1 - loop.length)
    goes_on = actions.take(steps[:, rounds]) == actions.take(steps[:, rounds + loop.length])
    is_alike = np.isin(tools.take(steps), known) & (owners.take(steps) == owners.take(rows)[:, None])
    return len(np.unique(owners.take(rows[goes_on.all(axis=1) & is_alike.all(axis=1)]))) >= LEAST_SHOWN


def _examples(evidence: Evidence, experience: Experience) -> NDArray[np.integer]:
    """The rows of evidence that belong to successes, or to what is as good as one."""
    weights = experience.trajectory_column("weight").take(experience.column("trajectory").take(evidence.rows))
    return evidence.rows[weights > 0.0]

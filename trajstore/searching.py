"""Search for a person: the nearest stored steps of one situation, with the similarity in each key."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajstore.allowed import Allowed
from trajstore.columns import Vocabulary
from trajstore.experience import Experience
from trajstore.filters import ALL_STEPS, Wanted
from trajstore.recalled import Recollection
from trajstore.render import PastStep, render_goal, render_state


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored step: its joint similarity to what was asked, and that of each key."""

    trajectory: str
    step: int
    tool: str
    similarity: float
    success: bool | None
    goal: float
    state: float
    order: float


def search(
    recollection: Recollection,
    task: str,
    state: str = "",
    history: Sequence[PastStep] = (),
    *,
    k: int = 5,
    wanted: Wanted = ALL_STEPS,
) -> tuple[Hit, ...]:
    """The `k` stored steps nearest to a situation in goal, state and order together, nearest first.

    Only `wanted` steps are found.
    """
    experience, retriever = recollection.experience, recollection.retriever
    goals = retriever.goal_similarities(experience.embed(render_goal(task)))
    texts = (
        experience.embed(render_state(state, history) or render_goal(task)),
        experience.embed(render_state(state, ()) or render_goal(task)),
    )
    allowed = rows_of(experience, wanted)
    query = retriever.query(texts, goals, experience.tokens(history), allowed=allowed)
    evidence = retriever.evidence(query)
    rows = evidence.rows[:k]
    keys = retriever.key_similarities(rows, query)
    return tuple(
        Hit(trajectory, step, tool, float(similarity), success, *key)
        for (trajectory, step, tool, success), similarity, key in zip(
            map(experience.describe, rows.tolist()), evidence.similarities[:k], keys.tolist(), strict=True
        )
    )


def rows_of(experience: Experience, wanted: Wanted) -> Allowed | None:
    """The rows that are wanted; None for all rows."""
    masks = [
        _named(vocabulary, names, experience.column(column))
        for vocabulary, names, column in (
            (experience.sources, wanted.sources, "source"),
            (experience.tools, wanted.tools, "tool"),
        )
        if names
    ]
    return Allowed(np.logical_and.reduce(masks)) if masks else None


def _named(known: Vocabulary, names: Sequence[str], column: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which rows of a column hold one of some names."""
    is_meant = np.zeros(len(known) + 1, np.bool_)
    is_meant[[known.known(name) for name in names]] = True
    is_meant[-1] = False  # where the number of an unknown name points
    return np.asarray(is_meant[column], np.bool_)

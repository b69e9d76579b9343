"""Search for a person: the nearest stored steps of one situation, with the similarity in each key."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    recollection: Recollection, task: str, state: str = "", history: Sequence[PastStep] = (), *, k: int = 5
) -> tuple[Hit, ...]:
    """The `k` stored steps nearest to a situation in goal, state and order together, nearest first."""
    experience, retriever = recollection.experience, recollection.retriever
    goals = retriever.goal_similarities(experience.embed(render_goal(task)))
    texts = (
        experience.embed(render_state(state, history) or render_goal(task)),
        experience.embed(render_state(state, ()) or render_goal(task)),
    )
    query = retriever.query(texts, goals, experience.tokens(history))
    evidence = retriever.evidence(query)
    rows = evidence.rows[:k]
    keys = retriever.key_similarities(rows, query)
    return tuple(
        Hit(trajectory, step, tool, float(similarity), success, *key)
        for (trajectory, step, tool, success), similarity, key in zip(
            map(experience.describe, rows.tolist()), evidence.similarities[:k], keys.tolist(), strict=True
        )
    )

"""How often each grounded action was already done where the agent stands now: what did not help then helps less now."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selector.situation import Situation

Embed = Callable[[str], NDArray[np.float32]]

SAME_PLACE, OTHER_PLACE = 1.0, 0.95


def likeness_of_states(situation: Situation, embed: Embed) -> NDArray[np.float64]:
    """Cosine of the state before each past step to the present one; shape (T,)."""
    if not situation.history:
        return np.zeros(0)
    here = embed(situation.state)
    return np.array([float(embed(step.state) @ here) for step in situation.history])


def tries_here(situation: Situation, likeness_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times that each candidate was done in this state or one like it, in this episode; shape (K,).

    A past step counts by how much its state resembles the present one: 1 where they are equal, falling to 0 at a cosine
    of 0.95, so that a door that was opened since does not make another place.
    """
    counted = np.clip((likeness_T - OTHER_PLACE) / (SAME_PLACE - OTHER_PLACE), 0.0, 1.0)
    done: dict[str, float] = {}
    for step, weight in zip(situation.history, counted.tolist(), strict=True):
        done[step.action] = done.get(step.action, 0.0) + weight
    return np.array([done.get(action, 0.0) for action in situation.actions])


def times_lost(situation: Situation) -> NDArray[np.float64]:
    """How often each candidate lost reward in this episode, wherever the agent stood; shape (K,)."""
    done = zip(situation.done, situation.history, strict=True)
    lost = Counter(action for action, step in done if (step.reward or 0.0) < 0.0)
    return np.array([lost.get(action, 0) for action in situation.actions], np.float64)

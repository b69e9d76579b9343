"""What actions bring about, as stored observations tell it, against what was asked.

Of "You fry the potato with the stove." after "cook potato in stove" is kept that this action, with any object in the
potato's place, tells of "fry": the word before the object.  An action brings about what was asked where its word stands
before its object in the task or in a text that was read.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.episode_map import map_of
from selector.phrases import spoken
from selector.situation import Situation
from trajstore.render import PastStep

FORESIGHT_RELATIONS = ("brings about what was asked", "brings about what was asked and not yet done")
HOLE = "@"
_OBSERVATION_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Foresight:
    """The words that observations tell of an action, by the action with a hole for its object."""

    told: Mapping[str, tuple[str, ...]]


def learn_foresight(histories: Iterable[tuple[PastStep, ...]], *, least: int = 2, most: int = 2) -> Foresight:
    """What the steps of stored episodes tell: at most `most` words an action, each told `least` times or more."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for history in histories:
        if not history:
            continue
        things = map_of(history[:-1], history[-1].state, history[-1].offered).things
        for step in history:
            _count(counts, step, things.get(step.action, ""))
    return Foresight(
        {
            pattern: tuple(word for word, count in words.most_common(most) if count >= least)
            for pattern, words in counts.items()
        }
    )


def foresight_relations(situation: Situation, foresight: Foresight) -> NDArray[np.float64]:
    """Whether each candidate brings about what was asked, and not yet done; shape (K, 2), 0 or 1 each."""
    known = map_of(situation.history, situation.state, situation.actions)
    asked = spoken((situation.task, *known.texts))
    told = frozenset(step.observation for step in situation.history) - frozenset(known.texts)
    done = spoken(tuple(sorted(told)))
    rows = np.zeros((len(situation.actions), len(FORESIGHT_RELATIONS)))
    for place, action in enumerate(situation.actions):
        thing = known.things[action]
        phrases = [f" {word} {thing} " for word in foresight.told.get(pattern_of(action, thing), ()) if thing]
        found = [phrase for phrase in phrases if phrase in asked]
        rows[place] = bool(found), any(phrase not in done for phrase in found)
    return rows


def pattern_of(action: str, thing: str) -> str:
    """The action with a hole for its object.

    >>> pattern_of("cook in red potato stove", "red potato")
    'cook in @ stove'
    """
    return action.replace(f" {thing}", f" {HOLE}", 1)


def _count(counts: dict[str, Counter[str]], step: PastStep, thing: str) -> None:
    before, found, _ = spoken((step.observation[:_OBSERVATION_CHARACTERS],)).partition(f" {thing} ")
    if thing and found and before.strip() and not step.failed:
        counts[pattern_of(step.action, thing)][before.split()[-1]] += 1

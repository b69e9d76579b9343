"""How each candidate stands to what was asked: by the task, and by texts that the agent read on its way.

A text was read where an observation changed nothing and told what the state did not: a recipe, a list, a letter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.episode_map import EpisodeMap, Use, map_of
from selector.phrases import Words, arguments_of, content_words, spoken
from selector.situation import Situation

ASKED_RELATIONS = (
    "words of what was read",
    "object wanted",
    "object named",
    "spelled out and not done",
    "first of those spelled out",
    "mentions of other objects left",
)
_ABSENT = Use()
_MOST_MENTIONS = 3


def asked_relations(situation: Situation) -> NDArray[np.float64]:
    """How each candidate stands to what was asked; shape (K, len(ASKED_RELATIONS)), 0 to 1 each.

    An action is spelled out where its words stand in the text one after the other; an object's mentions are used up by
    the actions with it that changed something.
    """
    known = map_of(situation.history, situation.state, situation.actions)
    asked = _asked(known, situation)
    return np.array([_row(known, asked, action) for action in situation.actions], np.float64)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Worked out once for a decision: the words asked, and the two offered objects with most mentions left."""

    text: str
    read: Words
    first: str
    most_left: tuple[tuple[int, str], ...]


def _asked(known: EpisodeMap, situation: Situation) -> _Asked:
    text = spoken((situation.task, *known.texts))
    starts = [(text.find(spoken((action,))), action) for action in situation.actions if action not in known.done]
    left = {
        thing: text.count(f" {thing} ") - known.objects.get(thing, _ABSENT).changes
        for thing in known.sights[known.here].things
    }
    most_left = tuple(sorted(((number, thing) for thing, number in left.items()), reverse=True)[:2])
    first = min(((start, action) for start, action in starts if start >= 0), default=(0, ""))[1]
    return _Asked(text, content_words(" ".join(known.texts)), first, most_left)


def _row(known: EpisodeMap, asked: _Asked, action: str) -> tuple[float, ...]:
    arguments, thing = arguments_of(action), known.things[action]
    is_named = bool(thing) and f" {thing} " in asked.text
    others = next((number for number, other in asked.most_left if other != thing), 0)
    return (
        len(arguments & asked.read) / len(arguments) if arguments else 0.0,
        float(is_named and thing not in known.objects),
        float(is_named),
        float(action not in known.done and spoken((action,)) in asked.text),
        float(action == asked.first),
        _share(others),
    )


def _share(mentions: int) -> float:
    """Mentions as a share of the most that count, in [0, 1]."""
    return min(max(mentions, 0), _MOST_MENTIONS) / _MOST_MENTIONS

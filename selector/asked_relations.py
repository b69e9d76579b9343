"""How each candidate stands to what was asked: by the task, and by texts that the agent read on its way.

A text was read where an observation changed nothing and told what the state did not: a recipe, a list, a letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.episode_map import EpisodeMap, Use, map_of
from selector.kinds import as_asked
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
_ORDER = (0, 3, 4, 1, 2, 5)  # what is told of actions stands before what is told of objects


def asked_relations(situation: Situation) -> NDArray[np.float64]:
    """How each candidate stands to what was asked; shape (K, len(ASKED_RELATIONS)), 0 to 1 each.

    An action is spelled out where its words stand in the text one after the other; an object's mentions are used up by
    the actions with it that changed something.
    """
    known = map_of(situation.history, situation.state, situation.actions)
    asked = _asked(known, situation)
    of_thing = {thing: _about(known, asked, thing) for thing in {known.things[action] for action in situation.actions}}
    spoken_of = zip(situation.asked_actions, situation.actions, strict=True)
    rows = [(*_told(asked, told), *of_thing[known.things[action]]) for told, action in spoken_of]
    return np.array(rows, np.float64)[:, _ORDER]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Worked out once for a decision: the words asked, and the two offered objects with most mentions left.

    `starts` are where actions that are not done are spelled out in the text, `first` is the one spelled out first.
    """

    text: str
    read: Words
    starts: Mapping[str, int]
    first: str
    most_left: tuple[tuple[int, str], ...]


def _asked(known: EpisodeMap, situation: Situation) -> _Asked:
    text = spoken((situation.task, *known.texts))
    spoken_of = zip(situation.asked_actions, situation.actions, strict=True)
    starts = {told: _start(text, told) for told, action in spoken_of if action not in known.done}
    left = {
        thing: _mentions(text, thing) - known.objects.get(thing, _ABSENT).changes
        for thing in known.sights[known.here].things
    }
    most_left = tuple(sorted(((number, thing) for thing, number in left.items()), reverse=True)[:2])
    starts = {action: start for action, start in starts.items() if start >= 0}
    first = min(((start, action) for action, start in starts.items()), default=(0, ""))[1]
    return _Asked(text, content_words(" ".join(known.texts)), starts, first, most_left)


def _told(asked: _Asked, action: str) -> tuple[float, ...]:
    """What the texts say of the action."""
    return (
        _share_of(arguments_of(action), asked.read),
        float(action in asked.starts),
        float(action == asked.first),
    )


def _about(known: EpisodeMap, asked: _Asked, thing: str) -> tuple[float, ...]:
    """What the texts say of an object."""
    is_named = bool(thing) and _mentions(asked.text, thing) > 0
    others = next((number for number, other in asked.most_left if other != thing), 0)
    return float(is_named and thing not in known.objects), float(is_named), _share(others)


@lru_cache(maxsize=1 << 14)
def _start(text: str, action: str) -> int:
    """Where the action's words stand in the text one after the other; negative where they do not."""
    return text.find(spoken((action,)))


@lru_cache(maxsize=1 << 14)
def _mentions(text: str, thing: str) -> int:
    return text.count(f" {as_asked(thing, text)} ")


@lru_cache(maxsize=1 << 14)
def _share_of(words: Words, read: Words) -> float:
    """Share of the words that were read; 0 where there are none."""
    return len(words & read) / len(words) if words else 0.0


def _share(mentions: int) -> float:
    """Mentions as a share of the most that count, in [0, 1]."""
    return min(max(mentions, 0), _MOST_MENTIONS) / _MOST_MENTIONS

"""What is said of the things that the task names: the words beside each in the state, or where it was last read.

"A red ball 2 steps left", where the task is to go to the red ball, says to turn left; "you carry a red ball" that it is
the other thing's turn.  Which of them asks for which action is learned, so these are numbers of words alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selector.pages import records_of
from selector.phrases import FUNCTION_WORDS, phrases_of
from selector.reading import number_of, singular, words_of
from selector.situation import Situation
from trajstore.embedding import word_hash

Numbers = NDArray[np.int64]

MOST_THINGS = 24
MOST_FOUND = 3
MOST_STEPS = 8
MOST_BESIDE = 12
MOST_AFTER = 8


@dataclass(frozen=True, slots=True)
class Thing:
    """The numbers of the words that name a thing: those that its record must have, and those that most tasks have too.

    "Blue box next", as the task has it, is the blue box where every task puts something next to something.
    """

    own: frozenset[int]
    usual: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Said:
    """The word before a thing in its record, "" where there is none, and the pairs of words beside it; all after it."""

    before: str
    beside: tuple[str, ...]


def said_of_asked(situation: Situation, usual: Numbers) -> Numbers:
    """Numbers of what is said of the first MOST_FOUND things that the task names and that were read of; shape (M,).

    Each once for itself, and once with where the others are said to be.  `usual` are the numbers of words that most
    tasks have.
    """
    things = asked_things(situation.task, usual.tobytes())
    steps = reversed(situation.history[-MOST_STEPS:])
    texts = list(dict.fromkeys([situation.state, *(text for one in steps for text in (one.observation, one.state))]))
    found: dict[str, Said] = {}
    for place, thing in enumerate(things):
        told = ((text, said) for text in texts if (said := said_beside(thing, text)) is not None)
        text, said = next(told, ("", None))
        if said is not None:
            found[f"{place} {'is' if text == situation.state else 'was'}"] = said
        if len(found) == MOST_FOUND:
            break
    is_all = len(found) == len(things)
    return np.array([word_hash(words) for words in _told(found, is_all=is_all)], np.int64)


@lru_cache(maxsize=1 << 10)
def asked_things(task: str, usual: bytes) -> tuple[Thing, ...]:
    """The things that the task names by other than usual words alone, in their order."""
    known = frozenset(np.frombuffer(usual, np.int64).tolist())
    named = (frozenset(map(number_of, words_of(phrase))) for phrase in phrases_of(task))
    things = (Thing(words - known, words & known) for words in named)
    return tuple(dict.fromkeys(thing for thing in things if thing.own))[:MOST_THINGS]


@lru_cache(maxsize=1 << 13)
def said_beside(thing: Thing, text: str) -> Said | None:
    """What the record of the text that has most words of the thing, the first of them, says of it; None without one.

    >>> said_beside(Thing(frozenset(map(number_of, ("red", "ball")))), "You see a key; a red ball 2 steps left.")
    Said(before='', beside=('= 2 step left', '2 step', 'step left'))
    """
    fitting = [(words, numbers) for words, numbers in _records(text) if thing.own.issubset(numbers)]
    if not fitting:
        return None
    words, numbers = max(fitting, key=lambda one: len(thing.usual.intersection(one[1])))
    is_own = [number in thing.own or number in thing.usual for number in numbers]
    first, last = is_own.index(True), len(words) - 1 - is_own[::-1].index(True)
    nearest = sorted(range(len(words)), key=lambda place: min(abs(place - first), abs(place - last)))
    kept = sorted(place for place in nearest[: MOST_BESIDE + sum(is_own)] if not is_own[place])
    named = [_kind(words[place]) for place in kept if words[place] not in FUNCTION_WORDS]
    after = [_kind(words[place]) for place in kept if place > last][:MOST_AFTER]
    before = next((word for word in reversed(words[:first]) if word not in FUNCTION_WORDS), "")
    return Said(before, (" ".join(["=", *after]), *(f"{one} {other}" for one, other in pairwise(named))))


@lru_cache(maxsize=1 << 12)
def _records(text: str) -> tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]:
    """The words of each record that has any, and their numbers."""
    return tuple((words, tuple(map(number_of, words))) for words in map(words_of, records_of(text)) if words)


def _told(found: dict[str, Said], *, is_all: bool) -> Iterator[str]:
    for place, said in found.items():
        others = " ".join(f"{other} {one.before}" for other, one in found.items() if other != place)
        for words in said.beside:
            yield f"{place}: {words}"
            yield f"{place}: {words}, {others} {is_all}"


def _kind(word: str) -> str:
    """The word without a plural's ending; numbers of more than one digit are alike."""
    return "#" if word.isdecimal() and len(word) > 1 else singular(word)

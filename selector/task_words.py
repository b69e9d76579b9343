"""Stored words in the words of another task: what two tasks say differently is exchanged."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import groupby

from selector.reading import words_of

BRIDGED = 0.1
UNBRIDGED = 0.3

Pairs = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1 << 12)
def differing(stored: str, asked: str) -> Pairs:
    """Pairs of phrases in which two texts differ: what the stored one says, and what is said in its place; long first.

    Where a phrase has another number of words than what replaces it, most of it stands for all of it: an action may
    leave a word out.

    >>> differing("put the red apple in the box", "put the green plum in the box")
    (('red apple', 'green plum'), ('red', 'green'), ('apple', 'plum'))
    >>> differing("weigh unknown matter B", "weigh milk")
    (('unknown matter b', 'milk'), ('unknown matter', 'milk'), ('matter b', 'milk'))
    """
    mine, theirs = words_of(stored), words_of(asked)
    pairs: dict[str, str] = {}
    for kind, begin, end, first, last in _changes(mine, theirs):
        if kind != "replace":
            continue
        said, instead = mine[begin:end], " ".join(theirs[first:last])
        pairs.setdefault(" ".join(said), instead)
        if end - begin == last - first:
            for one, other in zip(said, theirs[first:last], strict=True):
                pairs.setdefault(one, other)
        else:
            for part in _most_of(said):
                pairs.setdefault(part, instead)
    return long_first(pairs.items())


def _most_of(phrase: Sequence[str]) -> Iterator[str]:
    """The parts of a phrase that have more than half of its words in a row: what is often said for all of it."""
    for length in range(len(phrase) - 1, len(phrase) // 2, -1):
        for first in range(len(phrase) - length + 1):
            yield " ".join(phrase[first : first + length])


def unlikeness(stored: str, asked: str, spoken: frozenset[str]) -> float:
    """What it costs to take a stored path for another task: BRIDGED for each difference that exchanging words mends.

    Those are the differences in words that the path's arguments have, `spoken`.  Each other word that one task has
    alone costs UNBRIDGED: nothing says that what the path does depends on it as asked.

    >>> unlikeness("boil water", "boil milk", frozenset({"water"}))
    0.1
    >>> unlikeness("boil milk", "freeze milk", frozenset({"milk"}))
    0.3
    """
    mine, theirs, cost = words_of(stored), words_of(asked), 0.0
    for kind, begin, end, first, last in _changes(mine, theirs):
        if kind == "replace" and not spoken.isdisjoint(mine[begin:end]):
            cost += BRIDGED
        elif kind != "equal":
            cost += UNBRIDGED * max(end - begin, last - first)
    return cost


def exchanged(text: str, pairs: Pairs) -> str:
    """The text's words with each first phrase replaced by its second, all at once, longer ones first.

    >>> exchanged("red box of apple", (("red", "blue"), ("apple", "red")))
    'blue box of red'
    """
    words = " ".join(words_of(text))
    if not pairs:
        return words
    table = dict(pairs)
    return _pattern(pairs).sub(lambda found: table[found.group()], words)


def long_first(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The pairs whose first phrase has most words come first, so that no part of a phrase is exchanged before it."""
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0].split())))


@lru_cache(maxsize=1 << 12)
def _changes(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[tuple[str, int, int, int, int], ...]:
    matcher = SequenceMatcher(None, mine, theirs, autojunk=False)
    same = [one == other for one, other in zip(mine, theirs, strict=False)]
    if len(mine) == len(theirs) and sum(same) >= sum(block.size for block in matcher.get_matching_blocks()):
        return tuple(_word_by_word(same))
    return tuple(matcher.get_opcodes())


def _word_by_word(same: Sequence[bool]) -> Iterator[tuple[str, int, int, int, int]]:
    """Changes between texts of as many words, where no shift makes more of them equal."""
    at = 0
    for is_equal, run in groupby(same):
        end = at + len(list(run))
        yield "equal" if is_equal else "replace", at, end, at, end
        at = end


@lru_cache(maxsize=1 << 10)
def _pattern(pairs: Pairs) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(re.escape(one) for one, _ in pairs) + r")\b")

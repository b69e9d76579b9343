"""Stored words in the words of another task: what two tasks say differently is exchanged."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import groupby, takewhile

from selector.reading import words_of

BRIDGED = 0.1
UNBRIDGED = 0.3

Pairs = tuple[tuple[str, str], ...]
Words = tuple[str, ...]


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
        if kind == "replace":
            for said, instead in _pairs_of(mine[begin:end], theirs[first:last]):
                pairs.setdefault(" ".join(said), " ".join(instead))
    return long_first(pairs.items())


def _pairs_of(said: Words, instead: Words) -> Iterator[tuple[Words, Words]]:
    """A phrase with what replaces it, and parts of it: each word where both have as many, else most of the phrase."""
    yield said, instead
    if len(said) == len(instead):
        yield from (((one,), (other,)) for one, other in zip(said, instead, strict=True))
        return
    for length in range(len(said) - 1, len(said) // 2, -1):
        yield from ((said[first : first + length], instead) for first in range(len(said) - length + 1))


@dataclass(frozen=True, slots=True)
class Bridge:
    """How a stored path is taken for another task: the phrases to exchange in it, and what that costs."""

    pairs: Pairs
    cost: float


def bridge(stored: str, asked: str, said: Sequence[str], silent: frozenset[str] = frozenset()) -> Bridge:
    """What to exchange in a path of the task `stored` so that it serves the task `asked`.

    `said` are the arguments of the path's steps, `silent` the words that tasks like these have and the arguments of no
    path: they say what to do, not with what.  A difference costs BRIDGED where it is about what the path speaks of, and
    UNBRIDGED for each of its silent words; any other difference costs UNBRIDGED for each of its words, for nothing says
    that what the path does depends on it as asked.

    >>> bridge("boil water", "boil milk", ["water"])
    Bridge(pairs=(('water', 'milk'),), cost=0.1)
    >>> bridge("boil milk", "freeze milk", ["milk"]).cost
    0.3

    Names are exchanged as a whole: the longest that the path says, and for all of the name that is asked for.

    >>> bridge("light the red lamp", "light the blue lamp", ["red lamp", "red wire"]).pairs
    (('red lamp', 'blue lamp'),)
    >>> bridge("melt ice", "melt ice cream", ["ice"]).pairs
    (('ice', 'ice cream'),)
    >>> dict(bridge("change the state of tea", "melt ice cream", ["tea"], frozenset({"melt", "change"})).pairs)["tea"]
    'ice cream'
    """
    mine, theirs, cost = words_of(stored), words_of(asked), 0.0
    told = _Told.of(said)
    pairs: dict[str, str] = {}
    for kind, begin, end, first, last in _changes(mine, theirs):
        if kind == "equal":
            continue
        old, new = mine[begin:end], theirs[first:last]
        if not (old and new) and silent.isdisjoint(old + new):  # a name that is longer than the other
            named = told.end_of(mine[:begin])
            old, new = named + old, named + new
        about, instead = _longest_run(old, told.words.__contains__), _longest_run(new, lambda word: word not in silent)
        if not (about and instead):
            cost += UNBRIDGED * max(end - begin, last - first)
            continue
        cost += BRIDGED + UNBRIDGED * max(_count(old, silent), _count(new, silent))
        rest = told.rest_of_name(old, mine[end:]) if kind == "replace" else ()
        for one, other in (*_pairs_of(old, new), (about, instead)):
            is_cut = old[-len(one) :] == one
            pairs.setdefault(" ".join(one + rest * is_cut), " ".join(other + rest * is_cut))
    return Bridge(long_first(pairs.items()), cost)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the arguments of a path say: their words, and all of them in one text with blanks around each word."""

    words: frozenset[str]
    text: str

    @classmethod
    def of(cls, said: Sequence[str]) -> "_Told":
        """What these arguments say."""
        told = [words_of(one) for one in said]
        return cls(frozenset().union(*told), "".join(f" {' '.join(one)} |" for one in told))

    def end_of(self, words: Words) -> Words:
        """The words at the end that are all said."""
        return tuple(reversed(list(takewhile(self.words.__contains__, reversed(words)))))

    def rest_of_name(self, words: Words, following: Words) -> Words:
        """As many of the words that follow as are said right after the last of `words`."""
        rest: Words = ()
        for word in following:
            if f" {' '.join((words[-1], *rest, word))} " not in self.text:
                break
            rest = (*rest, word)
        return rest


def _count(words: Words, among: frozenset[str]) -> int:
    return sum(word in among for word in words)


def _longest_run(words: Words, is_wanted: Callable[[str], bool]) -> Words:
    """The longest run of wanted words, the first of several."""
    runs = (tuple(run) for wanted, run in groupby(words, is_wanted) if wanted)
    return max(runs, key=len, default=())


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
def _changes(mine: Words, theirs: Words) -> tuple[tuple[str, int, int, int, int], ...]:
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

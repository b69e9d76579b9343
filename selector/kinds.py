"""Names with a number at their end: one thing of a kind.  A task that wants "a mug" is about "mug 2" too."""

import re
from functools import lru_cache

from selector.reading import singular, words_of

_NUMBERED = re.compile(r"(.*[a-z])\s+\d+")


@lru_cache(maxsize=1 << 15)
def as_asked(name: str, text: str) -> str:
    """The name, or that of its kind where the text has only that.

    >>> as_asked("mug 2", "put a mug on the shelf"), as_asked("mug 2", "wash mug 1"), as_asked("plate 1", "wash mug 1")
    ('mug', 'mug 2', 'plate 1')
    >>> as_asked("mug 2", "put two mugs on the shelf")
    'mug'
    """
    found = _NUMBERED.fullmatch(name)
    if found is None:
        return name
    return found[1] if _is_named(f" {singular(found[1])} ", _spoken(text)) else name


def _is_named(kind: str, said: str) -> bool:
    """Whether a text says this with no number after it."""
    at = said.find(kind)
    while at >= 0 and said[at + len(kind) :][:1].isdecimal():
        at = said.find(kind, at + 1)
    return at >= 0


@lru_cache(maxsize=1 << 10)
def _spoken(text: str) -> str:
    return f" {' '.join(map(singular, words_of(text)))} "

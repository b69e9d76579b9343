"""Texts as words."""

import re

MOST_CHARACTERS = 4000
_WORD = re.compile(r"[a-z]+|\d+")


def words_of(text: str) -> list[str]:
    """Words and numbers of the first MOST_CHARACTERS characters, in lower case.

    >>> words_of("Take 2 apples, re-try.")
    ['take', '2', 'apples', 're', 'try']
    """
    return _WORD.findall(text[:MOST_CHARACTERS].lower())

"""Which words and phrases of a text name something: what is left when the words that every text has are taken away."""

import re
from functools import lru_cache

from selector.reading import WORD

Words = frozenset[str]

SENTENCE = re.compile(r"[.!?:;]+\s*|\n")
TOKEN = re.compile(r"[a-z]+|\d+|,")
# fmt: off
FUNCTION_WORDS = frozenset((  # the words of English that name nothing; a list of words reads best in lines
    "a", "also", "an", "and", "are", "at", "be", "by", "for", "from", "here", "i", "in", "inside", "into", "is", "it",
    "its", "of", "on", "onto", "or", "out", "s", "some", "that", "the", "then", "there", "this", "through", "to", "up",
    "was", "which", "with", "you", "your",
))
# fmt: on


@lru_cache(maxsize=1 << 15)
def content_words(text: str) -> Words:
    """The words of a text that name something.

    >>> sorted(content_words("You see the living room."))
    ['living', 'room', 'see']
    """
    return frozenset(WORD.findall(text.lower())) - FUNCTION_WORDS


@lru_cache(maxsize=1 << 15)
def verb_of(action: str) -> str:
    """The first word of an action."""
    return action.partition(" ")[0]


@lru_cache(maxsize=1 << 15)
def arguments_of(action: str) -> Words:
    """The words of an action after its verb that name something."""
    return content_words(action.partition(" ")[2])


@lru_cache(maxsize=1 << 15)
def object_of(action: str) -> str:
    """The first run of words after an action's verb that names something.

    >>> object_of("put red apple in kitchen cupboard"), object_of("open to door north"), object_of("wait")
    ('red apple', 'door north', '')
    """
    return next(iter(phrases_of(action.partition(" ")[2])), "")


@lru_cache(maxsize=1 << 12)
def phrases_of(text: str) -> tuple[str, ...]:
    """Runs of words that name something, in their order.

    >>> phrases_of("You are in the living room.")
    ('living room',)
    """
    return tuple(phrase for part in SENTENCE.split(text.lower()) for phrase in runs(TOKEN.findall(part), frozenset()))


@lru_cache(maxsize=1 << 14)
def spoken(texts: tuple[str, ...]) -> str:
    """The words of the texts that name something, in their order, between blanks.

    >>> spoken(("Dice the potato.", "Fry it."))
    ' dice potato fry '
    """
    words = (word for text in texts for word in WORD.findall(text.lower()) if word not in FUNCTION_WORDS)
    return f" {' '.join(words)} "


def runs(words: list[str], glue: frozenset[str]) -> list[str]:
    """Runs of words between commas, function words and `glue`."""
    phrases: list[list[str]] = [[]]
    for word in words:
        if word == "," or word in glue or word in FUNCTION_WORDS:
            phrases.append([])
        else:
            phrases[-1].append(word)
    return [" ".join(phrase) for phrase in phrases if phrase]

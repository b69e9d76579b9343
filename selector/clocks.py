"""Clocks: numbers that tell when something was seen, not what was seen, such as the time of day or a count of steps.

What is equal but for a clock is the same.  Nothing says which number is a clock, but a clock is in every observation,
at the same place from its begin or its end, and it grows from each to the next whatever was called.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

NUMBER = re.compile(r"\d{1,18}(?:[-:./T]\d{1,18})*")
LEAST_TEXTS = 3
MOST_CLOCKS = 8

Number = tuple[int, int, tuple[int, ...]]  # begin and end in the text, and the groups of digits


def without_clocks(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts of one episode, in their order, each clock in them replaced by "#"; as they are where there is none.

    Fewer than LEAST_TEXTS texts show no clock; of more than MOST_CLOCKS numbers from either end, the first are asked.

    >>> without_clocks(["Hall, move 1", "Cellar, move 3", "Hall, move 4"])
    ('Hall, move #', 'Cellar, move #', 'Hall, move #')
    >>> without_clocks(["12:59:58 idle", "13:00:01 idle", "13:00:04 2 jobs"])
    ('# idle', '# idle', '# 2 jobs')
    >>> without_clocks(["3 jobs", "4 jobs", "4 jobs"])
    ('3 jobs', '4 jobs', '4 jobs')
    """
    if len(texts) < LEAST_TEXTS or not _clocks(texts[-LEAST_TEXTS:]):  # the newest few are quickly asked
        return tuple(texts)
    places = _clocks(texts)
    return tuple(_masked(text, places) for text in texts) if places else tuple(texts)


def _clocks(texts: Sequence[str]) -> tuple[int, ...]:
    """The places, from the begin (0, 1, …) and the end (−1, −2, …), whose numbers grow from each text to the next."""
    numbers = [_numbers(text) for text in texts]
    fewest = min(map(len, numbers))
    places = (place for step in range(min(fewest, MOST_CLOCKS)) for place in (step, -1 - step))
    return tuple(place for place in places if all(one[place][2] < other[place][2] for one, other in pairwise(numbers)))


@lru_cache(maxsize=1 << 10)
def _numbers(text: str) -> tuple[Number, ...]:
    """Where numbers stand in a text; what is written as one, as a time of day is, counts as one."""
    found = NUMBER.finditer(text)
    return tuple((one.start(), one.end(), tuple(map(int, re.findall(r"\d+", one.group())))) for one in found)


@lru_cache(maxsize=1 << 10)
def _masked(text: str, places: tuple[int, ...]) -> str:
    """The text with "#" for the numbers at these places."""
    numbers = _numbers(text)
    for begin, end, _ in sorted({numbers[place] for place in places}, reverse=True):
        text = f"{text[:begin]}#{text[end:]}"
    return text

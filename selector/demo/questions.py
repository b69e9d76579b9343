"""Questions that an environment asks back: which of several things an action is about, to be answered by a number."""

import re
from collections.abc import Mapping

from selector.demo.wording import compact

_QUESTION = re.compile(r"\s*ambiguous request", re.IGNORECASE)
_OPTION = re.compile(r"^\s*(\d+):\s*(.+?)\s*$", re.MULTILINE)
_PLACES = re.compile(r"\s*\(([^,()]*)[^()]*\)")


def options_of(answer: str) -> dict[str, str]:
    r"""The different things that the environment asks about, each with the first number that stands for it.

    Empty where it asks nothing.

    >>> options_of("Ambiguous request: which?\n0:\teat pea (in jar)\n1:\teat pea (in jar)\n2:\teat pea (in pot)")
    {'eat pea (in jar)': '0', 'eat pea (in pot)': '2'}
    >>> options_of("You eat the pea.")
    {}
    """
    if not _QUESTION.match(answer):
        return {}
    numbers: dict[str, str] = {}
    for number, text in _OPTION.findall(answer):
        numbers.setdefault(compact(text), number)
    return numbers


def shortened(options: Mapping[str, str]) -> dict[str, str]:
    """Options with the nearest place of each thing alone, as they stand where that does not tell them apart.

    >>> shortened({"eat pea (in jar, in hall)": "0", "eat pea (in pot, in hall)": "1"})
    {'eat pea in jar': '0', 'eat pea in pot': '1'}
    >>> shortened({"eat pea (in jar, in hall)": "0", "eat pea (in jar, in yard)": "1"})
    {'eat pea (in jar, in hall)': '0', 'eat pea (in jar, in yard)': '1'}
    """
    short = {_PLACES.sub(r" \1", text): number for text, number in options.items()}
    return short if len(short) == len(options) else dict(options)

"""How the numbers in candidates stand to each other and to what was read: least, next, equal, the value of a sum.

Numbers are compared with their units (SI: "25 g" is less than "1 kg").
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import MOST_CHARACTERS
from selector.situation import Situation

Floats = NDArray[np.float64]

NUMBER_RELATIONS = (
    "has a number",
    "rank of its number among its tool's",
    "the least number of its tool",
    "the least number not done yet of its tool",
    "the greatest number of its tool",
    "the least number of all tools that earned nothing yet",
    "the next number after that of the newest action with one",
    "its number in the task",
    "its number in the newest observation",
    "its number is what was asked to be computed",
)

_UNITS = {
    "mg": 1e-3,
    "g": 1.0,
    "kg": 1e3,
    "t": 1e6,
    "ml": 1e-3,
    "cl": 1e-2,
    "dl": 1e-1,
    "l": 1.0,
    "mm": 1e-3,
    "cm": 1e-2,
    "m": 1.0,
    "km": 1e3,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
}
_NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([a-z]+)?", re.IGNORECASE)
_A, _B = r"(\d+(?:\.\d+)?)", r"(\d+(?:\.\d+)?)"
_EXPRESSIONS = (
    (re.compile(rf"\b(?:add|sum(?: of)?) {_A} (?:and|to) {_B}|{_A} (?:plus|\+) {_B}"), "+"),
    (re.compile(rf"\bsubtract {_A} from {_B}"), "from"),
    (re.compile(rf"{_A} (?:minus|[-−]) {_B}"), "-"),
    (re.compile(rf"\b(?:multiply|product of) {_A} (?:and|by|with) {_B}|{_A} (?:times|[*×]) {_B}"), "*"),
    (re.compile(rf"\bdivide {_A} by {_B}|{_A} (?:divided by|[/÷]) {_B}"), "/"),
)


def number_relations(situation: Situation) -> Floats:
    """The relations of each candidate's first number; shape (K, len(NUMBER_RELATIONS)), 0 where it has none."""
    numbers_K = np.array([quantity(action) for action in situation.actions])
    has_number = np.isfinite(numbers_K)
    if not has_number.any():
        return np.zeros((len(numbers_K), len(NUMBER_RELATIONS)))
    tools_K, done = situation.tools.places, set(situation.done)
    is_open = np.array([action not in done for action in situation.actions]) & has_number
    earned = [quantity(step.action) for step in situation.history if step.reward and step.reward > 0.0]
    is_due = has_number & ~np.isin(numbers_K, earned)
    used = map(quantity, reversed(situation.done))
    previous = next((value for value in used if np.isfinite(value)), -1.0)
    newest = situation.last.observation if situation.last else situation.state
    columns = [
        has_number,
        _rank(numbers_K, tools_K, has_number),
        numbers_K == _extreme(numbers_K, tools_K, has_number),
        is_open & (numbers_K == _extreme(numbers_K, tools_K, is_open)),
        numbers_K == -_extreme(-numbers_K, tools_K, has_number),
        is_due & (numbers_K == np.min(numbers_K[is_due], initial=np.inf)),
        numbers_K == _extreme(numbers_K, tools_K, has_number & (numbers_K > previous)),
        np.isin(numbers_K, quantities(situation.task)),
        np.isin(numbers_K, quantities(newest)),
        numbers_K == asked_for(situation),
    ]
    return np.where(has_number[:, None], np.stack(columns, axis=1).astype(np.float64), 0.0)


@lru_cache(maxsize=1 << 14)
def quantity(text: str) -> float:
    """The first number of a text in its base unit; NaN where there is none.

    >>> quantity("take 25mg of oak"), quantity("take 2 apples"), quantity("look")
    (0.025, 2.0, nan)
    """
    found = _NUMBER.search(text)
    return _value(found) if found else float("nan")


@lru_cache(maxsize=1 << 12)
def quantities(text: str) -> Sequence[float]:
    """All numbers of a text in their base units."""
    return tuple(_value(found) for found in _NUMBER.finditer(text))


def asked_for(situation: Situation) -> float:
    """The value of the newest arithmetic expression in what was read, else in the task; NaN where there is none."""
    texts = [situation.state, *(step.observation for step in reversed(situation.history)), situation.task]
    return next((value for text in texts if np.isfinite(value := expression(text))), float("nan"))


@lru_cache(maxsize=1 << 12)
def expression(text: str) -> float:
    """The value of the last arithmetic expression in words or signs; NaN where there is none.

    >>> expression("subtract 6 from 31"), expression("what is 7 times 3?"), expression("7 apples")
    (25.0, 21.0, nan)
    """
    found = [
        (match.start(), sign, match)
        for pattern, sign in _EXPRESSIONS
        for match in pattern.finditer(text[:MOST_CHARACTERS].lower())
    ]
    if not found:
        return float("nan")
    _, sign, match = max(found, key=lambda one: one[0])
    left, right = (float(group) for group in match.groups() if group is not None)
    return _computed(left, sign, right)


def _computed(left: float, sign: str, right: float) -> float:
    if sign == "/":
        return left / right if right else float("nan")
    return {"+": left + right, "from": right - left, "-": left - right, "*": left * right}[sign]


def _value(found: re.Match[str]) -> float:
    return float(found[1]) * _UNITS.get((found[2] or "").lower(), 1.0)


def _extreme(numbers_K: Floats, tools_K: NDArray[np.int64], counted: NDArray[np.bool_]) -> Floats:
    """The least counted number of each candidate's tool; infinity where there is none; shape (K,)."""
    least = np.full(int(tools_K.max()) + 1, np.inf)
    np.minimum.at(least, tools_K[counted], numbers_K[counted])
    return least[tools_K]


def _rank(numbers_K: Floats, tools_K: NDArray[np.int64], has_number: NDArray[np.bool_]) -> Floats:
    """Share of the tool's other numbers that are below; 0 for the least, 1 for the greatest."""
    ranks = np.zeros(len(numbers_K))
    for tool in np.unique(tools_K[has_number]):
        members = np.flatnonzero(has_number & (tools_K == tool))
        ordered = np.sort(numbers_K[members])
        ranks[members] = np.searchsorted(ordered, numbers_K[members]) / max(len(members) - 1, 1)
    return ranks

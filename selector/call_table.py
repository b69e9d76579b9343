"""How alike calls are, each pair compared once: rows are candidates and steps done, columns calls of stored paths."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selector.reading import words_of

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
ToolCall = tuple[str, str]  # a tool in lower case, and the whole action as words

MOST_ROWS = 1 << 12
NAMED = 1.5
NUMBERED = 0.5


class CallTable:
    """Cosines of the words of arguments; grows with the calls asked for, and begins anew beyond MOST_ROWS rows.

    `text` is that of the task that the rows belong to.
    """

    def __init__(self, text: str = "") -> None:
        self._text = frozenset(words_of(text))
        self._row_shares = np.zeros(0, np.float64)
        self._words: dict[str, int] = {}
        self._weights: list[float] = []
        self._tools: dict[str, int] = {}
        self._columns: dict[ToolCall, int] = {}
        self._bags_UW = np.zeros((0, 0), np.float32)
        self._column_tools = np.zeros(0, np.int64)
        self._rows: dict[ToolCall, int] = {}
        self._row_tools = np.zeros(0, np.int64)
        self._row_words: tuple[list[int], list[int]] = ([], [])
        self._alike_CU = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._columns)

    def columns(self, calls: Sequence[ToolCall]) -> Numbers:
        """The column of each call; new ones are added."""
        fresh = [call for call in dict.fromkeys(calls) if call not in self._columns]
        if fresh:
            self._add_columns(fresh)
        return np.array([self._columns[call] for call in calls], np.int64)

    def rows(self, calls: Sequence[ToolCall]) -> Numbers:
        """The row of each call; new ones are added."""
        fresh = [call for call in dict.fromkeys(calls) if call not in self._rows]
        if len(self._rows) + len(fresh) > MOST_ROWS:
            self._forget_rows()
            fresh = list(dict.fromkeys(calls))
        if fresh:
            self._add_rows(fresh)
        return np.array([self._rows[call] for call in calls], np.int64)

    def alike(self, rows: Numbers, columns: Numbers | slice) -> Floats:
        """Cosine of the arguments' words of rows and columns, in [0, 1]; shape (rows, columns)."""
        return np.asarray(self._alike_CU[rows][:, columns], np.float32)

    def is_same_tool(self, rows: Numbers, columns: Numbers | slice) -> NDArray[np.bool_]:
        """Whether rows and columns have the same tool; shape (rows, columns)."""
        return np.asarray(self._row_tools[rows][:, None] == self._column_tools[columns][None, :])

    def row_tools(self, rows: Numbers) -> Numbers:
        """The number of each row's tool."""
        return self._row_tools[rows]

    def row_shares(self, rows: Numbers) -> NDArray[np.float64]:
        """Share of the words of each row's arguments that the task's text has, in [0, 1]."""
        return self._row_shares[rows]

    def of_tools(self, rows: Numbers, columns: Numbers, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of the values of the columns that have each row's tool; shape (rows,)."""
        sums = np.bincount(self._column_tools[columns], values, len(self._tools))
        return np.asarray(sums[self._row_tools[rows]], np.float64)

    def shares_in(self, text: str) -> Floats:
        """Share of the words of each column's arguments that a text has, in [0, 1], 1 without arguments; shape (U,)."""
        known = (self._words.get(word, -1) for word in {*_words(text), ""})
        present = np.zeros(self._bags_UW.shape[1], np.float32)
        present[[number for number in known if 0 <= number < len(present)]] = 1.0
        return np.asarray(self._bags_UW**2 @ present, np.float32)

    def _add_columns(self, fresh: Sequence[ToolCall]) -> None:
        first = len(self._columns)
        numbered = [self._numbered(call) for call in fresh]
        self._columns |= {call: first + n for n, call in enumerate(fresh)}
        tools = np.array([self._tool(tool) for tool, _ in fresh], np.int64)
        self._column_tools = np.concatenate([self._column_tools, tools])
        bags_UW = np.zeros((len(self._columns), len(self._words)), np.float32)
        bags_UW[:first, : self._bags_UW.shape[1]] = self._bags_UW
        weights = np.array(self._weights, np.float32)
        for column, words in enumerate(numbered, start=first):
            bags_UW[column, words] = weights[words] / np.sqrt((weights[words] ** 2).sum())
        self._bags_UW = bags_UW
        flat, starts = self._row_words
        more = self._cosines(np.array(flat, np.int64), np.array(starts, np.int64), bags_UW[first:])
        self._alike_CU = np.concatenate([self._alike_CU, more], axis=1)

    def _add_rows(self, fresh: Sequence[ToolCall]) -> None:
        numbered = [self._numbered(call) for call in fresh]
        first = len(self._rows)
        self._rows |= {call: first + n for n, call in enumerate(fresh)}
        tools = np.array([self._tool(tool) for tool, _ in fresh], np.int64)
        self._row_tools = np.concatenate([self._row_tools, tools])
        shares = [share_named(tuple(dict.fromkeys(words_of(_arguments(call)))), self._text) for call in fresh]
        self._row_shares = np.concatenate([self._row_shares, shares])
        flat, starts = self._row_words
        begins = np.cumsum([0, *map(len, numbered)])[:-1]
        added = [word for words in numbered for word in words]
        more = self._cosines(np.array(added, np.int64), begins, self._bags_UW)
        starts.extend((begins + len(flat)).tolist())
        flat.extend(added)
        self._alike_CU = np.concatenate([self._alike_CU, more])

    def _cosines(self, flat: Numbers, starts: Numbers, bags_UW: Floats) -> Floats:
        """Cosine of each run of words with each bag; words that no bag has count in the length alone."""
        if not len(starts):
            return np.zeros((0, len(bags_UW)), np.float32)
        width = bags_UW.shape[1]
        weights = np.array(self._weights, np.float32)[flat]
        padded_WU = np.concatenate([bags_UW.T, np.zeros((1, len(bags_UW)), np.float32)])
        summed = np.add.reduceat(padded_WU[np.minimum(flat, width)] * weights[:, None], starts)
        lengths = np.sqrt(np.add.reduceat(weights**2, starts))
        return np.asarray(summed / lengths[:, None], np.float32)

    def _forget_rows(self) -> None:
        self._rows, self._row_words = {}, ([], [])
        self._row_tools, self._row_shares = np.zeros(0, np.int64), np.zeros(0, np.float64)
        self._alike_CU = np.zeros((0, len(self._columns)), np.float32)

    def _numbered(self, call: ToolCall) -> list[int]:
        return [self._number(word) for word in _words(_arguments(call))]

    def _number(self, word: str) -> int:
        number = self._words.setdefault(word, len(self._words))
        if number == len(self._weights):
            self._weights.append(NAMED if word in self._text else NUMBERED if "#" in word else 1.0)
        return number

    def _tool(self, tool: str) -> int:
        return self._tools.setdefault(tool, len(self._tools))


def share_named(words: Sequence[str], text: frozenset[str]) -> float:
    """Share of some words that a text has; 0 of none.

    >>> share_named(["red", "box"], frozenset({"the", "box"}))
    0.5
    """
    return sum(word in text for word in words) / len(words) if words else 0.0


def _arguments(call: ToolCall) -> str:
    tool, action = call
    return action[len(tool) :].strip()


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> tuple[str, ...]:
    """The different words of a text; the empty word where there are none, so that nothing equals nothing."""
    words = words_of(text)
    parts = (f"{before}#{word}" if word.isdecimal() and before else word for before, word in pairwise(("", *words)))
    return tuple(dict.fromkeys(parts)) or ("",)

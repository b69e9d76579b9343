"""How each candidate stands to what was read and done, by the words that they share; it carries over to new objects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import words_of
from selector.situation import Situation
from trajstore.embedding import word_hash

_WORD_TABLE = 1 << 15
_PAIR_TABLE = 1 << 17

WORD_RELATIONS = (
    "words in the task",
    "words in the state",
    "words in the newest observation",
    "words in older observations",
    "pairs in the task",
    "pairs in the newest observation",
    "pairs in older observations",
    "times done (log)",
    "done in this state",
    "same as the last action",
    "earned when it was done",
    "lost when it was done",
    "its object earned last",
    "its object lost last",
    "words of the last action",
    "words of older actions",
    "has arguments",
    "words never read",
)


def word_relations(situation: Situation) -> NDArray[np.float64]:
    """How each candidate stands to what was read and done; shape (K, len(WORD_RELATIONS)), about 0 to 1 each."""
    words, pairs = _arguments(situation.actions), _pairs(situation.actions)
    history = situation.history
    newest = history[-1].observation if history else ""
    older = " . ".join(dict.fromkeys(step.observation for step in history[:-1]))
    texts = [situation.task, situation.state, newest, older]
    word_tables = [_table(_encode(text).words, _WORD_TABLE) for text in texts]
    pair_tables = [
        _table(_encode(text).pairs, _PAIR_TABLE) for text in (texts[0], f"{newest} {situation.state}", older)
    ]
    last_words = _table(_encode(history[-1].args if history else "").words, _WORD_TABLE)
    older_words = _table(_encode(" ".join(step.args for step in history[:-1])).words, _WORD_TABLE)
    read = np.logical_or.reduce(word_tables)
    columns = [
        *(words.share_in(table) for table in word_tables),
        *(pairs.share_in(table) for table in pair_tables),
        *_repeats(situation),
        words.share_in(last_words),
        words.share_in(older_words),
        (words.lengths > 0).astype(np.float64),
        np.where(words.lengths > 0, 1.0 - words.share_in(read), 0.0),
    ]
    return np.stack(columns, axis=1)


def _repeats(situation: Situation) -> list[NDArray[np.float64]]:
    """How often each action was done, whether in this very state, whether just now, and what it earned or lost."""
    done = [step.action for step in situation.history]
    times = Counter(done)
    earned = {step.action for step in situation.history if (step.reward or 0.0) > 0.0}
    lost = {step.action for step in situation.history if (step.reward or 0.0) < 0.0}
    here = {action for action, step in zip(done, situation.history, strict=True) if step.state == situation.state}
    last = done[-1] if done else None
    return [
        np.log1p([times.get(action, 0) for action in situation.actions]),
        np.array([action in here for action in situation.actions], np.float64),
        np.array([action == last for action in situation.actions], np.float64),
        np.array([action in earned for action in situation.actions], np.float64),
        np.array([action in lost for action in situation.actions], np.float64),
        *_newest_reward(situation),
    ]


def _newest_reward(situation: Situation) -> list[NDArray[np.float64]]:
    """Whether the newest step that named each candidate's first argument earned, and whether it lost."""
    newest = dict.fromkeys(situation.objects, 0.0)
    for step in reversed(situation.history):
        for phrase in [one for one in newest if one and not newest[one] and one in step.args]:
            newest[phrase] = step.reward or np.finfo(float).tiny
    signs = np.sign([newest[phrase] if abs(newest[phrase]) > 1e-12 else 0.0 for phrase in situation.objects])
    return [(signs > 0).astype(np.float64), (signs < 0).astype(np.float64)]


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Hashed words of a text after its first, and hashed pairs of neighbouring words."""

    words: NDArray[np.int64]
    pairs: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Ragged:
    """Several lists of numbers in one array."""

    values: NDArray[np.int64]
    owners: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def share_in(self, table: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Share of each list's numbers that are marked in the table; 0 for an empty list."""
        hits = np.bincount(self.owners, table[self.values], len(self.lengths))
        return hits / np.maximum(self.lengths, 1)


def _arguments(actions: Sequence[str]) -> _Ragged:
    """The words of each action without its tool."""
    return _ragged([_encode(action.partition(" ")[2]).words for action in actions])


def _pairs(actions: Sequence[str]) -> _Ragged:
    return _ragged([_encode(action).pairs for action in actions])


def _ragged(lists: list[NDArray[np.int64]]) -> _Ragged:
    lengths = np.array([len(values) for values in lists], np.int64)
    return _Ragged(np.concatenate(lists), np.repeat(np.arange(len(lists)), lengths), lengths)


@lru_cache(maxsize=1 << 15)
def _encode(text: str) -> _Encoded:
    hashes = np.fromiter((word_hash(word) >> 1 for word in words_of(text)), np.int64)
    return _Encoded(hashes % _WORD_TABLE, (hashes[:-1] * 31 + hashes[1:]) % _PAIR_TABLE)


def _table(places: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    table = np.zeros(size, np.bool_)
    table[places] = True
    return table

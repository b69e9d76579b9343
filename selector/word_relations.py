"""How each candidate stands to what was read and done, by the words that they share; it carries over to new objects."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import MOST_CHARACTERS, NO_WORDS, numbers_of
from selector.situation import Situation

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

_WORD_TABLE = 1 << 15
_PAIR_TABLE = 1 << 17
_READ = 4
_NO_REWARD = 1e-12

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


def word_relations(situation: Situation) -> Floats:
    """How each candidate stands to what was read and done; shape (K, len(WORD_RELATIONS)), about 0 to 1 each."""
    history = situation.history
    newest = [step.observation for step in history[-1:]]
    task, state = _read([situation.task]), _read([situation.state])
    older = _read(dict.fromkeys(step.observation for step in history[:-1]), " . ")
    done = _read([step.args for step in history[-1:]]), _read([step.args for step in history[:-1]])
    words = _ragged([_argument_words(action) for action in situation.asked_actions])
    pairs = _ragged([_action_pairs(action) for action in situation.asked_actions])
    in_words = words.shares_in([text % _WORD_TABLE for text in (task, state, _read(newest), older, *done)], _WORD_TABLE)
    around = _read([*newest, situation.state]) if newest else state
    in_pairs = pairs.shares_in([_pairs(text) for text in (task, around, older)], _PAIR_TABLE)
    has_words = (words.lengths > 0).astype(np.float64)
    texts, never_read = in_words[:, :4], has_words - in_words[:, -1]
    parts = (texts, in_pairs[:, :3], _repeats(situation), _newest_reward(situation), in_words[:, 4:6])
    return np.column_stack([*parts, has_words, never_read])


def _repeats(situation: Situation) -> Floats:
    """How often each action was done, whether in this very state, whether just now, and what it earned or lost.

    Shape (K, 5).
    """
    steps = list(zip(situation.done, situation.history, strict=True))
    times = Counter(situation.done)
    here = {action for action, step in steps if step.state == situation.state}
    earned = {action for action, step in steps if step.reward and step.reward > 0.0}
    lost = {action for action, step in steps if step.reward and step.reward < 0.0}
    made = np.zeros((len(situation.actions), 5))
    for place, action in enumerate(situation.actions):
        if action in times:
            is_last = action == situation.done[-1]
            made[place] = math.log1p(times[action]), action in here, is_last, action in earned, action in lost
    return made


def _newest_reward(situation: Situation) -> Floats:
    """Whether the newest step that named each candidate's first argument earned, and whether it lost; shape (K, 2)."""
    rewards = dict.fromkeys(situation.objects, 0.0)
    unnamed = set(rewards) - {""}
    if any(step.reward for step in situation.history):
        newest: dict[str, float | None] = {}
        for step in reversed(situation.history):
            newest.setdefault(step.args, step.reward)
        for args, reward in newest.items():
            named = {phrase for phrase in unnamed if phrase in args}
            rewards.update(dict.fromkeys(named, reward or 0.0))
            unnamed -= named
    rewards_K = np.array([rewards[phrase] for phrase in situation.objects])
    return np.stack([rewards_K > _NO_REWARD, rewards_K < -_NO_REWARD], axis=1)


@dataclass(frozen=True, slots=True)
class _Ragged:
    """Several lists of numbers in one array; list k ends before `ends[k]`."""

    values: Numbers
    ends: Numbers
    lengths: Numbers

    def shares_in(self, texts: Sequence[Numbers], size: int) -> Floats:
        """Share of each list's numbers below `size` that each text has; 0 for an empty list.

        One column for each text, and a last one for what any of the first _READ texts has.
        """
        table = np.zeros(size, np.uint8)
        for place, text in enumerate(texts):
            table[text] |= 1 << place
        marks = table[self.values]
        marks |= ((marks & (1 << _READ) - 1) > 0).astype(np.uint8) << len(texts)
        counts = np.zeros((len(self.lengths), len(texts) + 1))
        if len(marks):
            hits = (marks >> np.arange(len(texts) + 1, dtype=np.uint8)[:, None]) & 1
            is_full = self.lengths > 0
            counts[is_full] = np.add.reduceat(hits, (self.ends - self.lengths)[is_full], axis=1, dtype=np.float64).T
        return np.asarray(counts / np.maximum(self.lengths, 1)[:, None], np.float64)


def _ragged(lists: list[Numbers]) -> _Ragged:
    lengths = np.array([len(values) for values in lists], np.int64)
    return _Ragged(np.concatenate(lists), np.cumsum(lengths), lengths)


def _read(texts: Iterable[str], between: str = " ") -> Numbers:
    """Hashed words of the texts one after the other, as far as a single text is read."""
    parts, room = [NO_WORDS], MOST_CHARACTERS
    for text in texts:
        if room <= 0:
            break
        parts.append(numbers_of(text[:room]))
        room -= len(text) + len(between)
    return np.concatenate(parts) if len(parts) > 2 else parts[-1]


@lru_cache(maxsize=1 << 15)
def _argument_words(action: str) -> Numbers:
    """Places of an action's words after its tool."""
    return numbers_of(action.partition(" ")[2]) % _WORD_TABLE


@lru_cache(maxsize=1 << 15)
def _action_pairs(action: str) -> Numbers:
    return _pairs(numbers_of(action))


def _pairs(words: Numbers) -> Numbers:
    """Places of pairs of neighbouring words."""
    return (words[:-1] * 31 + words[1:]) % _PAIR_TABLE

"""Words on which the next tool has depended: "shipped" in what was read, and the address can no longer be changed.

Hashed words tell weakly, as there are many of them.  Those that go with what was called next more often than chance,
given the tool before, count in full.  They are found by the likelihood ratio test of independence (G², Wilks 1938) over
stored decisions, each unit of them counted once a tool.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from selector.phrases import FUNCTION_WORDS
from selector.reading import first_words
from selector.situation import Situation

Floats = NDArray[np.float64]

MOST_DECISIVE = 256
MOST_WORDS = 160
MOST_TOOLS = 4
LEAST_UNITS = 4.0
LEAST_RATIO = 12.0
MOST_AFTER = 16
SAME = 0.8
MOST_DECISIONS = 4000


@dataclass(frozen=True, eq=False)
class DecisiveWords:
    """Pairs of a tool and a word, or two words, that tell what comes after that tool, in the order of the features."""

    words: tuple[tuple[str, str], ...] = ()

    def places_in(self, situation: Situation) -> list[int]:
        """The places of those that the task, the state and the newest observations have, in their order."""
        wanted = self._after.get(_tool_before(situation), [])
        texts = _all_tokens(situation) if wanted else []
        return [place for place, word in wanted if any(word in tokens for tokens in texts)]

    @cached_property
    def _after(self) -> dict[str, list[tuple[int, str]]]:
        found: dict[str, list[tuple[int, str]]] = {}
        for place, (before, word) in enumerate(self.words):
            found.setdefault(before, []).append((place, word))
        return found


NONE_DECISIVE = DecisiveWords()


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at one stored decision, the tool before it, the one that was called, and whose decision it is."""

    tokens: frozenset[str]
    before: str
    tool: str
    unit: int


def moment_of(situation: Situation, tool: str, unit: int) -> Moment:
    """One stored decision."""
    return Moment(frozenset().union(*_all_tokens(situation)), _tool_before(situation), tool, unit)


def find_decisive(moments: Sequence[Moment]) -> DecisiveWords:
    """The words that tell most of what comes next: at most MOST_AFTER for each tool before, MOST_DECISIVE in all."""
    by_before: dict[str, list[Moment]] = {}
    for one in moments:
        by_before.setdefault(one.before, []).append(one)
    found = [(ratio, before, word) for before, members in by_before.items() for word, ratio in _telling(members)]
    best = sorted(found, key=lambda one: (-one[0], one[1:]))[:MOST_DECISIVE]
    return DecisiveWords(tuple((before, word) for _, before, word in best))


def _telling(moments: Sequence[Moment]) -> list[tuple[str, float]]:
    """The words that go with the tool, and their G² less its degrees of freedom; of words that go together, one."""
    tools = tuple(dict.fromkeys(one.tool for one in moments))
    words, has_MW = _presence(moments)
    present_WT = np.asarray(has_MW.T @ _called(moments, tools))
    absent_WT = _called(moments, tools).sum(axis=0) - present_WT
    is_known_W = np.minimum(present_WT.sum(axis=1), absent_WT.sum(axis=1)) >= LEAST_UNITS
    ratio_W = _entropies(present_WT + absent_WT) - _entropies(present_WT) - _entropies(absent_WT) - (len(tools) - 1)
    good = np.flatnonzero(is_known_W & (ratio_W >= LEAST_RATIO))
    good = good[np.argsort(-ratio_W[good], kind="stable")]
    return [(words[place], float(ratio_W[place])) for place in good[_unlike(has_MW[:, good].toarray())].tolist()]


def _presence(moments: Sequence[Moment]) -> tuple[tuple[str, ...], csr_matrix]:
    """All W words, and which of them each of M moments has; shape (M, W)."""
    names: dict[str, int] = {}
    columns = [[names.setdefault(word, len(names)) for word in sorted(one.tokens)] for one in moments]
    flat = np.array([column for row in columns for column in row], np.int64)
    ends = np.cumsum([0, *map(len, columns)])
    return tuple(names), csr_matrix((np.ones(len(flat)), flat, ends), (len(moments), len(names)))


def _called(moments: Sequence[Moment], tools: Sequence[str]) -> Floats:
    """Which tool each moment called; all calls of it by one unit count as one; shape (M, T)."""
    shared = Counter((one.unit, one.tool) for one in moments)
    called_MT = np.zeros((len(moments), len(tools)))
    columns = [tools.index(one.tool) for one in moments]
    called_MT[np.arange(len(moments)), columns] = [1.0 / shared[one.unit, one.tool] for one in moments]
    return called_MT


def _unlike(has_MW: Floats) -> list[int]:
    """The first MOST_AFTER words of which no two go together, in their order."""
    scaled_MW = (has_MW - has_MW.mean(axis=0)) / (has_MW.std(axis=0) + 1e-9)
    kept: list[int] = []
    for place in range(scaled_MW.shape[1]):
        alike = np.abs(scaled_MW[:, kept].T @ scaled_MW[:, place]) / len(scaled_MW)
        if len(kept) < MOST_AFTER and not (alike > SAME).any():
            kept.append(place)
    return kept


def _entropies(counts_WT: Floats) -> Floats:
    """Twice the total times the entropy of each row of counts; shape (W,)."""
    total_W = counts_WT.sum(axis=1)
    logs = np.log(np.maximum(counts_WT, 1e-12) / np.maximum(total_W, 1e-12)[:, None])
    return np.asarray(-2.0 * (counts_WT * logs).sum(axis=1), np.float64)


@lru_cache(maxsize=1 << 11)
def _tokens(text: str) -> frozenset[str]:
    """The words of a text that name something and are no numbers, and pairs of neighbours."""
    words = [word for word in first_words(text, MOST_WORDS) if not word.isdecimal()]
    named = (word for word in words if word not in FUNCTION_WORDS)
    return frozenset((*named, *(f"{one} {other}" for one, other in pairwise(words))))


@lru_cache(maxsize=1 << 9)
def _task_tokens(task: str) -> frozenset[str]:
    return frozenset(f"task:{word}" for word in _tokens(task))


def _all_tokens(situation: Situation) -> list[frozenset[str]]:
    """Those of the task, the state, and the newest observation of each of the tools that were called last."""
    newest: dict[str, str] = {}
    for step in reversed(situation.history):
        if len(newest) == MOST_TOOLS:
            break
        newest.setdefault(step.tool, step.observation)
    return [_task_tokens(situation.task), *map(_tokens, (situation.state, *newest.values()))]


def _tool_before(situation: Situation) -> str:
    return situation.last.tool if situation.last else ""

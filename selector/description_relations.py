"""How each candidate stands to what is asked for, by the words in which it describes itself.

A tool's name and description say what it is for.  Words count by how few of the offered candidates use them (inverse
document frequency, Spärck Jones 1972, over the candidates at hand) and agree where their stems do; no word is known
beforehand.  Stems are cut at the endings of English: in other languages words agree where they are equal.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.situation import Situation
from trajstore.embedding import word_hash
from trajstore.render import PastStep

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Marks = NDArray[np.bool_]

DESCRIPTION_RELATIONS = (
    "name in the request",
    "description like the request",
    "description most like the request",
    "name in what is left of the request",
    "description like what is left of the request",
    "description most like what is left of the request",
    "description like the last observation",
    "share of the request that is served",
    "calls for the request (log)",
    "called for the request (log)",
    "called before the request (log)",
    "description like the last tool's",
)

_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ations?|ions?|ing|ers?|ed|es|s|e)$")
_MOST_CHARACTERS = 4000


def description_relations(situation: Situation) -> Floats:
    """How each candidate stands to what is asked for; shape (K, len(DESCRIPTION_RELATIONS)), about 0 to 1 each.

    A candidate describes itself by its `text`, where it has one, and its tool's name.  The request is the state as it
    stood before the newest run of steps in which it only grew: what came since are answers.  What is left of it are the
    words that no tool called since describes itself by.
    """
    since, last, tools = situation.since_request, situation.last, situation.tools
    request = _words(situation.request)
    names, texts = _lexicons(tuple((candidate.tool, candidate.text) for candidate in situation.candidates))
    calls = Counter(step.tool for step in since)
    called = [number for number, name in enumerate(tools.texts) if name in calls]
    called_last = [number for number, name in enumerate(tools.texts) if last and name == last.tool]
    describing = np.zeros(len(tools.texts), np.int64)
    describing[tools.places] = np.arange(len(tools.places))
    asked, marked = names.marks(request), texts.marks(request)
    served = texts.words_of(describing[called]) & marked
    made = np.empty((len(DESCRIPTION_RELATIONS), len(tools.places)))
    made[0] = names.coverage(asked)[tools.places]
    made[1] = texts.likeness(marked)
    made[3] = names.coverage(asked & ~names.words_of(called))[tools.places]
    made[4] = texts.likeness(marked & ~served)
    made[[2, 5]] = made[[1, 4]] / np.maximum(made[[1, 4]].max(axis=1, keepdims=True), 1e-12)
    made[6] = texts.likeness(texts.marks(_words(last.observation if last else "")))
    made[7] = texts.share(served, marked)
    made[8:11] = _called(situation, since, calls)
    made[11] = texts.likeness(texts.words_of(describing[called_last]))
    return made.T


def _called(situation: Situation, since: Sequence[PastStep], calls: Mapping[str, int]) -> Floats:
    """Calls since the request: of all tools, of each candidate's (logs); and whether it was called before; (3, K)."""
    before = {step.tool for step in situation.history[: len(situation.history) - len(since)]}
    made = np.empty((3, len(situation.tools.texts)))
    made[0] = math.log1p(len(since))
    made[1] = [math.log1p(calls.get(name, 0)) for name in situation.tools.texts]
    made[2] = [name in before for name in situation.tools.texts]
    return made[:, situation.tools.places]


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The words of K texts: each of the n times that text `users[i]` uses word `uses[i]`, in the order of the texts.

    `numbers_V` are the numbers of all V words, ascending, `weights_V` says how telling each is; `lengths_K` is the
    length of each text's weights, `totals_K` their sum.
    """

    numbers_V: Numbers
    uses: Numbers
    users: Numbers
    weights_V: Floats
    lengths_K: Floats
    totals_K: Floats

    def marks(self, words: Numbers) -> Marks:
        """Which of the V words are among others, which ascend."""
        marked_V = np.zeros(len(self.numbers_V), np.bool_)
        places = np.searchsorted(self.numbers_V, words)
        within = places < len(marked_V)
        places = places[within]
        marked_V[places[self.numbers_V[places] == words[within]]] = True
        return marked_V

    def words_of(self, texts: Iterable[int]) -> Marks:
        """Which of the V words some of the texts use."""
        used = np.zeros(len(self.numbers_V), np.bool_)
        for text in texts:
            used[self.uses[self.users == text]] = True
        return used

    def likeness(self, marked_V: Marks) -> Floats:
        """Cosine of each text with the marked words, both weighted; 0 where either has none."""
        squares_V = np.where(marked_V, self.weights_V**2, 0.0)
        shared_K = np.bincount(self.users, squares_V[self.uses], len(self.lengths_K))
        lengths_K = self.lengths_K * math.sqrt(squares_V.sum())
        return np.asarray(shared_K / np.where(lengths_K > 0.0, lengths_K, 1.0), np.float64)

    def coverage(self, marked_V: Marks) -> Floats:
        """Weighted share of each text's words that are marked."""
        weights_V = np.where(marked_V, self.weights_V, 0.0)
        marked_K = np.bincount(self.users, weights_V[self.uses], len(self.totals_K))
        return np.asarray(marked_K / np.where(self.totals_K > 0.0, self.totals_K, 1.0), np.float64)

    def share(self, part_V: Marks, whole_V: Marks) -> float:
        """Weight of some words as a share of that of others; 0 where there are none."""
        whole = float(self.weights_V[whole_V].sum())
        return float(self.weights_V[part_V].sum()) / whole if whole > 0.0 else 0.0


@lru_cache(maxsize=1 << 8)
def _lexicons(described: tuple[tuple[str, str], ...]) -> tuple[_Lexicon, _Lexicon]:
    """The words of the different tools' names, by how many candidates they name, and those of all descriptions."""
    names = Counter(tool for tool, _ in described)
    own = [_own_words(tool, text) for tool, text in described]
    return _lexicon([*map(_words, names)], np.array([*names.values()])), _lexicon(own, np.ones(len(own)))


def _lexicon(texts: Sequence[Numbers], times: NDArray[np.int64] | Floats) -> _Lexicon:
    """The words of texts that are there several times."""
    numbers_V, uses = np.unique(np.concatenate(texts), return_inverse=True)
    users = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    counts_V = np.bincount(uses, times[users], len(numbers_V))
    weights_V = np.log((times.sum() + 1.0) / (counts_V + 0.5))
    weights = weights_V[uses]
    squares_K = np.bincount(users, weights**2, len(texts))
    totals_K = np.asarray(np.bincount(users, weights, len(texts)), np.float64)
    return _Lexicon(numbers_V, uses, users, weights_V, np.sqrt(squares_K), totals_K)


@lru_cache(maxsize=1 << 15)
def _own_words(tool: str, text: str) -> Numbers:
    """What a candidate describes itself by."""
    return _words(f"{tool} {text}")


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> Numbers:
    """Numbers of the different word stems of a text, ascending; identifiers count by their parts.

    >>> bool((_words("startEngine") == _words("engine started")).all())
    True
    """
    return np.array(sorted(set(map(_number, _PART.findall(text[:_MOST_CHARACTERS])))), np.int64)


@lru_cache(maxsize=1 << 15)
def _number(part: str) -> int:
    return word_hash(_ENDING.sub("", part.lower()))

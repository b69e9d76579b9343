"""How each candidate stands to what is asked for, by the words in which it describes itself.

A tool's name and description say what it is for.  Words count by how few of the offered candidates use them (inverse
document frequency, Spärck Jones 1972, over the candidates at hand) and agree where their stems do; no word is known
beforehand.  Stems are cut at the endings of English: in other languages words agree where they are equal.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from selector.situation import Situation
from trajstore.embedding import word_hash
from trajstore.render import PastStep

Floats = NDArray[np.float64]

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
    since = steps_since_request(situation)
    request = _words(since[0].state if since else situation.state)
    last = situation.last
    names, texts = _lexicons(tuple((candidate.tool, candidate.text) for candidate in situation.candidates))
    places = {candidate.tool: place for place, candidate in enumerate(situation.candidates)}
    called = [places[step.tool] for step in since if step.tool in places]
    marked = texts.marks(request)
    served = texts.words_of(called) & marked
    left = marked & ~served
    like, like_left = texts.likeness(marked), texts.likeness(left)
    asked = names.marks(request)
    tools = [step.tool for step in since]
    before = {step.tool for step in situation.history[: len(situation.history) - len(since)]}
    columns = [
        names.coverage(asked),
        like,
        _relative(like),
        names.coverage(asked & ~names.words_of(called)),
        like_left,
        _relative(like_left),
        texts.likeness(texts.marks(_words(last.observation if last else ""))),
        np.full(len(like), texts.share(served, marked)),
        np.full(len(like), np.log1p(len(since))),
        np.log1p([tools.count(candidate.tool) for candidate in situation.candidates]),
        np.array([candidate.tool in before for candidate in situation.candidates], np.float64),
        texts.likeness(texts.words_of([places[last.tool]] if last and last.tool in places else [])),
    ]
    return np.stack(columns, axis=1)


def steps_since_request(situation: Situation) -> tuple[PastStep, ...]:
    """The newest steps since which the state has only grown: each began in a state that the next one begins with."""
    state, first = situation.state, len(situation.history)
    while first and situation.history[first - 1].state and state.startswith(situation.history[first - 1].state):
        first -= 1
        state = situation.history[first].state
    return situation.history[first:]


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The words of K texts: `uses_KV` marks who uses which of V words, `weights_V` how telling each is."""

    numbers_V: NDArray[np.int64]
    uses_KV: csr_matrix
    weights_V: Floats

    def marks(self, words: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the V words are among others."""
        return np.isin(self.numbers_V, words)

    def words_of(self, places: Sequence[int]) -> NDArray[np.bool_]:
        """Which of the V words some of the texts use."""
        used = np.zeros(len(self.numbers_V), np.bool_)
        for place in places:
            used[self.uses_KV.indices[self.uses_KV.indptr[place] : self.uses_KV.indptr[place + 1]]] = True
        return used

    def likeness(self, marked_V: NDArray[np.bool_]) -> Floats:
        """Cosine of each text with the marked words, both weighted; 0 where either has none."""
        squares = self.weights_V**2
        shared = self.uses_KV @ np.where(marked_V, squares, 0.0)
        lengths = np.sqrt((self.uses_KV @ squares) * squares[marked_V].sum())
        return np.asarray(shared / np.where(lengths > 0.0, lengths, 1.0), np.float64)

    def coverage(self, marked_V: NDArray[np.bool_]) -> Floats:
        """Weighted share of each text's words that are marked."""
        totals = self.uses_KV @ self.weights_V
        return np.asarray(
            self.uses_KV @ np.where(marked_V, self.weights_V, 0.0) / np.where(totals > 0.0, totals, 1.0), np.float64
        )

    def share(self, part_V: NDArray[np.bool_], whole_V: NDArray[np.bool_]) -> float:
        """Weight of some words as a share of that of others; 0 where there are none."""
        whole = float(self.weights_V[whole_V].sum())
        return float(self.weights_V[part_V].sum()) / whole if whole > 0.0 else 0.0


@lru_cache(maxsize=256)
def _lexicons(described: tuple[tuple[str, str], ...]) -> tuple[_Lexicon, _Lexicon]:
    names = [_words(tool) for tool, _ in described]
    texts = [_words(f"{tool} {text}") for tool, text in described]
    return _lexicon(names), _lexicon(texts)


def _lexicon(words: Sequence[NDArray[np.int64]]) -> _Lexicon:
    numbers, columns = np.unique(np.concatenate(words), return_inverse=True)
    starts = np.concatenate([[0], np.cumsum([len(one) for one in words])])
    uses = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(words), len(numbers)))
    users = np.bincount(columns, minlength=len(numbers))
    return _Lexicon(numbers, uses, np.log((len(words) + 1.0) / (users + 0.5)))


def _relative(values: Floats) -> Floats:
    """Each value as a share of the largest."""
    return values / max(float(values.max()), 1e-12)


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> NDArray[np.int64]:
    """Numbers of the different word stems of a text; identifiers count by their parts.

    >>> bool((_words("startEngine") == _words("engine started")).all())
    True
    """
    stems = {_stem(part) for part in _PART.findall(text[:_MOST_CHARACTERS])}
    return np.array(sorted(word_hash(stem) for stem in stems), np.int64)


def _stem(part: str) -> str:
    return _ENDING.sub("", part.lower())

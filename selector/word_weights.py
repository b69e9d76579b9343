"""How much the words of tasks matter: as much as paths differ whose tasks differ in them.

A colour that is exchanged wherever a path names it matters nothing; "plant" in place of "animal" changes where to go.
Nobody says which is which.  Of two stored paths one is taken for the other's task, with the words exchanged in which
the tasks differ (`selector.task_words`); how far it is from the other path then is what those words matter together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from selector.path_relations import StoredPath
from selector.reading import words_of
from selector.task_words import bridge, exchanged
from selector.word_neighbours import bags_of, nearest_texts

Floats = NDArray[np.float64]

MOST_ASKED = 400
NEAREST = 24
RIDGE = 5.0
LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class WordWeights:
    """Weights ≥ 0 of words, those that matter nothing left out."""

    weights: Mapping[str, float] = field(default_factory=dict)

    def apart(self, stored: str, asked: str) -> float:
        """How much the words matter that only one of two tasks has; about the share of a path that differs.

        >>> WordWeights({"plant": 0.2, "animal": 0.3}).apart("find the red plant", "find the blue animal")
        0.5
        """
        only = frozenset(words_of(stored)) ^ frozenset(words_of(asked))
        return sum(self.weights.get(word, 0.0) for word in only)


NO_WEIGHTS = WordWeights()


def fit_word_weights(paths: Sequence[StoredPath], seed: int = 0) -> WordWeights:
    """The weights with which words explain best how far paths of tasks that read alike are from each other.

    Of at most MOST_ASKED paths, in an order that `seed` shuffles, each is compared with the NEAREST by the words of its
    task.  Non-negative ridge regression (Hoerl & Kennard 1970) of the distances on the words that only one task has.
    """
    if len(paths) < 2:
        return NO_WEIGHTS
    order = np.random.default_rng(seed).permutation(len(paths))  # of tasks that read alike, which are compared is luck
    shuffled = [paths[place] for place in order.tolist()]
    texts = [frozenset(words_of(path.task)) for path in shuffled]
    asked = np.arange(min(len(shuffled), MOST_ASKED))
    near, _ = nearest_texts(texts, asked, np.arange(len(shuffled)), min(NEAREST, len(shuffled) - 1))
    pairs = [(stored, one) for one, others in zip(asked.tolist(), near.tolist(), strict=True) for stored in others]
    apart = np.array([distance(shuffled[stored], shuffled[one]) for stored, one in pairs])
    numbers, bags = bags_of(texts)
    stored, one = np.array(pairs, np.int64).T
    weights = _non_negative_ridge(abs(bags[stored] - bags[one]).tocsr(), apart)
    return WordWeights({word: float(weights[number]) for word, number in numbers.items() if weights[number] > LEAST})


def distance(stored: StoredPath, asked: StoredPath) -> float:
    """How far a path, taken for the task of another, is from it: the share in [0, 1] of calls that one alone makes."""
    pairs = bridge(stored.task, asked.task, stored.args).pairs
    theirs = {(tool, exchanged(args, pairs)) for tool, args in zip(stored.tools, stored.args, strict=True)}
    own = {(tool, exchanged(args, ())) for tool, args in zip(asked.tools, asked.args, strict=True)}
    return 1.0 - len(own & theirs) / max(len(own | theirs), 1)


def _non_negative_ridge(words_NW: csr_matrix, apart_N: Floats) -> Floats:
    """Weights (W,) ≥ 0 for which b + words · weights is nearest to `apart_N`, with some b ≥ 0."""
    transposed_WN = words_NW.T.tocsr()

    def objective(fitted: Floats) -> tuple[float, Floats]:
        away = fitted[0] + words_NW @ fitted[1:] - apart_N
        slope = np.concatenate([[away.sum()], transposed_WN @ away + RIDGE * fitted[1:]])
        return 0.5 * float(away @ away + RIDGE * fitted[1:] @ fitted[1:]), slope

    count = words_NW.shape[1] + 1
    found = minimize(objective, np.zeros(count), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * count)
    return np.asarray(found.x[1:], np.float64)

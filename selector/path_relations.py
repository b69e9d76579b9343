"""How each candidate stands to what stored paths of tasks that sound alike did next, once aligned with this episode.

The words in which two tasks differ are exchanged in the stored path ("the green box" where this task says "the red
box").  The steps done so far are then aligned with it, as strings are (Needleman & Wunsch 1970): either may have steps
that the other lacks.  Where the alignment ends is where the stored path stands now.  It need not be certain: each path
and each position counts by a softmax of how well it fits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import words_of
from selector.situation import Situation
from trajstore.render import render_arguments

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

MOST_PATHS = 12
SAME_TOOL = 0.1
SKIP_STORED = 0.15
SKIP_DONE = 0.1
MOST_NEAR = 48
BRIDGED = 0.1
UNBRIDGED = 0.3
IN_SIGHT = 0.5
STATE_SHARPNESS = 3.0
TEMPERATURE = 0.15
SOON = 4
SOON_DECAY = 0.7
FLOOR = 0.02
EXACT = 0.99
ROUNDING = 1e-9

_NEXT = (
    "paths do it next",
    "paths do it next (log)",
    "paths do exactly it next",
    "paths use its object next",
    "paths do it soon",
)
PATH_RELATIONS = (
    *_NEXT,
    *(f"{name}, in this episode's words" for name in _NEXT),
    "paths use its tool next",
    "best path does it next",
    "best path does it soon",
    "paths ever do it",
    "paths ever do exactly it",
    "paths ever use its object",
    "paths still do it",
    "paths did it already",
)


@dataclass(frozen=True, slots=True)
class StoredPath:
    """A stored trajectory as an example: its task, its L tools and arguments as words.

    `states_LD` are the vectors of the states before its steps, of the same embedder as the live state's.
    """

    task: str
    tools: tuple[str, ...]
    args: tuple[str, ...]
    states_LD: NDArray[np.floating]


@lru_cache(maxsize=1 << 12)
def differing(stored: str, asked: str) -> tuple[tuple[str, str], ...]:
    """Pairs of phrases in which two tasks differ: what the stored one says, and what is asked in its place.

    >>> differing("put the red apple in the box", "put the green plum in the box")
    (('red apple', 'green plum'), ('red', 'green'), ('apple', 'plum'))
    """
    mine, theirs = words_of(stored), words_of(asked)
    pairs: dict[str, str] = {}
    for kind, begin, end, first, last in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if kind != "replace":
            continue
        pairs.setdefault(" ".join(mine[begin:end]), " ".join(theirs[first:last]))
        if end - begin == last - first:
            for one, other in zip(mine[begin:end], theirs[first:last], strict=True):
                pairs.setdefault(one, other)
    return tuple(sorted(pairs.items(), key=lambda pair: -len(pair[0].split())))


@lru_cache(maxsize=1 << 14)
def unlikeness(stored: str, asked: str, args: tuple[str, ...]) -> float:
    """What it costs to take a stored path for another task: BRIDGED for each difference that exchanging words mends.

    The path does that whose arguments have the words.  Each other word that one task has alone costs UNBRIDGED: nothing
    says that what the path does depends on it as asked.

    >>> unlikeness("boil water", "boil milk", ("water",)), unlikeness("boil milk", "freeze milk", ("milk",))
    (0.1, 0.3)
    """
    mine, theirs, cost = words_of(stored), words_of(asked), 0.0
    spoken = _spoken(args)
    for kind, begin, end, first, last in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if kind == "replace" and not spoken.isdisjoint(mine[begin:end]):
            cost += BRIDGED
        elif kind != "equal":
            cost += UNBRIDGED * max(end - begin, last - first)
    return cost


@lru_cache(maxsize=1 << 12)
def _spoken(args: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for one in args for word in words_of(one))


@lru_cache(maxsize=1 << 15)
def exchanged(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """The text with each first phrase replaced by its second, all at once, longer ones first.

    >>> exchanged("red box of apple", (("red", "blue"), ("apple", "red")))
    'blue box of red'
    """
    words = " ".join(words_of(text))
    if not pairs:
        return words
    table = dict(pairs)
    return re.sub(_pattern(pairs), lambda found: table[found.group()], words)


@lru_cache(maxsize=1 << 10)
def _pattern(pairs: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(re.escape(one) for one, _ in pairs) + r")\b")


def path_relations(
    situation: Situation, paths: Sequence[StoredPath], goals_P: Floats, state_D: NDArray[np.floating]
) -> Floats:
    """How each candidate stands to the stored paths; shape (K, len(PATH_RELATIONS)), about 0 to 1 each.

    `goals_P` are the similarities of their tasks with this one, `state_D` the vector of the present state.  All 0 where
    there are no paths.
    """
    near = [place for place in np.argsort(-goals_P, kind="stable").tolist() if paths[place].tools][:MOST_NEAR]
    if not near:
        return np.zeros((len(situation.candidates), len(PATH_RELATIONS)))
    costs_P = np.array([unlikeness(paths[place].task, situation.task, paths[place].args) for place in near])
    kept = np.argsort(costs_P, kind="stable")[:MOST_PATHS]
    book = _Book.of(situation, [paths[near[place]] for place in kept])
    fit_PL = book.aligned() + STATE_SHARPNESS * book.states_like(state_D) - costs_P[kept][:, None]
    fit_PL += IN_SIGHT * book.in_sight(situation)
    believed_PL = np.exp((fit_PL - fit_PL.max()) / TEMPERATURE)
    believed_PL /= believed_PL.sum()
    bound = book.bound(situation, believed_PL)
    parts = [book.coming(believed_PL), bound.coming(believed_PL), book.of_best(believed_PL), book.ever(believed_PL)]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True)
class _Book:
    """P paths of at most L steps, whose steps are U different calls, and K candidates.

    `steps_PL` are numbers of calls, `is_step` where a path has one.  `same_KU` says whether a candidate has the tool of
    a call, `alike_KU` how alike their arguments are, `fits_KU` both, `exact_KU` whether all words are the same; in
    [0, 1] each.  `done_TU` is how well each step done matches a call, −∞ for another tool.
    """

    paths: Sequence[StoredPath]
    calls: Sequence[tuple[str, str]]
    steps_PL: Numbers
    is_step: NDArray[np.bool_]
    same_KU: Floats
    alike_KU: Floats
    fits_KU: Floats
    exact_KU: Floats
    done_TU: Floats

    @classmethod
    def of(cls, situation: Situation, paths: Sequence[StoredPath]) -> "_Book":
        """The paths in the words of this task."""
        rows = []
        for path in paths:
            pairs = differing(path.task, situation.task)
            calls = zip(path.tools, path.args, strict=True)
            rows.append([(tool, exchanged(args, pairs)) for tool, args in calls])
        return cls._of_calls(situation, paths, rows)

    def bound(self, situation: Situation, believed_PL: Floats) -> "_Book":
        """The paths in the words of this episode: what a path calls otherwise than the step aligned with it did."""
        rows = []
        for path, (row, believed_L) in enumerate(zip(self.steps_PL.tolist(), believed_PL, strict=True)):
            pairs = self._bindings(situation, path, int(np.argmax(believed_L)))
            calls = [self.calls[number] for number in row[: int(self.is_step[path].sum())]]
            rows.append([(tool, exchanged(args, pairs)) for tool, args in calls])
        return self._of_calls(situation, self.paths, rows)

    def _bindings(self, situation: Situation, path: int, place: int) -> tuple[tuple[str, str], ...]:
        """Pairs of phrases: those of the path's first steps, and what the steps done say where they are aligned."""
        table: dict[str, str] = {}
        for done, stored in self._pairs(path, place):
            words = " ".join(words_of(situation.history[done].args))
            table.update(differing(self.calls[int(self.steps_PL[path, stored])][1], words))
        return tuple(sorted(table.items(), key=lambda pair: -len(pair[0].split())))

    def _pairs(self, path: int, place: int) -> list[tuple[int, int]]:
        """Which steps done are aligned with which of the path's first `place` steps, in order."""
        match_TL = self.done_TU[:, self.steps_PL[path, :place]]
        scores, matches = alignment_scores(match_TL).tolist(), match_TL.tolist()
        pairs, done = [], len(matches)
        while done and place:
            here = scores[done][place]
            if abs(here - scores[done - 1][place - 1] - matches[done - 1][place - 1]) < ROUNDING:
                done, place = done - 1, place - 1
                pairs.append((done, place))
            elif abs(here - scores[done - 1][place] + SKIP_DONE) < ROUNDING:
                done -= 1
            else:
                place -= 1
        return pairs[::-1]

    @classmethod
    def _of_calls(
        cls, situation: Situation, paths: Sequence[StoredPath], rows: Sequence[Sequence[tuple[str, str]]]
    ) -> "_Book":
        numbers: dict[tuple[str, str], int] = {}
        longest = max(map(len, rows))
        numbered = [[numbers.setdefault(call, len(numbers)) for call in row] for row in rows]
        steps_PL = np.array([[*row, *[0] * (longest - len(row))] for row in numbered], np.int64)
        is_step = np.arange(longest) < np.array([[len(row)] for row in rows])
        calls = list(numbers)
        here = [(one.tool.lower(), render_arguments(one.args)) for one in situation.candidates]
        done = [(step.tool.lower(), step.args) for step in situation.history]
        same, alike = _likeness([*here, *done], calls)
        matches = np.where(same, SAME_TOOL + (1.0 - SAME_TOOL) * alike, -np.inf)[len(here) :]
        same_KU, alike_KU = same[: len(here)].astype(np.float64), alike[: len(here)]
        fits_KU, exact_KU = same_KU * alike_KU**2, same_KU * (alike_KU > EXACT)
        return cls(paths, calls, steps_PL, is_step, same_KU, alike_KU, fits_KU, exact_KU, matches)

    def aligned(self) -> Floats:
        """Best score of aligning what was done with the first j steps of each path; shape (P, L), j from 0 to L − 1."""
        newest = np.stack([alignment_scores(self.done_TU[:, row])[-1, :-1] for row in self.steps_PL])
        return np.where(self.is_step, newest, -np.inf)

    def states_like(self, state_D: NDArray[np.floating]) -> Floats:
        """Similarity of the present state with that before each step; shape (P, L)."""
        like = np.zeros(self.steps_PL.shape)
        for row, path in zip(like, self.paths, strict=True):
            row[: len(path.tools)] = path.states_LD.astype(np.float32) @ state_D
        return like

    def in_sight(self, situation: Situation) -> Floats:
        """Share of the words of each step's arguments that the present state has; shape (P, L), 1 without arguments."""
        read = {*words_of(situation.state), ""}
        shares_U = [
            sum(word in read for word in words) / len(words) for words in (_words(args) for _, args in self.calls)
        ]
        return np.array(shares_U)[self.steps_PL]

    def coming(self, believed_PL: Floats) -> Floats:
        """What the next steps of the paths are; shape (K, len(_NEXT))."""
        next_U = self._summed(believed_PL)
        soon_U = self._summed(_later(believed_PL))
        next_K = self.fits_KU @ next_U
        logs_K = np.log(next_K + FLOOR) - np.log(FLOOR)
        columns = [next_K, logs_K, self.exact_KU @ next_U, self.alike_KU @ next_U, self.fits_KU @ soon_U]
        return np.stack(columns, axis=1)

    def of_best(self, believed_PL: Floats) -> Floats:
        """Whether the tool comes next, and what the most believed path does next and soon; shape (K, 3)."""
        path, place = np.unravel_index(int(np.argmax(believed_PL)), believed_PL.shape)
        ahead = self.steps_PL[path, place : place + SOON][self.is_step[path, place : place + SOON]]
        soon_U = np.zeros(len(self.calls))
        np.maximum.at(soon_U, ahead, SOON_DECAY ** np.arange(len(ahead)))
        tools_K = self.same_KU @ self._summed(believed_PL)
        return np.stack([tools_K, self.fits_KU[:, ahead[0]], self.fits_KU @ soon_U], axis=1)

    def ever(self, believed_PL: Floats) -> Floats:
        """Whether the paths do it at all, have its object at all, do it still, did it already; shape (K, 5)."""
        passed_PL = np.cumsum(believed_PL, axis=1)
        all_PL = np.broadcast_to(passed_PL[:, -1:], passed_PL.shape)
        fits = (self.fits_KU, self.exact_KU, self.alike_KU, self.fits_KU, self.fits_KU)
        values = (all_PL, all_PL, all_PL, passed_PL, all_PL - passed_PL)
        return np.stack([self._most(*pair) for pair in zip(fits, values, strict=True)], axis=1)

    def _summed(self, values_PL: Floats) -> Floats:
        """The sum of the values of each call's steps; shape (U,)."""
        kept = np.where(self.is_step, values_PL, 0.0)
        return np.bincount(self.steps_PL.ravel(), kept.ravel(), len(self.calls)).astype(np.float64)

    def _most(self, fits_KU: Floats, values_PL: Floats) -> Floats:
        """The best fit of each candidate among the steps of each path, weighed by their values, summed over paths."""
        summed = np.zeros(len(fits_KU))
        for path, values_L, length in zip(self.steps_PL, values_PL, self.is_step.sum(axis=1), strict=True):
            calls, member = np.unique(path[:length], return_inverse=True)
            most_U = np.zeros(len(calls))
            np.maximum.at(most_U, member, values_L[:length])
            summed += (fits_KU[:, calls] * most_U).max(axis=1)
        return summed


def alignment_scores(match_TL: Floats) -> Floats:
    """Best score of aligning the first t steps done with the first j stored; shape (T + 1, L + 1)."""
    done, stored = match_TL.shape
    slope = SKIP_STORED * np.arange(stored + 1)
    scores = np.empty((done + 1, stored + 1))
    scores[0] = -slope
    for at, match_L in enumerate(match_TL):
        best = scores[at] - SKIP_DONE
        best[1:] = np.maximum(best[1:], scores[at, :-1] + match_L)
        scores[at + 1] = np.maximum.accumulate(best + slope) - slope
    return scores


def _later(believed_PL: Floats) -> Floats:
    """How far each step is among the next few, a later one counting less; shape (P, L)."""
    found = np.zeros(believed_PL.shape)
    for ahead in range(min(SOON, believed_PL.shape[1])):
        found[:, ahead:] += SOON_DECAY**ahead * believed_PL[:, : believed_PL.shape[1] - ahead]
    return found


def _likeness(calls: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]]) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the tools are the same, and the cosine of the words of the arguments; shape (calls, others) each."""
    tools: dict[str, int] = {}
    mine, theirs = (
        np.array([tools.setdefault(tool, len(tools)) for tool, _ in some], np.int64) for some in (calls, others)
    )
    words: dict[str, int] = {}
    left, right = (
        [tuple(words.setdefault(word, len(words)) for word in _words(args)) for _, args in some]
        for some in (calls, others)
    )
    alike = _bags(left, len(words)) @ _bags(right, len(words)).T
    return mine[:, None] == theirs[None, :], alike.astype(np.float64)


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words_of(text))) or ("",)


def _bags(texts: Sequence[tuple[int, ...]], words: int) -> NDArray[np.float32]:
    bags = np.zeros((len(texts), words), np.float32)
    lengths = np.array([len(text) for text in texts])
    rows = np.repeat(np.arange(len(texts)), lengths)
    bags[rows, [word for text in texts for word in text]] = 1.0
    return np.asarray(bags / np.sqrt(np.maximum(lengths, 1))[:, None], np.float32)

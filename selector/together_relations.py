"""What stands beside a candidate's arguments in what was read: in the same record, or in the same clause.

An order is the right one because its record holds the item that the task names; a pot because a clause says that the
tree is in it; two blocks belong on each other because one clause of the task has both, and no longer where the state
says so already; a car that was just boarded belongs where the task's clause with it says.  A record is a line, a
sentence or an innermost object in braces; a clause ends at a comma or "and" outside parentheses too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.mentions import NO_WORD, numbered
from selector.phrases import FUNCTION_WORDS
from selector.reading import MOST_CHARACTERS, names_of, number_of
from selector.situation import Situation

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Places = NDArray[np.int16]
Flags = NDArray[np.bool_]

TOGETHER_RELATIONS = (
    "asked words in a record with its object",
    "asked words in the newest record with its object",
    "most asked words in a record with its object, of its tool",
    "asked words in a clause with its object",
    "words in a clause with its object that other texts have",
    "what the task says of its object is so",
    "what the task says of its object is not so",
    "open words in a clause with its object",
    "its object in an open clause with what the last step had",
    "its object in an open clause with what the last steps had",
    "asked words in a record with its place",
    "words in a clause with its place that other texts have",
    "what the task says of its place is so",
    "what the task says of its place is not so",
    "open words in a clause with its place",
    "its place in an open clause with what the last step had",
    "its place in an open clause with what the last steps had",
    "object and place in one record",
    "object before place in a clause of the task",
    "object before place in a clause of the state",
)
OF_OBJECT = 10
LAST_STEPS = 5
NOTHING_USUAL: Numbers = np.zeros(0, np.int64)
MOST_TEXTS = 12
_RECORD = re.compile(r"(?<=[.!?;])\s+|[\n{}]")
_CLAUSE = re.compile(r"[,:;.]\s|\band\b|\bthen\b|\?|!")
_NESTED = re.compile(r"\([^()]*\)")
_JOINING = re.compile(r",|\band\b")


@dataclass(frozen=True, slots=True)
class Page:
    """N words one after the other, which of them name something, and of which record, clause and text each is."""

    words: Numbers
    is_content: Flags
    records: Numbers
    clauses: Numbers
    texts: Numbers


def together_relations(situation: Situation, usual: Numbers = NOTHING_USUAL) -> Floats:
    """What stands beside each candidate's first two arguments; shape (K, len(TOGETHER_RELATIONS)), 0 to 1 each.

    `usual` are the numbers of words that most tasks have: they ask for nothing that tells one thing from another.
    """
    mentions = situation.mentions
    phrases_PW = np.array([_phrase(phrase) for phrase in mentions.phrases], np.int64)
    if len(phrases_PW) < 2:
        return np.zeros((len(mentions.first), len(TOGETHER_RELATIONS)))
    read = _joined([*map(page_of, _texts(situation))])
    task, state = page_of(situation.task), page_of(situation.state)
    asked_A = np.setdiff1d(task.words[task.is_content], usual)
    book = _Book(phrases_PW, np.unique(np.concatenate([phrases_PW.ravel(), asked_A])))
    records_VR, clauses_VC = (book.located(read, parts) for parts in (read.records, read.clauses))
    in_PR, in_PC = book.holding(records_VR), book.holding(clauses_VC)
    beside_PR = book.asked_beside(asked_A, records_VR, in_PR)
    asked_P = beside_PR.max(axis=1, initial=0.0)
    asked_in_clause_P = book.asked_beside(asked_A, clauses_VC, in_PC).max(axis=1, initial=0.0)
    told_P = book.told_elsewhere(_joined([task, read]), in_PC)
    task_VC, state_VC = book.located(task, task.clauses), book.located(state, state.clauses)
    in_task_PC, in_state_PC = book.holding(task_VC), book.holding(state_VC)
    is_so_C = np.array(_are_so(situation.task, situation.state), np.bool_)
    open_A = np.setdiff1d(task.words[task.is_content & ~is_so_C[task.clauses]], usual)
    of_both = [
        told_P,
        in_task_PC[:, is_so_C].any(axis=1),
        in_task_PC[:, ~is_so_C].any(axis=1),
        book.asked_beside(open_A, clauses_VC, in_PC).max(axis=1, initial=0.0),
        *(
            book.beside_any(_had(situation, steps, asked_A), task_VC, in_task_PC & ~is_so_C)
            for steps in (1, LAST_STEPS)
        ),
    ]
    of_object = [asked_P, _newest(beside_PR, in_PR), asked_P, asked_in_clause_P, *of_both]
    first_K, second_K = mentions.first, mentions.second
    pairs = [
        (in_PR[first_K] & in_PR[second_K]).any(axis=1),
        book.is_before(first_K, second_K, in_task_PC, task_VC),
        book.is_before(first_K, second_K, in_state_PC, state_VC),
    ]
    made = np.column_stack(
        [*(one[first_K] for one in of_object), *(one[second_K] for one in (asked_P, *of_both)), *pairs]
    ).astype(np.float64)
    made[:, 2] = _is_most(made[:, 0], situation.tools.places)
    made[first_K == 0] = 0.0
    made[second_K == 0, OF_OBJECT:] = 0.0
    return made


@dataclass(frozen=True, slots=True)
class _Book:
    """P phrases of at most W words, NO_WORD before the first, and the V words that are looked for, in order."""

    phrases_PW: Numbers
    vocabulary: Numbers

    def located(self, page: Page, parts: Numbers) -> Places:
        """Where in each part of the page each word stands last, −1 where it does not; shape (V, parts)."""
        at_VR = np.full((len(self.vocabulary), int(parts[-1]) + 1 if len(parts) else 0), -1, np.int16)
        rows = np.minimum(np.searchsorted(self.vocabulary, page.words), len(self.vocabulary) - 1)
        known = np.flatnonzero(self.vocabulary[rows] == page.words)
        at_VR[rows[known], parts[known]] = known
        return at_VR

    def holding(self, at_VR: Places) -> Flags:
        """Whether each part has all words of each phrase; shape (P, parts)."""
        has_PWR = (at_VR[self._rows(self.phrases_PW)] >= 0) | (self.phrases_PW == NO_WORD)[:, :, None]
        return np.asarray(has_PWR.all(axis=1) & (self.phrases_PW[:, -1] != NO_WORD)[:, None], np.bool_)

    def asked_beside(self, asked_A: Numbers, at_VR: Places, in_PR: Flags) -> Floats:
        """The share of what is asked that each part has beside each phrase, rare words weighing more; (P, parts)."""
        has_AR = at_VR[self._rows(asked_A)] >= 0
        times_A = has_AR.sum(axis=1)
        weights_A = np.where(times_A > 0, np.log1p(has_AR.shape[1] / np.maximum(times_A, 1)), 0.0)
        worth_PR = weights_A @ has_AR - self._is_own(asked_A) @ (weights_A[:, None] * has_AR)
        return np.where(in_PR, worth_PR, 0.0) / max(float(weights_A.sum()), 1e-9)

    def beside_any(self, words_A: Numbers, at_VC: Places, in_PC: Flags) -> Flags:
        """Whether one of its parts has, beside each phrase, one of the words; shape (P,)."""
        has_AC = at_VC[self._rows(words_A)] >= 0
        others_PC = has_AC.sum(axis=0) - self._is_own(words_A).astype(np.int64) @ has_AC
        return np.asarray((in_PC & (others_PC > 0)).any(axis=1))

    def told_elsewhere(self, page: Page, in_PC: Flags) -> Floats:
        """The most of the words in a clause with each phrase that more than one text has; shape (P,).

        `page` begins with the task, whose clauses are not among the C ones of `in_PC`.
        """
        if not in_PC.shape[1]:
            return np.zeros(len(self.phrases_PW))
        words, of_word = np.unique(page.words, return_inverse=True)
        in_text = np.zeros((len(words), int(page.texts[-1]) + 1), np.bool_)
        in_text[of_word, page.texts] = True
        is_shared = in_text.sum(axis=1) > 1
        told_C, size_C = (
            np.bincount(page.clauses[kept], minlength=int(page.clauses[-1]) + 1)[-in_PC.shape[1] :]
            for kept in (page.is_content & is_shared[of_word], page.is_content)
        )
        at_PW = np.minimum(np.searchsorted(words, self.phrases_PW), len(words) - 1)
        is_own_PW = words[at_PW] == self.phrases_PW
        rest_PC = np.maximum(size_C - is_own_PW.sum(axis=1)[:, None], 1)
        shares_PC = np.clip((told_C - (is_own_PW & is_shared[at_PW]).sum(axis=1)[:, None]) / rest_PC, 0.0, 1.0)
        return np.asarray(np.where(in_PC, shares_PC, 0.0).max(axis=1, initial=0.0), np.float64)

    def is_before(self, first_K: Numbers, second_K: Numbers, in_PC: Flags, at_VC: Places) -> Flags:
        """Whether a part has a candidate's first argument and, after it, its second one; shape (K,).

        Where a phrase stands is told by the one of its words that stands first: "red" in "the red box on the blue box".
        """
        at_PWC = at_VC[self._rows(self.phrases_PW)]
        begin_PC = np.where((self.phrases_PW == NO_WORD)[:, :, None], np.iinfo(np.int16).max, at_PWC).min(axis=1)
        is_both_KC = in_PC[first_K] & in_PC[second_K]
        return np.asarray((is_both_KC & (begin_PC[first_K] < begin_PC[second_K])).any(axis=1))

    def _is_own(self, words_A: Numbers) -> Flags:
        """Which of the words each phrase has itself; shape (P, A)."""
        return np.asarray((self.phrases_PW[:, :, None] == words_A).any(axis=1))

    def _rows(self, words: Numbers) -> Numbers:
        return np.searchsorted(self.vocabulary, words)


def _texts(situation: Situation) -> list[str]:
    """The newest observations and the state, each once, the newest last; none that the state repeats."""
    state = situation.state
    observed = (one.observation for one in situation.history[-MOST_TEXTS:])
    newest = dict.fromkeys(reversed([text for text in observed if text and text not in state]))
    return [*reversed(newest), state]


def _had(situation: Situation, steps: int, asked_A: Numbers) -> Numbers:
    """The asked words that the arguments of the last steps have."""
    had = [_numbers_in(one.args) for one in situation.history[-steps:] if one.args]
    return np.intersect1d(np.concatenate(had), asked_A) if had else NOTHING_USUAL


@lru_cache(maxsize=1 << 14)
def _phrase(text: str) -> tuple[int, ...]:
    """The last words of a phrase as numbers, NO_WORD before fewer than the most of them."""
    return numbered(names_of(text))


@lru_cache(maxsize=1 << 12)
def _numbers_in(text: str) -> Numbers:
    """The numbers of all words of a text."""
    return np.array([number_of(name) for name in names_of(text)], np.int64)


def _newest(values_PR: Floats, in_PR: Flags) -> Floats:
    """The value of the last part that has each phrase, 0 where none has; shape (P,)."""
    if not in_PR.shape[1]:
        return np.zeros(len(in_PR))
    last_P = in_PR.shape[1] - 1 - in_PR[:, ::-1].argmax(axis=1)
    return np.asarray(values_PR[np.arange(len(in_PR)), last_P], np.float64)


def _is_most(values_K: Floats, tools_K: Numbers) -> Flags:
    """Whether a value is the greatest of those of its tool, and more than 0; shape (K,)."""
    most = np.zeros(int(tools_K.max()) + 1)
    np.maximum.at(most, tools_K, values_K)
    return np.asarray((values_K > 0.0) & (values_K == most[tools_K]))


@lru_cache(maxsize=1 << 12)
def page_of(text: str) -> Page:
    """The words of a text by record and clause."""
    words: list[str] = []
    records: list[int] = []
    clauses: list[int] = []
    for record in clauses_of(text):
        for clause in record:
            words += clause
            clauses += [clauses[-1] + 1 if clauses else 0] * len(clause)
        records += [records[-1] + 1 if records else 0] * (len(words) - len(records))
    numbers = np.array([number_of(word) for word in words], np.int64)
    is_content = np.array([word not in FUNCTION_WORDS for word in words], np.bool_)
    none = np.zeros(len(words), np.int64)
    return Page(numbers, is_content, np.array(records, np.int64), np.array(clauses, np.int64), none)


def records_of(text: str) -> list[str]:
    """The records of a text; those without words too.

    >>> records_of("You see a key; a box 2 steps left.")
    ['You see a key;', 'a box 2 steps left.']
    """
    return _RECORD.split(text[:MOST_CHARACTERS])


@lru_cache(maxsize=1 << 12)
def clauses_of(text: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The words of each clause of each record.

    >>> clauses_of("A pot (with soil, a tree), and a jug. Wait.")
    ((('a', 'pot', 'with', 'soil', 'a', 'tree'), ('a', 'jug')), (('wait',),))
    """
    found = []
    for record in records_of(text):
        kept = _NESTED.sub(lambda nested: _JOINING.sub(" ", nested.group()), record)
        words = tuple(told for told in map(names_of, _CLAUSE.split(kept)) if told)
        if words:
            found.append(words)
    return tuple(found)


def _joined(pages: Sequence[Page]) -> Page:
    """One page after the other."""
    words, is_content = (np.concatenate([getattr(page, name) for page in pages]) for name in ("words", "is_content"))
    parts = ("records", "clauses", "texts")
    records, clauses, texts = (_numbered_on([getattr(page, name) for page in pages]) for name in parts)
    return Page(words, is_content, records, clauses, texts)


def _numbered_on(parts: Sequence[Numbers]) -> Numbers:
    """The numbers of parts, those of each page after those of the one before."""
    counts = [int(one[-1]) + 1 if len(one) else 0 for one in parts]
    return np.concatenate([one + before for one, before in zip(parts, np.cumsum([0, *counts[:-1]]), strict=True)])


@lru_cache(maxsize=1 << 10)
def _are_so(task: str, state: str) -> tuple[bool, ...]:
    """Whether a clause of the state has the words of each clause of the task that name something, in their order."""
    known = [_content(clause) for record in clauses_of(state) for clause in record]
    return tuple(
        any(_is_within(_content(clause), one) for one in known) for record in clauses_of(task) for clause in record
    )


def _content(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in FUNCTION_WORDS]


def _is_within(words: Sequence[str], longer: Sequence[str]) -> bool:
    rest = iter(longer)
    return bool(words) and all(word in rest for word in words)

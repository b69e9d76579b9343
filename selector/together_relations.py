"""What stands beside a candidate's arguments in what was read: in the same record, or in the same clause.

An order is the right one because its record holds the item that the task names; a pot because a clause says that the
tree is in it; two blocks belong on each other because one clause of the task has both, and no longer where the state
says so already; a car that was just boarded belongs where the task's clause with it says.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.mentions import NO_WORD, numbered
from selector.pages import Flags, Numbers, Page, clauses_of, joined, page_of
from selector.phrases import FUNCTION_WORDS
from selector.reading import NO_WORDS, names_of, number_of
from selector.situation import Situation

Floats = NDArray[np.float64]
Places = NDArray[np.int16]

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
    "asked words in a record with its places",
    "words in a clause with its places that other texts have",
    "what the task says of its places is so",
    "what the task says of its places is not so",
    "open words in a clause with its places",
    "its places in an open clause with what the last step had",
    "its places in an open clause with what the last steps had",
    "object and places in one record",
    "object before places in a clause of the task",
    "object before places in a clause of the state",
)
OF_OBJECT = 10
LAST_STEPS = 5
MOST_TEXTS = 12


def together_relations(situation: Situation, usual: Numbers = NO_WORDS) -> Floats:
    """What stands beside each candidate's arguments; shape (K, len(TOGETHER_RELATIONS)), 0 to 1 each.

    The first is its object, its places are the mean of the others.  `usual` are the numbers of words that most tasks
    have: they ask for nothing that tells one thing from another.
    """
    mentions = situation.mentions
    if len(mentions.phrases) < 2:
        return np.zeros((len(mentions.first), len(TOGETHER_RELATIONS)))
    book = _book(situation, usual)
    beside_PR = book.asked_in_records()
    asked_P, of_clauses = beside_PR.max(axis=1, initial=0.0), _of_clauses(book, situation)
    newest_P, in_clauses_P = _newest(beside_PR, book.read_PR), book.asked_in_clauses()
    of_object = np.stack([asked_P, newest_P, asked_P, in_clauses_P, *of_clauses], axis=1)
    of_places = mentions.of_others(np.stack([asked_P, *of_clauses], axis=1))
    pairs = mentions.first[:, None], mentions.others_KM
    held_KM3 = np.stack([holds(*pairs) for holds in (book.in_one_record, book.in_task, book.in_state)], axis=2)
    of_pairs = mentions.mean_of_others(held_KM3)
    made = np.concatenate([of_object[mentions.first], of_places, of_pairs], axis=1)
    made[:, 2] = _is_most(made[:, 0], situation.tools.places)
    made[mentions.first == 0] = 0.0
    return made


class _Book:
    """P phrases of at most W words, NO_WORD before the first, and the A words that the task asks for, in a page.

    The page is of the task, then of what was read, with the state last; it has R records and C clauses, of which
    `read_PR` and `task_PC` tell whether they have all words of a phrase, those of what was read and those of the task.
    """

    def __init__(self, task: Page, state: Page, page: Page, phrases_PW: Numbers, asked_A: Numbers) -> None:
        self.task, self.state, self.page = task, state, page
        self.phrases_PW, self.asked_A = phrases_PW, asked_A
        self._vocabulary_V = np.unique(np.concatenate([phrases_PW.ravel(), asked_A]))
        self._rows_PW, rows_A = self._rows(phrases_PW), self._rows(asked_A)
        rows_N = np.minimum(self._rows(page.words), len(self._vocabulary_V) - 1)
        at_M = np.flatnonzero(self._vocabulary_V[rows_N] == page.words)
        places_VR = self._located(at_M, rows_N[at_M], page.records, page.record_count)
        self._places_VC = self._located(at_M, rows_N[at_M], page.clauses, page.clause_count)
        self._has_AR, self._has_AC = places_VR[rows_A, task.record_count :] >= 0, self._places_VC[rows_A] >= 0
        self.read_PR, self._in_PC = self._holding(places_VR[:, task.record_count :]), self._holding(self._places_VC)
        self.task_PC = self._in_PC[:, : task.clause_count]
        self._is_own_PA = (phrases_PW[:, :, None] == asked_A).any(axis=1)

    def asked_in_records(self) -> Floats:
        """The share of what is asked that each record of what was read has beside each phrase."""
        return self._asked_beside(self._has_AR, self.read_PR)

    def asked_in_clauses(self, is_open_A: Flags | None = None) -> Floats:
        """The most of what is asked, or is open of that, beside each phrase in a clause of what was read; (P,)."""
        read = slice(self.task.clause_count, None)
        beside_PC = self._asked_beside(self._has_AC[:, read], self._in_PC[:, read], is_open_A)
        return np.asarray(beside_PC.max(axis=1, initial=0.0), np.float64)

    def _asked_beside(self, has_AR: Flags, in_PR: Flags, is_open_A: Flags | None = None) -> Floats:
        """The share of what is asked that each part has beside each phrase, rare words weighing more; like `in_PR`."""
        times_A = has_AR.sum(axis=1)
        weights_A = np.where(times_A > 0, np.log1p(has_AR.shape[1] / np.maximum(times_A, 1)), 0.0)
        if is_open_A is not None:
            weights_A *= is_open_A
        worth_PR = (~self._is_own_PA * weights_A) @ has_AR.astype(np.float64)
        return np.where(in_PR, worth_PR, 0.0) / max(float(weights_A.sum()), 1e-9)

    def beside_any(self, is_one_A: Flags, in_PC: Flags) -> Flags:
        """Whether one of its clauses of the task has, beside each phrase, one of the words; shape (P,)."""
        has_AC = self._has_AC[:, : in_PC.shape[1]] & is_one_A[:, None]
        others_PC = has_AC.sum(axis=0) - self._is_own_PA.astype(np.int64) @ has_AC
        return np.asarray((in_PC & (others_PC > 0)).any(axis=1))

    def told_elsewhere(self) -> Floats:
        """The most of the words in a clause of what was read with each phrase that more than one text has; (P,)."""
        page, in_PC = self.page, self._in_PC[:, self.task.clause_count :]
        if not in_PC.shape[1]:
            return np.zeros(len(self.phrases_PW))
        words, of_word = np.unique(page.words, return_inverse=True)
        in_text = np.zeros((len(words), int(page.texts[-1]) + 1), np.bool_)
        in_text[of_word, page.texts] = True
        is_shared = in_text.sum(axis=1) > 1
        told_C, size_C = (
            np.bincount(page.clauses[kept], minlength=page.clause_count)[-in_PC.shape[1] :]
            for kept in (page.is_content & is_shared[of_word], page.is_content)
        )
        at_PW = np.minimum(np.searchsorted(words, self.phrases_PW), len(words) - 1)
        is_own_PW = words[at_PW] == self.phrases_PW
        rest_PC = np.maximum(size_C - is_own_PW.sum(axis=1)[:, None], 1)
        shares_PC = np.clip((told_C - (is_own_PW & is_shared[at_PW]).sum(axis=1)[:, None]) / rest_PC, 0.0, 1.0)
        return np.asarray(np.where(in_PC, shares_PC, 0.0).max(axis=1, initial=0.0), np.float64)

    def in_one_record(self, first: Numbers, second: Numbers) -> Flags:
        """Whether a record of what was read has both phrases; the shape to which their places broadcast."""
        return np.asarray((self.read_PR[first] & self.read_PR[second]).any(axis=-1))

    def in_task(self, first: Numbers, second: Numbers) -> Flags:
        """Whether a clause of the task has the first phrase and, after it, the second one; shape as above."""
        return self._is_before(first, second, slice(self.task.clause_count))

    def in_state(self, first: Numbers, second: Numbers) -> Flags:
        """Whether a clause of the state has the first phrase and, after it, the second one; shape as above."""
        return self._is_before(first, second, slice(self.page.clause_count - self.state.clause_count, None))

    def _is_before(self, first: Numbers, second: Numbers, clauses: slice) -> Flags:
        """Where a phrase stands is told by its word that stands first: "red" in "the red box on the blue box"."""
        places_PWC = self._places_VC[self._rows_PW, clauses]
        none_PW1 = (self.phrases_PW == NO_WORD)[:, :, None]
        begin_PC, in_PC = np.where(none_PW1, np.iinfo(np.int16).max, places_PWC).min(axis=1), self._in_PC[:, clauses]
        is_both = in_PC[first] & in_PC[second]
        return np.asarray((is_both & (begin_PC[first] < begin_PC[second])).any(axis=-1))

    def _located(self, at_M: Numbers, rows_M: Numbers, parts_N: Numbers, count: int) -> Places:
        """Where in each of `count` parts of the page each word of the vocabulary stands last, −1 where it does not."""
        places_VR = np.full((len(self._vocabulary_V), count), -1, np.int16)
        places_VR[rows_M, parts_N[at_M]] = at_M
        return places_VR

    def _holding(self, places_VR: Places) -> Flags:
        """Whether each part has all words of each phrase; shape (P, parts)."""
        has_PWR = (places_VR[self._rows_PW] >= 0) | (self.phrases_PW == NO_WORD)[:, :, None]
        return np.asarray(has_PWR.all(axis=1) & (self.phrases_PW[:, -1] != NO_WORD)[:, None], np.bool_)

    def _rows(self, words: Numbers) -> Numbers:
        return np.searchsorted(self._vocabulary_V, words)


def _book(situation: Situation, usual: Numbers) -> _Book:
    """The arguments of the candidates, and what the task asks for, in the task and in what was read."""
    task, state = page_of(situation.task), page_of(situation.state)
    page = joined([task, *map(page_of, _texts(situation))])
    phrases_PW = np.array([_phrase(phrase) for phrase in situation.mentions.phrases], np.int64)
    return _Book(task, state, page, phrases_PW, _asked_words(situation.task, usual.tobytes()))


def _of_clauses(book: _Book, situation: Situation) -> list[Floats | Flags]:
    """What clauses have beside each phrase, for candidates that have it as their object or place; shape (P,) each."""
    task, are_so_C = book.task, np.array(_are_so(situation.task, situation.state), np.bool_)
    is_open_A = _are_among(book.asked_A, task.words[task.is_content & ~are_so_C[task.clauses]])
    had = (_are_among(book.asked_A, _had(situation, steps)) for steps in (1, LAST_STEPS))
    return [
        book.told_elsewhere(),
        *(np.asarray(book.task_PC[:, kept_C].any(axis=1)) for kept_C in (are_so_C, ~are_so_C)),
        book.asked_in_clauses(is_open_A),
        *(book.beside_any(is_had_A, book.task_PC & ~are_so_C) for is_had_A in had),
    ]


def _texts(situation: Situation) -> list[str]:
    """The newest observations and the state, each once, the newest last; none that the state repeats."""
    state = situation.state
    observed = (one.observation for one in situation.history[-MOST_TEXTS:])
    newest = dict.fromkeys(reversed([text for text in observed if text and text not in state]))
    return [*reversed(newest), state]


def _had(situation: Situation, steps: int) -> Numbers:
    """The words that the arguments of the last steps have."""
    had = [_numbers_in(one.args) for one in situation.history[-steps:] if one.args]
    return np.concatenate(had) if had else NO_WORDS


@lru_cache(maxsize=1 << 14)
def _phrase(text: str) -> tuple[int, ...]:
    """The last words of a phrase as numbers, NO_WORD before fewer than the most of them."""
    return numbered(names_of(text))


@lru_cache(maxsize=1 << 10)
def _asked_words(task: str, usual: bytes) -> Numbers:
    """The numbers of the task's words that name something and are not usual, in their order."""
    page = page_of(task)
    return np.setdiff1d(page.words[page.is_content], np.frombuffer(usual, np.int64))


def _are_among(words_A: Numbers, others: Numbers) -> Flags:
    """Whether each word is one of the others; as np.isin says, sooner for few."""
    return np.asarray((words_A[:, None] == others).any(axis=1))


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

"""Texts as words by record and clause.

A record is a line, a sentence or an innermost object in braces; a clause ends at a comma or "and" outside parentheses
too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.phrases import FUNCTION_WORDS
from selector.reading import MOST_CHARACTERS, names_of, number_of

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

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

    @property
    def record_count(self) -> int:
        """How many records it has."""
        return _count(self.records)

    @property
    def clause_count(self) -> int:
        """How many clauses it has."""
        return _count(self.clauses)


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


def joined(pages: Sequence[Page]) -> Page:
    """One page after the other."""
    words, is_content = (np.concatenate([getattr(page, name) for page in pages]) for name in ("words", "is_content"))
    parts = ("records", "clauses", "texts")
    records, clauses, texts = (_numbered_on([getattr(page, name) for page in pages]) for name in parts)
    return Page(words, is_content, records, clauses, texts)


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


def _numbered_on(parts: Sequence[Numbers]) -> Numbers:
    """The numbers of parts, those of each page after those of the one before."""
    starts = np.cumsum([0, *map(_count, parts[:-1])])
    return np.concatenate([one + before for one, before in zip(parts, starts, strict=True)])


def _count(parts: Numbers) -> int:
    return int(parts[-1]) + 1 if len(parts) else 0

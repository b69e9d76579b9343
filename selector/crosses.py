"""Sparse features of each candidate: its tool crossed with where and how its arguments were mentioned.

Each is a number in [0, CROSSES), hashed from a few numbers of words (feature hashing, Weinberger et al. 2009), with the
value 1; a linear weight for each is learned.  Most cross the tool with the words around the object, not the object
itself, so that what is learned holds for objects never seen; a few hold the object, for those that come again.  The
last SAID places are those of tool, and of tool and object, with what is said of the things that the task names.
"""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from selector.mentions import MENTIONS, WORDS_BEFORE, Mentions, phrase_numbers
from selector.reading import NO_WORDS, number_of
from selector.situation import MOST_TEXTS, Situation

Numbers = NDArray[np.int64]
Mixed = NDArray[np.uint64]

HASHED_CROSSES = 1 << 15
SAID = 1 << 14
CROSSES = HASHED_CROSSES + SAID
NONE = CROSSES
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def crosses(situation: Situation, said: Numbers = NO_WORDS) -> Numbers:
    """Features of each candidate, shape (K, n), more of them where there are more arguments; NONE where there is none.

    `said` (M,) are the numbers of what is said of the things that the task names.
    """
    mentions, crossed = situation.mentions, _crossed(situation)
    made = np.full((len(crossed.tools_K), _OWN + MOST_TEXTS * _OF_TEXT), NONE)
    made[:, :_OWN] = _own(crossed, situation).T
    _mark_mentions(made[:, _OWN:], crossed, mentions)
    parts = [made]
    for number, other_K in enumerate(mentions.others_KM.T[1:], 2):
        parts.append(_of_other(crossed, mentions, other_K, number))
    if len(said):
        parts.append(_of_said(crossed, mentions, said))
    return np.concatenate(parts, axis=1) if len(parts) > 1 else made


@dataclass(frozen=True, slots=True)
class _Crossed:
    """Numbers of K candidates' tools, of P arguments and of the last words of these, of N texts."""

    tools_K: Numbers
    objects_P: Numbers
    heads_P: Numbers
    texts_N: Numbers


def _crossed(situation: Situation) -> _Crossed:
    mentions, tools = situation.mentions, situation.tools
    tools_K = np.array([number_of(tool) for tool in tools.texts], np.int64)[tools.places]
    objects_P, heads_P = np.array([_of_phrase(phrase) for phrase in mentions.phrases], np.int64).T
    return _Crossed(tools_K, objects_P, heads_P, np.array([number_of(name) for name in mentions.names], np.int64))


def _own(crossed: _Crossed, situation: Situation) -> Numbers:
    """What each candidate is, and how it follows on the last step; shape (_OWN, K)."""
    mentions, last, tools_K, objects_P = situation.mentions, situation.last, crossed.tools_K, crossed.objects_P
    object_K, head_K, place_K = objects_P[mentions.first], crossed.heads_P[mentions.first], objects_P[mentions.second]
    last_K = np.full(len(tools_K), number_of(last.tool) if last else 0)
    made = np.empty((_OWN, len(tools_K)), np.uint64)
    made[:] = _KINDS
    made = _mix(made, np.stack([tools_K, tools_K, tools_K, head_K, tools_K, object_K]))
    made = _mix(made, np.stack([object_K, head_K, place_K, place_K, last_K, last_K]))
    made[_AFTER] = _mix(made[_AFTER], np.array(int(last is not None and last.failed)))
    has_object, has_place = mentions.first > 0, mentions.second > 0
    always = np.ones(len(tools_K), np.bool_)
    counts = np.stack([always, has_object, has_place, has_place, always, has_object])
    return np.where(counts, _place(made), NONE)


def _mark_mentions(made: Numbers, crossed: _Crossed, mentions: Mentions) -> None:
    """Write whether and after which words its object, and whether its place, is mentioned: _OF_TEXT columns a text."""
    found, first_K, second_K = mentions.found, mentions.first, mentions.second
    tools_K, texts_N = crossed.tools_K, crossed.texts_N
    text_H, candidate_H, mention_H = np.nonzero(found.is_found[:, first_K])
    after_K = _mix(_mix(_AFTER_WORDS, tools_K), crossed.objects_P[second_K])
    kinds_H = _place(_mix(after_K[candidate_H], texts_N[text_H]))
    words_HB = found.before[text_H, first_K[candidate_H], mention_H]
    columns_H = _OF_TEXT * text_H + 2 + mention_H * WORDS_BEFORE
    columns_HB = columns_H[:, None] + np.arange(WORDS_BEFORE)
    made[candidate_H[:, None], columns_HB] = _place(_mix(_mix(_START, kinds_H)[:, None], words_HB))
    for column, kind, phrase_K in ((0, _IN, first_K), (1, _PLACE_IN, second_K)):
        text_H, candidate_H = np.nonzero(found.is_found[:, phrase_K, 0])
        in_H = _place(_mix(_mix(kind, tools_K[candidate_H]), texts_N[text_H]))
        made[candidate_H, _OF_TEXT * text_H + column] = in_H


def _of_other(crossed: _Crossed, mentions: Mentions, other_K: Numbers, number: int) -> Numbers:
    """What the argument with this number, from 0, is, and in which texts; shape (K, 2 + MOST_TEXTS)."""
    object_K, texts_N = crossed.objects_P[other_K], crossed.texts_N
    tool_K = _mix(_mix(_OTHER, crossed.tools_K), np.array(number))
    made = np.full((len(tool_K), 2 + MOST_TEXTS), NONE)
    made[:, 0] = _place(_mix(tool_K, object_K))
    made[:, 1] = _place(_mix(_mix(tool_K, crossed.heads_P[mentions.first]), object_K))
    in_KN = _place(_mix(tool_K[:, None], texts_N))
    made[:, 2 : 2 + len(texts_N)] = np.where(mentions.found.is_found[:, other_K, 0].T, in_KN, NONE)
    made[other_K == 0] = NONE
    return made


def _of_said(crossed: _Crossed, mentions: Mentions, said_M: Numbers) -> Numbers:
    """Tool, and tool and object, with all that is said; shape (K, 2 M)."""
    tool_K = _mix(_SAID, crossed.tools_K)
    made_KM = [_mix(one[:, None], said_M) for one in (tool_K, _mix(tool_K, crossed.objects_P[mentions.first]))]
    return HASHED_CROSSES + _place(np.concatenate(made_KM, axis=1), SAID)


def mixed(*numbers: NDArray[np.integer] | NDArray[np.bool_]) -> Numbers:
    """One number of 62 bits for several; shape of all of them together."""
    return (reduce(_mix, numbers, _START) >> np.uint64(2)).astype(np.int64)


def _mix(made: Mixed, number: NDArray[np.integer] | NDArray[np.bool_]) -> Mixed:
    """The mixture with one number more."""
    made = (made ^ number.astype(np.uint64)) * _GOLDEN
    return made ^ (made >> np.uint64(29))


def _place(made: Mixed, places: int = HASHED_CROSSES) -> Numbers:
    """The place of a mixture in [0, places)."""
    return ((made >> np.uint64(2)) % np.uint64(places)).astype(np.int64)


@lru_cache(maxsize=1 << 14)
def _of_phrase(phrase: str) -> tuple[int, int]:
    """The number of a phrase, and that of its last word."""
    numbers = phrase_numbers(phrase)
    return int(mixed(*np.array(numbers, np.int64)[:, None])[0]), numbers[-1]


def _kind(name: str) -> Mixed:
    return _mix(_START, np.array([number_of(name)]))


_START = np.zeros(1, np.uint64)
_KINDS = np.stack([_kind(name) for name in ("whole", "head", "place", "head in place", "after", "object after")])
_OWN, _AFTER = len(_KINDS), 4
_OF_TEXT = 2 + MENTIONS * WORDS_BEFORE
_IN, _PLACE_IN, _AFTER_WORDS = (_kind(name) for name in ("in", "place in", "after words"))
_OTHER, _SAID = (_kind(name) for name in ("other", "said"))

"""Roles of a candidate's arguments: where the task names them, what was done with them, when they came into view.

Two arguments are told apart by their place, in the order of their names.  A phrase is looked up as a whole, so that
what is learned about a role carries over to objects that were never seen before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.reading import distinct, words_of
from selector.situation import Situation
from trajstore.render import PastStep

Floats = NDArray[np.float64]

WINDOW = 4
RECENT = 4

_ROLES = (
    "is there",
    "named in the task",
    "where the task names it first",
    "where the task names it last",
    "in the newest observation",
    "in the observation before",
    "in the state",
    "new in the state",
    *(f"argument {back} steps ago" for back in range(1, RECENT + 1)),
    "argument of an older step",
    "argument of a rewarded step",
    "steps since (1/n)",
)
_CALLS = (
    "tool named before it in the task",
    "tool called with it (log)",
    "tool called with another argument (log)",
    "tool never called",
    "call failed before",
    "call rewarded before",
    "repeats in a row (log)",
)
ROLE_RELATIONS = (
    *(f"{role}: {place} argument" for place in ("first", "second") for role in _ROLES),
    *_CALLS,
)


def role_relations(situation: Situation) -> Floats:
    """Roles of the candidates' arguments; shape (K, len(ROLE_RELATIONS)), about 0 to 1 each.

    >>> from trajstore.schema import Candidate
    >>> seen = Situation("Take the coin", "a room", (), (Candidate("take", {"object": "coin"}), Candidate("wait")))
    >>> role_relations(seen)[:, ROLE_RELATIONS.index("named in the task: first argument")].tolist()
    [1.0, 0.0]
    """
    read = _Read.of(situation)
    calls = situation.calls
    first, second = [_phrase(call.first) for call in calls], [_phrase(call.second) for call in calls]
    return np.concatenate([_of_phrases(first, read), _of_phrases(second, read), _of_calls(situation, read)], axis=1)


@dataclass(frozen=True, slots=True)
class _Read:
    """The texts that phrases are looked up in, each as words between spaces, and the arguments of past steps."""

    task: str
    newest: str
    before: str
    state: str
    state_before: str
    history: tuple[PastStep, ...]
    steps_of: dict[str, list[int]]

    @classmethod
    def of(cls, situation: Situation) -> "_Read":
        history = situation.history
        texts = [step.observation for step in history[-2:][::-1]] + ["", ""]
        earlier = history[-1].state if history else situation.state
        return cls(
            _spaced(situation.task),
            _spaced(texts[0]),
            _spaced(texts[1]),
            _spaced(situation.state),
            _spaced(earlier),
            history,
            _steps_of(history),
        )


def _of_phrases(phrases: Sequence[str], read: _Read) -> Floats:
    own = distinct(phrases)
    return np.array([_roles(phrase, read) for phrase in own.texts], np.float64)[own.places]


def _roles(phrase: str, read: _Read) -> list[float]:
    if not phrase:
        return [0.0] * len(_ROLES)
    key, length, steps = f" {phrase} ", max(len(read.task), 1), read.steps_of.get(phrase, [])
    ago = [len(read.history) - step for step in steps]
    first, last = read.task.find(key), read.task.rfind(key)
    return [
        1.0,
        float(first >= 0),
        (length - first) / length if first >= 0 else 0.0,
        (length - last) / length if last >= 0 else 0.0,
        float(key in read.newest),
        float(key in read.before),
        float(key in read.state),
        float(key in read.state and key not in read.state_before),
        *(float(back in ago) for back in range(1, RECENT + 1)),
        float(any(back > RECENT for back in ago)),
        float(any((read.history[step].reward or 0.0) > 0.0 for step in steps)),
        1.0 / min(ago) if ago else 0.0,
    ]


def _of_calls(situation: Situation, read: _Read) -> Floats:
    """How each candidate's tool and whole call stand to the task and to what was called before."""
    history, actions = situation.history, situation.actions
    times_of_tool = _counted([step.tool.lower() for step in history])
    times = _counted(situation.done)
    failed = {step.action for step in history if step.failed}
    rewarded = {step.action for step in history if (step.reward or 0.0) > 0.0}
    row = _repeats(history)
    own = np.array([times.get(action, 0) for action in actions], np.float64)
    of_tool = np.array([times_of_tool.get(one.tool.lower(), 0) for one in situation.candidates], np.float64)
    last = history[-1].action if history else None
    columns = [
        _named_with(situation, read),
        np.log1p(own),
        np.log1p(of_tool - own),
        (of_tool == 0).astype(np.float64),
        _marked(actions, failed.__contains__),
        _marked(actions, rewarded.__contains__),
        np.where(_marked(actions, lambda action: action == last) > 0, np.log1p(row), 0.0),
    ]
    return np.stack(columns, axis=1)


def _named_with(situation: Situation, read: _Read) -> Floats:
    """Share of a tool's words that stand within a few words before the task's mention of the first argument."""
    pairs = [(one.tool, _phrase(call.first)) for one, call in zip(situation.candidates, situation.calls, strict=True)]
    found = {pair: _before_mention(*pair, read.task) for pair in dict.fromkeys(pairs)}
    return np.array([found[pair] for pair in pairs], np.float64)


def _before_mention(tool: str, phrase: str, task: str) -> float:
    tool_words, key, best, at = words_of(tool), f" {phrase} ", 0.0, -1
    while phrase and tool_words and (at := task.find(key, at + 1)) >= 0:
        near = task[:at].split()[-WINDOW:]
        best = max(best, sum(word in near for word in tool_words) / len(tool_words))
    return best


def _steps_of(history: Sequence[PastStep]) -> dict[str, list[int]]:
    """At which steps each phrase was part of the arguments: every run of words, so that either argument is found."""
    found: dict[str, list[int]] = {}
    for at, step in enumerate(history):
        for phrase in _runs(_phrase(step.args)):
            found.setdefault(phrase, []).append(at)
    return found


@lru_cache(maxsize=1 << 13)
def _runs(text: str) -> frozenset[str]:
    """Beginnings and ends of a text, in words: an argument is one of them."""
    words = text.split()[:24]
    return frozenset(" ".join(words[:end]) for end in range(1, len(words) + 1)) | {
        " ".join(words[begin:]) for begin in range(1, len(words))
    }


@lru_cache(maxsize=1 << 15)
def _phrase(text: str) -> str:
    return " ".join(words_of(text))


@lru_cache(maxsize=1 << 12)
def _spaced(text: str) -> str:
    return f" {_phrase(text)} "


def _repeats(history: Sequence[PastStep]) -> int:
    """How many steps in a row called what the last one called."""
    for back, step in enumerate(reversed(history)):
        if step.action != history[-1].action:
            return back
    return len(history)


def _counted(names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _marked(actions: Sequence[str], rule: Callable[[str], bool]) -> Floats:
    return np.fromiter(map(rule, actions), np.float64, len(actions))

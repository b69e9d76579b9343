"""How records become the texts that are embedded: short, and clipped where logs are long.

Only what the agent itself could see goes in: never `task_hidden`, and never anything of the step's own future.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trajstore.schema import Candidate

STATE_CHARACTERS = 2000
OBSERVATION_CHARACTERS = 400
ARGUMENT_CHARACTERS = 200
RECENT_STEPS = 2
MOST_ARGUMENTS = 4
_TEXT = frozenset({str})


@dataclass(frozen=True, slots=True)
class Call:
    """A candidate as words: its action, its first argument by their names ("" where it has none), and the next few."""

    action: str
    first: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PastStep:
    """What is remembered of a step when the next one is chosen; `offered` are actions, as `render_action` writes.

    A call that was `refused` was never carried out: there is no such tool, or it takes no such arguments.
    """

    tool: str
    args: str = ""
    observation: str = ""
    failed: bool = False
    state: str = ""
    offered: tuple[str, ...] = ()
    reward: float | None = None
    refused: bool = False

    @property
    def action(self) -> str:
        """The call as `render_action` writes it."""
        return _action(self.tool, self.args)


def clip(text: str, characters: int) -> str:
    """The text itself, or its head and tail joined by an ellipsis where it is longer than `characters`.

    >>> clip("a" * 10, 5), clip("abc", 5)
    ('aaa…a', 'abc')
    """
    if len(text) <= characters:
        return text
    tail = characters // 4
    return f"{text[: characters - tail - 1]}…{text[len(text) - tail :]}"


def render_action(tool: str, args: Mapping[str, Any]) -> str:
    """A tool with its arguments as words, e.g. "take coin": equal for equal calls, however they were written.

    >>> render_action("take", {"object": "Coin"})
    'take coin'
    """
    return _action(tool, render_arguments(args))


def render_arguments(args: Mapping[str, Any]) -> str:
    """The arguments as words, in the order of their names.

    >>> render_arguments({"place": "Kitchen", "object": "coin", "note": ""})
    'coin kitchen'
    """
    words = (_as_words(args[name]) for name in sorted(args))
    return " ".join(word for word in words if word).lower().strip()


def call_of(candidate: Candidate) -> Call:
    """A candidate as words; remembered where all its arguments are texts.

    >>> call_of(Candidate("put", {"place": "Box", "object": "coin"}))
    Call(action='put coin box', first='coin', others=('box',))
    """
    args = candidate.args
    if _TEXT.issuperset(map(type, args.values())):  # 1, 1.0 and True are equal keys and different words
        return _call_of_texts(candidate.tool, tuple(args.items()))
    return _call(candidate.tool, args)


@lru_cache(maxsize=1 << 15)
def _call_of_texts(tool: str, args: tuple[tuple[str, str], ...]) -> Call:
    return _call(tool, dict(args))


def _call(tool: str, args: Mapping[str, object]) -> Call:
    first, *others = [render_arguments({name: args[name]}) for name in sorted(args)[:MOST_ARGUMENTS]] or [""]
    return Call(render_action(tool, args), first, tuple(others))


def render_state(state: str, history: Sequence[PastStep]) -> str:
    """What the agent knows just before it acts: the state, then the newest steps with what came back."""
    recent = (
        f"{step.tool} {clip(step.args, ARGUMENT_CHARACTERS)} {clip(step.observation, OBSERVATION_CHARACTERS)}"
        for step in history[-RECENT_STEPS:]
    )
    return " ".join([clip(state, STATE_CHARACTERS), *recent]).strip()


def render_goal(task: str) -> str:
    """The task as it is embedded."""
    return clip(task, STATE_CHARACTERS)


def _action(tool: str, arguments: str) -> str:
    return f"{tool.lower()} {arguments}".strip()


def _as_words(value: Any) -> str:  # Any: JSON
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)

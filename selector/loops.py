"""Loops: how to see from the newest steps that an agent goes round in circles, and which candidates would go on so.

An equal call alone is no loop: a call that is made again to see whether something changed brings another observation
when it has.  Only equal calls with equal observations count; those that differ by a clock alone are equal.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selector.clocks import without_clocks
from selector.errors import SelectorUsageError
from selector.situation import Situation
from trajstore.render import PastStep

Kind = Literal["same call", "cycle", "no progress"]
Key = tuple[str, str, str]
Reasons = dict[int, str]
IsShown = Callable[[str, int], bool]

LEAST_CALLS = 3


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """When repetition is a loop.

    `action_repeats`: times that a grounded action brought the same observation in this very state.  `tool_repeats`:
    newest steps that made the same call and saw the same.  `cycle_repeats`: times that a cycle of 2 to `longest_cycle`
    calls came back with the same observations.  `stalled_steps`: newest steps that only repeat earlier calls and
    observations, in states with a cosine of at least `likeness` to the present one.  `patience`: steps for which a loop
    may go on, once seen, before the choice is left to the agent.
    """

    action_repeats: int = 2
    tool_repeats: int = 4
    longest_cycle: int = 4
    cycle_repeats: int = 2
    stalled_steps: int = 6
    likeness: float = 0.98
    patience: int = 4

    def __post_init__(self) -> None:
        for name in ("action_repeats", "tool_repeats", "cycle_repeats", "stalled_steps"):
            if getattr(self, name) < 2:
                raise SelectorUsageError(f"{name} must be 2 or more, got {getattr(self, name)}")
        for name in ("longest_cycle", "patience"):
            if getattr(self, name) < 1:
                raise SelectorUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not -1.0 <= self.likeness <= 1.0:
            raise SelectorUsageError(f"likeness is a cosine within [−1, 1], got {self.likeness}")


@dataclass(frozen=True, slots=True)
class Loop:
    """What the newest steps repeat: `length` calls (`actions`, of `tools`), `repeats` times without a break.

    `next_action` and `next_tool` would go on with it (empty where any of them would).  `overrun` is for how many steps
    it has gone on since it could be seen.
    """

    kind: Kind
    actions: frozenset[str]
    tools: frozenset[str]
    length: int
    repeats: int
    overrun: int
    reason: str
    next_action: str = ""
    next_tool: str = ""

    def would_go_on(self, tool: str, action: str) -> bool:
        """Whether a call goes on with the loop; `action` is empty for a bare tool."""
        if action:
            return action == self.next_action if self.next_action else action in self.actions
        return tool == self.next_tool if self.next_tool else tool in self.tools


def find_loop(
    history: Sequence[PastStep], config: LoopConfig, likeness_T: NDArray[np.floating] | None = None
) -> Loop | None:
    """The loop in which the newest steps stand, None where they are in none; the shortest cycle is named.

    `likeness_T` is the cosine of the state before each step to the present state, shape (T,); without it a lack of
    progress is not looked for.
    """
    if likeness_T is not None and len(likeness_T) != len(history):
        raise SelectorUsageError(
            f"likeness_T must have one entry a step of the history ({len(history)}), got {len(likeness_T)}"
        )
    keys = _keys(history)
    for period in range(1, config.longest_cycle + 1):
        needed = period * (config.tool_repeats if period == 1 else config.cycle_repeats)
        covered = periodic_steps(keys, period)
        if covered >= needed and _has_period(keys[-period:]):
            return _cycle(history, period, covered, covered - needed)
    return None if likeness_T is None else _stall(history, keys, likeness_T, config)


def periodic_steps(keys: Sequence[Key], period: int) -> int:
    """How many of the newest steps repeat with a period: each equals the one `period` steps before it, or began it.

    >>> call = ("look", "", "dark")
    >>> periodic_steps([call, call, call], 1), periodic_steps([("go", "", ""), call], 1), periodic_steps([], 1)
    (3, 1, 0)
    """
    equal = 0
    while equal + period < len(keys) and keys[-1 - equal] == keys[-1 - equal - period]:
        equal += 1
    return min(equal + period, len(keys))


def looping_steps(history: Sequence[PastStep], config: LoopConfig) -> NDArray[np.bool_]:
    """Whether each step of a whole trajectory lies in a loop after its first round; shape (T,).

    The first round is spared: what was done there was new.
    """
    inside = np.zeros(len(history), np.bool_)
    keys = _keys(history)
    for period in range(1, config.longest_cycle + 1):
        needed = period * (config.tool_repeats if period == 1 else config.cycle_repeats)
        run = 0
        for at in range(period, len(keys)):
            run = run + 1 if keys[at] == keys[at - period] else 0
            if run + period >= needed and _has_period(keys[at - period + 1 : at + 1]):
                inside[at - run + 1 : at + 1] = True
    return inside


def never_shown(tool: str, times: int) -> bool:
    """That no success made the same call of a tool so many times before it made it again."""
    del tool, times
    return False


def loop_reasons(
    situation: Situation, config: LoopConfig, loop: Loop | None, is_shown: IsShown = never_shown
) -> Reasons:
    """Reason by place of each candidate that would go on with a loop, of whatever kind; it may name all of them.

    `loop` is the one that `find_loop` found; `is_shown` says whether successes repeated a tool's call as often.
    """
    masked = candidates_to_mask(situation, loop) if loop else {}
    return masked | repeated_here(situation, config, is_shown) | refused_here(situation)


def candidates_to_mask(situation: Situation, loop: Loop) -> Reasons:
    """Reason by place of each candidate that would go on with this loop.

    A candidate with arguments only where it is the very action that comes next in the loop, a bare tool where the next
    call is of that tool; without progress, whatever was done in vain.
    """
    places = enumerate(zip(situation.candidates, situation.actions, strict=True))
    return {
        place: loop.reason
        for place, (candidate, action) in places
        if loop.would_go_on(candidate.tool, action if candidate.args else "")
    }


def repeated_here(situation: Situation, config: LoopConfig, is_shown: IsShown = never_shown) -> Reasons:
    """Reason by place of each grounded action that brought the same `action_repeats` times in this very state.

    None where successes did it as often: to look again and again is how one sees water boil.  Nor where its object was
    treated in a new way since: what is put away wet may have been dried.
    """
    if not situation.is_grounded:
        return {}
    states = _states(situation)
    seen = zip(situation.done, _brought(situation.history), states[:-1], strict=True)
    same = Counter((action, brought) for action, brought, state in seen if state == states[-1])
    times: dict[str, int] = {}
    for (action, _), count in same.items():
        times[action] = max(count, times.get(action, 0))
    return {
        place: f"loop: done {times[action]} times in this state with the same observation"
        for place, (candidate, action) in enumerate(zip(situation.candidates, situation.actions, strict=True))
        if candidate.args
        and times.get(action, 0) >= config.action_repeats
        and not _is_thing_changed(situation, place)
        and not is_shown(candidate.tool, times[action])
    }


def _is_thing_changed(situation: Situation, place: int) -> bool:
    """Whether something was done with the candidate's object, for the first time, since the candidate was last done."""
    thing, action = situation.objects[place], situation.actions[place]
    last = max(number for number, done in enumerate(situation.done) if done == action)
    known = frozenset(situation.done[: last + 1])
    since = situation.history[last + 1 :]
    return any(f" {thing} " in f" {one.args} " and one.action not in known and not one.failed for one in since)


def refused_here(situation: Situation) -> Reasons:
    """Reason by place of each grounded action that was refused when the very same actions were offered.

    What the environment does not carry out changes nothing, so that it would be refused again.
    """
    if not situation.is_grounded:
        return {}
    steps = (step for step in situation.history if step.refused and step.offered)
    refused = {step.action for step in steps if step.offered == situation.actions}
    if not refused:
        return {}
    return {
        place: "loop: refused before, when the same was offered"
        for place, action in enumerate(situation.actions)
        if action in refused
    }


def should_defer(situation: Situation, loop: Loop, config: LoopConfig) -> bool:
    """Whether masking does not help: the loop outlasted the `patience`, or every candidate would go on with it."""
    return loop.overrun >= config.patience or len(candidates_to_mask(situation, loop)) == len(situation.candidates)


def _keys(history: Sequence[PastStep]) -> list[Key]:
    """Each step's call and what it brought."""
    return [(step.tool, step.args, brought) for step, brought in zip(history, _brought(history), strict=True)]


def _brought(history: Sequence[PastStep]) -> tuple[str, ...]:
    """What each step brought, equal where it differs by a clock alone."""
    return _timeless(history, tuple(step.observation for step in history))


def _states(situation: Situation) -> tuple[str, ...]:
    """The state before each step, and the present one, equal where they differ by a clock alone."""
    return _timeless(situation.history, (*(step.state for step in situation.history), situation.state))


def _timeless(history: Sequence[PastStep], texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts without clocks, where LEAST_CALLS different calls have shown them: how far one job is, is no clock."""
    timeless = without_clocks(texts)
    if timeless == texts or len({(step.tool, step.args) for step in history}) >= LEAST_CALLS:
        return timeless
    return texts


def _has_period(newest: Sequence[Key]) -> bool:
    """Whether the calls of a round are no single call again and again, which is for `tool_repeats` to judge."""
    return len(newest) == 1 or len(set(newest)) > 1


def _cycle(history: Sequence[PastStep], period: int, covered: int, overrun: int) -> Loop:
    """The newest `covered` steps as a loop of `period` calls."""
    newest, repeats = history[-period:], covered // period
    if period == 1:
        reason = f"loop: the last {covered} calls had the same arguments and observation"
    else:
        reason = f"loop: the same {period} calls came {repeats} times with the same observations"
    return Loop(
        "same call" if period == 1 else "cycle",
        frozenset(step.action for step in newest),
        frozenset(step.tool for step in newest),
        period,
        repeats,
        overrun,
        reason,
        newest[0].action,
        newest[0].tool,
    )


def _stall(
    history: Sequence[PastStep], keys: Sequence[Key], likeness_T: NDArray[np.floating], config: LoopConfig
) -> Loop | None:
    """The newest steps as a loop without a period: like states, no call that is new and no observation that is.

    Another call that finds as little as the one before it is a search, not a loop.
    """
    first_seen: dict[Key, int] = {}
    for at, key in enumerate(keys):
        first_seen.setdefault(key, at)
    stalled = 0
    for at in range(len(keys) - 1, -1, -1):
        if likeness_T[at] < config.likeness or first_seen[keys[at]] == at:
            break
        stalled += 1
    if stalled < config.stalled_steps:
        return None
    newest = history[-stalled:]
    actions, tools = frozenset(step.action for step in newest), frozenset(step.tool for step in newest)
    reason = f"loop: nothing new was done or seen in the last {stalled} steps"
    return Loop(
        "no progress", actions, tools, len(actions), stalled // len(actions), stalled - config.stalled_steps, reason
    )

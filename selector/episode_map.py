"""The map of one episode: places, the ways between them, and what was tried where, gathered from its steps alone.

A place is the first sentence of a state, so that a door that was opened since does not make another place.  A sentence
of the state describes an action when it holds all words of the action's arguments: what it says tells one exit from
another, and the same exit before and after it changed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from selector.phrases import Words, arguments_of, content_words, object_of, verb_of
from trajstore.render import PastStep

_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n")
_STATE_CHARACTERS = 8000
_PREFIX = 64
_NOTHING: Words = frozenset()


@dataclass(frozen=True, slots=True)
class StateText:
    """A state taken apart: the key of its place, and which sentences hold which word (bit n: sentence n)."""

    place: str
    sentences: tuple[Words, ...]
    masks: Mapping[str, int]

    def description(self, arguments: Words) -> Words:
        """Words of the first sentence that holds all the arguments; empty where none does."""
        mask = -1 if arguments else 0
        for word in arguments:
            mask &= self.masks.get(word, 0)
        return self.sentences[(mask & -mask).bit_length() - 1] if mask else _NOTHING


@dataclass(frozen=True, slots=True)
class Sight:
    """What a place was like when it was last seen; `offered` are actions by their verb, `things` their objects."""

    text: StateText
    offered: Mapping[str, tuple[str, ...]]
    things: frozenset[str]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one step did: led to another place, changed anything, brought up a new object, and its reward."""

    moved: bool
    changed: bool
    revealed: bool
    reward: float


@dataclass(frozen=True, slots=True)
class Use:
    """How a verb or an object fared: its uses, how many of them had which effect, and the reward that they brought."""

    uses: int = 0
    moves: int = 0
    changes: int = 0
    reveals: int = 0
    reward: float = 0.0

    def plus(self, effect: Effect) -> "Use":
        """One use more."""
        return Use(
            self.uses + 1,
            self.moves + effect.moved,
            self.changes + effect.changed,
            self.reveals + effect.revealed,
            self.reward + effect.reward,
        )


@dataclass(frozen=True, slots=True)
class Visit:
    """How often something was visited or done, and at which step last."""

    count: int = 0
    last: int = -1


@dataclass(frozen=True)
class EpisodeMap:
    """What the steps so far say about places; a value, grown by `arrive` and `depart` in turn.

    `ways` lead from (place, action) to a place; `tries` say of (place, action, description) whether it changed
    anything when it was last done; `texts` are observations that told something without changing anything; `things` is
    the object of each action that was ever offered.
    """

    here: str = ""
    setting: tuple[str, ...] = ()
    before: str = ""
    clock: int = 0
    trail: tuple[str, ...] = ()
    ways: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tries: Mapping[tuple[str, str, Words], bool] = field(default_factory=dict)
    visits: Mapping[str, Visit] = field(default_factory=dict)
    sights: Mapping[str, Sight] = field(default_factory=dict)
    verbs: Mapping[str, Use] = field(default_factory=dict)
    objects: Mapping[str, Use] = field(default_factory=dict)
    done: Mapping[str, Visit] = field(default_factory=dict)
    things: Mapping[str, str] = field(default_factory=dict)
    objects_offered: frozenset[str] = frozenset()
    fresh: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    pending: PastStep | None = None

    @property
    def moving(self) -> frozenset[str]:
        """Verbs that led to another place at least once."""
        return frozenset(verb for verb, use in self.verbs.items() if use.moves)

    @property
    def revealing(self) -> frozenset[str]:
        """Verbs that brought up a new object at least once without leading away."""
        return frozenset(verb for verb, use in self.verbs.items() if use.reveals)


def arrive(known: EpisodeMap, state: str, offered: tuple[str, ...]) -> EpisodeMap:
    """The map once the agent sees `state` and what is offered there, after the pending step if there is one."""
    text, setting, step = read_state(state), _setting(state, known.pending), known.pending
    fresh = frozenset(offered).difference(known.things)
    things = _with_objects(known.things, known.objects_offered, fresh)
    moved = text.place != known.here
    visit = known.visits.get(text.place, Visit())
    if step is not None:
        revealed = not moved and any(things[action] not in known.objects_offered for action in fresh)
        effect = Effect(moved, moved or setting != known.setting, revealed, step.reward or 0.0)
        known = _settled(known, step, text.place, effect)
    sight = Sight(text, _by_verb(offered), frozenset(map(things.__getitem__, offered)) - {""})
    return replace(
        known,
        here=text.place,
        setting=setting,
        before=known.here if moved else known.before,
        trail=(*known.trail, text.place) if moved else known.trail,
        visits={**known.visits, text.place: Visit(visit.count + (moved or not visit.count), known.clock)},
        sights={**known.sights, text.place: sight},
        fresh=fresh if known.clock else frozenset(),
        things=things,
        objects_offered=known.objects_offered | sight.things,
        pending=None,
    )


def depart(known: EpisodeMap, step: PastStep) -> EpisodeMap:
    """The map once `step` was taken from where the agent is."""
    done = known.done.get(step.action, Visit())
    return replace(
        known,
        clock=known.clock + 1,
        done={**known.done, step.action: Visit(done.count + 1, known.clock)},
        pending=step,
    )


def map_of(history: tuple[PastStep, ...], state: str, offered: tuple[str, ...]) -> EpisodeMap:
    """The map of an episode at a decision; remembered for the decisions that follow it."""
    for length in range(_PREFIX, len(history), _PREFIX):
        _departed(_Prefix(history[:length]))
    return _seen(_Prefix(history), state, offered)


@lru_cache(maxsize=1 << 14)
def read_state(state: str) -> StateText:
    """Take a state apart; its place is the first sentence.

    >>> read_state("You are here. To the East you see a hall.").description(frozenset({"east"})) >= {"hall"}
    True
    """
    sentences = [part for part in _SENTENCE.split(state[:_STATE_CHARACTERS]) if part]
    words = tuple(content_words(sentence) for sentence in sentences)
    masks: dict[str, int] = {}
    for place, sentence in enumerate(words):
        for word in sentence:
            masks[word] = masks.get(word, 0) | 1 << place
    return StateText(sentences[0] if sentences else "", words, masks)


@dataclass(frozen=True, slots=True, eq=False)
class _Prefix:
    """The first steps of an episode as a key: hashed by its newest step, compared step by step (identity first)."""

    steps: tuple[PastStep, ...]

    def __hash__(self) -> int:
        last = self.steps[-1] if self.steps else PastStep("")
        return hash((len(self.steps), last.tool, last.args, last.state, last.observation))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Prefix) and self.steps == other.steps


@lru_cache(maxsize=1 << 10)
def _departed(prefix: _Prefix) -> EpisodeMap:
    if not prefix.steps:
        return EpisodeMap()
    last = prefix.steps[-1]
    return depart(_seen(_Prefix(prefix.steps[:-1]), last.state, last.offered), last)


@lru_cache(maxsize=1 << 8)
def _seen(prefix: _Prefix, state: str, offered: tuple[str, ...]) -> EpisodeMap:
    return arrive(_departed(prefix), state, offered)


def _settled(known: EpisodeMap, step: PastStep, place: str, effect: Effect) -> EpisodeMap:
    """What the pending step did, now that the place after it is seen."""
    verb, thing = verb_of(step.action), known.things.get(step.action, "")
    description = read_state(step.state).description(arguments_of(step.action))
    told = not (effect.changed or step.failed or step.observation in step.state or step.observation in known.texts)
    return replace(
        known,
        ways={**known.ways, (known.here, step.action): place},
        tries={**known.tries, (known.here, step.action, description): effect.changed},
        verbs={**known.verbs, verb: known.verbs.get(verb, Use()).plus(effect)},
        objects={**known.objects, thing: known.objects.get(thing, Use()).plus(effect)},
        texts=(*known.texts, step.observation) if told else known.texts,
    )


def _with_objects(things: Mapping[str, str], known: frozenset[str], fresh: frozenset[str]) -> Mapping[str, str]:
    """The object of each action: the longest known one that its arguments begin with, else all of them."""
    if not fresh:
        return things
    grown, objects = dict(things), set(known)
    for action in sorted(fresh, key=lambda one: (len(one), one)):  # a set has no order of its own
        words = object_of(action).split()
        parts = (" ".join(words[:length]) for length in range(len(words), 0, -1))
        grown[action] = next((part for part in parts if part in objects), " ".join(words))
        objects.add(grown[action])
    return grown


def _setting(state: str, step: PastStep | None) -> tuple[str, ...]:
    """The lines of a state without one that only repeats what the step before it brought."""
    lines = tuple(state.split("\n"))
    return tuple(line for line in lines if step is None or line != step.observation) or lines


def _by_verb(offered: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    verbs: dict[str, list[str]] = {}
    for action in offered:
        verbs.setdefault(verb_of(action), []).append(action)
    return {verb: tuple(actions) for verb, actions in verbs.items()}

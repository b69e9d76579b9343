"""How each candidate stands to the map of the episode: what its like did so far, where it leads, what lies that way."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selector.episode_map import EpisodeMap, Use, Visit, map_of
from selector.episode_ways import Names, leads_to, links_of, names_of
from selector.phrases import Words, arguments_of, content_words, phrases_of, spoken, verb_of
from selector.read_map import distances
from selector.reading import Distinct, distinct
from selector.situation import Situation

Floats = NDArray[np.float64]

PLACE_RELATIONS = (
    "its verb moves",
    "its verb changes things",
    "its verb reveals things",
    "reward of the object",
    "tried here",
    "changed nothing here",
    "newly offered",
    "done lately",
    "never done and its verb reveals",
    "the state says it is done",
    "leads to a known place",
    "leads back",
    "leads to somewhere new",
    "visits of where it leads",
    "recency of where it leads",
    "nearer to something untried",
    "nearer to something unopened",
    "near something unopened",
    "nearer to a wanted object",
    "nearer to the next named place",
    "near the next named place",
)
_ABSENT, _NEVER = Use(), Visit()


def place_relations(situation: Situation) -> Floats:
    """How each candidate stands to the map of the episode; shape (K, len(PLACE_RELATIONS)), about 0 to 1 each.

    A verb moves where its use led to another place; names are sought in the order in which the task has them.
    """
    known = map_of(situation.history, situation.state, situation.actions)
    verbs = distinct(map(verb_of, situation.actions))
    things = distinct(map(known.things.__getitem__, situation.actions))
    use_V = [known.verbs.get(verb, _ABSENT) for verb in verbs.texts]
    return np.concatenate(
        [
            np.array([_effects(use) for use in use_V])[verbs.places],
            np.array([_reward(known, thing) for thing in things.texts])[things.places, None],
            _fates(known, situation.actions, verbs),
            _ways(known, situation, [verb for verb, use in zip(verbs.texts, use_V, strict=True) if use.moves]),
        ],
        axis=1,
    )


@dataclass(frozen=True, slots=True)
class _Atlas:
    """Worked out once for a decision: the names of places, and how far each is from the nearest that may be sought."""

    names: Names
    untried: Mapping[str, int]
    unopened: Mapping[str, int]
    wanted: Mapping[str, int]
    next_named: Mapping[str, int]


def _atlas(known: EpisodeMap, task: str) -> _Atlas:
    names = names_of(known)
    links = links_of(known, names)
    ahead = _named_ahead(known, names, task)

    def distances_to(places: Iterable[str]) -> Mapping[str, int]:
        return distances(links, dict.fromkeys(places, 0))

    return _Atlas(
        names,
        distances_to(place for others in links.values() for place in others if place not in known.visits),
        distances_to(_unopened(known)),
        distances_to(_wanted(known, task)),
        distances_to(ahead[:1]),
    )


def _unopened(known: EpisodeMap) -> list[str]:
    """Places that offer something never done, of a verb that revealed something elsewhere."""
    revealing = known.revealing
    return [
        place
        for place, sight in known.sights.items()
        if any(action not in known.done for verb in revealing for action in sight.offered.get(verb, ()))
    ]


def _wanted(known: EpisodeMap, task: str) -> list[str]:
    """Places that offered an object that was asked for, never used, and is not offered here."""
    asked = spoken((task, *known.texts))
    never_used = known.objects_offered - known.objects.keys() - known.sights[known.here].things
    wanted = frozenset(thing for thing in never_used if f" {thing} " in asked)
    return [place for place, sight in known.sights.items() if wanted & sight.things]


def _named_ahead(known: EpisodeMap, names: Names, task: str) -> list[str]:
    """Places that the task names and that were not yet reached in the order in which it names them."""
    by_words = {own: place for place, own in names.items()}
    named = [by_words[words] for words in map(content_words, phrases_of(task)) if words in by_words]
    at = 0
    for place in known.trail:
        at += at < len(named) and named[at] == place
    return named[at:]


def _effects(use: Use) -> tuple[float, float, float]:
    """How often a verb moved, changed and revealed something."""
    return use.moves / (use.uses + 1), use.changes / (use.uses + 1), use.reveals / (use.uses + 1)


def _reward(known: EpisodeMap, thing: str) -> float:
    """Mean reward of the object's uses, in [−1, 1]."""
    use = known.objects.get(thing, _ABSENT)
    return max(-1.0, min(1.0, use.reward / (use.uses + 1)))


def _fates(known: EpisodeMap, actions: Sequence[str], verbs: Distinct) -> Floats:
    """What each action did so far, and whether the state says that it is done; shape (K, 6)."""
    text, words = known.sights[known.here].text, f" {' '.join(known.sights[known.here].text.masks)}"
    revealing = known.revealing
    reveals = np.array([verb in revealing for verb in verbs.texts])[verbs.places]
    is_said = np.array([f" {verb}" in words for verb in verbs.texts])[verbs.places]
    made = np.zeros((len(actions), 6))
    made[:, 2] = [action in known.fresh for action in actions]
    made[:, 4] = reveals
    for place in [place for place, action in enumerate(actions) if action in known.done]:
        tried = known.tries.get((known.here, actions[place], text.description(arguments_of(actions[place]))))
        ago = known.clock - known.done[actions[place]].last
        made[place] = tried is not None, tried is False, made[place, 2], 1.0 / (1 + ago), 0.0, 0.0
    for place in np.flatnonzero(is_said).tolist():
        verb, arguments = verb_of(actions[place]), arguments_of(actions[place])
        made[place, 5] = verb not in arguments and _says(text.description(arguments), verb)
    return made


@lru_cache(maxsize=1 << 14)
def _says(description: Words, verb: str) -> bool:
    """Whether the description has a form of the verb: "closed" of "close"."""
    return any(word.startswith(verb) for word in description)


def _ways(known: EpisodeMap, situation: Situation, moving: Sequence[str]) -> Floats:
    """Where each action leads, and what it leads nearer to; shape (K, 11), zeros unless its verb moved the agent."""
    made = np.zeros((len(situation.actions), 11))
    if moving:
        atlas, verbs = _atlas(known, situation.task), frozenset(moving)
        for place, action in enumerate(situation.actions):
            if verb_of(action) in verbs:
                made[place] = _way(known, atlas, action)
    return made


def _way(known: EpisodeMap, atlas: _Atlas, action: str) -> tuple[float, ...]:
    """Where an action leads, and what it leads nearer to; zeros where it is known to lead nowhere."""
    goal = leads_to(known, atlas.names, known.here, action)
    if not goal:
        return (0.0,) * 11
    visit = known.visits.get(goal, _NEVER)
    return (
        float(visit.count > 0),
        float(goal == known.before),
        float(not visit.count),
        math.log1p(visit.count) / 3,
        1.0 / (1 + known.clock - visit.last) if visit.count else 0.0,
        _toward(atlas.untried, known.here, goal)[0],
        *_toward(atlas.unopened, known.here, goal),
        _toward(atlas.wanted, known.here, goal)[0],
        *_toward(atlas.next_named, known.here, goal),
    )


def _toward(field: Mapping[str, int], here: str, goal: str) -> tuple[float, float]:
    """Whether the goal is nearer than here to what is sought, and how near it is."""
    if goal not in field:
        return 0.0, 0.0
    return float(field[goal] < field.get(here, len(field) + 1)), 1.0 / (1 + field[goal])

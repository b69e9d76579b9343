"""Names of objects: each is offered by the name that it is seen under, though its environment may call it otherwise.

An environment that makes up a name for each object that an action may take ("cloth sittable" for a couch) takes care
only that no two are called alike, and may call an object otherwise in the next episode.  What is learned of objects
rests on their names, so they should be those that observations use.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import chain, pairwise

from selector.reading import words_of

_CALLED = "called "
_CONTENTS = " containing "
_PLACED = re.compile(r" (?:in|on) ")


def seen_names(made_up: Mapping[str, str], others: Mapping[str, Sequence[str]], seen: str) -> dict[str, str]:
    """A name for each object by its number: the rarest of its names that is seen.

    `made_up` are the names by which the environment tells its objects apart, `others` is all that it understands for an
    object, `seen` what is seen of them.  What an object contains is told only where several are seen under one name,
    and so is the place that the environment adds.  Where neither tells them apart, objects of the same names are called
    alike; others, and those of which nothing else is known, keep made-up names.

    >>> seen_names({"1": "cloth sittable", "2": "box"}, {"1": ["couch", "cloth sittable"]}, "A couch. A box.")
    {'1': 'couch', '2': 'box'}
    >>> fruits = {"1": ["apple", "fruit"], "2": ["apple", "fruit"]}
    >>> seen_names({"1": "fruit in bowl", "2": "apple in bag"}, fruits, "a bowl with an apple, a bag with an apple")
    {'1': 'apple in bowl', '2': 'apple in bag'}
    >>> seen_names({"1": "air"}, {"1": ["substance", "air"]}, "You see a substance called air.")
    {'1': 'air'}
    """
    known = {name: set[str]() for name in made_up.values()}
    for number, name in made_up.items():
        known[name].update(others.get(number, ()))
    names = _Names(known, f" {' '.join(words_of(seen))} ")
    told = names.told_apart()
    return {number: told[name] for number, name in made_up.items()}


def name_meant(phrase: str, names: Mapping[str, Sequence[str]]) -> str:
    """The name by which an object is offered that the phrase calls otherwise; the phrase itself where it fits none.

    `names` holds every name of an object by the one that it is offered by.  A phrase may say where the object is.

    >>> names = {"red lamp": ("lamp", "red lamp"), "shelf": ("shelf", "board")}
    >>> name_meant("lamp on board", names), name_meant("lamp in garden", names)
    ('red lamp', 'lamp in garden')
    """
    known = frozenset(other for others in names.values() for other in others)
    fits = {
        name: max(_fit(phrase, one, known) for one in others) + 0.5 * _overlap(phrase, name)
        for name, others in names.items()
    }
    best = max(fits, key=lambda name: fits[name], default=phrase)
    return best if fits.get(best, 0.0) >= 1.0 else phrase


def _fit(phrase: str, name: str, known: Set[str]) -> float:
    """How well a phrase means what has this name: it is the name, or the name with where that is."""
    if phrase == name:
        return 3.0
    place = _PLACED.match(phrase, len(name)) if phrase.startswith(name) else None
    return 1.0 + len(name) / len(phrase) if place and _is_known(phrase[place.end() :], known) else 0.0


def _is_known(phrase: str, known: Set[str]) -> bool:
    """Whether a phrase names a known thing, perhaps with where that is."""
    ends = [len(phrase), *(place.start() for place in _PLACED.finditer(phrase))]
    return any(phrase[:end] in known for end in ends)


def _overlap(left: str, right: str) -> float:
    mine, other = set(left.split()), set(right.split())
    return len(mine & other) / max(1, len(mine | other))


class _Names:
    """The names of objects by their made-up one, and the words that are seen."""

    def __init__(self, known: Mapping[str, set[str]], seen: str) -> None:
        self._known, self._seen = known, seen
        self._shared = Counter(chain.from_iterable(known.values()))

    def told_apart(self) -> dict[str, str]:
        """The name to use for each."""
        plain = {one: self._best(one, lambda name: _CONTENTS not in name) for one in self._known}
        full = {one: self._best(one, lambda name: _CONTENTS in name, plain[one]) for one in self._alike(plain)}
        heads = plain | full
        holders = {name: plain[one] for one in self._known for name in self._own(one)}
        placed = {one: self._placed(one, heads[one], holders) for one in self._alike(heads)}
        names = heads | placed
        unclear = {one: one for one in self._alike(names) if names[one] == heads[one] or not self._is_twin(one, names)}
        return names | unclear

    def _best(self, one: str, is_wanted: Callable[[str], bool], otherwise: str = "") -> str:
        """The rarest wanted name that is seen, of two the one that it is said to be called ("a substance called air").

        Else the longest that no other object has, else the other one given.
        """
        wanted = [name for name in self._known[one] if is_wanted(name) and not _stutters(name)]
        fitting = [name for name in wanted if self._says(name) or self._shared[name] == 1]
        return max(fitting, key=self._worth, default="") or otherwise or one

    def _worth(self, name: str) -> tuple[bool, int, bool, int, str]:
        return self._says(name), -self._shared[name], self._says(_CALLED + name), len(name), name

    def _says(self, words: str) -> bool:
        return f" {' '.join(words_of(words))} " in self._seen

    def _own(self, one: str) -> set[str]:
        """The names that mean this object alone."""
        return {one, *(name for name in self._known[one] if self._shared[name] == 1)}

    def _placed(self, one: str, head: str, holders: Mapping[str, str]) -> str:
        """The head with the place that a made-up name adds to another, by the name of what is there."""
        longest = max(
            (name for name in self._known[one] if _PLACED.match(one.removeprefix(name))), key=len, default=one
        )
        place = _PLACED.sub("", one.removeprefix(longest), count=1)
        return f"{head} in {holders.get(place, place)}" if place else head

    def _alike(self, names: Mapping[str, str]) -> list[str]:
        times = Counter(names.values())
        return [one for one, name in names.items() if times[name] > 1]

    def _is_twin(self, one: str, names: Mapping[str, str]) -> bool:
        """Whether all that are called as this one are known by the same names."""
        return all(self._known[other] == self._known[one] for other, name in names.items() if name == names[one])


def _stutters(name: str) -> bool:
    return any(one == other for one, other in pairwise(name.split()))

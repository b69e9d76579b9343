"""Which stored tasks are about the same rare thing as another, so that weights are earned on new things as well.

A task that is left out alone still finds its objects in the store wherever others share them, and what remembers single
objects earns more than it will where objects are new.  A task is therefore left out with its kin.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from selector.reading import words_of
from trajstore.schema import Trajectory

MOST_KIN = 64
RARE = 0.25


class Kinship:
    """The kin of each unit: the units whose task names the rarest thing that its own task names and its steps act on.

    `units` are the numbers of the trajectories that are left out together, by name.  A thing is a word; one
    that more than MOST_KIN units name, or more than a quarter of them, is not rare.
    """

    def __init__(self, trajectories: Sequence[Trajectory], units: Mapping[str, Sequence[int]]) -> None:
        self._trajectories = trajectories
        self._units = units
        self._named = {unit: frozenset(self._words(members)) for unit, members in units.items()}
        self._counts = Counter(word for words in self._named.values() for word in words)
        most = min(MOST_KIN, int(RARE * len(units)))
        self._naming: dict[str, list[str]] = {}
        for unit, words in self._named.items():
            for word in words:
                if 1 < self._counts[word] <= most:
                    self._naming.setdefault(word, []).append(unit)

    def of(self, unit: str) -> tuple[int, ...]:
        """The numbers of the unit's own trajectories and of those of its kin."""
        shared = [word for word in self._named[unit] if word in self._naming]
        if not shared:
            return tuple(self._units[unit])
        acted_on = {
            word
            for number in self._units[unit]
            for step in self._trajectories[number].steps
            for value in step.args.values()
            for word in words_of(str(value))
        }
        rarest = min(acted_on.intersection(shared), key=lambda word: (self._counts[word], word), default="")
        kin = self._naming.get(rarest, [unit])
        return tuple(number for name in kin for number in self._units[name])

    def _words(self, members: Sequence[int]) -> set[str]:
        return {word for number in members for word in words_of(self._trajectories[number].task.text)}

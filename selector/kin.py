"""Which stored tasks are about the same rare thing as another, so that weights are earned on new things as well.

A task that is left out alone still finds its objects in the store wherever others share them, and what remembers single
objects earns more than it will where objects are new.  A task is therefore left out with its kin.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from selector.reading import words_of
from selector.word_neighbours import nearest_texts
from trajstore.schema import Trajectory

MOST_KIN = 64
RARE = 0.25
NEAREST = 10
AS_ALIKE = 0.5
MOST_COMPARED = 2_000


class Kinship:
    """The kin of each unit: the units whose task names the rarest thing that its own task names and its steps act on.

    `units` are the numbers of the trajectories that are left out together, by name.  A thing is a word; one that more
    than MOST_KIN units name, or more than a quarter of them, is not rare.  Nor is one that more than half of the
    tasks that read alike name too: what a kind of task is always about is not new in any of them.
    """

    def __init__(self, trajectories: Sequence[Trajectory], units: Mapping[str, Sequence[int]]) -> None:
        self._trajectories = trajectories
        self._units = units
        self._named = {unit: frozenset(self._words(members)) for unit, members in units.items()}
        self._counts = Counter(word for words in self._named.values() for word in words)
        most = min(MOST_KIN, int(RARE * len(units)))
        self._usual = _usual_words(self._named)
        self._naming: dict[str, list[str]] = {}
        for unit, words in self._named.items():
            for word in words:
                if 1 < self._counts[word] <= most:
                    self._naming.setdefault(word, []).append(unit)

    def of(self, unit: str) -> tuple[int, ...]:
        """The numbers of the unit's own trajectories and of those of its kin."""
        shared = [word for word in self._named[unit] - self._usual[unit] if word in self._naming]
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


def _usual_words(named: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The words of each unit that more than half of the units that read alike name as well.

    Those are the NEAREST of at most MOST_COMPARED others that are AS_ALIKE as the most alike, or more.
    """
    texts = list(named.values())
    compared = np.arange(0, len(texts), -(-len(texts) // MOST_COMPARED) or 1)
    places, cosines = nearest_texts(texts, np.arange(len(texts)), compared, NEAREST)
    is_alike = (cosines > 0.0) & (cosines >= AS_ALIKE * cosines[:, :1])
    found = {}
    for unit, words, near, chosen in zip(named, texts, places, is_alike, strict=True):
        counts = Counter(word for other in near[chosen].tolist() for word in words & texts[other])
        found[unit] = frozenset(word for word, count in counts.items() if 2 * count > chosen.sum())
    return found

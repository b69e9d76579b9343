"""What helps to choose, by decisions of tasks that the weights were not fitted to: paths, words, what is said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from selector.choice_model import ActionFeatures
from selector.crosses import HASHED_CROSSES, NONE
from selector.features import HASHED, Sparse
from selector.fitting import Example, Penalties, fit, log_probability
from selector.relations import RELATIONS

LEAST_SHARE = 0.15
CROSSES_WITH_PATHS = 16.0
LEAST_DEVIATIONS = 2.0


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean of ln p(right) with less that without, in nats a decision, over units left out; and its standard error.

    `left` is the mean of −ln p(right) without: what there is to gain.  All is measured along paths that succeeded.  A
    live episode strays from them, where what paths say is worth less and can mislead: a small gain is none.  It is
    small as a share of what there is to gain, as in McFadden's pseudo-R² (1974): with every stored path less is left to
    gain along the others, which are alike, while a live task may be like none of them.
    """

    value: float
    standard_error: float
    left: float = 0.0

    @property
    def is_credible(self) -> bool:
        """Whether it lies at least LEAST_DEVIATIONS standard errors above nothing."""
        return self.value > 0.0 and self.value >= LEAST_DEVIATIONS * self.standard_error

    @property
    def is_worthwhile(self) -> bool:
        """Whether it is at least LEAST_SHARE of what is left, and LEAST_DEVIATIONS standard errors from nothing."""
        return self.is_credible and self.value >= LEAST_SHARE * self.left


def paths_help(examples: Sequence[Example], tools: int, penalties: Penalties) -> bool:
    """Whether the examples, which have relations to paths, are worth having them; `tools` are known."""
    units = {one.unit for one in examples if one.actions is not None}
    return len(units) > 1 and gain_of_paths(examples, tools, penalties).is_worthwhile


def gain_of_paths(examples: Sequence[Example], tools: int, penalties: Penalties) -> Gain:
    """What relations to paths bring: each half of the units is chosen for by weights fitted to the other half."""
    bare = [without_paths(one) for one in examples]
    return _gain(bare, examples, tools, (penalties, penalties_with_paths(penalties)))


def said_helps(examples: Sequence[Example], tools: int, penalties: Penalties) -> bool:
    """Whether what is said of the things that the task names credibly helps in units that the weights have not seen."""
    crosses = (one.actions.crosses for one in examples if one.actions is not None)
    if not any(((one >= HASHED_CROSSES) & (one < NONE)).any() for one in crosses):
        return False
    return _gain([without_said(one) for one in examples], examples, tools, (penalties, penalties)).is_credible


def words_help(examples: Sequence[Example], tools: int, penalties: Penalties) -> bool:
    """Whether decisive words, found in decisions of units with even numbers alone, credibly help in the others."""
    odd = frozenset(one.unit for one in examples if one.unit % 2)
    if all(one.unit in odd for one in examples):
        return False
    bare = [without_words(one) for one in examples]
    untold, told = (_left_out(some, odd, tools, penalties) for some in (bare, examples))
    return _clustered(told - untold, _asked_units(examples, odd)).is_credible


def without_words(example: Example) -> Example:
    """The example without decisive words."""
    is_hashed = example.features.places < HASHED
    return replace(example, features=Sparse(example.features.places[is_hashed], example.features.values[is_hashed]))


def without_said(example: Example) -> Example:
    """The example without what is said of the things that the task names."""
    if example.actions is None:
        return example
    crosses = example.actions.crosses
    return replace(example, actions=replace(example.actions, crosses=np.where(crosses < HASHED_CROSSES, crosses, NONE)))


def penalties_with_paths(penalties: Penalties) -> Penalties:
    """The penalties of a model that has relations to paths: crosses are drawn back more.

    Crosses remember single objects, whatever the task; paths say which object this task is about.
    """
    return replace(penalties, crosses=CROSSES_WITH_PATHS * penalties.crosses)


def without_paths(example: Example) -> Example:
    """The example without its relations to paths."""
    if example.actions is None:
        return example
    actions = ActionFeatures(example.actions.relations[:, : len(RELATIONS)], example.actions.crosses)
    return replace(example, actions=actions)


def _gain(bare: Sequence[Example], told: Sequence[Example], tools: int, penalties: tuple[Penalties, Penalties]) -> Gain:
    """What the same decisions are told more brings, each half of the units chosen for by weights of the other half."""
    units = dict.fromkeys(one.unit for one in bare)
    halves = [frozenset(islice(units, start, None, 2)) for start in (0, 1)]
    untold, known = (
        np.concatenate([_left_out(examples, half, tools, drawn) for half in halves])
        for examples, drawn in zip((bare, told), penalties, strict=True)
    )
    found = _clustered(known - untold, np.concatenate([_asked_units(bare, half) for half in halves]))
    return replace(found, left=-float(untold.mean()) if len(untold) else 0.0)


def _left_out(examples: Sequence[Example], units: frozenset[int], tools: int, penalties: Penalties) -> np.ndarray:
    """ln p(right) of the right decisions of units, by weights fitted to the other units."""
    model = fit([one for one in examples if one.unit not in units], tools, penalties)
    return np.array([log_probability(one, model) for one in _asked(examples, units)])


def _asked_units(examples: Sequence[Example], units: frozenset[int]) -> np.ndarray:
    return np.array([one.unit for one in _asked(examples, units)], np.int64)


def _asked(examples: Sequence[Example], units: frozenset[int]) -> list[Example]:
    return [one for one in examples if one.unit in units and not one.is_wrong]


def _clustered(values_N: np.ndarray, units_N: np.ndarray) -> Gain:
    """The mean, and its standard error where values of one unit go together (Liang & Zeger 1986)."""
    if not len(values_N):
        return Gain(0.0, 0.0)
    mean = values_N.mean()
    _, member = np.unique(units_N, return_inverse=True)
    sums = np.bincount(member, values_N - mean)
    return Gain(float(mean), float(np.sqrt(sums @ sums) / len(values_N)))

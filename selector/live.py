"""What live feedback says at one decision: the health of tools, what is pruned, and whether guidance pays."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.choice import Guidance
from selector.knowledge import Knowledge
from selector.prune_book import PruneBook
from selector.records import SelectorConfig

Floats = NDArray[np.float64]


class Feedback(Protocol):
    """What an engine asks of the feedback that came in since its experience was stored."""

    def log_health(self, tools: Sequence[str]) -> Floats | None:
        """ln of each tool's health, ≤ 0, shape (M,); None where all are well."""
        ...

    def pruned(self, cluster: int, tools: Sequence[str]) -> Mapping[str, str]:
        """The reason by tool of each that is not to be used in a state cluster now."""
        ...

    def guidance(self, cluster: int) -> Guidance | None:
        """What episodes are worth with and without guidance there; None where nothing is known of unaided ones."""
        ...


class NoFeedback:
    """Nothing came in: all tools are well, nothing is pruned, guidance is never doubted."""

    def log_health(self, tools: Sequence[str]) -> Floats | None:
        """None."""
        return None

    def pruned(self, cluster: int, tools: Sequence[str]) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def guidance(self, cluster: int) -> Guidance | None:
        """None."""
        return None


NO_FEEDBACK = NoFeedback()


class Pruned(NoFeedback):
    """Nothing came in, but what stored trajectories show to be bad in a state cluster is pruned."""

    def __init__(self, knowledge: Knowledge, config: SelectorConfig) -> None:
        self._book = PruneBook(config.pruning)
        self._book.apply(knowledge.outcomes.judged(config.pruning), 0.0)

    def pruned(self, cluster: int, tools: Sequence[str]) -> Mapping[str, str]:
        """As on the day when the trajectories were stored."""
        return self._book.pruned(cluster, tools, 0.0)

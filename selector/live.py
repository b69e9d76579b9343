"""What live feedback says at one decision: the health of tools, what is pruned, and whether guidance pays."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selector.choice import Guidance

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

"""What a policy must offer to be measured by the bandit benchmarks: one choice, and a reward that may come late."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Policy(Protocol):
    """Chooses one tool for each decision and learns from rewards that come late, twice or never."""

    name: str

    def choose(self, decision: int, state_D: NDArray[np.float32], offered: NDArray[np.int64]) -> int:
        """The number of one tool out of `offered` (shape (K,), rising) for a unit state vector of shape (D,)."""
        ...

    def report(self, decision: int, reward: float) -> None:
        """The reward in [0, 1] of an earlier decision; the same decision may be reported late or again."""
        ...


PolicyFactory = Callable[[int, int, int], Policy]
"""Makes a fresh policy from (dimension of the state vectors, number of tools, seed)."""

"""`selector.tool_bandit.ToolBandit` behind the benchmarks' protocol."""

import numpy as np
from bandit_protocol import Policy
from numpy.typing import NDArray

from selector.bandit_memory import BanditConfig
from selector.tool_bandit import ToolBandit


class Ours:
    """A `ToolBandit` as a `Policy`; the tools are named by their numbers."""

    def __init__(self, dimension: int, seed: int, config: BanditConfig) -> None:
        self.name = "ToolBandit"
        self._bandit = ToolBandit(dimension, config, np.random.default_rng(seed))

    def choose(self, decision: int, state_D: NDArray[np.float32], offered: NDArray[np.int64]) -> int:
        """See `Policy.choose`."""
        return int(self._bandit.choose(decision, state_D, offered).tool)

    def report(self, decision: int, reward: float) -> None:
        """See `Policy.report`."""
        self._bandit.report(decision, reward)


def ours(dimension: int, _tools: int, seed: int, *, config: BanditConfig | None = None) -> Policy:
    """A fresh `ToolBandit`, with its default settings where none are given."""
    return Ours(dimension, seed, config or BanditConfig())

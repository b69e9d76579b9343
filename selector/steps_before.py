"""What comes before each step of stored paths, and how much of it is still to be done."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepsBefore:
    """Which steps of P paths come before each of their steps, (P, L, L): all of them, and those of the same tool."""

    any_PLL: NDArray[np.float32]
    own_PLL: NDArray[np.float32]

    @classmethod
    def of(cls, tools_P: Sequence[Sequence[str]], is_step: NDArray[np.bool_]) -> "StepsBefore":
        """Those of paths with these tools; `is_step` (P, L) marks where a path has a step."""
        longest = is_step.shape[1]
        earlier_LL = np.tri(longest, k=-1, dtype=np.bool_)
        numbers: dict[str, int] = {}
        tools_PL = np.full(is_step.shape, -1)
        tools_PL[is_step] = [numbers.setdefault(tool, len(numbers)) for tools in tools_P for tool in tools]
        same_PLL = tools_PL[:, :, None] == tools_PL[:, None, :]
        return cls(*(_shares(mask) for mask in (earlier_LL & is_step[:, None, :], earlier_LL & same_PLL)))

    def missing(self, is_done_PL: Floats) -> tuple[Floats, Floats]:
        """Share of the steps before each that are not done, of all and of the same tool; 0 where there are none."""
        todo = 1.0 - is_done_PL.astype(np.float32)[:, :, None]
        return (self.any_PLL @ todo)[:, :, 0], (self.own_PLL @ todo)[:, :, 0]


def _shares(mask_PLL: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Rows that sum up to 1, or to 0 where nothing is marked."""
    return np.asarray(mask_PLL / np.maximum(mask_PLL.sum(axis=2, keepdims=True), 1), np.float32)

"""How well candidates fit the steps of stored paths: each different call is compared once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepFits:
    """The N steps of the paths in this episode's words, and how well K candidates fit them.

    They are U different calls, the columns `columns_U`; `member_N` says which is each step's, `weights_N` how far its
    path is believed.
    """

    columns_U: Numbers
    member_N: NDArray[np.intp]
    fits_KU: NDArray[np.float32]
    weights_N: Floats

    def sums(self, values_N: Floats) -> Floats:
        """The values of the steps summed by call; shape (U,)."""
        return np.asarray(np.bincount(self.member_N, values_N, len(self.columns_U)), np.float64)

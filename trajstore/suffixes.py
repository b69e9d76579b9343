"""How far the order of the steps before rows agrees with that of the steps before another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SUFFIX_SIMILARITY = np.array([0.0, 0.5, 0.8, 1.0], np.float32)


def agreement(suffixes_N3: NDArray[np.int64], suffix: Sequence[int]) -> NDArray[np.float32]:
    """Similarity of order, shape (N,): the longest suffix that agrees with `suffix`, by keys of 1, 2 and 3 steps.

    >>> agreement(np.array([[1, 2, 3], [1, 2, 9], [7, 2, 3]]), (1, 2, 3)).tolist()
    [1.0, 0.800000011920929, 0.0]
    """
    one, two, three = ((suffixes_N3[:, at] == key).view(np.int8) for at, key in enumerate(suffix))
    return np.asarray(SUFFIX_SIMILARITY.take(one * (1 + two * (1 + three))), np.float32)

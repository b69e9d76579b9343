"""The stored trajectories whose tasks are most like the one that asks, some of them left out."""

import numpy as np
from numpy.typing import NDArray

from trajstore.experience import Experience

Flags = NDArray[np.bool_]


def nearest_by_task(
    experience: Experience, goals: NDArray[np.float32], may: Flags, excluded: Flags | None, most: int
) -> NDArray[np.intp]:
    """The numbers of at most `most` trajectories that `may` marks and `excluded` does not, the most alike first.

    `goals` are the similarities of the task with the stored ones.
    """
    usable = np.flatnonzero(may if excluded is None else may & ~excluded)
    similarities = goals[experience.trajectory_column("goal")[usable]]
    return usable[np.argsort(-similarities, kind="stable")[:most]]


def asking(task: str, excluded: Flags | None) -> tuple[str, bytes]:
    """What tells one question about a task from another: its text, and what is left out."""
    return task, b"" if excluded is None else np.packbits(excluded).tobytes()

"""How far trajectories came: whether what led a failure there is an example to follow, and what a failure costs.

Where nobody succeeds yet, the best that was done is all there is to learn from (self-imitation, Oh et al. 2018, arXiv
1806.05635), and little is at stake: both are told by what tasks of the same family come to on average.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from trajstore.schema import Trajectory

Floats = NDArray[np.float64]
PARTIAL_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """The highest return that was reached (NaN: no reward is known), and the number of steps that led there."""

    value: float
    steps: int


def progress_of(trajectory: Trajectory) -> Progress:
    """The highest sum of the rewards of its steps; its final reward, after all steps, where they have none.

    >>> from trajstore.schema import Step, Task
    >>> steps = [Step(at, "move", reward=reward) for at, reward in enumerate((0.1, 0.2, None, -0.3))]
    >>> found = progress_of(Trajectory(Task("tidy up"), tuple(steps), success=False))
    >>> round(found.value, 2), found.steps
    (0.3, 2)
    """
    rewards = [step.reward for step in trajectory.steps]
    if all(reward is None for reward in rewards):
        return Progress(np.nan if trajectory.reward is None else trajectory.reward, len(rewards))
    returns = np.fromiter(accumulate(reward or 0.0 for reward in rewards), np.float64)
    highest = int(np.argmax(returns))
    return Progress(float(returns[highest]), highest + 1)


def leading_steps(trajectory: Trajectory) -> int:
    """How many of its first steps led to the most that it reached: all of them, unless it is known to have failed."""
    return progress_of(trajectory).steps if trajectory.success is False else len(trajectory.steps)


def known_progress(trajectory: Trajectory) -> float:
    """The progress of a trajectory; of a success without any reward 1, NaN where nothing is known."""
    value = progress_of(trajectory).value
    return 1.0 if trajectory.success and np.isnan(value) else value


def means_by_family(
    progress_T: Floats, is_heard_T: NDArray[np.bool_], family_T: NDArray[np.integer], *, otherwise: float = 0.0
) -> Floats:
    """What the trajectories of each one's family come to, by those whose word is heard; `otherwise` where by none.

    >>> means_by_family(np.array([0.2, 0.4, 0.9]), np.array([True, True, False]), np.array([0, 0, 1])).round(2).tolist()
    [0.3, 0.3, 0.0]
    """
    families = int(family_T.max(initial=-1)) + 1
    heard = is_heard_T & np.isfinite(progress_T)
    known, of = progress_T[heard], family_T[heard]
    counts_F = np.bincount(of, minlength=families)
    means_F = np.bincount(of, known, families) / np.maximum(counts_F, 1)
    return np.asarray(np.where(counts_F > 0, means_F, otherwise)[family_T], np.float64)


def partial_weights(progress_T: Floats, is_heard_T: NDArray[np.bool_], family_T: NDArray[np.integer]) -> Floats:
    """How far each of T trajectories is an example by its progress alone, in [0, PARTIAL_WEIGHT].

    w = PARTIAL_WEIGHT · (R − mean) / (best − mean), and no less than 0, where mean and best are those of its family's
    trajectories whose word is heard (`is_heard_T`), successes among them.  0 where all came equally far, and where
    nothing is known (NaN).

    >>> partial_weights(np.array([0.0, 0.2, 0.4, 0.9]), np.ones(4, bool), np.array([0, 0, 0, 1])).tolist()
    [0.0, 0.0, 0.5, 0.0]
    """
    means_T = means_by_family(progress_T, is_heard_T, family_T)
    heard = is_heard_T & np.isfinite(progress_T)
    best_F = np.full(int(family_T.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best_F, family_T[heard], progress_T[heard])
    span_T = best_F[family_T] - means_T
    risen = np.nan_to_num((progress_T - means_T) / np.where(span_T > 1e-9, span_T, np.inf))
    return np.asarray(PARTIAL_WEIGHT * np.clip(risen, 0.0, 1.0), np.float64)

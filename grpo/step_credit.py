"""What each step of a trajectory earned: discounted rewards, and generalised advantages over a value function."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grpo.errors import TrainingUsageError
from selector.values import lambda_returns
from trajstore.schema import Step

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def compute_step_rewards(final_reward: float, steps: Sequence[Step], *, discount: float = 0.99) -> Floats:
    """G_t = γ^(T−1−t) R + Σ_{k ≥ t} γ^(k−t) r_k: the return of each of T steps; shape (T,).

    R is `final_reward`, r_k the step's own reward (0 where the log gives none): pass R = 0 where the last step's own
    reward already is the final one.  These are returns; `generalised_advantages` wants `terminal_rewards`.

    >>> compute_step_rewards(1.0, [Step(0, "look"), Step(1, "take")], discount=0.5).tolist()
    [0.5, 1.0]
    """
    rewards_T = terminal_rewards(final_reward, steps)
    if not len(rewards_T):
        return rewards_T
    return generalised_advantages(rewards_T, np.zeros(len(rewards_T) + 1), discount=discount, trace=1.0)


def terminal_rewards(final_reward: float, steps: Sequence[Step]) -> Floats:
    """The steps' own rewards, 0 where there is none, with the final reward added at the last; shape (T,).

    >>> terminal_rewards(1.0, [Step(0, "look", reward=0.25), Step(1, "take")]).tolist()
    [0.25, 1.0]
    """
    if not np.isfinite(final_reward):
        raise TrainingUsageError(f"final reward must be finite, got {final_reward}: leave out what nobody judged")
    rewards_T = np.array([step.reward or 0.0 for step in steps], np.float64)
    rewards_T[-1:] += final_reward
    return rewards_T


def generalised_advantages(rewards_T: Floats, values_T1: Floats, *, discount: float, trace: float) -> Floats:
    """A_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ V_{t+1} − V_t (GAE, Schulman et al. 2016, arXiv 1506.02438); shape (T,).

    `values_T1` has one entry more than `rewards_T`: the value of where the trajectory stopped, 0 at a true end.
    `discount` γ and `trace` λ lie in [0, 1].

    >>> generalised_advantages(np.array([0.0, 1.0]), np.array([0.5, 0.5, 0.0]), discount=1.0, trace=1.0).tolist()
    [0.5, 0.5]
    """
    if len(values_T1) != len(rewards_T) + 1:
        raise TrainingUsageError(
            f"values must be one more than the rewards, got {len(values_T1)} and {len(rewards_T)}: add the last state's"
        )
    ends_B = np.array([len(rewards_T)])
    return batch_advantages(rewards_T, values_T1[:-1], ends_B, values_T1[-1:], discount=discount, trace=trace)


def batch_advantages(
    rewards_N: Floats, values_N: Floats, ends_B: Integers, stops_B: Floats, *, discount: float, trace: float
) -> Floats:
    """`generalised_advantages` of B trajectories that lie one after the other in one array; shape (N,).

    Trajectory b ends before row `ends_B[b]` (rising, the last is N) and stopped in a state of value `stops_B[b]`.
    """
    _check(rewards_N, values_N, ends_B, stops_B)
    for name, value in (("discount", discount), ("trace", trace)):
        if not 0.0 <= value <= 1.0:
            raise TrainingUsageError(f"{name} must lie in [0, 1], got {value}")
    is_last_N = np.zeros(len(rewards_N), np.bool_)
    is_last_N[ends_B - 1] = True
    rewards_N = rewards_N.astype(np.float64)
    rewards_N[ends_B - 1] += discount * stops_B
    following_N = np.append(values_N[1:], 0.0)
    return np.asarray(lambda_returns(rewards_N, following_N, is_last_N, discount, trace) - values_N, np.float64)


def _check(rewards_N: Floats, values_N: Floats, ends_B: Integers, stops_B: Floats) -> None:
    if rewards_N.shape != values_N.shape or rewards_N.ndim != 1 or not len(rewards_N):
        raise TrainingUsageError(
            f"rewards and values must have one shape (N,), N > 0, got {rewards_N.shape} and {values_N.shape}"
        )
    if not (np.isfinite(rewards_N).all() and np.isfinite(values_N).all() and np.isfinite(stops_B).all()):
        raise TrainingUsageError("rewards and values must be finite: leave out trajectories that nobody judged")
    starts_B = np.append(0, ends_B[:-1])
    if len(ends_B) != len(stops_B) or not (ends_B > starts_B).all() or ends_B[-1] != len(rewards_N):
        raise TrainingUsageError(
            f"ends must rise to the {len(rewards_N)} rows, one for each stop value, got {ends_B.tolist()}"
        )

"""What of a rollout's advantage each of its decisions is credited with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grpo.config import Credit
from grpo.step_credit import batch_advantages
from grpo.step_groups import StepReturns, combined_advantages, equal_state_advantages, near_state_advantages
from grpo.value_function import ValueFunction

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

TRACE = 0.95


@dataclass(frozen=True, slots=True)
class Decided:
    """N decisions of R rollouts, one rollout after the other.

    `rollouts_N` in [0, R) rises; `states_N` numbers their states (equal numbers, equal states), `vectors_UD` holds the
    unit vector of each number; `groups_R` numbers the rollouts' groups, `rewards_R` is NaN where nobody judged.
    """

    rollouts_N: Numbers
    states_N: Numbers
    vectors_UD: NDArray[np.float32]
    groups_R: Numbers
    rewards_R: Floats

    @property
    def left_N(self) -> Numbers:  # noqa: N802 - the letter is an axis
        """How many decisions of its rollout follow each one."""
        counts = np.bincount(self.rollouts_N, minlength=len(self.rewards_R))
        places = np.arange(len(self.rollouts_N)) - (np.cumsum(counts) - counts)[self.rollouts_N]
        return np.asarray(counts[self.rollouts_N] - 1 - places)


def credit_decisions(
    advantages_R: Floats, decided: Decided, *, how: Credit, discount: float, step_weight: float = 1.0, seed: int = 0
) -> Floats:
    """Advantage of each decision, shape (N,).

    - "discounted": A γ^(decisions left).
    - "equal_states": A + ω A_step, the step's return less the mean of those in the same state (GiGPO, 2505.10978).
    - "near_states": the same with states that are near, found by FAISS, weighted by similarity.
    - "value": GAE with λ = 0.95 on a `ValueFunction` of the state, learned from these returns.

    γ is `discount`, ω is `step_weight`.  Decisions of rollouts that nobody judged get 0.
    """
    own_N, known_N = decided.rollouts_N, ~np.isnan(decided.rewards_R)[decided.rollouts_N]
    faded_N = discount**decided.left_N
    credited = np.zeros(len(own_N))
    if how == "discounted" or not known_N.any():
        return np.where(known_N, advantages_R[own_N] * faded_N, credited)
    rows = np.flatnonzero(known_N)
    returns = decided.rewards_R[own_N[rows]] * faded_N[rows]
    vectors = decided.vectors_UD[decided.states_N[rows]]
    if how == "value":
        credited[rows] = _value_advantages(decided, rows, returns, vectors, discount, seed)
        return credited
    steps = StepReturns(returns, own_N[rows], decided.groups_R[own_N[rows]])
    if how == "equal_states":
        found = equal_state_advantages(steps, decided.states_N[rows], leave_one_out=True)
    else:
        found = near_state_advantages(steps, vectors)
    credited[rows] = combined_advantages(advantages_R[own_N[rows]], found.advantages_N, weight=step_weight)
    return credited


def _value_advantages(
    decided: Decided, rows: Numbers, returns: Floats, vectors: NDArray[np.float32], discount: float, seed: int
) -> Floats:
    """Rewards are scaled to [0, 1] for the value function, and advantages scaled back."""
    low, high = float(returns.min()), float(returns.max())
    span = max(high - low, 1e-9)
    owners = decided.rollouts_N[rows]
    value = ValueFunction(vectors.shape[1], seed=seed)
    features = vectors.astype(np.float64)
    value.fit(features, (returns - low) / span, decided.groups_R[owners])
    ends = np.append(np.flatnonzero(np.diff(owners)) + 1, len(owners))
    rewards = np.zeros(len(rows))
    rewards[ends - 1] = decided.rewards_R[owners[ends - 1]]
    values = low + span * value.predict(features)
    return batch_advantages(rewards, values, ends, np.zeros(len(ends)), discount=discount, trace=TRACE)

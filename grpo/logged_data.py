"""Logged trajectories ready to train on: advantages of rollouts, and the policy that acted, logged or estimated."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.advantages import RefinedRewards, refine_rewards, retrieval_baseline
from grpo.cloning import CloningConfig, clone, success_weights
from grpo.config import GRPOConfig, Loss, settled
from grpo.crediting import Decided, credit_decisions
from grpo.decision_table import DecisionTable
from grpo.rollouts import OnProgress, Rollouts
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from grpo.updating import TrainingBatch
from trajstore.render import render_goal

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

CHUNK = 2048
SMALLEST_LOG = -7.0
NEIGHBOURS = 16
NEAREST = 1e-6


@dataclass(frozen=True, slots=True)
class LoggedData:
    """Rollouts with what an update needs of each of the N decisions.

    `behaviour_N` is the log-probability under the policy that acted: the logged propensity, else that of a clone of all
    logged decisions (`is_estimated_N`).  `advantages_R` are those of rollouts, `advantages_N` what of them is credited
    to each decision, `imitate_N` says how good an example each is.
    """

    rollouts: Rollouts
    table: DecisionTable
    refined: RefinedRewards
    behaviour_N: Floats
    is_estimated_N: NDArray[np.bool_]
    advantages_R: Floats
    advantages_N: Floats
    imitate_N: Floats

    def batch(self, chosen_R: Numbers, loss: Loss = "truncated") -> TrainingBatch:
        """The decisions of some rollouts, with the loss that is theirs."""
        rows = np.flatnonzero(np.isin(self.rollouts.rollouts_N, chosen_R))
        _, own = np.unique(self.rollouts.rollouts_N[rows], return_inverse=True)
        device = self.table.device

        def put(array: NDArray[np.generic]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        return TrainingBatch(
            self.table,
            put(rows),
            put(self.rollouts.chosen_N[rows]),
            put(self.behaviour_N[rows].astype(np.float32)),
            put(self.advantages_N[rows].astype(np.float32)),
            put(own),
            put(self.imitate_N[rows].astype(np.float32)),
            loss,
        )


def prepare(  # noqa: PLR0913 - the parts of a logged data set
    rollouts: Rollouts,
    table: DecisionTable,
    vectors_UD: NDArray[np.float32],
    policy: ToolPolicy,
    rewards_R: Floats,
    learned_from_R: NDArray[np.bool_],
    config: GRPOConfig,
    *,
    on_progress: OnProgress | None = None,
) -> LoggedData:
    """Refine rewards (NaN: unknown), estimate who acted from what may be learned from, credit decisions.

    `vectors_UD` are the rows of the text table that the decisions were encoded with.
    """
    refined = refine_rewards(
        rewards_R,
        rollouts.groups_R,
        baseline=settled(config.baseline),
        scale=config.scale,
        policies_R=rollouts.policies_R,
    )
    advantages_R = with_neighbours(refined, rewards_R, rollouts, policy, learned_from_R)
    is_estimated = np.isnan(rollouts.propensities_N)
    behaviour = np.log(np.where(is_estimated, 1.0, rollouts.propensities_N))
    if is_estimated.any():
        acted = clone_all(policy, rollouts, table, learned_from_R, config.seed, on_progress)
        behaviour = np.where(
            is_estimated, np.maximum(chosen_log_probs(acted, table, rollouts.chosen_N), SMALLEST_LOG), behaviour
        )
    states = np.array([decision.state for decision in rollouts.decisions], np.int64)
    decided = Decided(
        rollouts.rollouts_N, states, vectors_UD, rollouts.groups_R, np.where(learned_from_R, rewards_R, np.nan)
    )
    credited = credit_decisions(
        advantages_R,
        decided,
        how=config.credit,
        discount=config.discount,
        step_weight=config.step_weight,
        seed=config.seed,
    )
    return LoggedData(
        rollouts,
        table,
        refined,
        behaviour,
        is_estimated,
        advantages_R,
        credited,
        success_weights(rollouts),
    )


def with_neighbours(
    refined: RefinedRewards,
    rewards_R: Floats,
    rollouts: Rollouts,
    policy: ToolPolicy,
    learned_from_R: NDArray[np.bool_],
) -> Floats:
    """Advantages, those of lone rollouts against what the most similar tasks earned; shape (R,)."""
    groups = rollouts.groups_R
    is_lone = (np.bincount(groups)[groups] == 1) & ~np.isnan(rewards_R)
    pool = np.flatnonzero(learned_from_R & ~np.isnan(rewards_R))
    if not is_lone.any() or len(pool) <= NEIGHBOURS + 1:
        return refined.advantages_R
    texts = [render_goal(trajectory.task.text) for trajectory in rollouts.trajectories]
    vectors = policy.encoder.embedder.embed(texts)
    lone = np.flatnonzero(is_lone)
    similar = vectors[lone] @ vectors[pool].T
    nearest = np.argpartition(-similar, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]  # one may be the rollout itself
    neighbours_RK = np.full((len(groups), NEIGHBOURS + 1), -1, np.int64)
    weights_RK = np.zeros((len(groups), NEIGHBOURS + 1))
    neighbours_RK[lone] = pool[nearest]
    weights_RK[lone] = np.clip(np.take_along_axis(similar, nearest, axis=1), 0.0, None) ** 2 + NEAREST
    expected = retrieval_baseline(rewards_R, neighbours_RK, weights_RK).value_R
    return np.where(is_lone, rewards_R - expected, refined.advantages_R)


def clone_all(
    policy: ToolPolicy,
    rollouts: Rollouts,
    table: DecisionTable,
    learned_from_R: NDArray[np.bool_],
    seed: int,
    on_progress: OnProgress | None = None,
) -> ToolNetwork:
    """The policy that acted, estimated: a clone of every decision, good or bad, of the rollouts that may be used."""
    untrained = ToolPolicy.untrained(policy.encoder.embedder, hidden=policy.shape.hidden, seed=seed)
    weights = learned_from_R[rollouts.rollouts_N].astype(np.float64)
    acted = clone(untrained, rollouts, table, weights, CloningConfig(seed=seed), on_progress)
    return ToolNetwork(acted.shape, acted.weights).to(table.device)


def chosen_log_probs(
    network: ToolNetwork, table: DecisionTable, chosen_N: Numbers, *, temperature: float = 1.0
) -> Floats:
    """ln π(chosen) of every decision of a table, shape (N,)."""
    return all_log_probs(network, table, temperature=temperature)[np.arange(len(chosen_N)), chosen_N]


def all_log_probs(network: ToolNetwork, table: DecisionTable, *, temperature: float = 1.0) -> Floats:
    """ln π of every candidate of every decision, shape (N, K); −∞ where there is no candidate."""
    found = np.full((len(table), table.most_candidates), -np.inf)
    with torch.no_grad():
        for first in range(0, len(table), CHUNK):
            rows = torch.arange(first, min(first + CHUNK, len(table)), device=table.device)
            batch = table.batch(rows)
            logs = network.log_probabilities(batch, temperature).masked_fill(~batch.mask_NK, -torch.inf)
            found[first : first + len(rows), : logs.shape[1]] = logs.cpu().numpy()
    return found

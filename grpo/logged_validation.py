"""Training from logs: panels of tasks, the policy to begin with, and what is measured on tasks that were kept back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.cloning import CloningConfig, best_clone
from grpo.config import GRPOConfig
from grpo.decision_table import DecisionTable
from grpo.encoding import Encoder
from grpo.errors import TrainingUsageError
from grpo.live_data import RewardOf, rewards_of
from grpo.logged_data import all_log_probs, clone_all, prepare
from grpo.logged_evaluation import LoggedPanel
from grpo.rollouts import OnProgress, Rollouts, encode_rollouts, panels_of, sample_groups
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from grpo.training_source import LoggedSource
from grpo.validation import share_not_below
from trajstore.schema import Trajectory

Floats = NDArray[np.float64]


class LoggedTraining:
    """Logged trajectories in three panels of whole task families: to train on, to validate on, and to report on.

    `policy` is what training begins with: the policy handed in, or, where that is untrained, a clone of the training
    panel.  Scores on the last panel are those of "before" (the policy that acted, estimated from the training panel),
    "cloned" (what training began with) and "after", with the paired differences "gain" over "before" and
    "gain_over_cloned".
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        policy: ToolPolicy,
        config: GRPOConfig,
        reward_of: RewardOf,
        *,
        device: torch.device | str = "cpu",
        on_progress: OnProgress | None = None,
    ) -> None:
        config = config.resolved(is_logged=True)
        trajectories = sample_groups(trajectories, config.decisions)
        self._panels = panels_of(trajectories)
        encoder = Encoder(policy.encoder.embedder, policy.encoder.descriptions, most_texts=None)
        rollouts = encode_rollouts(
            trajectories, encoder, most_candidates=config.most_candidates, seed=config.seed, on_progress=on_progress
        )
        self._table = DecisionTable(rollouts.decisions, encoder.table.vectors, device)
        rewards_R, may_train_R = rewards_of(trajectories, reward_of), self._panels == "train"
        _require_signal(rewards_R, may_train_R)
        self.policy = policy
        if policy.is_untrained:
            cloning = CloningConfig(seed=config.seed)
            self.policy = best_clone(policy, rollouts, self._table, may_train_R, cloning, on_progress)
        self.data = prepare(
            rollouts,
            self._table,
            encoder.table.vectors,
            self.policy,
            rewards_R,
            may_train_R,
            config,
            on_progress=on_progress,
        )
        self.source = LoggedSource(self.data, may_train_R, rewards_R, config)
        self._validation = self._panel("validation", rewards_R)
        self._test = self._panel("test", rewards_R)
        self._acted = _log_probs_of_who_acted(self.policy, rollouts, self._table, may_train_R, config)
        self._reach = 0.0

    def score(self, policy: ToolPolicy) -> float:
        """The estimated value on the validation panel less its standard error.

        −∞ where the policy names what successes did less often than who acted: estimated value is not bought with that.
        """
        now = self._log_probs(policy)
        scores, gain = self._validation.scores(now), self._validation.gain(self._acted, now)
        self._reach = max(scores.value.high - scores.value.value, 0.0)
        if gain.at1.value < 0.0:
            return float("-inf")
        return scores.value.value - scores.value.standard_error

    def monotonicity(self, scores: Sequence[float]) -> float:
        """See `Validation.monotonicity`."""
        return share_not_below([score for score in scores if np.isfinite(score)], self._reach)

    def final(self, first: ToolPolicy, best: ToolPolicy) -> Mapping[str, object]:
        """Scores on the last panel, as plain data."""
        cloned, after = self._log_probs(first), self._log_probs(best)
        tables = {"before": self._acted, "cloned": cloned, "after": after}
        scores = {name: asdict(self._test.scores(table)) for name, table in tables.items()}
        return {
            **scores,
            "gain": asdict(self._test.gain(self._acted, after)),
            "gain_over_cloned": asdict(self._test.gain(cloned, after)),
            "decisions": self._test.decisions,
            "trajectories": {panel: int((self._panels == panel).sum()) for panel in ("train", "validation", "test")},
            "estimated_propensities": float(self.data.is_estimated_N.mean()),
            "frac_reward_zero_std": self.data.refined.frac_reward_zero_std,
        }

    def _panel(self, name: str, rewards_R: Floats) -> LoggedPanel:
        return LoggedPanel(self.data, self._panels == name, rewards_R)

    def _log_probs(self, policy: ToolPolicy) -> Floats:
        network = ToolNetwork(policy.shape, policy.weights).to(self._table.device)
        return all_log_probs(network, self._table)


def _log_probs_of_who_acted(
    policy: ToolPolicy, rollouts: Rollouts, table: DecisionTable, may_train_R: NDArray[np.bool_], config: GRPOConfig
) -> Floats:
    return all_log_probs(clone_all(policy, rollouts, table, may_train_R, config.seed), table)


def _require_signal(rewards_R: Floats, may_train_R: NDArray[np.bool_]) -> None:
    known = rewards_R[may_train_R & ~np.isnan(rewards_R)]
    if len(known) < 2 or known.max() == known.min():
        raise TrainingUsageError(
            f"the rewards of {len(known)} scored training trajectories do not differ, so nothing tells good from bad: "
            "add failures as well as successes"
        )

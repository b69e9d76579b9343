"""One update: from a batch of decisions with advantages to new parameters, and a report of what happened."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grpo.aggregation import BatchCounts, aggregate, count_batch
from grpo.config import GRPOConfig, Loss, settled
from grpo.corrections import clip_fractions, effective_sample_size, log_ratios, rollout_sums
from grpo.decision_table import DecisionBatch, DecisionTable
from grpo.divergences import categorical_kl, entropy
from grpo.errors import TrainingFailed
from grpo.losses import cispo, clipped_surrogate, gspo, positive_only, reinforce, truncated_importance
from grpo.tool_network import ToolNetwork

LARGEST_WEIGHT = 20.0


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """N decisions of `table` (rows `rows_N`) that R rollouts made.

    `chosen_N` places of what was chosen, `behaviour_N` its log-probability under the policy that chose it,
    `advantages_N`, `rollouts_N` in [0, R), and `imitate_N` ≥ 0: how far a decision is an example to follow.  `loss`
    is that of its decisions.
    """

    table: DecisionTable
    rows_N: Tensor
    chosen_N: Tensor
    behaviour_N: Tensor
    advantages_N: Tensor
    rollouts_N: Tensor
    imitate_N: Tensor
    loss: Loss

    def __len__(self) -> int:
        return len(self.rows_N)

    def part(self, places: Tensor) -> "TrainingBatch":
        """Some of its decisions."""
        return TrainingBatch(
            self.table,
            self.rows_N[places],
            self.chosen_N[places],
            self.behaviour_N[places],
            self.advantages_N[places],
            self.rollouts_N[places],
            self.imitate_N[places],
            self.loss,
        )


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What one update did, averaged over its minibatches; the names are those that trainers log.

    `ess` is the relative effective sample size of rollouts in (0, 1], `clip_ratio_low` and `clip_ratio_high` the shares
    of decisions that clipping left without gradient, `kl` from the policy that acted, `reference_kl` from the first
    policy, `entropy` in nats, `grad_norm` before clipping.
    """

    loss: float
    ess: float
    clip_ratio_low: float
    clip_ratio_high: float
    kl: float
    reference_kl: float
    entropy: float
    grad_norm: float
    learning_rate: float


class Updater:
    """Holds what is trained: the network and its optimizer; `reference` is the first policy, never changed.

    Settings of `config` that are None are taken as for live rollouts: resolve it first where logs take part.
    """

    def __init__(self, network: ToolNetwork, config: GRPOConfig, *, reference: ToolNetwork | None = None) -> None:
        self.network, self._config, self._reference = network, config.resolved(is_logged=False), reference
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settled(self._config.learning_rate), weight_decay=config.weight_decay
        )

    def update(self, batches: Sequence[TrainingBatch], number: int) -> UpdateReport:
        """Change the parameters by one batch, given in one part or several; `number` counts updates from 0.

        Every minibatch takes its share of each part.  Raises TrainingFailed where the gradient is not finite; the
        parameters are then those of the minibatch before.
        """
        counts = [count_batch(torch.ones_like(batch.rollouts_N), batch.rollouts_N) for batch in batches]
        rate = settled(self._config.learning_rate) * min(1.0, (number + 1) / max(self._config.warmup, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        steps = [self._step(parts, counts, number) for parts in self._minibatches(batches, number)]
        return UpdateReport(*np.mean(steps, axis=0).tolist(), learning_rate=rate)  # type: ignore[misc]  # a list's length is unknown

    def _minibatches(self, batches: Sequence[TrainingBatch], number: int) -> Iterator[list[TrainingBatch]]:
        rng = np.random.default_rng([self._config.seed, number, 1])
        pieces = math.ceil(sum(map(len, batches)) / settled(self._config.minibatch))
        for _ in range(settled(self._config.epochs)):
            cut = [np.array_split(rng.permutation(len(batch)), pieces) for batch in batches]
            for places in zip(*cut, strict=True):
                yield [
                    batch.part(torch.from_numpy(own).to(batch.rows_N.device))
                    for batch, own in zip(batches, places, strict=True)
                    if len(own)
                ]

    def _step(self, parts: list[TrainingBatch], counts: list[BatchCounts], number: int) -> tuple[float, ...]:
        decisions = sum(map(len, parts))
        seen = [self._look(part, count) for part, count in zip(parts, counts, strict=False)]
        loss = torch.stack([one.loss * (len(part) / decisions) for one, part in zip(seen, parts, strict=True)]).sum()
        norm = self._descend(loss, number)
        measured = [self._measured(one, part) for one, part in zip(seen, parts, strict=True)]
        means = np.average(measured, axis=0, weights=[len(part) for part in parts])
        return (float(loss.detach()), *means.tolist(), float(norm))

    def _look(self, batch: TrainingBatch, counts: BatchCounts) -> "_Look":
        decisions, config = batch.table.batch(batch.rows_N), self._config
        with torch.autocast(batch.rows_N.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            log_probs_NK = self.network.log_probabilities(decisions, config.temperature)
        log_probs_N = log_probs_NK.gather(1, batch.chosen_N[:, None])[:, 0]
        mask_N, entropies = torch.ones_like(log_probs_N, dtype=torch.bool), entropy(log_probs_NK).mean()
        share = len(batch) / int(counts.tokens)  # a minibatch is a part of its batch, yet makes a step of its own
        each_N = self._losses(log_probs_N, batch, mask_N)
        loss = aggregate(each_N, mask_N, "rollout_mean", rollouts_N=batch.rollouts_N, batch=counts) / share
        imitated = (batch.imitate_N * log_probs_N).sum() / batch.imitate_N.sum().clamp(min=1.0)
        from_first = self._from_reference(log_probs_NK, decisions)
        loss = loss - config.entropy * entropies - settled(config.cloning) * imitated + settled(config.kl) * from_first
        return _Look(loss, log_probs_N.detach(), entropies.detach(), from_first.detach())

    def _from_reference(self, log_probs_NK: Tensor, decisions: DecisionBatch) -> Tensor:
        if self._reference is None or not self._config.kl:
            return torch.zeros((), device=log_probs_NK.device)
        with torch.no_grad():
            reference_NK = self._reference.log_probabilities(decisions, self._config.temperature)
        return categorical_kl(log_probs_NK, reference_NK).mean()

    def _losses(self, log_probs_N: Tensor, batch: TrainingBatch, mask_N: Tensor) -> Tensor:
        config, logged = self._config, batch.behaviour_N
        if batch.loss == "clipped":
            return clipped_surrogate(
                log_probs_N,
                logged,
                batch.advantages_N,
                mask_N,
                epsilon_low=config.epsilon_low,
                epsilon_high=config.epsilon_high,
                dual_clip=config.dual_clip,
            )
        if batch.loss == "gspo":
            epsilons = (config.epsilon_low, config.epsilon_high)
            _, own_N = torch.unique(batch.rollouts_N, return_inverse=True)
            return gspo(log_probs_N, logged, batch.advantages_N, mask_N, epsilons=epsilons, rollouts_N=own_N)
        if batch.loss in ("cispo", "truncated"):
            weigh = cispo if batch.loss == "cispo" else truncated_importance
            return weigh(log_probs_N, logged, batch.advantages_N, mask_N, cap=config.cap)
        plain = reinforce if batch.loss == "reinforce" else positive_only
        return plain(log_probs_N, batch.advantages_N, mask_N)

    def _descend(self, loss: Tensor, number: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingFailed(
                f"update {number + 1} has a gradient of norm {float(norm)}: lower learning_rate, or look for rewards "
                "that are not finite"
            )
        self.optimizer.step()
        return norm

    def _measured(self, seen: "_Look", batch: TrainingBatch) -> list[float]:
        """ess, both clip ratios, kl, reference_kl and entropy of a part."""
        mask_N = torch.ones_like(seen.log_probs_N, dtype=torch.bool)
        logs_N = log_ratios(seen.log_probs_N, batch.behaviour_N, mask_N)
        weights_R = rollout_sums(logs_N.exp().clamp(max=LARGEST_WEIGHT), batch.rollouts_N)
        present = weights_R > 0.0
        ess = effective_sample_size(weights_R[present] / _sizes(batch.rollouts_N)[present]) / present.sum()
        clipped = clip_fractions(
            logs_N,
            batch.advantages_N,
            mask_N,
            epsilon_low=self._config.epsilon_low,
            epsilon_high=self._config.epsilon_high,
        )
        kl = (logs_N.exp() - 1.0 - logs_N).mean()
        size, divergence, from_first, spread = torch.stack([ess, kl, seen.reference_kl, seen.entropy]).tolist()
        return [size, clipped.low, clipped.high, divergence, from_first, spread]


@dataclass(frozen=True, slots=True)
class _Look:
    """One part of a minibatch under the present parameters; only `loss` has a gradient."""

    loss: Tensor
    log_probs_N: Tensor
    entropy: Tensor
    reference_kl: Tensor


def _sizes(rollouts_N: Tensor) -> Tensor:
    return rollout_sums(torch.ones_like(rollouts_N, dtype=torch.float32), rollouts_N).clamp(min=1.0)

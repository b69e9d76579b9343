"""Aggregation: how the losses of tokens become the loss of a batch, the same however the batch is cut.

What a loss is divided by is counted on the whole batch of an update (`count_batch`), so that the losses of its
micro-batches add up to the loss of the whole.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from grpo.corrections import rollout_sums, row_sums
from grpo.errors import TrainingUsageError

Aggregation = Literal["token_mean", "sequence_mean", "constant", "rollout_mean"]


@dataclass(frozen=True, slots=True, eq=False)
class BatchCounts:
    """What a whole batch holds: tokens under the mask, rows, and the tokens of each rollout, shape (R,)."""

    tokens: Tensor
    rows: int
    tokens_R: Tensor

    @property
    def rollouts(self) -> Tensor:
        """Rollouts that have a token."""
        return (self.tokens_R > 0).sum()


def count_batch(mask_NT: Tensor, rollouts_N: Tensor | None = None) -> BatchCounts:
    """Counts of a whole batch; `rollouts_N` numbers each row's rollout from 0 (None: every row is one).

    >>> counts = count_batch(torch.tensor([[1, 1], [1, 0], [1, 0]]), torch.tensor([0, 0, 1]))
    >>> counts.tokens.item(), counts.rows, counts.tokens_R.tolist(), counts.rollouts.item()
    (4, 3, [3, 1], 2)
    """
    mask = mask_NT.bool()
    rollouts_N = torch.arange(len(mask), device=mask.device) if rollouts_N is None else rollouts_N
    if rollouts_N.shape != mask.shape[:1]:
        raise TrainingUsageError(f"rollouts_N must have one number a row, got {len(rollouts_N)} for {len(mask)} rows")
    return BatchCounts(mask.sum(), len(mask), rollout_sums(row_sums(mask.long()), rollouts_N))


def aggregate(
    losses_NT: Tensor,
    mask_NT: Tensor,
    how: Aggregation = "rollout_mean",
    *,
    rollouts_N: Tensor | None = None,
    batch: BatchCounts | None = None,
    divisor: float | None = None,
) -> Tensor:
    """One number from the losses under the mask; a scalar.

    - "token_mean": Σ loss / tokens of the batch (DAPO, arXiv 2503.14476; verl's default): long rollouts weigh more.
    - "sequence_mean": mean over a row's tokens, then over rows (GRPO, arXiv 2402.03300): short rows weigh more.
    - "constant": Σ loss / `divisor` (Dr. GRPO, arXiv 2503.20783: rollouts times the largest length).
    - "rollout_mean": mean over a rollout's tokens however many rows hold them, then over rollouts (agent-lightning).

    `batch` counts the whole batch where these rows are a part of it (None: they are all of it).  Rows without a token
    count as rows, as in TRL; rollouts without one do not count.  Raises TrainingUsageError for a constant without a
    divisor above 0, or losses of another shape than the mask.

    >>> losses, mask = torch.tensor([[1.0, 3.0], [5.0, 0.0]]), torch.tensor([[1, 1], [1, 0]])
    >>> [aggregate(losses, mask, how).item() for how in ("token_mean", "sequence_mean")]
    [3.0, 3.5]
    """
    if losses_NT.shape != mask_NT.shape:
        raise TrainingUsageError(
            f"losses must have the shape {tuple(mask_NT.shape)} of the mask, got {tuple(losses_NT.shape)}"
        )
    mask = mask_NT.bool()
    batch = batch or count_batch(mask, rollouts_N)
    kept_NT = losses_NT.masked_fill(~mask, 0.0)
    if how == "token_mean":
        return kept_NT.sum() / batch.tokens.clamp(min=1)
    if how == "constant":
        return kept_NT.sum() / _positive(divisor)
    if how == "sequence_mean":
        return (row_sums(kept_NT) / row_sums(mask.long()).clamp(min=1)).sum() / max(batch.rows, 1)
    if how == "rollout_mean":
        return _rollout_mean(row_sums(kept_NT), rollouts_N, batch)
    raise TrainingUsageError(f"how must be one of {get_args(Aggregation)}, got {how!r}")


def _rollout_mean(sums_N: Tensor, rollouts_N: Tensor | None, batch: BatchCounts) -> Tensor:
    if rollouts_N is None and len(sums_N) != len(batch.tokens_R):
        raise TrainingUsageError("rows that are a part of a batch need rollouts_N, their numbers in the whole batch")
    tokens_N = batch.tokens_R if rollouts_N is None else batch.tokens_R[rollouts_N]
    return (sums_N / tokens_N.clamp(min=1)).sum() / batch.rollouts.clamp(min=1)


def _positive(divisor: float | None) -> float:
    if divisor is None or not divisor > 0:
        raise TrainingUsageError(f'"constant" needs a divisor above 0, got {divisor}')
    return divisor

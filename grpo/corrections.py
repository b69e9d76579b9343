"""Corrections for data that another policy made: ratios to it, truncated or masked, and what they leave of the data.

Tensors have the shape (N, T), row by token or step, or (N,) where a row is one decision.  `mask` is true (or 1) on the
entries that the policy itself chose; what stands elsewhere is never looked at, save that NaN is refused anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from grpo.errors import TrainingUsageError

Level = Literal["token", "rollout"]
How = Literal["none", "truncate", "mask"]

LARGEST_LOG_RATIO = 20.0
UNLOGGED = "; actions whose probability was not logged are fit for value learning only"


@dataclass(frozen=True, slots=True)
class Correction:
    """How ratios to the behaviour policy become weights.

    `how`: "truncate" cuts a ratio to [`low`, `high`] (truncated importance sampling, arXiv 1606.02647 and 1802.01561),
    "mask" gives those outside it the weight 0 (the sequence mask of TRL, IcePop), "none" keeps them.  `level`: a ratio
    for each token, or for each rollout the product over its tokens.  0 <= `low` < `high`.  `self_normalise` divides by
    the mean weight (of the tokens, or of the rollouts), which trades a bias of order 1 / N for less variance.
    """

    how: How = "truncate"
    level: Level = "token"
    low: float = 0.0
    high: float = 5.0
    self_normalise: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high:
            raise TrainingUsageError(f"0 <= low < high must hold for a correction, got {self.low} and {self.high}")
        if self.how not in ("none", "truncate", "mask"):
            raise TrainingUsageError(f'how must be "none", "truncate" or "mask", got {self.how!r}')
        if self.level not in ("token", "rollout"):
            raise TrainingUsageError(f'level must be "token" or "rollout", got {self.level!r}')


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """How far the weights can be trusted.

    `effective_sample_size` is Kish's (Σ w)² / Σ w² over rollouts, in [0, rollouts]; of a rollout whose tokens have
    weights of their own, w is their mean.  `largest_weight` and `mean_ratio` are over entries (tokens, or rollouts),
    the ratio as it was before the correction; `truncated_fraction` and `masked_fraction` are shares of these entries
    in [0, 1]; `approximate_kl` is the mean over tokens of ratio − 1 − log ratio >= 0, an estimate of KL(behaviour ‖
    policy) from the behaviour's own actions (k3; Schulman 2020, joschu.net/blog/kl-approx.html).
    """

    rollouts: int
    effective_sample_size: float
    largest_weight: float
    mean_ratio: float
    truncated_fraction: float
    masked_fraction: float
    approximate_kl: float

    @property
    def relative_effective_sample_size(self) -> float:
        """Effective sample size over rollouts, in [0, 1]; 0 where there is no rollout."""
        return self.effective_sample_size / self.rollouts if self.rollouts else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedWeights:
    """Weights without gradient, of the shape of the log-probabilities, 0 where the mask is off; and their report."""

    weights_NT: Tensor
    report: CorrectionReport


@dataclass(frozen=True, slots=True)
class ClipFractions:
    """Shares in [0, 1] of the tokens whose surrogate is flat: ratio too low for A < 0, too high for A > 0, either."""

    low: float
    high: float

    @property
    def either(self) -> float:
        """Share of tokens that bring no gradient."""
        return self.low + self.high


def require_numbers(mask_NT: Tensor, arrays: Mapping[str, Tensor]) -> None:
    """Raise TrainingUsageError naming the array that holds NaN anywhere, or infinity where the mask is on.

    Each array has the mask's shape, or (N,) beside a mask of (N, T).  One round trip to the host in all.
    """
    mask = mask_NT.bool()
    counts = []
    for name, array in arrays.items():
        seen = mask if array.shape == mask.shape else mask.any(-1)
        if array.shape != seen.shape:
            raise TrainingUsageError(
                f"{name} must have the shape {tuple(mask.shape)} of the mask, got {tuple(array.shape)}"
            )
        counts += [array.isnan().sum(), (array.isinf() & seen).sum()]
    found = torch.stack(counts).tolist()
    for place, name in enumerate(arrays):
        nan, infinite = found[2 * place : 2 * place + 2]
        if nan or infinite:
            remedy = UNLOGGED if name == "behaviour_NT" else ""
            raise TrainingUsageError(
                f"{name} must be finite where the mask is on and NaN nowhere, got {nan} NaN and {infinite} infinite"
                + remedy
            )


def log_ratios(log_probs_NT: Tensor, behaviour_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """log π(a|s) − log μ(a|s) of the actions taken, within ±20, and 0 without gradient where the mask is off.

    μ is the policy that took the actions (not the newest policy evaluated again by another engine: the difference
    between the two is part of the ratio).  Raises TrainingUsageError on NaN.

    >>> log_ratios(torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -9.0]), torch.tensor([True, False])).tolist()
    [0.5, 0.0]
    """
    require_numbers(mask_NT, {"log_probs_NT": log_probs_NT, "behaviour_NT": behaviour_NT})
    return unchecked_log_ratios(log_probs_NT, behaviour_NT, mask_NT)


def unchecked_log_ratios(log_probs_NT: Tensor, behaviour_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """`log_ratios` of numbers that `require_numbers` has seen already."""
    hidden = ~mask_NT.bool()
    difference = log_probs_NT.masked_fill(hidden, 0.0) - behaviour_NT.masked_fill(hidden, 0.0)
    return difference.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


def row_sums(values_NT: Tensor) -> Tensor:
    """Sum of each row, shape (N,); a row of shape () is its own sum."""
    return values_NT if values_NT.dim() == 1 else values_NT.sum(-1)


def rollout_sums(values_N: Tensor, rollouts_N: Tensor) -> Tensor:
    """Sum over the rows of each rollout, shape (R,); `rollouts_N` numbers them from 0.

    >>> rollout_sums(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 0])).tolist()
    [5.0, 2.0]
    """
    rollouts = int(rollouts_N.max()) + 1 if len(rollouts_N) else 0
    return values_N.new_zeros(rollouts).index_add(0, rollouts_N, values_N)


def effective_sample_size(weights_R: Tensor) -> Tensor:
    """Kish's (Σ w)² / Σ w² for weights >= 0 of shape (R,), a scalar in [0, R]; 0 where all weights are 0.

    >>> effective_sample_size(torch.tensor([1.0, 1.0, 0.0])).item()
    2.0
    """
    smallest = torch.finfo(weights_R.dtype).tiny
    return weights_R.sum() ** 2 / (weights_R**2).sum().clamp(min=smallest)


def corrected_weights(
    log_probs_NT: Tensor,
    behaviour_NT: Tensor,
    mask_NT: Tensor,
    correction: Correction,
    rollouts_N: Tensor | None = None,
) -> CorrectedWeights:
    """Weights for the loss of each entry, and what they leave of the data.

    `rollouts_N` numbers each row's rollout from 0 (None: every row is one).  Self-normalised weights belong to the
    whole batch: take them before it is cut into micro-batches.  Raises TrainingUsageError on NaN.
    """
    mask = mask_NT.bool()
    logs_NT = log_ratios(log_probs_NT, behaviour_NT, mask).detach()
    rollouts_N = torch.arange(len(mask), device=mask.device) if rollouts_N is None else rollouts_N
    tokens_R = rollout_sums(row_sums(mask.to(logs_NT.dtype)), rollouts_N)
    if correction.level == "token":
        ratios = logs_NT[mask].exp()
        weights = _bounded(ratios, correction)
        weights_NT = torch.zeros_like(logs_NT).masked_scatter(mask, weights)
        weights_R = rollout_sums(row_sums(weights_NT), rollouts_N)[tokens_R > 0] / tokens_R[tokens_R > 0]
    else:
        sums_R = rollout_sums(row_sums(logs_NT), rollouts_N).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
        ratios = sums_R[tokens_R > 0].exp()
        weights = weights_R = _bounded(ratios, correction)
        of_rows = torch.zeros_like(sums_R).masked_scatter(tokens_R > 0, weights)[rollouts_N]
        weights_NT = (of_rows if mask.dim() == 1 else of_rows[:, None]) * mask
    return CorrectedWeights(weights_NT, _report(ratios, weights, weights_R, logs_NT[mask], correction))


def _bounded(ratios: Tensor, correction: Correction) -> Tensor:
    weights = ratios
    if correction.how == "truncate":
        weights = ratios.clamp(correction.low, correction.high)
    elif correction.how == "mask":
        weights = ratios * _is_inside(ratios, correction)
    if correction.self_normalise and len(weights):
        weights = weights / weights.mean().clamp(min=torch.finfo(weights.dtype).tiny)
    return weights


def _is_inside(ratios: Tensor, correction: Correction) -> Tensor:
    return (ratios >= correction.low) & (ratios <= correction.high)


def _report(
    ratios: Tensor, weights: Tensor, weights_R: Tensor, token_logs: Tensor, correction: Correction
) -> CorrectionReport:
    if not len(ratios):
        return CorrectionReport(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    outside = (~_is_inside(ratios, correction)).to(ratios.dtype).mean()
    kl = (token_logs.exp() - 1.0 - token_logs).mean()
    numbers = [effective_sample_size(weights_R), weights.max(), ratios.mean(), outside, kl]
    size, largest, mean, share, divergence = torch.stack(numbers).tolist()
    truncated, masked = (share if correction.how == how else 0.0 for how in ("truncate", "mask"))
    return CorrectionReport(len(weights_R), size, largest, mean, truncated, masked, divergence)


def clip_fractions(
    log_ratios_NT: Tensor, advantages: Tensor, mask_NT: Tensor, *, epsilon_low: float = 0.2, epsilon_high: float = 0.28
) -> ClipFractions:
    """Shares of tokens that the clipped surrogate leaves without gradient (the `clip_ratio/*` of TRL).

    `advantages` has the shape of the log-ratios, or (N,).  Dual clipping is not counted.

    >>> clip_fractions(torch.tensor([0.5, 0.5, -0.5, 0.0]), torch.tensor([1.0, -1.0, -1.0, 1.0]), torch.ones(4))
    ClipFractions(low=0.25, high=0.25)
    """
    require_numbers(mask_NT, {"log_ratios_NT": log_ratios_NT, "advantages": advantages})
    mask = mask_NT.bool()
    each = advantages if advantages.dim() == mask.dim() else advantages[:, None]
    ratios_NT = log_ratios_NT.detach().exp()
    low = (ratios_NT < 1.0 - epsilon_low) & (each < 0) & mask
    high = (ratios_NT > 1.0 + epsilon_high) & (each > 0) & mask
    counts = torch.stack([low.sum(), high.sum(), mask.sum()]).tolist()
    tokens = max(counts[2], 1)
    return ClipFractions(counts[0] / tokens, counts[1] / tokens)

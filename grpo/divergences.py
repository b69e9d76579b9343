"""Divergence of a policy from a reference, and its entropy: estimates with the value and the gradient both right.

KL(π ‖ ref) is what holds a policy near its reference.  Of the actions taken alone it can only be estimated, and an
estimator that is right on average may have a gradient that is not (arXiv 2506.09477, arXiv 2510.01555).
"""

from typing import Literal

import torch
from torch import Tensor

from grpo.corrections import require_numbers, unchecked_log_ratios
from grpo.errors import TrainingUsageError

Estimator = Literal["k1", "k2", "k3"]
KlGradient = Literal["plain", "straight_through", "importance"]


def k1(log_ratios_NT: Tensor) -> Tensor:
    """d = log π − log ref: right on average, of either sign; its gradient alone is 0 on average (Schulman 2020)."""
    return log_ratios_NT


def k2(log_ratios_NT: Tensor) -> Tensor:
    """d² / 2: off by a term of third order, low variance; its gradient d ∇ log π is that of KL(π ‖ ref)."""
    return log_ratios_NT**2 / 2.0


def k3(log_ratios_NT: Tensor) -> Tensor:
    """exp(−d) − 1 + d >= 0: right on average, low variance; its gradient is that of KL(ref ‖ π), not of KL(π ‖ ref).

    >>> k3(torch.tensor([0.0, 1.0], dtype=torch.float64)).round(decimals=4).tolist()
    [0.0, 0.3679]
    """
    return torch.exp(-log_ratios_NT) - 1.0 + log_ratios_NT


_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def kl_penalty(
    log_probs_NT: Tensor,
    reference_NT: Tensor,
    mask_NT: Tensor,
    *,
    estimator: Estimator = "k3",
    gradient: KlGradient = "straight_through",
    behaviour_NT: Tensor | None = None,
) -> Tensor:
    """Estimates of KL(π ‖ ref) from the actions taken, an entry each, 0 where the mask is off; shape (N, T) or (N,).

    `gradient`:

    - "plain" differentiates the estimator alone: the right one for "k2" only (`use_bias_correction_kl=False` in TRL).
    - "straight_through" has the estimator's value and k2's gradient ("k3+" in verl).
    - "importance" multiplies by π / μ and differentiates the product: value and gradient right on average
      (`use_bias_correction_kl=True` in TRL; DeepSeek-V3.2, arXiv 2512.02556).

    `behaviour_NT` are the log-probabilities under the policy μ that took the actions (None: π itself); under
    "straight_through" its ratio weighs value and gradient, under "plain" it is not used.  Raises TrainingUsageError on
    NaN or an unknown name.
    """
    if estimator not in _ESTIMATORS:
        raise TrainingUsageError(f'estimator must be "k1", "k2" or "k3", got {estimator!r}')
    if gradient not in ("plain", "straight_through", "importance"):
        raise TrainingUsageError(f'gradient must be "plain", "straight_through" or "importance", got {gradient!r}')
    acted_NT = log_probs_NT.detach() if behaviour_NT is None else behaviour_NT
    named = {"log_probs_NT": log_probs_NT, "reference_NT": reference_NT, "behaviour_NT": acted_NT}
    require_numbers(mask_NT, named)
    logs_NT = unchecked_log_ratios(log_probs_NT, reference_NT, mask_NT)
    value_NT = _ESTIMATORS[estimator](logs_NT)
    if gradient == "plain":
        return value_NT
    ratio_NT = unchecked_log_ratios(log_probs_NT, acted_NT, mask_NT).exp()
    if gradient == "importance":
        return value_NT * ratio_NT
    return _with_gradient_of(value_NT, k2(logs_NT)) * ratio_NT.detach()


def _with_gradient_of(value: Tensor, other: Tensor) -> Tensor:
    return value.detach() + other - other.detach()


def categorical_kl(log_probs_NK: Tensor, reference_NK: Tensor) -> Tensor:
    """KL(π ‖ ref) = Σ_k π_k (log π_k − log ref_k) over all candidates, exactly; shape (N,), each >= 0.

    Candidates that are not offered have log-probability −inf under both.  Raises TrainingUsageError on NaN, and where
    the reference excludes a candidate that the policy can choose.
    """
    offered = _offered(log_probs_NK, reference_NK)
    logs_NK = log_probs_NK.masked_fill(~offered, 0.0)
    return (logs_NK.exp() * (logs_NK - reference_NK.masked_fill(~offered, 0.0))).sum(-1)


def entropy(log_probs_NK: Tensor) -> Tensor:
    """−Σ_k π_k log π_k in nats over all candidates; shape (N,), in [0, log K].

    Candidates that are not offered have log-probability −inf.  Raises TrainingUsageError on NaN.

    >>> entropy(torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log()).round(decimals=4).tolist()
    [0.6931]
    """
    offered = _offered(log_probs_NK, log_probs_NK)
    logs_NK = log_probs_NK.masked_fill(~offered, 0.0)
    return -(logs_NK.exp() * logs_NK).sum(-1)


def _offered(log_probs_NK: Tensor, reference_NK: Tensor) -> Tensor:
    offered = log_probs_NK > -torch.inf
    require_numbers(offered, {"log_probs_NK": log_probs_NK, "reference_NK": reference_NK})
    return offered

"""Losses of the actions taken: each an equation on log-probabilities, an entry for an entry.

`log_probs_NT` are log π(a|s) of the actions taken, with gradient; `behaviour_NT` the same under the policy that took
them, at the temperature at which it took them; both of shape (N, T), row by token or step, or (N,).  `advantages` have
the same shape, or (N,): one number for all entries of a row.  `mask_NT` is true (or 1) on entries that the policy
chose: elsewhere the loss is 0 and has no gradient (what a tool returned is not the policy's).  Every function returns
losses of the shape (N, T) to be minimised after `grpo.aggregation.aggregate`, and raises TrainingUsageError on NaN,
naming the array.  The loss of an update says nothing about progress: on the policy's own data it is about 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.corrections import Level, log_ratios, require_numbers, rollout_sums, row_sums, unchecked_log_ratios
from grpo.errors import TrainingUsageError


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a loss may look at, checked once: everything is 0 where the mask is off; shape (N, T), or (N,), each."""

    log_probs_NT: Tensor
    log_ratios_NT: Tensor
    advantages_NT: Tensor


def clipped_surrogate(
    log_probs_NT: Tensor,
    behaviour_NT: Tensor,
    advantages: Tensor,
    mask_NT: Tensor,
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    dual_clip: float | None = None,
) -> Tensor:
    """−min(r A, clip(r, 1 − ε_low, 1 + ε_high) A) with r = π / μ (PPO, arXiv 1707.06347; ε_high: DAPO, 2503.14476).

    `dual_clip` c > 1 + ε_high bounds the loss of A < 0 by −c A (arXiv 1912.09729; `delta` in TRL).  On logged data this
    stops at 1 + ε_high of the logging policy: use `truncated_importance` there.
    """
    seen = _seen(log_probs_NT, behaviour_NT, advantages, mask_NT)
    return _clipped(seen.log_ratios_NT.exp(), seen.advantages_NT, (epsilon_low, epsilon_high), dual_clip)


def _clipped(ratios_NT: Tensor, each_NT: Tensor, epsilons: tuple[float, float], dual_clip: float | None) -> Tensor:
    low, high = epsilons
    if not (0.0 <= low <= 1.0 and high >= 0.0):
        raise TrainingUsageError(f"0 <= epsilon_low <= 1 and epsilon_high >= 0 must hold, got {low} and {high}")
    if dual_clip is not None and not dual_clip > 1.0 + high:
        raise TrainingUsageError(f"dual_clip must be above 1 + epsilon_high = {1.0 + high}, got {dual_clip}")
    bounded_NT = ratios_NT if dual_clip is None else ratios_NT.clamp(max=dual_clip)
    return -torch.minimum(bounded_NT * each_NT, ratios_NT.clamp(1.0 - low, 1.0 + high) * each_NT)


def sequence_ratio(
    log_probs_NT: Tensor, behaviour_NT: Tensor, mask_NT: Tensor, rollouts_N: Tensor | None = None
) -> Tensor:
    """exp of the mean log-ratio over a rollout's tokens (GSPO, arXiv 2507.18071), one number a row; shape (N,).

    `rollouts_N` numbers each row's rollout from 0: rows of one rollout share its ratio (None: every row is one).  A
    rollout without tokens has the ratio 1.
    """
    return _mean_ratios(log_ratios(log_probs_NT, behaviour_NT, mask_NT), mask_NT, rollouts_N)


def _mean_ratios(log_ratios_NT: Tensor, mask_NT: Tensor, rollouts_N: Tensor | None) -> Tensor:
    sums_N = row_sums(log_ratios_NT)
    tokens_N = row_sums(mask_NT.bool().to(sums_N.dtype))
    if rollouts_N is not None:
        sums_N, tokens_N = (rollout_sums(each, rollouts_N)[rollouts_N] for each in (sums_N, tokens_N))
    return torch.exp(sums_N / tokens_N.clamp(min=1.0))


def gspo(
    log_probs_NT: Tensor,
    behaviour_NT: Tensor,
    advantages: Tensor,
    mask_NT: Tensor,
    *,
    epsilons: tuple[float, float] = (3e-4, 4e-4),
    rollouts_N: Tensor | None = None,
) -> Tensor:
    """The clipped surrogate with the ratio of the whole rollout at each of its tokens (GSPO, arXiv 2507.18071).

    `epsilons` are (ε_low, ε_high), much smaller than a token's because a mean log-ratio hardly moves.
    """
    seen = _seen(log_probs_NT, behaviour_NT, advantages, mask_NT)
    ratios_N = _mean_ratios(seen.log_ratios_NT, mask_NT, rollouts_N)
    return _clipped(_per_entry(ratios_N, mask_NT), seen.advantages_NT, epsilons, None)


def cispo(
    log_probs_NT: Tensor, behaviour_NT: Tensor, advantages: Tensor, mask_NT: Tensor, *, cap: float = 5.0
) -> Tensor:
    """−sg(min(r, cap)) A log π: every token keeps a gradient (MiniMax-M1, arXiv 2506.13585; sg stops the gradient).

    `cap` > 0 is the largest ratio itself, not its distance from 1: what TRL calls `epsilon_high` under cispo, where
    the default 0.2 would weigh every token by at most 0.2.
    """
    seen = _seen(log_probs_NT, behaviour_NT, advantages, mask_NT)
    weights_NT = seen.log_ratios_NT.detach().exp().clamp(max=_positive("cap", cap))
    return -weights_NT * seen.advantages_NT * seen.log_probs_NT


def truncated_importance(
    log_probs_NT: Tensor,
    behaviour_NT: Tensor,
    advantages: Tensor,
    mask_NT: Tensor,
    *,
    cap: float = 5.0,
    level: Level = "token",
) -> Tensor:
    """REINFORCE with truncated importance weights: −sg(min(ρ, cap)) A log π (arXiv 1802.01561), for logged data.

    `level` "token": ρ is the ratio of each entry, and the loss is `cispo`'s; "rollout": the product over the row, which
    also corrects the states visited, at the price of more variance.  `cap` > 0.  For rollouts cut into several rows,
    self-normalised weights or masks, take the weights from `grpo.corrections.corrected_weights` and multiply
    `reinforce` by them.
    """
    if level not in ("token", "rollout"):
        raise TrainingUsageError(f'level must be "token" or "rollout", got {level!r}')
    seen = _seen(log_probs_NT, behaviour_NT, advantages, mask_NT)
    logs_NT = seen.log_ratios_NT.detach()
    if level == "rollout":
        logs_NT = _per_entry(row_sums(logs_NT), mask_NT)
    weights_NT = logs_NT.exp().clamp(max=_positive("cap", cap))
    return -weights_NT * seen.advantages_NT * seen.log_probs_NT


def reinforce(log_probs_NT: Tensor, advantages: Tensor, mask_NT: Tensor) -> Tensor:
    """−A log π (Williams 1992), for data of the policy itself; with leave-one-out advantages this is RLOO (2402.14740).

    >>> reinforce(torch.tensor([-1.0, -2.0]), torch.tensor([0.5, -0.5]), torch.tensor([1, 1])).tolist()
    [0.5, -1.0]
    """
    require_numbers(mask_NT, {"log_probs_NT": log_probs_NT, "advantages": advantages})
    return -_per_entry(advantages, mask_NT) * log_probs_NT.masked_fill(~mask_NT.bool(), 0.0)


def positive_only(log_probs_NT: Tensor, advantages: Tensor, mask_NT: Tensor) -> Tensor:
    """−max(A, 0) log π: the loop that skips A <= 0.  A negative control, not for use.

    Nothing is unlearned, and where rewards are skewed the direction is wrong (`grpo.advantages`).
    """
    return reinforce(log_probs_NT, advantages.clamp(min=0.0), mask_NT)


def sapo(
    log_probs_NT: Tensor,
    behaviour_NT: Tensor,
    advantages: Tensor,
    mask_NT: Tensor,
    *,
    temperatures: tuple[float, float] = (1.0, 1.05),
) -> Tensor:
    """−(4 / τ) σ(τ (r − 1)) A: a soft gate instead of a clip (SAPO, arXiv 2511.20347).

    `temperatures` τ > 0 are those of A > 0 and of A <= 0; the larger, the sooner a ratio away from 1 stops to count.
    """
    positive, negative = (_positive("temperatures", each) for each in temperatures)
    seen = _seen(log_probs_NT, behaviour_NT, advantages, mask_NT)
    ratios_NT, each_NT = seen.log_ratios_NT.exp(), seen.advantages_NT
    taus_NT = torch.full_like(each_NT, negative).masked_fill(each_NT > 0, positive)
    return -torch.sigmoid(taus_NT * (ratios_NT - 1.0)) * 4.0 / taus_NT * each_NT


def doubly_robust(
    log_probs_NK: Tensor,
    values_NK: Tensor,
    chosen_N: Tensor,
    propensities_N: Tensor,
    rewards_N: Tensor,
    *,
    cap: float = 10.0,
) -> Tensor:
    """−[Σ_k π_k q_k + min(π_a / p, cap) (r − q_a)]: minus the doubly robust value of each decision; shape (N,).

    π are the probabilities of all K candidates (log-probability −inf where not offered), q their modelled rewards
    `values_NK` (without gradient; looked at where offered), a the candidate `chosen_N` with `propensities_N` p in
    (0, 1], r its reward (arXiv 1103.4601).  Right on average where either q or p is, up to the bias of the cap.
    """
    offered = log_probs_NK > -torch.inf
    require_numbers(offered, {"log_probs_NK": log_probs_NK, "values_NK": values_NK, "rewards_N": rewards_N})
    _require_propensities(propensities_N)
    rows_N = torch.arange(len(chosen_N), device=chosen_N.device)
    if not bool(offered[rows_N, chosen_N].all()):
        raise TrainingUsageError("chosen_N must name candidates that were offered")
    values_NK = values_NK.detach().masked_fill(~offered, 0.0)
    probabilities_NK = log_probs_NK.masked_fill(~offered, -torch.inf).exp()
    weights_N = (probabilities_NK[rows_N, chosen_N] / propensities_N).clamp(max=_positive("cap", cap))
    return -((probabilities_NK * values_NK).sum(-1) + weights_N * (rewards_N - values_NK[rows_N, chosen_N]))


def _require_propensities(propensities_N: Tensor) -> None:
    bad = int((~((propensities_N > 0) & (propensities_N <= 1))).sum())
    if bad:
        raise TrainingUsageError(
            f"propensities_N must lie in (0, 1], {bad} do not; decisions without a propensity are fit for value "
            "learning only"
        )


def _seen(log_probs_NT: Tensor, behaviour_NT: Tensor, advantages: Tensor, mask_NT: Tensor) -> _Seen:
    named = {"log_probs_NT": log_probs_NT, "behaviour_NT": behaviour_NT, "advantages": advantages}
    require_numbers(mask_NT, named)
    return _Seen(
        log_probs_NT.masked_fill(~mask_NT.bool(), 0.0),
        unchecked_log_ratios(log_probs_NT, behaviour_NT, mask_NT),
        _per_entry(advantages, mask_NT),
    )


def _per_entry(numbers: Tensor, mask_NT: Tensor) -> Tensor:
    """One number an entry, 0 where the mask is off, from one an entry or one a row."""
    each = numbers if numbers.dim() == mask_NT.dim() else numbers[:, None]
    return each.expand_as(mask_NT).masked_fill(~mask_NT.bool(), 0.0)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise TrainingUsageError(f"{name} must be above 0, got {value}")
    return value

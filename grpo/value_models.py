"""Modelled rewards of K numbered tools in a state, learnt from logged decisions: what a direct method maximises.

Two models that fail differently, each blind to the fold that it is judged on: a ridge logistic regression a tool, whose
strength is chosen by held-out log loss, and an ensemble of small networks that stop where their own fold is foretold
best (early stopping as in Prechelt 1998).  Their logits are mixed by held-out log loss (stacking, Wolpert 1992).  The
highest modelled reward is the direct method of arXiv 1103.4601; `StackedValues.held_out_NK` is what its doubly robust
correction needs, since no decision is foretold from itself (cross-fitting, arXiv 1608.00060).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from grpo.errors import TrainingUsageError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
MIXES = np.linspace(0.0, 1.0, 11)
NEWTON_STEPS = 12


@dataclass(frozen=True, slots=True)
class ValueSettings:
    """How value models are fitted: `folds` ≥ 2, `repeats` networks a fold, their `hidden` units, steps and decay."""

    folds: int = 5
    repeats: int = 2
    hidden: int = 32
    steps: int = 250
    learning_rate: float = 0.01
    weight_decay: float = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class StackedValues:
    """The fitted mixture, and what it foretold of the decisions that it was fitted on.

    `linear_KD` has a column more than states have entries, the last for the constant.  `mix` in [0, 1] is the share of
    the linear logits, `held_out_NK` in [0, 1] the values of every fitted decision by models that did not see its
    group, `held_out_loss` their log loss on what was chosen (nats; slightly low, since it chose strength and mix).
    """

    linear_KD: Floats
    networks: "Networks"
    mix: float
    strength: float
    held_out_NK: Floats
    held_out_loss: float

    def values(self, states_MD: Floats) -> Floats:
        """Modelled reward of each tool in each state, in (0, 1); shape (M, K)."""
        networks_MK = self.networks.logits(states_MD).mean(axis=0)
        linear_MK = with_constant(states_MD) @ self.linear_KD.T
        return np.asarray(expit(self.mix * linear_MK + (1.0 - self.mix) * networks_MK), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """E networks of one hidden layer side by side: tanh(x W + b) V + c.

    `parameters` are W (E, D, H), b (E, 1, H), V (E, H, K) and c (E, 1, K).
    """

    parameters: tuple[Tensor, Tensor, Tensor, Tensor]

    def logits(self, states_MD: Floats) -> Floats:
        """Each network's logits, shape (E, M, K)."""
        with torch.no_grad():
            found = _forward(self.parameters, torch.from_numpy(np.asarray(states_MD, np.float32)))
        return np.asarray(found.numpy(), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Decisions:
    """What was chosen, what it earned, and the fold of each decision; shape (N, …) each."""

    states_ND: Floats
    chosen_N: Integers
    rewards_N: Floats
    folds_N: Integers
    tools: int


def fit_values(
    states_ND: Floats,
    chosen_N: Integers,
    rewards_N: Floats,
    groups_N: Integers,
    rng: np.random.Generator,
    settings: ValueSettings = ValueSettings(),
) -> StackedValues:
    """Fit both models and their mixture on decisions of known reward in [0, 1].

    `chosen_N` number the tools from 0; every tool up to the highest must have been chosen at least once.  Decisions of
    one of `groups_N` (the task) are left out together.  Raises TrainingUsageError for other rewards, a tool that was
    never chosen, or fewer groups than folds.
    """
    _check(chosen_N, rewards_N, groups_N, settings.folds)
    tools = int(chosen_N.max()) + 1
    decisions = _Decisions(states_ND, chosen_N, rewards_N, _dealt(groups_N, settings.folds, rng), tools)
    linear = {strength: _linear_held_out(decisions, strength) for strength in STRENGTHS}
    strength = min(linear, key=lambda each: _loss_of(linear[each], decisions))
    networks, foretold_NK = _fit_networks(decisions, settings, rng)
    mixed = {float(mix): mix * linear[strength] + (1.0 - mix) * foretold_NK for mix in MIXES}
    mix = min(mixed, key=lambda each: _loss_of(mixed[each], decisions))
    return StackedValues(
        fit_logistic(states_ND, chosen_N, rewards_N, strength),
        networks,
        mix,
        strength,
        expit(mixed[mix]),
        _loss_of(mixed[mix], decisions),
    )


def fit_logistic(
    states_ND: Floats, chosen_N: Integers, rewards_N: Floats, strength: float, *, tools: int | None = None
) -> Floats:
    """Coefficients of a logistic regression a tool, each drawn to the overall mean by a ridge; shape (K, D + 1).

    Maximises Σ r ln σ(z) + (1 − r) ln(1 − σ(z)) − λ/2 ‖b‖² with z = m + b · (x, 1), m the log-odds of all rewards and
    λ = `strength` > 0, by Newton's method; m is part of the constant that is handed back.  `tools` is K (None:
    the highest that was chosen, and those below it); of a tool that was never chosen the mean is all that is known.

    >>> fit_logistic(np.zeros((4, 1)), np.array([0, 0, 1, 1]), np.array([1.0, 0.0, 1.0, 0.0]), 1.0).round(6).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    features_ND = with_constant(states_ND)
    middle = float(np.log((rewards_N.sum() + 0.5) / ((1.0 - rewards_N).sum() + 0.5)))
    rows = []
    for tool in range(int(chosen_N.max()) + 1 if tools is None else tools):
        own_N = chosen_N == tool
        rows.append(_ridge_logistic(features_ND[own_N], rewards_N[own_N], middle, strength))
    return np.stack(rows)


def with_constant(states_ND: Floats) -> Floats:
    """The states with a last entry 1, shape (N, D + 1).

    >>> with_constant(np.array([[0.5]])).tolist()
    [[0.5, 1.0]]
    """
    return np.column_stack([states_ND, np.ones(len(states_ND))])


def log_loss(logits_N: Floats, rewards_N: Floats) -> float:
    """Mean of −r ln σ(z) − (1 − r) ln(1 − σ(z)), in nats.

    >>> round(log_loss(np.zeros(2), np.array([0.0, 1.0])), 4)
    0.6931
    """
    return float(np.mean(np.logaddexp(0.0, logits_N) - rewards_N * logits_N))


def _ridge_logistic(features_ND: Floats, rewards_N: Floats, middle: float, strength: float) -> Floats:
    ridge_DD = strength * np.eye(features_ND.shape[1])
    found_D = np.zeros(features_ND.shape[1])
    for _ in range(NEWTON_STEPS):
        means_N = expit(features_ND @ found_D + middle)
        slope_D = features_ND.T @ (rewards_N - means_N) - strength * found_D
        curvature_DD = (features_ND * (means_N * (1.0 - means_N))[:, None]).T @ features_ND + ridge_DD
        found_D = found_D + np.linalg.solve(curvature_DD, slope_D)
    found_D[-1] += middle
    return found_D


def _linear_held_out(decisions: _Decisions, strength: float) -> Floats:
    """Logits of every decision by a fit on the other folds, shape (N, K)."""
    logits_NK = np.zeros((len(decisions.chosen_N), decisions.tools))
    for fold in range(int(decisions.folds_N.max()) + 1):
        held_N = decisions.folds_N == fold
        seen_N = ~held_N
        fitted_KD = fit_logistic(
            decisions.states_ND[seen_N],
            decisions.chosen_N[seen_N],
            decisions.rewards_N[seen_N],
            strength,
            tools=decisions.tools,
        )
        logits_NK[held_N] = with_constant(decisions.states_ND[held_N]) @ fitted_KD.T
    return logits_NK


def _fit_networks(decisions: _Decisions, settings: ValueSettings, rng: np.random.Generator) -> tuple[Networks, Floats]:
    """The ensemble, and the logits of every decision by the networks that did not see its fold, shape (N, K)."""
    folds_E = torch.arange(settings.folds * settings.repeats) % settings.folds
    held_EN = torch.from_numpy(decisions.folds_N) == folds_E[:, None]
    parameters = _first_parameters(decisions, settings, rng)
    networks = Networks(_stopped_early(parameters, decisions, held_EN, settings))
    logits_ENK = networks.logits(decisions.states_ND)
    weights_EN = held_EN.numpy() / settings.repeats
    return networks, np.einsum("en,enk->nk", weights_EN, logits_ENK)


def _first_parameters(decisions: _Decisions, settings: ValueSettings, rng: np.random.Generator) -> list[Tensor]:
    entries, members = decisions.states_ND.shape[1], settings.folds * settings.repeats
    reads = rng.standard_normal((members, entries, settings.hidden)) / entries**0.5
    gives = 0.3 * rng.standard_normal((members, settings.hidden, decisions.tools)) / settings.hidden**0.5
    zeros = [np.zeros((members, 1, size)) for size in (settings.hidden, decisions.tools)]
    arrays = (reads, zeros[0], gives, zeros[1])
    return [torch.from_numpy(np.asarray(array, np.float32)).requires_grad_() for array in arrays]


def _stopped_early(
    parameters: list[Tensor], decisions: _Decisions, held_EN: Tensor, settings: ValueSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each network's parameters at the step where it foretold its own fold best."""
    optimizer = torch.optim.Adam(parameters, settings.learning_rate)
    different_UD, of_N = np.unique(decisions.states_ND, axis=0, return_inverse=True)  # a group's first states are one
    states_UD, rows_N = torch.from_numpy(np.asarray(different_UD, np.float32)), torch.from_numpy(of_N.reshape(-1))
    rewards_EN = torch.from_numpy(np.asarray(decisions.rewards_N, np.float32)).expand(len(held_EN), -1)
    chosen_N = torch.from_numpy(decisions.chosen_N)
    best = [each.detach().clone() for each in parameters]
    least_E = torch.full((len(held_EN),), torch.inf)
    for _ in range(settings.steps):
        logits_EN = _forward(parameters, states_UD)[:, rows_N, chosen_N]
        losses_EN = functional.binary_cross_entropy_with_logits(logits_EN, rewards_EN, reduction="none")
        judged_E = _mean_where(losses_EN.detach(), held_EN)
        better_E = judged_E < least_E
        least_E = torch.where(better_E, judged_E, least_E)
        for kept, each in zip(best, parameters, strict=True):
            kept[better_E] = each.detach()[better_E]
        decay = settings.weight_decay * (parameters[0].square().sum() + parameters[2].square().sum())
        optimizer.zero_grad()
        (_mean_where(losses_EN, ~held_EN).sum() + decay).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    return best[0], best[1], best[2], best[3]


def _forward(parameters: "list[Tensor] | tuple[Tensor, ...]", states_MD: Tensor) -> Tensor:
    read, first, give, last = parameters
    return torch.tanh(states_MD @ read + first) @ give + last


def _mean_where(numbers_EN: Tensor, mask_EN: Tensor) -> Tensor:
    return (numbers_EN * mask_EN).sum(1) / mask_EN.sum(1)


def _loss_of(logits_NK: Floats, decisions: _Decisions) -> float:
    return log_loss(logits_NK[np.arange(len(logits_NK)), decisions.chosen_N], decisions.rewards_N)


def _dealt(groups_N: Integers, folds: int, rng: np.random.Generator) -> Integers:
    """A fold for every decision; those of one group share it."""
    names, of_N = np.unique(groups_N, return_inverse=True)
    return np.asarray(rng.permutation(np.arange(len(names)) % folds)[of_N], np.int64)


def _check(chosen_N: Integers, rewards_N: Floats, groups_N: Integers, folds: int) -> None:
    if not ((rewards_N >= 0.0) & (rewards_N <= 1.0)).all():
        raise TrainingUsageError(f"rewards must lie in [0, 1], got {rewards_N.min()} to {rewards_N.max()}")
    times_K = np.bincount(chosen_N)
    if not times_K.all():
        raise TrainingUsageError(f"tool {int(times_K.argmin())} was never chosen: leave it out and number the rest")
    groups = len(np.unique(groups_N))
    if not 2 <= folds <= groups:
        raise TrainingUsageError(f"folds must lie between 2 and the {groups} groups, got {folds}")

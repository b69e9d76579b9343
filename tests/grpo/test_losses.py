"""Losses: closed forms, finite differences, signs, and gradients found by enumerating a small policy's actions."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.errors import TrainingUsageError
from grpo.losses import (
    cispo,
    clipped_surrogate,
    doubly_robust,
    gspo,
    positive_only,
    reinforce,
    sapo,
    sequence_ratio,
    truncated_importance,
)

WITH_RATIO = {
    "clipped": clipped_surrogate,
    "dual clipped": partial(clipped_surrogate, dual_clip=1.5),
    "gspo": partial(gspo, epsilons=(0.2, 0.28)),
    "cispo": partial(cispo, cap=1.2),
    "truncated by token": partial(truncated_importance, cap=1.2),
    "truncated by rollout": partial(truncated_importance, cap=1.2, level="rollout"),
    "sapo": sapo,
}
LOSSES = WITH_RATIO | {
    "reinforce": lambda new, _, advantages, mask: reinforce(new, advantages, mask),
    "positive only": lambda new, _, advantages, mask: positive_only(new, advantages, mask),
}
# Their gradient is not the derivative of their value: the weight is held fixed.
WITH_FIXED_WEIGHTS = {"cispo", "truncated by token", "truncated by rollout"}

every_loss = pytest.mark.parametrize("name", LOSSES)
few = settings(max_examples=20)


def ragged(seed, rows=5, columns=4):
    """New and behaviour log-probabilities, advantages and mask; every row has a token."""
    generator = torch.Generator().manual_seed(seed)
    behaviour_NT = -3.0 * torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    new_NT = behaviour_NT + 0.4 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    advantages_N = torch.randn(rows, generator=generator, dtype=torch.float64)
    mask_NT = torch.rand(rows, columns, generator=generator) > 0.3
    mask_NT[:, 0] = True
    return new_NT, behaviour_NT, advantages_N, mask_NT


def gradient(loss, new_NT, *rest):
    leaf_NT = new_NT.clone().requires_grad_()
    loss(leaf_NT, *rest).sum().backward()
    return leaf_NT.grad


@every_loss
@few
@given(seed=st.integers(0, 10**6))
def test_masked_entries_have_no_loss_and_no_gradient_whatever_stands_there(name, seed):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(seed)
    strange_NT = new_NT.masked_fill(~mask_NT, -torch.inf)
    assert (LOSSES[name](strange_NT, behaviour_NT, advantages_N, mask_NT)[~mask_NT] == 0).all()
    found = gradient(LOSSES[name], strange_NT, behaviour_NT, advantages_N, mask_NT)
    assert (found[~mask_NT] == 0).all()
    assert torch.equal(found, gradient(LOSSES[name], new_NT, behaviour_NT, advantages_N, mask_NT))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - WITH_FIXED_WEIGHTS))
@few
@given(seed=st.integers(0, 10**6))
def test_gradients_are_those_of_finite_differences(name, seed):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(seed, rows=3, columns=3)
    found, step = gradient(LOSSES[name], new_NT, behaviour_NT, advantages_N, mask_NT), 1e-6
    for place in range(new_NT.numel()):
        shift_NT = torch.zeros_like(new_NT)
        shift_NT.view(-1)[place] = step
        above, below = (
            LOSSES[name](new_NT + sign * shift_NT, behaviour_NT, advantages_N, mask_NT).sum() for sign in (1, -1)
        )
        assert found.view(-1)[place].item() == pytest.approx(((above - below) / (2 * step)).item(), abs=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"positive only"}))
def test_on_the_policys_own_data_every_loss_pushes_as_reinforce_does(name):
    _, behaviour_NT, advantages_N, mask_NT = ragged(3)
    found = gradient(LOSSES[name], behaviour_NT, behaviour_NT, advantages_N, mask_NT)
    expected = gradient(LOSSES["reinforce"], behaviour_NT, behaviour_NT, advantages_N, mask_NT)
    assert torch.allclose(found.sum(-1), expected.sum(-1), atol=1e-12)


@every_loss
@few
@given(seed=st.integers(0, 10**6))
def test_no_loss_lowers_what_was_better_or_raises_what_was_worse(name, seed):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(seed)
    found = gradient(LOSSES[name], new_NT, behaviour_NT, advantages_N, mask_NT)
    assert (found * advantages_N[:, None] <= 0).all()


@every_loss
@few
@given(seed=st.integers(0, 10**6), order=st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter(name, seed, order):
    batch = ragged(seed)
    moved_NT = LOSSES[name](*(each[order] for each in batch))
    assert torch.allclose(moved_NT, LOSSES[name](*batch)[order], atol=1e-14)


@every_loss
def test_single_decisions_have_the_losses_of_rows_of_one(name):
    new_NT, behaviour_NT, advantages_N, _ = ragged(0, columns=1)
    mask_NT = torch.tensor([[True], [True], [False], [True], [True]])
    rows = LOSSES[name](new_NT, behaviour_NT, advantages_N, mask_NT)
    single_N = LOSSES[name](new_NT[:, 0], behaviour_NT[:, 0], advantages_N, mask_NT[:, 0])
    assert torch.allclose(single_N, rows[:, 0], atol=1e-14)


@every_loss
def test_one_advantage_a_row_stands_for_each_of_its_entries(name):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(1)
    spread_NT = advantages_N[:, None].expand_as(new_NT)
    of_rows = LOSSES[name](new_NT, behaviour_NT, advantages_N, mask_NT)
    assert torch.equal(LOSSES[name](new_NT, behaviour_NT, spread_NT, mask_NT), of_rows)


@every_loss
def test_a_mask_of_numbers_is_a_mask_of_truths(name):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(2)
    of_truths = LOSSES[name](new_NT, behaviour_NT, advantages_N, mask_NT)
    assert torch.equal(LOSSES[name](new_NT, behaviour_NT, advantages_N, mask_NT.double()), of_truths)


@every_loss
def test_nan_is_refused_with_the_name_of_its_array(name):
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(0)
    broken_NT, broken_N = new_NT.clone(), advantages_N.clone()
    broken_NT[1, :2], broken_N[0] = torch.nan, torch.nan
    with pytest.raises(TrainingUsageError, match=r"log_probs_NT must be finite .* got 2 NaN"):
        LOSSES[name](broken_NT, behaviour_NT, advantages_N, mask_NT)
    with pytest.raises(TrainingUsageError, match=r"advantages must be finite .* got 1 NaN"):
        LOSSES[name](new_NT, behaviour_NT, broken_N, mask_NT)
    if name in WITH_RATIO:
        with pytest.raises(TrainingUsageError, match=r"behaviour_NT must be .* got 2 NaN .* value learning"):
            LOSSES[name](new_NT, broken_NT, advantages_N, mask_NT)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "has_gradient"),
    [
        (1.1, 1.0, -1.1, True),
        (1.5, 1.0, -1.28, False),
        (0.5, 1.0, -0.5, True),
        (0.5, -1.0, 0.8, False),
        (0.9, -1.0, 0.9, True),
        (2.0, -1.0, 2.0, True),
        (9.0, -1.0, 3.0, False),
    ],
)
def test_the_surrogate_is_flat_exactly_where_it_is_clipped(ratio, advantage, loss, has_gradient):
    new_N = torch.tensor([ratio], dtype=torch.float64).log().requires_grad_()
    found = clipped_surrogate(new_N, torch.zeros(1), torch.tensor([advantage]), torch.ones(1), dual_clip=3.0)
    found.sum().backward()
    assert found.item() == pytest.approx(loss)
    assert bool(new_N.grad != 0) == has_gradient


def test_the_cap_of_cispo_is_the_ratio_itself():
    new_N = torch.tensor([1.1, 9.0], dtype=torch.float64).log().requires_grad_()
    cispo(new_N, torch.zeros(2), torch.ones(2), torch.ones(2), cap=5.0).sum().backward()
    assert (-new_N.grad).tolist() == pytest.approx([1.1, 5.0])


def test_at_token_level_truncated_importance_is_cispo():
    assert torch.equal(truncated_importance(*ragged(4), cap=1.1), cispo(*ragged(4), cap=1.1))


def test_at_rollout_level_the_weight_is_the_capped_product_over_the_row():
    new_NT, behaviour_NT, advantages_N, mask_NT = ragged(7)
    found = -gradient(
        partial(truncated_importance, cap=1.1, level="rollout"), new_NT, behaviour_NT, advantages_N, mask_NT
    )
    ratios_NT = (new_NT - behaviour_NT).exp().masked_fill(~mask_NT, 1.0)
    expected_NT = (ratios_NT.prod(-1).clamp(max=1.1) * advantages_N)[:, None] * mask_NT
    assert torch.allclose(found, expected_NT, atol=1e-12)


def test_the_negative_control_learns_from_what_was_better_and_unlearns_nothing():
    new_NT, _, advantages_N, mask_NT = ragged(8)
    found = gradient(positive_only, new_NT, advantages_N, mask_NT)
    assert torch.equal(found, gradient(reinforce, new_NT, advantages_N, mask_NT) * (advantages_N > 0)[:, None])
    assert (advantages_N < 0).any()


def test_the_soft_gate_meets_the_hard_clips_advantage_at_ratio_one():
    one = sapo(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, -1.0]), torch.ones(2))
    assert one.tolist() == pytest.approx([-2.0, 2.0 / 1.05])


def test_a_rollout_cut_into_rows_keeps_its_sequence_ratio():
    new_NT, behaviour_NT, advantages_N, _ = ragged(5, rows=2, columns=6)
    mask_NT = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 0, 0]])
    whole = gspo(new_NT, behaviour_NT, advantages_N, mask_NT)
    cut = [each.reshape(6, 2) for each in (new_NT, behaviour_NT, mask_NT)]
    rollouts_N = torch.tensor([0, 0, 0, 1, 1, 1])
    parts = gspo(*cut[:2], advantages_N[rollouts_N], cut[2], rollouts_N=rollouts_N)
    assert torch.allclose(parts.reshape(2, 6), whole, atol=1e-14)


def test_the_sequence_ratio_is_the_geometric_mean_of_the_ratios():
    new_NT, behaviour_NT, _, mask_NT = ragged(6)
    ratios_NT = (new_NT - behaviour_NT).exp()
    expected = [row[kept].prod() ** (1 / len(row[kept])) for row, kept in zip(ratios_NT, mask_NT, strict=True)]
    assert torch.allclose(sequence_ratio(new_NT, behaviour_NT, mask_NT), torch.stack(expected))


def bandit(seed, candidates=4):
    """Logits, a logging policy, rewards of the candidates, and the gradient of the value by the logits."""
    generator = torch.Generator().manual_seed(seed)
    logits_K, rewards_K, values_K = torch.randn(3, candidates, generator=generator, dtype=torch.float64)
    logging_K = torch.rand(candidates, generator=generator, dtype=torch.float64) + 0.1
    leaf_K = logits_K.clone().requires_grad_()
    (leaf_K.softmax(-1) @ rewards_K).backward()
    return logits_K, logging_K / logging_K.sum(), rewards_K, values_K, leaf_K.grad


def over_all_actions(logits_K, logging_K, loss_of):
    """The gradient expected under the logging policy, by enumeration; `loss_of` takes log-probabilities and actions."""
    leaf_K = logits_K.clone().requires_grad_()
    (logging_K * loss_of(leaf_K.log_softmax(-1), torch.arange(len(logits_K)))).sum().backward()
    return leaf_K.grad


@given(st.integers(0, 10**6))
@few
def test_importance_weights_make_the_expected_gradient_that_of_the_value(seed):
    logits_K, logging_K, rewards_K, _, true_K = bandit(seed)

    def loss_of(logs_K, _):
        return truncated_importance(logs_K, logging_K.log(), rewards_K, torch.ones(4), cap=1e9)

    assert torch.allclose(over_all_actions(logits_K, logging_K, loss_of), -true_K, atol=1e-12)


@given(st.integers(0, 10**6))
@few
def test_the_doubly_robust_loss_is_right_on_average_whatever_the_values_are(seed):
    logits_K, logging_K, rewards_K, values_K, true_K = bandit(seed)

    def loss_of(logs_K, actions_N):
        rows = (each.expand(4, 4) for each in (logs_K, values_K))
        return doubly_robust(*rows, actions_N, logging_K, rewards_K, cap=1e9)

    assert torch.allclose(over_all_actions(logits_K, logging_K, loss_of), -true_K, atol=1e-12)
    value = -(logging_K * loss_of(logits_K.log_softmax(-1), torch.arange(4))).sum()
    assert value.item() == pytest.approx((logits_K.softmax(-1) @ rewards_K).item())


@given(st.integers(0, 10**6))
@few
def test_with_the_true_values_the_doubly_robust_loss_needs_no_right_propensities(seed):
    logits_K, logging_K, rewards_K, _, true_K = bandit(seed)

    def loss_of(logs_K, actions_N):
        rows = (each.expand(4, 4) for each in (logs_K, rewards_K))
        return doubly_robust(*rows, actions_N, torch.full((4,), 0.9, dtype=torch.float64), rewards_K, cap=1.0)

    assert torch.allclose(over_all_actions(logits_K, logging_K, loss_of), -true_K, atol=1e-12)


def test_the_doubly_robust_loss_does_not_train_the_values():
    values_NK = torch.zeros(1, 2, requires_grad=True)
    logs_NK = torch.zeros(1, 2, requires_grad=True)
    doubly_robust(logs_NK, values_NK, torch.tensor([0]), torch.tensor([0.5]), torch.ones(1)).sum().backward()
    assert values_NK.grad is None
    assert logs_NK.grad is not None


def test_candidates_that_were_not_offered_have_no_part_in_the_doubly_robust_loss():
    logits_NK = torch.tensor([[0.3, -torch.inf, -0.2]], dtype=torch.float64, requires_grad=True)
    values_NK = torch.tensor([[0.1, 1e6, 0.4]], dtype=torch.float64)
    rest = (torch.tensor([0]), torch.tensor([0.5]), torch.tensor([1.0]))
    loss_N = doubly_robust(logits_NK.log_softmax(-1), values_NK, *rest)
    loss_N.sum().backward()
    two_N = doubly_robust(logits_NK[:, [0, 2]].log_softmax(-1), values_NK[:, [0, 2]], *rest)
    assert loss_N.item() == pytest.approx(two_N.item())
    assert logits_NK.grad[0, 1] == 0
    assert logits_NK.grad.isfinite().all()


def dr(logs=((-0.7, -0.7),), values=((0.0, 0.0),), chosen=0, propensity=0.5, cap=10.0):
    return doubly_robust(
        torch.tensor(logs),
        torch.tensor(values),
        torch.tensor([chosen]),
        torch.tensor([propensity]),
        torch.tensor([1.0]),
        cap=cap,
    )


PAIR = (torch.zeros(2), torch.zeros(2), torch.ones(2), torch.ones(2))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda: clipped_surrogate(*PAIR, epsilon_low=1.5), "0 <= epsilon_low <= 1 .* got 1.5 and 0.28"),
        (lambda: clipped_surrogate(*PAIR, dual_clip=1.1), "dual_clip must be above .* got 1.1"),
        (lambda: cispo(*PAIR, cap=0.0), "cap must be above 0, got 0.0"),
        (lambda: truncated_importance(*PAIR, level="group"), "level must be .* got 'group'"),
        (lambda: sapo(*PAIR, temperatures=(1.0, 0.0)), "temperatures must be above 0, got 0.0"),
        (lambda: reinforce(torch.zeros(3), torch.ones(3), torch.ones(2)), r"shape \(2,\) of the mask, got \(3,\)"),
        (lambda: dr(propensity=0.0), r"propensities_N must lie in \(0, 1\], 1 do not"),
        (lambda: dr(propensity=float("nan")), r"propensities_N must lie in \(0, 1\], 1 do not"),
        (lambda: dr(logs=((0.0, -torch.inf),), chosen=1), "candidates that were offered"),
        (lambda: dr(values=((float("nan"), 0.0),)), "values_NK must be finite"),
        (lambda: dr(cap=-1.0), "cap must be above 0, got -1.0"),
    ],
)
def test_what_breaks_a_rule_is_refused(broken, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        broken()

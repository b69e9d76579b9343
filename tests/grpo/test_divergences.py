"""Estimates of the KL divergence: value and gradient, each against enumeration and against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipys_entropy

from grpo.divergences import categorical_kl, entropy, k1, k2, k3, kl_penalty
from grpo.errors import TrainingUsageError

few = settings(max_examples=25)
seeds = st.integers(0, 10**6)


def policies(seed, candidates=4):
    """Logits of a policy, and log-probabilities of a reference and of who acted."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, candidates, generator=generator, dtype=torch.float64)
    return rows[0], rows[1].log_softmax(-1), rows[2].log_softmax(-1)


def expected(seed, acting_K=None, **options):
    """Value and gradient by the logits of a penalty, expected over the actions of π itself or of who acted."""
    logits_K, reference_K, _ = policies(seed)
    leaf_K = logits_K.clone().requires_grad_()
    logs_K = leaf_K.log_softmax(-1)
    weights_K = logs_K.detach().exp() if acting_K is None else acting_K.exp()
    value = (weights_K * kl_penalty(logs_K, reference_K, torch.ones(4), behaviour_NT=acting_K, **options)).sum()
    value.backward()
    return value.item(), leaf_K.grad


def exact(seed, *, forward=False):
    """KL(π ‖ ref), or KL(ref ‖ π), and its gradient by the logits."""
    logits_K, reference_K, _ = policies(seed)
    leaf_K = logits_K.clone().requires_grad_()
    pair = (leaf_K.log_softmax(-1)[None], reference_K[None])
    value = categorical_kl(*(reversed(pair) if forward else pair)).sum()
    value.backward()
    return value.item(), leaf_K.grad


@pytest.mark.parametrize("estimator", ["k1", "k3"])
@pytest.mark.parametrize("gradient", ["plain", "straight_through", "importance"])
@few
@given(seed=seeds)
def test_k1_and_k3_are_right_on_average(estimator, gradient, seed):
    value, _ = expected(seed, estimator=estimator, gradient=gradient)
    assert value == pytest.approx(exact(seed)[0])


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@few
@given(seed=seeds)
def test_straight_through_has_the_gradient_of_the_divergence(estimator, seed):
    _, gradient_K = expected(seed, estimator=estimator, gradient="straight_through")
    assert torch.allclose(gradient_K, exact(seed)[1], atol=1e-12)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
@few
@given(seed=seeds)
def test_importance_weights_give_value_and_gradient_from_actions_of_another_policy(estimator, seed):
    acting_K = policies(seed)[2]
    value, gradient_K = expected(seed, acting_K, estimator=estimator, gradient="importance")
    assert value == pytest.approx(exact(seed)[0])
    assert torch.allclose(gradient_K, exact(seed)[1], atol=1e-10)


@few
@given(seed=seeds)
def test_straight_through_holds_for_actions_of_another_policy(seed):
    value, gradient_K = expected(seed, policies(seed)[2], gradient="straight_through")
    assert value == pytest.approx(exact(seed)[0])
    assert torch.allclose(gradient_K, exact(seed)[1], atol=1e-10)


@few
@given(seed=seeds)
def test_the_plain_gradient_is_zero_for_k1_right_for_k2_and_of_the_forward_divergence_for_k3(seed):
    found = {name: expected(seed, estimator=name, gradient="plain")[1] for name in ("k1", "k2", "k3")}
    assert torch.allclose(found["k1"], torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found["k2"], exact(seed)[1], atol=1e-12)
    assert torch.allclose(found["k3"], exact(seed, forward=True)[1], atol=1e-12)


def test_the_plain_gradient_of_k3_can_point_elsewhere_than_that_of_the_divergence():
    logits_K = torch.tensor([0.0, 3.0, 0.0], dtype=torch.float64, requires_grad=True)
    reference_K = torch.tensor([3.0, 0.0, -6.0], dtype=torch.float64).log_softmax(-1)
    logs_K = logits_K.log_softmax(-1)
    (logs_K.detach().exp() * kl_penalty(logs_K, reference_K, torch.ones(3), gradient="plain")).sum().backward()
    plain_K, logits_K.grad = logits_K.grad, None
    categorical_kl(logits_K.log_softmax(-1)[None], reference_K[None]).sum().backward()
    assert torch.cosine_similarity(plain_K, logits_K.grad, dim=0) < 0.9


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9))
def test_k2_and_k3_are_never_negative_and_all_three_vanish_where_the_policies_agree(logs):
    logs_N = torch.tensor(logs, dtype=torch.float64)
    assert (k2(logs_N) >= 0).all()
    assert (k3(logs_N) >= -1e-15).all()
    assert [float(each(torch.zeros(1))) for each in (k1, k2, k3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("gradient", ["plain", "straight_through", "importance"])
def test_masked_entries_have_no_penalty_and_no_gradient(gradient):
    new_NT = torch.tensor([[-1.0, -torch.inf], [-2.0, -0.3]], requires_grad=True)
    mask_NT = torch.tensor([[True, False], [False, True]])
    penalty_NT = kl_penalty(new_NT, torch.full((2, 2), -1.5), mask_NT, gradient=gradient)
    penalty_NT.sum().backward()
    assert (penalty_NT[~mask_NT] == 0).all()
    assert (new_NT.grad[~mask_NT] == 0).all()
    assert (new_NT.grad[mask_NT] != 0).all()


@given(seeds, st.integers(1, 6))
@few
def test_exact_divergence_and_entropy_are_scipys(seed, candidates):
    logits_K, reference_K, _ = policies(seed, candidates)
    logs_NK, reference_NK = logits_K.log_softmax(-1)[None], reference_K[None]
    p, q = logs_NK[0].exp().numpy(), reference_K.exp().numpy()
    assert categorical_kl(logs_NK, reference_NK).item() == pytest.approx(scipys_entropy(p, q), abs=1e-12)
    assert entropy(logs_NK).item() == pytest.approx(scipys_entropy(p), abs=1e-12)


@given(seeds)
@few
def test_candidates_that_are_not_offered_change_neither_and_get_no_gradient(seed):
    logits_K, reference_K, _ = policies(seed)
    padded = torch.cat([logits_K, torch.tensor([-torch.inf])]).requires_grad_()
    reference_NK = torch.cat([reference_K, torch.tensor([-torch.inf])])[None]
    logs_NK = padded.log_softmax(-1)[None]
    divergence, found = categorical_kl(logs_NK, reference_NK), entropy(logs_NK)
    assert divergence.item() == pytest.approx(categorical_kl(logits_K.log_softmax(-1)[None], reference_K[None]).item())
    assert found.item() == pytest.approx(entropy(logits_K.log_softmax(-1)[None]).item())
    (divergence + found).sum().backward()
    assert padded.grad.isfinite().all()
    assert padded.grad[-1] == 0


@pytest.mark.parametrize("function", [lambda x: categorical_kl(x, torch.full_like(x, -np.log(3))), entropy])
def test_exact_gradients_are_those_of_finite_differences(function):
    torch.manual_seed(0)
    logits_NK = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda logits: function(logits.log_softmax(-1)), logits_NK)


PAIR = (torch.zeros(2), torch.zeros(2), torch.ones(2))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda: kl_penalty(*PAIR, estimator="k4"), 'estimator must be "k1", "k2" or "k3", got \'k4\''),
        (lambda: kl_penalty(*PAIR, gradient="none"), "gradient must be .* got 'none'"),
        (lambda: kl_penalty(torch.zeros(2), torch.full((2,), torch.nan), torch.ones(2)), "reference_NT .* got 2 NaN"),
        (lambda: entropy(torch.tensor([[torch.nan, 0.0]])), "log_probs_NK .* got 1 NaN"),
        (lambda: categorical_kl(torch.zeros(1, 1), torch.full((1, 1), -torch.inf)), "reference_NK .* 1 infinite"),
    ],
)
def test_what_breaks_a_rule_is_refused(broken, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        broken()

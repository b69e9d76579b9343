"""Ratios, weights and what they leave of the data, against NumPy and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.corrections import (
    Correction,
    clip_fractions,
    corrected_weights,
    effective_sample_size,
    log_ratios,
    require_numbers,
)
from grpo.errors import TrainingUsageError

few = settings(max_examples=30)
seeds = st.integers(0, 10**6)
CORRECTIONS = [
    Correction(how, level, low, high, normal)
    for how in ("none", "truncate", "mask")
    for level in ("token", "rollout")
    for low, high, normal in ((0.0, 1.2, False), (0.7, 1.5, True))
]
every_correction = pytest.mark.parametrize("correction", CORRECTIONS)


def ragged(seed, rows=6, columns=4):
    generator = torch.Generator().manual_seed(seed)
    behaviour_NT = -3.0 * torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    new_NT = behaviour_NT + 0.4 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    mask_NT = torch.rand(rows, columns, generator=generator) > 0.3
    mask_NT[:, 0] = True
    return new_NT, behaviour_NT, mask_NT


def bounded(ratios, correction):
    """The rule in NumPy."""
    inside = (ratios >= correction.low) & (ratios <= correction.high)
    weights = {
        "none": ratios,
        "truncate": np.clip(ratios, correction.low, correction.high),
        "mask": np.where(inside, ratios, 0.0),
    }[correction.how]
    return weights / max(weights.mean(), 1e-300) if correction.self_normalise else weights


@every_correction
@few
@given(seed=seeds)
def test_weights_follow_the_rule_and_are_zero_under_the_mask(correction, seed):
    new_NT, behaviour_NT, mask_NT = ragged(seed)
    found = corrected_weights(new_NT, behaviour_NT, mask_NT, correction).weights_NT.numpy()
    mask = mask_NT.numpy()
    logs = np.where(mask, (new_NT - behaviour_NT).numpy(), 0.0)
    if correction.level == "token":
        assert found[mask] == pytest.approx(bounded(np.exp(logs[mask]), correction))
    else:
        of_rows = bounded(np.exp(logs.sum(axis=1)), correction)
        assert found[mask] == pytest.approx(np.broadcast_to(of_rows[:, None], mask.shape)[mask])
    assert (found[~mask] == 0).all()


@every_correction
@few
@given(seed=seeds)
def test_a_rollout_cut_into_rows_keeps_its_weights_and_its_report(correction, seed):
    new_NT, behaviour_NT, mask_NT = ragged(seed)
    whole = corrected_weights(new_NT, behaviour_NT, mask_NT, correction)
    rows = (each.reshape(12, 2) for each in (new_NT, behaviour_NT, mask_NT))
    cut = corrected_weights(*rows, correction, torch.arange(6).repeat_interleave(2))
    assert torch.allclose(cut.weights_NT.reshape(6, 4), whole.weights_NT)
    assert cut.report.effective_sample_size == pytest.approx(whole.report.effective_sample_size)
    assert cut.report.rollouts == whole.report.rollouts == 6


@every_correction
def test_on_the_policys_own_data_all_weights_are_one_and_nothing_is_lost(correction):
    _, behaviour_NT, mask_NT = ragged(0)
    found = corrected_weights(behaviour_NT, behaviour_NT, mask_NT, correction)
    assert torch.equal(found.weights_NT, mask_NT.double())
    report = found.report
    assert (report.relative_effective_sample_size, report.mean_ratio, report.approximate_kl) == (1.0, 1.0, 0.0)
    assert (report.truncated_fraction, report.masked_fraction) == (0.0, 0.0)


def test_the_report_counts_what_was_truncated_or_masked():
    new_N = torch.tensor([0.1, 1.0, 2.0, 4.0]).log()
    options = (new_N, torch.zeros(4), torch.ones(4))
    truncated = corrected_weights(*options, Correction("truncate", low=0.5, high=2.0)).report
    masked = corrected_weights(*options, Correction("mask", low=0.5, high=2.0)).report
    assert (truncated.truncated_fraction, truncated.masked_fraction) == (0.5, 0.0)
    assert (masked.truncated_fraction, masked.masked_fraction) == (0.0, 0.5)
    assert (truncated.largest_weight, masked.largest_weight) == pytest.approx((2.0, 2.0))
    assert truncated.mean_ratio == pytest.approx(7.1 / 4)
    assert masked.effective_sample_size == pytest.approx(9 / 5)
    ratios = np.array([0.1, 1.0, 2.0, 4.0])
    assert truncated.approximate_kl == pytest.approx((ratios - 1 - np.log(ratios)).mean())


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=20), st.floats(0.1, 10.0))
def test_the_effective_sample_size_lies_between_one_and_all_and_ignores_scale(weights, scale):
    weights_R = torch.tensor(weights, dtype=torch.float64)
    size = effective_sample_size(weights_R).item()
    if weights_R.max() < 1e-100:
        return
    assert 1.0 - 1e-9 <= size <= (weights_R > 0).sum() + 1e-9
    assert effective_sample_size(scale * weights_R).item() == pytest.approx(size)


def test_the_effective_sample_size_of_equal_weights_is_their_number():
    assert effective_sample_size(torch.full((7,), 0.3, dtype=torch.float64)).item() == pytest.approx(7.0)
    assert effective_sample_size(torch.zeros(3)).item() == 0.0


def test_the_approximate_kl_is_that_of_the_behaviour_from_the_policy():
    generator = torch.Generator().manual_seed(0)
    behaviour_K, new_K = torch.randn(2, 5, generator=generator, dtype=torch.float64).log_softmax(-1)
    actions_N = torch.multinomial(behaviour_K.exp(), 200_000, replacement=True, generator=generator)
    options = (new_K[actions_N], behaviour_K[actions_N], torch.ones(len(actions_N)))
    exact = (behaviour_K.exp() * (behaviour_K - new_K)).sum().item()
    report = corrected_weights(*options, Correction("none")).report
    assert report.approximate_kl == pytest.approx(exact, rel=0.03)
    assert report.mean_ratio == pytest.approx(1.0, abs=0.02)


def test_weights_carry_no_gradient():
    new_NT, behaviour_NT, mask_NT = ragged(1)
    assert not corrected_weights(new_NT.requires_grad_(), behaviour_NT, mask_NT, Correction()).weights_NT.requires_grad


def test_ratios_beyond_a_hundred_millions_are_cut_so_that_none_is_infinite():
    far_N = log_ratios(torch.tensor([0.0, -500.0]), torch.tensor([-500.0, 0.0]), torch.ones(2))
    assert far_N.tolist() == [20.0, -20.0]


def test_rollouts_without_a_token_count_nowhere():
    new_NT, behaviour_NT, mask_NT = ragged(2)
    mask_NT[3] = False
    kept = torch.arange(6) != 3
    for level in ("token", "rollout"):
        found = corrected_weights(new_NT, behaviour_NT, mask_NT, Correction(level=level))
        without = corrected_weights(new_NT[kept], behaviour_NT[kept], mask_NT[kept], Correction(level=level))
        assert found.report == without.report
        assert torch.equal(found.weights_NT[kept], without.weights_NT)


def test_a_batch_without_a_token_has_an_empty_report():
    found = corrected_weights(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2), Correction())
    assert found.report.rollouts == 0
    assert found.report.relative_effective_sample_size == 0.0


def test_clipped_tokens_are_those_under_the_mask_whose_surrogate_is_flat():
    ratios_NT = torch.tensor([[1.4, 1.4], [0.75, 0.75], [1.4, 0.75], [1.1, 1.4]])
    mask_NT = torch.tensor([[1, 0], [1, 0], [1, 1], [1, 1]])
    advantages_NT = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    found = clip_fractions(ratios_NT.log(), advantages_NT, mask_NT, epsilon_low=0.2, epsilon_high=0.3)
    assert (found.low, found.high, found.either) == pytest.approx((1 / 6, 2 / 6, 3 / 6))
    of_rows = clip_fractions(ratios_NT.log(), advantages_NT[:, 0], mask_NT, epsilon_low=0.3, epsilon_high=0.2)
    assert (of_rows.low, of_rows.high) == pytest.approx((0.0, 2 / 6))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda: Correction(low=2.0, high=1.0), "0 <= low < high must hold for a correction, got 2.0 and 1.0"),
        (lambda: Correction("drop"), "how must be .* got 'drop'"),
        (lambda: Correction(level="row"), "level must be .* got 'row'"),
        (lambda: log_ratios(torch.zeros(2), torch.full((2,), torch.nan), torch.ones(2)), "behaviour_NT .* got 2 NaN"),
        (lambda: log_ratios(torch.zeros(2), torch.full((2,), -torch.inf), torch.ones(2)), "0 NaN and 2 infinite"),
        (
            lambda: require_numbers(torch.ones(2, 3), {"rewards": torch.ones(3)}),
            r"rewards must have the shape \(2, 3\)",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(broken, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        broken()

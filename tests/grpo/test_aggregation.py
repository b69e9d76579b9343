"""Aggregation does not depend on the order of the rows, nor on how they are cut into micro-batches or rollouts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.aggregation import aggregate, count_batch
from grpo.errors import TrainingUsageError

WAYS = ("token_mean", "sequence_mean", "constant", "rollout_mean")

every_way = pytest.mark.parametrize("how", WAYS)
few = settings(max_examples=40)


def ragged(seed, rows=6, columns=4):
    """Losses, mask and rollouts of some rows; a row may have no token."""
    generator = torch.Generator().manual_seed(seed)
    losses_NT = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    mask_NT = torch.rand(rows, columns, generator=generator) > 0.4
    return losses_NT, mask_NT, torch.randint(0, 3, (rows,), generator=generator)


def divisor_of(how):
    return 12.0 if how == "constant" else None


@every_way
@few
@given(seed=st.integers(0, 10**6), cuts=st.sets(st.integers(1, 5)))
def test_losses_of_micro_batches_add_up_to_the_loss_of_the_batch(how, seed, cuts):
    losses_NT, mask_NT, rollouts_N = ragged(seed)
    batch = count_batch(mask_NT, rollouts_N)
    whole = aggregate(losses_NT, mask_NT, how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    parts = [
        aggregate(
            losses_NT[part], mask_NT[part], how, rollouts_N=rollouts_N[part], batch=batch, divisor=divisor_of(how)
        )
        for part in torch.arange(6).tensor_split(sorted(cuts))
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-12)


@every_way
@few
@given(seed=st.integers(0, 10**6), order=st.permutations(range(6)))
def test_the_order_of_rows_does_not_matter(how, seed, order):
    losses_NT, mask_NT, rollouts_N = ragged(seed)
    forth = aggregate(losses_NT, mask_NT, how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    moved = aggregate(losses_NT[order], mask_NT[order], how, rollouts_N=rollouts_N[order], divisor=divisor_of(how))
    assert moved.item() == pytest.approx(forth.item(), abs=1e-12)


@pytest.mark.parametrize("how", ["token_mean", "constant", "rollout_mean"])
@few
@given(seed=st.integers(0, 10**6))
def test_a_rollout_cut_into_rows_has_the_loss_of_the_whole(how, seed):
    losses_NT, mask_NT, _ = ragged(seed)
    whole = aggregate(losses_NT, mask_NT, how, divisor=divisor_of(how))
    rows = (losses_NT.reshape(24, 1), mask_NT.reshape(24, 1))
    cut = aggregate(*rows, how, rollouts_N=torch.arange(6).repeat_interleave(4), divisor=divisor_of(how))
    assert cut.item() == pytest.approx(whole.item(), abs=1e-12)


@few
@given(seed=st.integers(0, 10**6))
def test_under_the_rollout_mean_every_rollout_with_a_token_weighs_the_same(seed):
    _, mask_NT, rollouts_N = ragged(seed)
    losses_NT = torch.zeros(6, 4, dtype=torch.float64)
    present = [rollout for rollout in range(3) if mask_NT[rollouts_N == rollout].any()]
    for rollout in present:
        losses_NT[:] = (rollouts_N == rollout)[:, None]
        loss = aggregate(losses_NT, mask_NT, "rollout_mean", rollouts_N=rollouts_N)
        assert loss.item() == pytest.approx(1.0 / len(present))


@every_way
@few
@given(seed=st.integers(0, 10**6))
def test_what_is_masked_counts_nowhere_and_has_no_gradient(how, seed):
    losses_NT, mask_NT, rollouts_N = ragged(seed)
    strange_NT = losses_NT.masked_fill(~mask_NT, torch.nan).requires_grad_()
    loss = aggregate(strange_NT, mask_NT, how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    loss.backward()
    plain = aggregate(losses_NT, mask_NT, how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    assert loss.item() == plain.item()
    assert (strange_NT.grad[~mask_NT] == 0).all()


def test_each_way_divides_as_its_paper_does():
    losses_NT = torch.tensor([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0], [4.0, 6.0, 0.0]])
    mask_NT = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    rollouts_N = torch.tensor([0, 0, 1])
    found = {
        how: aggregate(losses_NT, mask_NT, how, rollouts_N=rollouts_N, divisor=divisor_of(how)).item() for how in WAYS
    }
    assert found == pytest.approx(
        {
            "token_mean": 26 / 6,
            "sequence_mean": (2 + 10 + 5) / 3,
            "constant": 26 / 12,
            "rollout_mean": (16 / 4 + 10 / 2) / 2,
        }
    )


@every_way
def test_single_decisions_are_rows_of_one(how):
    losses_N, mask_N, rollouts_N = torch.randn(5), torch.tensor([1, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 2])
    single = aggregate(losses_N, mask_N, how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    rows = aggregate(losses_N[:, None], mask_N[:, None], how, rollouts_N=rollouts_N, divisor=divisor_of(how))
    assert single.item() == pytest.approx(rows.item())


@every_way
def test_a_batch_without_a_token_has_no_loss(how):
    assert aggregate(torch.ones(2, 3), torch.zeros(2, 3), how, divisor=divisor_of(how)).item() == 0.0


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda: aggregate(torch.ones(2, 3), torch.ones(2, 2)), r"shape \(2, 2\) of the mask, got \(2, 3\)"),
        (lambda: aggregate(torch.ones(2), torch.ones(2), "constant"), "divisor above 0, got None"),
        (lambda: aggregate(torch.ones(2), torch.ones(2), "constant", divisor=-1.0), "divisor above 0, got -1.0"),
        (lambda: aggregate(torch.ones(2), torch.ones(2), "median"), "how must be one of .*, got 'median'"),
        (lambda: aggregate(torch.ones(1), torch.ones(1), batch=count_batch(torch.ones(2))), "need rollouts_N"),
        (lambda: count_batch(torch.ones(2), torch.zeros(3).long()), "one number a row, got 3 for 2 rows"),
    ],
)
def test_what_breaks_a_rule_is_refused(broken, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        broken()

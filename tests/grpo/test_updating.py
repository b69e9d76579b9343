"""One update: what moves the parameters, and what must not."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tiny_batches import POLICY, TABLE, batch
from tiny_policies import random_policy

from grpo.config import GRPOConfig
from grpo.errors import TrainingFailed, TrainingUsageError
from grpo.tool_network import ToolNetwork
from grpo.updating import Updater

PLAIN = GRPOConfig(warmup=1, learning_rate=0.01, minibatch=1000, epochs=1, clip_norm=1e9)
LOSSES = ("clipped", "gspo", "cispo", "truncated", "reinforce", "positive_only")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def network() -> ToolNetwork:
    return ToolNetwork(POLICY.shape, POLICY.weights)


def after(parts, config=PLAIN, number: int = 10) -> dict[str, np.ndarray]:
    updater = Updater(network(), config)
    updater.update(parts, number)
    return updater.network.to_weights()


def changed(weights) -> float:
    return max(float(abs(array - POLICY.weights[name]).max()) for name, array in weights.items())


def gradients(parts, config=PLAIN) -> dict[str, np.ndarray]:
    updater = Updater(network(), config)
    updater.update(parts, 10)
    return {name: value.grad.numpy().copy() for name, value in updater.network.named_parameters()}


@pytest.mark.parametrize("loss", LOSSES)
def test_where_every_advantage_is_0_nothing_is_learned(loss):
    assert changed(after([batch(loss, advantages=np.zeros(36))])) == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_an_update_makes_good_choices_more_probable_and_bad_ones_less(loss):
    given = batch(loss)
    updater = Updater(network(), replace(PLAIN, learning_rate=1e-4))
    before = updater.network.log_probabilities(TABLE.batch(given.rows_N)).gather(1, given.chosen_N[:, None])[:, 0]
    updater.update([given], 10)
    now = updater.network.log_probabilities(TABLE.batch(given.rows_N)).gather(1, given.chosen_N[:, None])[:, 0]
    kept = given.advantages_N.clamp(min=0.0) if loss == "positive_only" else given.advantages_N
    assert float((kept * (now - before).detach()).sum()) > 0.0


@pytest.mark.parametrize("loss", ["clipped", "reinforce", "truncated"])
def test_two_parts_are_one_batch(loss):
    advantages = np.random.default_rng(0).normal(size=36)
    whole = gradients([batch(loss, advantages=advantages)])
    halves = [batch(loss, range(18), advantages[:18]), batch(loss, range(18, 36), advantages[18:])]
    for name, gradient in gradients(halves).items():
        assert gradient == pytest.approx(whole[name], abs=1e-6), name


def test_the_order_of_the_decisions_does_not_matter():
    given = batch()
    places = torch.from_numpy(np.random.default_rng(1).permutation(36))
    straight, shuffled = gradients([given]), gradients([given.part(places)])
    for name, gradient in shuffled.items():
        assert gradient == pytest.approx(straight[name], abs=1e-6), name


def test_the_first_gradient_of_clipping_is_that_of_reinforce():
    clipped, plain = gradients([batch("clipped")]), gradients([batch("reinforce")])
    for name, gradient in clipped.items():
        assert gradient == pytest.approx(plain[name], abs=1e-5), name


def test_on_policy_the_report_sees_no_distance():
    report = Updater(network(), replace(PLAIN, learning_rate=1e-12)).update([batch()], 10)
    assert report.ess == pytest.approx(1.0, abs=1e-4)
    assert report.kl == pytest.approx(0.0, abs=1e-6)
    assert (report.clip_ratio_low, report.clip_ratio_high, report.reference_kl) == (0.0, 0.0, 0.0)
    assert report.grad_norm > 0.0
    assert report.entropy > 0.0


def test_the_first_updates_are_made_at_a_lower_rate():
    config = replace(PLAIN, warmup=4, learning_rate=0.4)
    rates = [Updater(network(), config).update([batch()], number).learning_rate for number in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_the_gradient_is_clipped_to_its_norm():
    loud = batch(advantages=1e4 * np.random.default_rng(0).normal(size=36))
    updater = Updater(network(), replace(PLAIN, clip_norm=0.5))
    report = updater.update([loud], 10)
    norm = torch.stack([value.grad.norm() for value in updater.network.parameters()]).norm()
    assert report.grad_norm > 10.0
    assert float(norm) == pytest.approx(0.5, rel=1e-3)


def test_a_gradient_that_is_not_finite_ends_training_and_leaves_the_parameters():
    updater = Updater(network(), replace(PLAIN, cloning=1.0))
    with pytest.raises(TrainingFailed, match="update 11 has a gradient of norm"):
        updater.update([replace(batch(), imitate_N=torch.full((36,), float("nan")))], 10)
    assert changed(updater.network.to_weights()) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_advantage_that_is_not_finite_is_refused_and_leaves_the_parameters(bad):
    advantages = np.ones(36)
    advantages[7] = bad
    updater = Updater(network(), PLAIN)
    with pytest.raises(TrainingUsageError, match=r"advantages.* must be finite"):
        updater.update([batch("reinforce", advantages=advantages)], 10)
    assert changed(updater.network.to_weights()) == 0.0


def test_the_reference_pulls_the_policy_back():
    far = random_policy(9)
    reference = ToolNetwork(POLICY.shape, POLICY.weights)
    updater = Updater(ToolNetwork(far.shape, far.weights), replace(PLAIN, kl=1.0), reference=reference)
    still = batch(advantages=np.zeros(36))
    distances = [updater.update([still], 10).reference_kl for _ in range(20)]
    assert distances[-1] < 0.5 * distances[0]


def test_an_entropy_bonus_makes_the_policy_less_sure():
    updater = Updater(network(), replace(PLAIN, entropy=1.0))
    spreads = [updater.update([batch(advantages=np.zeros(36))], 10).entropy for _ in range(10)]
    assert spreads[-1] > spreads[0]


def test_examples_are_followed_where_cloning_counts():
    given = replace(batch(advantages=np.zeros(36)), imitate_N=torch.ones(36))
    assert changed(after([given], PLAIN)) == 0.0
    updater = Updater(network(), replace(PLAIN, cloning=1.0))
    losses = [updater.update([given], 10).loss for _ in range(10)]
    assert losses[-1] < losses[0]


def test_the_same_update_twice_gives_the_same_bits():
    config = replace(PLAIN, minibatch=10, epochs=3)
    first, second = after([batch()], config), after([batch()], config)
    assert all((first[name] == second[name]).all() for name in first)


def test_every_decision_is_in_one_minibatch_of_each_pass():
    updater = Updater(network(), replace(PLAIN, minibatch=7, epochs=2))
    parts = [batch(rows=range(30)), batch(rows=range(30, 36))]
    seen = [torch.cat([part.rows_N for part in piece]) for piece in updater._minibatches(parts, 0)]
    assert sorted(torch.cat(seen).tolist()) == sorted([*range(36)] * 2)
    assert max(map(len, seen)) <= 8


def test_half_precision_learns_what_single_precision_learns():
    half, single = (after([batch()], replace(PLAIN, precision=name)) for name in ("bfloat16", "float32"))
    moved = np.concatenate([(single[name] - POLICY.weights[name]).ravel() for name in single])
    other = np.concatenate([(half[name] - POLICY.weights[name]).ravel() for name in half])
    assert moved @ other / np.linalg.norm(moved) / np.linalg.norm(other) > 0.8


def test_every_number_of_a_report_is_finite():
    report = Updater(network(), replace(PLAIN, minibatch=5)).update([batch()], 3)
    assert all(np.isfinite(value) for value in asdict(report).values())

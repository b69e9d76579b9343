"""Laws that every off-policy estimator must meet, on logs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.ope import EstimatorSpec, LoggedDecisions, estimate

EVERY = tuple(EstimatorSpec(name) for name in ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "dros"))
CLIPPED = (EstimatorSpec("ips", 5.0), EstimatorSpec("dr", 5.0), EstimatorSpec("sndr", 5.0))
UNBIASED = (EstimatorSpec("ips"), EstimatorSpec("dr"))
CONSISTENT = (EstimatorSpec("snips"), EstimatorSpec("sndr"))
FEW = 20

seeds = st.integers(0, 2**32 - 1)


def world(rng: np.random.Generator, decisions: int, candidates: int = 4, *, episode: int = 3, softness: float = 1.0):
    """A log, its target, the true mean rewards of every candidate, and the true value of the target."""
    truth_NK = np.clip(rng.uniform(0.1, 0.9, candidates) + rng.normal(0, 0.05, (decisions, candidates)), 0, 1)
    offered_NK = rng.random((decisions, candidates)) < 0.8
    offered_NK[np.arange(decisions), rng.integers(candidates, size=decisions)] = True
    logging_NK, target_NK = (
        soft(rng.normal(0, softness, candidates) + np.zeros_like(truth_NK), offered_NK) for _ in "ab"
    )
    chosen_N = (logging_NK.cumsum(axis=1) < rng.random(decisions)[:, None]).sum(axis=1)
    rows = np.arange(decisions)
    rewards_N = (rng.random(decisions) < truth_NK[rows, chosen_N]).astype(float)
    logged = LoggedDecisions(rewards_N, logging_NK[rows, chosen_N], chosen_N, offered_NK, rows // episode)
    return logged, logging_NK, target_NK, truth_NK, float((target_NK * truth_NK).sum(axis=1).mean())


def soft(scores_NK: np.ndarray, offered_NK: np.ndarray) -> np.ndarray:
    raised_NK = np.exp(scores_NK) * offered_NK
    return raised_NK / raised_NK.sum(axis=1, keepdims=True)


def values(logged: LoggedDecisions, target_NK, q_NK, specs) -> np.ndarray:
    found = estimate(logged, target_NK, q_NK=q_NK, estimators=specs, resamples=FEW)
    return np.array([one.value for one in found])


@pytest.mark.parametrize("spec", [*UNBIASED, *CONSISTENT], ids=lambda spec: spec.label)
def test_with_exact_propensities_the_mean_over_many_logs_is_the_truth(spec):
    errors = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        logged, _, target_NK, truth_NK, truth = world(rng, 400)
        wrong_NK = np.clip(truth_NK + rng.normal(0.1, 0.2, truth_NK.shape), 0, 1)
        errors.append(values(logged, target_NK, wrong_NK, [spec])[0] - truth)
    small_bias = 0.0 if spec in UNBIASED else 0.002
    assert abs(np.mean(errors)) <= 4 * np.std(errors) / len(errors) ** 0.5 + small_bias


def test_doubly_robust_forgives_wrong_propensities_where_the_model_is_right():
    errors = []
    for seed in range(100):
        logged, _, target_NK, truth_NK, truth = world(np.random.default_rng(seed), 300)
        halved = replace(logged, propensities_N=np.sqrt(logged.propensities_N))
        errors.append(values(halved, target_NK, truth_NK, [EstimatorSpec("dr")])[0] - truth)
    assert abs(np.mean(errors)) <= 4 * np.std(errors) / 10


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_target_that_is_the_logging_policy_earns_the_mean_reward(seed):
    logged, logging_NK, _, _, _ = world(np.random.default_rng(seed), 60)
    specs = [EstimatorSpec("ips"), EstimatorSpec("snips"), EstimatorSpec("ips", 1.0)]
    assert values(logged, logging_NK, None, specs) == pytest.approx(logged.rewards_N.mean())


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-1, 1))
def test_with_a_constant_model_and_the_logging_policy_doubly_robust_is_the_mean_reward(seed, level):
    logged, logging_NK, _, _, _ = world(np.random.default_rng(seed), 60)
    found = values(logged, logging_NK, np.full(logging_NK.shape, level), [EstimatorSpec("dr"), EstimatorSpec("sndr")])
    assert found == pytest.approx(logged.rewards_N.mean())


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_direct_method_is_exact_where_the_model_is_the_truth(seed):
    logged, _, target_NK, truth_NK, truth = world(np.random.default_rng(seed), 60)
    assert values(logged, target_NK, truth_NK, [EstimatorSpec("dm")]) == pytest.approx(truth)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_every_estimator_is_exact_where_rewards_are_what_the_model_says(seed):
    logged, _, target_NK, truth_NK, truth = world(np.random.default_rng(seed), 60)
    noiseless = replace(logged, rewards_N=logged.at_chosen(truth_NK))
    specs = [spec for spec in (*EVERY, *CLIPPED) if spec.is_model_based]
    assert values(noiseless, target_NK, truth_NK, specs) == pytest.approx(truth)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_without_a_model_doubly_robust_is_inverse_propensity(seed):
    logged, _, target_NK, _, _ = world(np.random.default_rng(seed), 60)
    nothing_NK = np.zeros(target_NK.shape)
    robust, weighted = ([EstimatorSpec(name) for name in names] for names in (("dr", "sndr"), ("ips", "snips")))
    assert values(logged, target_NK, nothing_NK, robust) == pytest.approx(values(logged, target_NK, None, weighted))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_limits_lead_from_the_direct_method_to_doubly_robust(seed):
    logged, _, target_NK, truth_NK, _ = world(np.random.default_rng(seed), 60)
    specs = [EstimatorSpec(name, limit) for name in ("switch_dr", "dros") for limit in (0.0, np.inf)]
    direct, robust = values(logged, target_NK, truth_NK, [EstimatorSpec("dm"), EstimatorSpec("dr")])
    assert values(logged, target_NK, truth_NK, specs) == pytest.approx([direct, robust, direct, robust])


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    logged, _, target_NK, truth_NK, _ = world(rng, 60)
    order_N = rng.permutation(len(logged))
    forth = values(logged, target_NK, truth_NK, (*EVERY, *CLIPPED))
    mixed = values(logged.rows(order_N), target_NK[order_N], truth_NK[order_N], (*EVERY, *CLIPPED))
    assert mixed == pytest.approx(forth)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.01, 100))
def test_scaled_rewards_scale_values_errors_and_intervals(seed, scale):
    logged, _, target_NK, truth_NK, _ = world(np.random.default_rng(seed), 60)
    scaled = replace(logged, rewards_N=scale * logged.rewards_N)
    before = estimate(logged, target_NK, q_NK=truth_NK, estimators=EVERY, resamples=FEW)
    after = estimate(scaled, target_NK, q_NK=scale * truth_NK, estimators=EVERY, resamples=FEW)
    for one, other in zip(before, after, strict=True):
        expected = scale * np.array([one.value, one.standard_error, one.low, one.high])
        found = [other.value, other.standard_error, other.low, other.high]
        assert found == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9 * scale)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(-5, 5))
def test_shifted_rewards_shift_what_is_self_normalised_or_modelled(seed, shift):
    logged, _, target_NK, truth_NK, _ = world(np.random.default_rng(seed), 60)
    shifted = replace(logged, rewards_N=logged.rewards_N + shift)
    specs = [spec for spec in EVERY if spec.name != "ips"]
    before = values(logged, target_NK, truth_NK, specs)
    assert values(shifted, target_NK, truth_NK + shift, specs) == pytest.approx(before + shift, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_padding_that_was_never_offered_changes_nothing(seed):
    logged, _, target_NK, truth_NK, _ = world(np.random.default_rng(seed), 60)

    def padded(values_NK: np.ndarray, fill) -> np.ndarray:
        return np.column_stack([values_NK, np.full(len(logged), fill)])

    wide = replace(logged, offered_NK=padded(logged.offered_NK, fill=False))
    forth = values(logged, target_NK, truth_NK, EVERY)
    assert values(wide, padded(target_NK, 0.0), padded(truth_NK, np.nan), EVERY) == pytest.approx(forth)


def covered(logs: int, decisions: int, specs) -> np.ndarray:
    """Share of logs whose 95 % interval holds the truth, for each estimator; the model knows only the tool's mean."""
    hits = np.zeros(len(specs))
    for seed in range(logs):
        rng = np.random.default_rng(seed)
        logged, _, target_NK, truth_NK, _ = world(rng, decisions, softness=0.7)
        model_NK = np.broadcast_to(truth_NK.mean(axis=0) + 0.1, truth_NK.shape)
        expected = float((target_NK * truth_NK).sum(axis=1).mean())
        found = estimate(logged, target_NK, q_NK=model_NK, estimators=specs, resamples=200)
        hits += [one.low <= expected <= one.high for one in found]
    return hits / logs


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    shares = covered(120, 300, (*UNBIASED, *CONSISTENT))
    assert (shares >= 0.88).all()


@pytest.mark.slow
def test_intervals_hold_the_truth_in_ninety_to_ninety_nine_of_a_hundred_logs():
    shares = covered(1000, 1000, (*UNBIASED, *CONSISTENT, EstimatorSpec("switch_dr"), EstimatorSpec("dros")))
    assert ((shares >= 0.90) & (shares <= 0.99)).all()

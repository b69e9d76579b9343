"""The value function: it learns what can be learned, the same way each time, and is stored whole."""

import numpy as np
import pytest
from scipy.special import expit

from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.value_function import ValueFitConfig, ValueFunction, explained_variance


def world(seed: int, count: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 4))
    return features, expit(2.0 * features[:, 0] - features[:, 1]), np.arange(count) // 8


def test_a_value_that_features_decide_is_learned():
    values = ValueFunction(4, 16)
    values.fit(*world(0), ValueFitConfig(learning_rate=1e-2, batch=64))
    features, targets, _ = world(1)
    assert explained_variance(values.predict(features), targets) > 0.95


def test_the_same_seed_gives_the_same_values():
    made = [ValueFunction(4, 8, seed=seed) for seed in (3, 3, 4)]
    for values in made:
        values.fit(*world(0, 100), ValueFitConfig(epochs=3))
    first, again, other = (values.predict(world(1)[0]) for values in made)
    assert (first == again).all()
    assert (first != other).any()


def test_noise_stops_early_and_explains_nothing():
    rng = np.random.default_rng(0)
    features, targets, groups = rng.normal(size=(200, 8)), rng.integers(0, 2, 200).astype(float), np.arange(200)
    values = ValueFunction(8)
    fit = values.fit(features, targets, groups, ValueFitConfig(learning_rate=1e-2, batch=32))
    assert fit.epochs < 100
    fresh = rng.integers(0, 2, 200).astype(float)
    assert explained_variance(values.predict(rng.normal(size=(200, 8))), fresh) < 0.1


def test_one_group_is_learned_from_and_not_held_out():
    fit = ValueFunction(4).fit(*world(0, 8)[:2], np.zeros(8), ValueFitConfig(epochs=2))
    assert fit.epochs == 2
    assert np.isnan(fit.held_out_loss)


def test_what_is_saved_comes_back_equal(tmp_path):
    values = ValueFunction(4, 8, seed=5)
    values.save(tmp_path / "value.safetensors")
    features = world(0)[0]
    assert (ValueFunction.load(tmp_path / "value.safetensors").predict(features) == values.predict(features)).all()


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "value.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointDamaged, match="not whole"):
        ValueFunction.load(tmp_path / "value.safetensors")


def test_a_constant_explains_nothing_and_equal_targets_cannot_be_explained():
    assert explained_variance(np.zeros(2), np.array([0.0, 1.0])) == 0.0
    assert np.isnan(explained_variance(np.zeros(2), np.ones(2)))


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: ValueFunction(0), "dimension and hidden must be above 0"),
        (lambda: ValueFunction(3).fit(*world(0)), r"features must have shape \(N, 3\)"),
        (lambda: ValueFunction(4).predict(np.ones((2, 3))), r"features must have shape \(N, 4\)"),
        (lambda: ValueFunction(1).fit(np.ones((1, 1)), np.full(1, 2.0), np.ones(1)), r"targets lie in \[0, 1\]"),
        (lambda: ValueFitConfig(epochs=0), "epochs must be above 0, got 0"),
        (lambda: ValueFitConfig(held_out=1.0), "held_out must lie"),
    ],
)
def test_what_breaks_a_value_rule_is_refused(call, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        call()

"""The Gaussian process against random search, the border to scikit-optimize, and what stands in where it is missing."""

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.gp_tuner import INITIAL_POINTS, GpTuner, gp_or_random
from selector.tuning import Measurement, RandomTuner, Setting, Tuner, TuningReport, tune

SETTINGS = (Setting("x", -5.0, 10.0), Setting("y", 0.0, 15.0))
MIXED = (Setting("rate", 0.001, 1.0, "log"), Setting("depth", 1, 6, is_integer=True))
START = {"x": 0.0, "y": 10.0}
NOISE = 2.0


def branin(x: float, y: float) -> float:
    """Branin's function less its minimum: 0 at three points."""
    bend = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return bend * bend + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788735772973816


def search(tuner: Tuner, seed: int, trials: int) -> TuningReport:
    noise = np.random.default_rng(1000 + seed)

    def objective(values):
        return Measurement(branin(values["x"], values["y"]) + noise.normal(0, NOISE), NOISE)

    return tune(objective, SETTINGS, tuner, trials, start=START)


def regret(report: TuningReport) -> float:
    return branin(report.best["x"], report.best["y"])


def medians(seeds: int, trials: int) -> tuple[float, float]:
    """Median true regret of the best settings found: Gaussian process, random search."""
    found = [
        (
            regret(search(GpTuner(SETTINGS, np.random.default_rng(seed)), seed, trials)),
            regret(search(RandomTuner(SETTINGS, np.random.default_rng(seed)), seed, trials)),
        )
        for seed in range(seeds)
    ]
    return tuple(np.median(found, axis=0))


def test_a_gaussian_process_finds_more_than_random_search_in_equally_many_noisy_trials():
    by_model, by_luck = medians(seeds=3, trials=14)
    assert by_model < by_luck


@pytest.mark.slow
def test_over_many_seeds_a_gaussian_process_has_half_the_regret_of_random_search():
    by_model, by_luck = medians(seeds=25, trials=30)
    assert by_model < 0.5 * by_luck


def test_the_same_generator_gives_the_same_trials():
    first, second = (search(GpTuner(SETTINGS, np.random.default_rng(3)), 3, 11) for _ in range(2))
    assert first == second


def test_the_first_points_fill_every_eighth_of_each_setting():
    tuner = GpTuner(SETTINGS, np.random.default_rng(1))
    asked = []
    for _ in range(INITIAL_POINTS):
        asked.append(tuner.ask())
        tuner.tell(asked[-1], Measurement(0.0))
    for setting in SETTINGS:
        cells = {int(setting.to_unit(values[setting.name]) * INITIAL_POINTS) for values in asked}
        assert cells == set(range(INITIAL_POINTS))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=9), st.floats(0, 1e6), st.integers(0, 9))
def test_what_is_asked_is_native_and_within_limits_whatever_was_measured(values, error, seed):
    tuner = GpTuner(MIXED, np.random.default_rng(seed))
    for value in values:
        tuner.tell(tuner.ask(), Measurement(value, error))
    asked = tuner.ask()
    assert json.loads(json.dumps(asked)) == asked
    assert (type(asked["rate"]), type(asked["depth"])) == (float, int)
    assert 0.001 <= asked["rate"] <= 1.0
    assert 1 <= asked["depth"] <= 6


def test_equal_measurements_leave_it_searching():
    tuner = GpTuner(MIXED, np.random.default_rng(0))
    for _ in range(10):
        tuner.tell({"rate": 0.1, "depth": 3}, Measurement(1.0))
    assert set(tuner.ask()) == {"rate", "depth"}


def test_a_low_value_is_followed_as_far_as_its_standard_error_lets_it_be_believed():
    asked = []
    for error in (0.0, 1.0):
        tuner = GpTuner((Setting("x", 0.0, 1.0),), np.random.default_rng(2))
        for x in np.linspace(0, 1, 16):
            tuner.tell({"x": float(x)}, Measurement(float((x - 0.8) ** 2), 0.01))
        tuner.tell({"x": 0.2}, Measurement(-0.2, error))
        asked.append(tuner.ask()["x"])
    assert asked[0] == pytest.approx(0.2, abs=0.1)
    assert asked[1] == pytest.approx(0.8, abs=0.1)


def test_where_scikit_optimize_is_missing_random_search_stands_in_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "skopt", None)
    choice = gp_or_random(SETTINGS, np.random.default_rng(0))
    assert isinstance(choice.tuner, RandomTuner)
    assert "scikit-optimize cannot be imported" in choice.reason
    assert len(search(choice.tuner, 0, 12).trials) == 12


def test_with_scikit_optimize_there_is_nothing_to_explain():
    choice = gp_or_random(SETTINGS, np.random.default_rng(0))
    assert isinstance(choice.tuner, GpTuner)
    assert choice.reason == ""


def test_more_settings_than_a_gaussian_process_can_tune_are_searched_at_random_or_refused():
    many = [Setting(f"x{number}", 0.0, 1.0) for number in range(9)]
    choice = gp_or_random(many, np.random.default_rng(0))
    assert isinstance(choice.tuner, RandomTuner)
    assert "9 settings are more than the 8" in choice.reason
    with pytest.raises(SelectorUsageError, match="at most 8 settings, got 9"):
        GpTuner(many, np.random.default_rng(0))


@pytest.mark.parametrize("points", [-1, 0, 1])
def test_too_few_initial_points_are_refused(points):
    with pytest.raises(SelectorUsageError, match=f"initial_points must be 2 or more, got {points}"):
        GpTuner(SETTINGS, np.random.default_rng(0), initial_points=points)


@pytest.mark.parametrize("told", [{"x": 0.0}, {"x": 0.0, "y": 99.0}, {"x": 0.0, "y": 1.0, "z": 0.0}])
def test_settings_of_other_names_or_beyond_limits_are_refused(told):
    with pytest.raises(SelectorUsageError):
        GpTuner(SETTINGS, np.random.default_rng(0)).tell(told, Measurement(0.0))

"""Settings, random search, the loop, and confirmation: laws, and how often luck is taken for a gain."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest, ttest_rel

from selector.errors import SelectorUsageError
from selector.tuning import Measurement, RandomTuner, Setting, Trial, TuningReport, confirm, tune
from selector.tuning_report import best_so_far, plot_convergence

RATE = Setting("rate", 0.001, 10.0, "log")
DEPTH = Setting("depth", 1, 6, is_integer=True)
BOTH = (RATE, DEPTH)
START = {"rate": 1.0, "depth": 3}

values = st.floats(-100, 100)
errors = st.floats(0, 10)
measurements = st.builds(Measurement, values, errors)


@st.composite
def setting(draw) -> Setting:
    scale = draw(st.sampled_from(["linear", "log"]))
    if draw(st.booleans()):
        low = draw(st.integers(1 if scale == "log" else -50, 50))
        return Setting("x", low, low + draw(st.integers(1, 1000)), scale, is_integer=True)
    low = draw(st.floats(1e-3, 10) if scale == "log" else st.floats(-10, 10))
    return Setting("x", low, low + draw(st.floats(0.1, 100)), scale)


class Listed:
    """A tuner that asks for the settings of a list, and keeps what it is told."""

    def __init__(self, asked: list[dict[str, float]]) -> None:
        self.asked, self.told = iter(asked), []

    def ask(self) -> dict[str, float]:
        return next(self.asked)

    def tell(self, settings, measurement) -> None:
        self.told.append((settings, measurement))


@given(setting(), st.floats(0, 1))
def test_a_place_gives_a_value_within_limits_that_gives_the_place_back(setting, place):
    value = setting.from_unit(place)
    assert setting.low <= value <= setting.high
    assert type(value) is (int if setting.is_integer else float)
    assert 0.0 <= setting.to_unit(value) <= 1.0
    again = setting.from_unit(setting.to_unit(value))
    assert again == (value if setting.is_integer else pytest.approx(value, rel=1e-9, abs=1e-9))


@given(setting(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_place_never_gives_a_lower_value(setting, first, second):
    low, high = sorted([first, second])
    assert setting.from_unit(low) <= setting.from_unit(high)


def test_every_whole_number_is_drawn_equally_often():
    tuner = RandomTuner([DEPTH], np.random.default_rng(0))
    counts = np.bincount([tuner.ask()["depth"] for _ in range(6000)], minlength=7)[1:]
    assert (binom.cdf(counts, 6000, 1 / 6) > 1e-4).all()
    assert (binom.sf(counts - 1, 6000, 1 / 6) > 1e-4).all()


def test_random_search_is_even_on_the_scale():
    tuner = RandomTuner([RATE], np.random.default_rng(1))
    places = [math.log10(tuner.ask()["rate"]) / 4 + 0.75 for _ in range(500)]
    assert kstest(places, "uniform").pvalue > 1e-3


def test_the_same_generator_draws_the_same_settings():
    first, second = (RandomTuner(BOTH, np.random.default_rng(5)) for _ in range(2))
    assert [first.ask() for _ in range(5)] == [second.ask() for _ in range(5)]


@given(st.lists(values, min_size=2, max_size=30))
def test_units_are_summed_up_by_mean_and_standard_error(units):
    measurement = Measurement.of_units(units)
    assert measurement.value == pytest.approx(np.mean(units))
    assert measurement.standard_error == pytest.approx(np.std(units, ddof=1) / math.sqrt(len(units)))
    assert measurement.units_N == tuple(units)


@given(st.lists(measurements, min_size=1, max_size=12))
def test_the_best_trial_has_the_lowest_upper_bound_and_the_first_is_the_start(given_measurements):
    asked = [{"rate": 0.5 + number, "depth": 2} for number in range(len(given_measurements) - 1)]
    tuner, remaining, seen = Listed(asked), iter(given_measurements), []
    report = tune(lambda _: next(remaining), BOTH, tuner, len(given_measurements), start=START, on_trial=seen.append)
    assert [trial.settings for trial in report.trials] == [START, *asked]
    assert [trial.measurement for trial in report.trials] == given_measurements
    assert [trial.number for trial in report.trials] == list(range(len(given_measurements)))
    assert tuple(seen) == report.trials
    assert tuner.told == [(trial.settings, trial.measurement) for trial in report.trials]
    assert report.best_measurement.upper == min(measurement.upper for measurement in given_measurements)
    assert (report.start, report.start_measurement) == (START, given_measurements[0])
    assert report.best in [START, *asked]


def test_without_a_start_every_trial_is_asked():
    report = tune(lambda s: Measurement(s["rate"]), BOTH, RandomTuner(BOTH, np.random.default_rng(2)), 5)
    assert (report.start, report.start_measurement, len(report.trials)) == (None, None, 5)
    assert report.best_measurement.value == min(trial.settings["rate"] for trial in report.trials)


def test_of_an_uncertain_and_a_sure_value_the_sure_one_is_best():
    given_measurements = iter([Measurement(0.5, 0.01), Measurement(0.4, 0.2)])
    report = tune(lambda _: next(given_measurements), BOTH, Listed([{"rate": 2.0, "depth": 1}]), 2, start=START)
    assert report.best == START


def test_random_search_comes_near_the_minimum_of_a_bowl():
    report = tune(
        lambda s: Measurement(math.log(s["rate"]) ** 2 + (s["depth"] - 4) ** 2),
        BOTH,
        RandomTuner(BOTH, np.random.default_rng(3)),
        200,
    )
    assert report.best["depth"] == 4
    assert 0.5 < report.best["rate"] < 2.0


def test_a_report_is_plain_json():
    report = tune(
        lambda s: Measurement.of_units([s["rate"], 0.0]),
        BOTH,
        RandomTuner(BOTH, np.random.default_rng(4)),
        3,
        start=START,
    )
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["best"] == report.best
    assert stored["start_measurement"]["units_N"] == [1.0, 0.0]
    assert [trial["settings"] for trial in stored["trials"]] == [trial.settings for trial in report.trials]


def report_of(best: dict[str, float]) -> TuningReport:
    trials = (Trial(0, START, Measurement(1.0)), Trial(1, best, Measurement(0.0)))
    return TuningReport(trials, best, Measurement(0.0), START, Measurement(1.0))


def slice_of(before: Measurement, after: Measurement):
    return lambda settings: before if settings == START else after


BEST = {"rate": 0.1, "depth": 2}


@given(st.lists(st.tuples(values, values), min_size=2, max_size=20))
def test_equal_units_are_compared_in_pairs_as_scipys_test_does(pairs):
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    found = confirm(slice_of(Measurement.of_units(before), Measurement.of_units(after)), report_of(BEST))
    assert found.difference == pytest.approx(np.mean(after) - np.mean(before), abs=1e-9)
    if found.standard_error < 1e-6:
        return  # SciPy gives nan where no pair differs from another
    p_value = ttest_rel(after, before, alternative="less").pvalue
    if abs(p_value - 0.05) > 1e-6:
        assert found.is_confirmed == (p_value < 0.05)


@given(measurements, measurements)
def test_without_units_the_standard_errors_add_in_squares(before, after):
    found = confirm(slice_of(before, after), report_of(BEST))
    assert found.difference == pytest.approx(after.value - before.value)
    assert found.standard_error == pytest.approx(math.hypot(before.standard_error, after.standard_error))
    assert found.is_confirmed == (found.difference + 1.6448536269514722 * found.standard_error < 0)
    assert json.loads(json.dumps(found.to_json()))["is_confirmed"] == found.is_confirmed


def test_pairs_confirm_what_separate_means_cannot():
    units = np.linspace(0, 100, 20)
    before, after = Measurement.of_units(units), Measurement.of_units(units - 1 - 0.1 * np.sin(units))
    assert confirm(slice_of(before, after), report_of(BEST)).is_confirmed
    separate = (Measurement(each.value, each.standard_error) for each in (before, after))
    assert not confirm(slice_of(*separate), report_of(BEST)).is_confirmed


def test_luck_is_rarely_confirmed():
    rng, confirmed = np.random.default_rng(12), 0

    def luck(_):
        return Measurement.of_units(rng.normal(0, 1, 15))

    for _ in range(100):
        report = tune(luck, BOTH, RandomTuner(BOTH, rng), 10, start=START)
        confirmed += confirm(luck, report).is_confirmed
    assert binom.sf(confirmed - 1, 100, 0.05) > 0.01


def test_a_start_that_nothing_beat_needs_no_second_measurement():
    found = confirm(lambda _: Measurement(0.3, 0.1), report_of(START))
    assert (found.difference, found.is_confirmed, found.reason) == (0.0, False, "no trial beat the start settings")
    assert found.before == found.after


def test_the_best_so_far_follows_the_lowest_upper_bound():
    given_measurements = [
        Measurement(3.0),
        Measurement(2.0, 2.0),
        Measurement(2.5),
        Measurement(2.6),
        Measurement(1.0, 1.0),
    ]
    trials = tuple(Trial(number, START, each) for number, each in enumerate(given_measurements))
    assert best_so_far(TuningReport(trials, START, given_measurements[4])).tolist() == [3.0, 3.0, 2.5, 2.5, 1.0]


def test_a_figure_shows_tuners_side_by_side(tmp_path):
    reports = {
        name: tune(
            lambda s: Measurement(s["rate"], 0.1), BOTH, RandomTuner(BOTH, np.random.default_rng(seed)), 6, start=START
        )
        for seed, name in enumerate(["first tuner", "second tuner"])
    }
    plot_convergence(reports, tmp_path / "figure.svg", objective="mean error")
    plot_convergence(reports, tmp_path / "figure.png")
    drawn = (tmp_path / "figure.svg").read_text()
    assert all(text in drawn for text in ["first tuner, best so far", "second tuner, best so far", "mean error"])
    assert "start settings" in drawn
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: Setting("x", 1.0, 1.0), "finite low < high"),
        (lambda: Setting("x", 0.0, math.inf), "finite low < high"),
        (lambda: Setting("x", 0.0, 1.0, "cubic"), "must be linear or log, got 'cubic'"),
        (lambda: Setting("x", 0.0, 1.0, "log"), "low above 0, got 0.0"),
        (lambda: Setting("x", 0.5, 3, is_integer=True), "whole limits, got 0.5 and 3"),
        (lambda: RATE.to_unit(11.0), r"'rate' must lie in \[0.001, 10.0\], got 11.0"),
        (lambda: RATE.to_unit(math.nan), "got nan"),
        (lambda: Measurement(math.nan), "must be finite, got nan"),
        (lambda: Measurement(0.0, -1.0), "standard_error must be 0 or more, got -1.0"),
        (lambda: Measurement(0.0, 0.0, (math.inf,)), "must be finite"),
        (lambda: Measurement.of_units([1.0]), "2 units or more, got 1"),
        (lambda: RandomTuner([], np.random.default_rng()), "one or more of different names"),
        (lambda: RandomTuner([RATE, RATE], np.random.default_rng()), "one or more of different names"),
        (lambda: RandomTuner([RATE], np.random.default_rng()).tell(START, Measurement(0.0)), r"must be \['rate'\]"),
        (lambda: tune(lambda _: Measurement(0.0), BOTH, Listed([]), 0), "trials must be 1 or more, got 0"),
        (lambda: tune(lambda _: Measurement(0.0), BOTH, Listed([]), 1, start={"rate": 1.0}), "name each of them once"),
        (lambda: confirm(lambda _: Measurement(0.0), TuningReport((), START, Measurement(0.0))), "got start None"),
        (
            lambda: confirm(lambda _: Measurement(0.0), report_of(BEST), confidence=0.0),
            r"confidence must lie in \(0, 1\)",
        ),
        (lambda: plot_convergence({}, None), "at least one report"),
    ],
)
def test_what_breaks_a_rule_of_tuning_is_refused(call, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        call()

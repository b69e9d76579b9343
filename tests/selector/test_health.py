"""Tool health: what breaks is seen, what recovers is found again, and books of equal events are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from selector.errors import SelectorUsageError
from selector.health import HealthBook, HealthConfig

CONFIG = HealthConfig()
events = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([True, False, None]), st.integers(0, 10_000).map(float)),
    max_size=60,
)


def replayed(config, found):
    book = HealthBook(config)
    for tool, failed, at in sorted(found, key=lambda event: event[2]):
        book.observe(tool, failed, at)
    return book


def book_after(outcomes, tool="a"):
    return replayed(CONFIG, [(tool, failed, float(at)) for at, failed in enumerate(outcomes)])


def test_a_tool_never_called_has_the_health_of_the_prior():
    assert HealthBook(CONFIG).health(["a", "b"], 0.0) == pytest.approx([0.95, 0.95])
    assert HealthBook(CONFIG).health([], 0.0).shape == (0,)


def test_unknown_outcomes_count_as_nothing():
    assert book_after([None] * 20).records() == ()


def test_a_tool_that_breaks_is_unwell_within_ten_calls_and_the_alarm_says_so():
    book = book_after([False] * 200)
    alarms = [book.observe("a", failed=True, now=200.0 + call) for call in range(10)]
    assert [alarm.direction for alarm in alarms if alarm] == ["worse"]
    assert next(call for call, alarm in enumerate(alarms) if alarm) < 5
    assert book.health(["a"], 210.0)[0] < 0.45


def test_without_calls_the_clock_brings_a_broken_tool_back_to_the_prior():
    book = book_after([True] * 30)
    over_time = [book.health(["a"], 30.0 + 3600.0 * hours)[0] for hours in range(20)]
    assert over_time == sorted(over_time)
    assert over_time[-1] == pytest.approx(0.95, abs=1e-3)


def test_a_tool_that_recovers_is_well_again_probe_by_probe():
    book = book_after([False] * 100 + [True] * 50)
    over_time = []
    for call in range(15):
        book.observe("a", failed=False, now=150.0 + call)
        over_time.append(book.health(["a"], 150.0 + call)[0])
    assert over_time == sorted(over_time)
    assert over_time[-1] > 0.8


@settings(max_examples=50)
@given(events, st.floats(0, 1e9))
def test_a_book_comes_back_equal_from_its_records(found, now):
    book = replayed(CONFIG, found)
    again = HealthBook(CONFIG, book.records())
    assert again.records() == book.records()
    assert again.health("abcd", now).tolist() == book.health("abcd", now).tolist()


@settings(max_examples=50)
@given(events, st.floats(0, 1e9))
def test_health_lies_above_nought_and_evidence_never_below_the_prior(found, now):
    book = replayed(CONFIG, found)
    health = book.health("abcd", now)
    assert ((health > 0) & (health <= 1)).all()
    assert all(record.failures >= 0 and record.successes >= 0 for record in book.records())


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_health_is_that_of_scipys_beta_of_calls_forgotten_one_by_one(outcomes):
    config = HealthConfig(alarm_evidence=1e9, half_life_seconds=1e12)
    book = replayed(config, [("a", failed, 0.0) for failed in sorted(outcomes)])
    weights = 0.5 ** (np.arange(len(outcomes))[::-1] / config.half_life_calls)
    failed = np.array(sorted(outcomes))
    expected = beta(3.8 + weights[~failed].sum(), 0.2 + weights[failed].sum())
    assert book.health(["a"], 0.0)[0] == pytest.approx(expected.mean())
    assert book.deviations(["a"], 0.0)[0] == pytest.approx(expected.std())


def test_many_tools_keep_their_own_health():
    book = HealthBook(CONFIG)
    for number in range(100):
        book.observe(f"t{number}", failed=number % 2 == 0, now=0.0)
    health = book.health([f"t{number}" for number in range(100)], 0.0)
    assert (health[::2] < health[1::2].min()).all()


def test_settings_that_break_a_rule_are_refused():
    with pytest.raises(SelectorUsageError, match="half_life_calls must be above 0"):
        HealthConfig(half_life_calls=0.0)
    with pytest.raises(SelectorUsageError, match="prior_failure must lie in"):
        HealthConfig(prior_failure=1.0)

"""Tool health: what breaks is seen, what recovers is found again, and books of equal events are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from selector.errors import SelectorUsageError
from selector.health import HealthBook, HealthConfig, Probe, next_probe

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


@pytest.mark.parametrize("earlier", [0, 10, 200])
def test_a_tool_that_breaks_is_called_broken_within_five_calls_and_says_why(earlier):
    book = book_after([False] * earlier)
    alarms = [book.observe("a", failed=True, now=earlier + call) for call in range(5)]
    reasons = book.broken(["b", "a"], earlier + 4.0)
    assert list(reasons) == ["a"]
    assert "failures in its newest" in reasons["a"]
    assert reasons["a"].startswith(f"not working now: health {book.health(['a'], earlier + 4.0)[0]:.2f} after")
    assert earlier == 0 or [alarm.direction for alarm in alarms if alarm] == ["worse"]


def test_where_all_is_well_nothing_is_broken():
    assert book_after([False] * 50).broken(["a", "b"], 50.0) == {}
    assert HealthBook(CONFIG).broken([], 0.0) == {}


def test_a_single_failure_breaks_nothing():
    assert book_after([True]).broken(["a"], 0.0) == {}
    assert book_after([False] * 100 + [True]).broken(["a"], 101.0) == {}


def test_without_calls_the_clock_brings_a_broken_tool_back_to_the_prior():
    book = book_after([True] * 30)
    over_time = [book.estimates(["a"], 30.0 + 3600.0 * hours)[0] for hours in range(40)]
    assert over_time == sorted(over_time)
    assert over_time[-1] == pytest.approx(0.95, abs=1e-3)


def broken_book():
    """A book whose tool "a" broke at call 100, one second a call."""
    return book_after([False] * 100 + [True] * 5)


def call_others(book, calls, now, pace=1.0):
    for number in range(calls):
        book.observe("b", failed=False, now=now + pace * number)
    return now + pace * calls


def test_a_broken_tool_is_probed_only_once_both_its_calls_and_its_seconds_are_over():
    by_clock, by_calls, by_both = broken_book(), broken_book(), broken_book()
    call_others(by_calls, 40, 105.0, pace=0.0)
    later = call_others(by_both, 40, 105.0)
    assert by_clock.broken(["a"], 165.0)
    assert by_calls.broken(["a"], 105.0)
    assert not by_both.broken(["a"], later)
    assert by_both.health(["a"], later) == pytest.approx([0.95])
    assert by_both.estimates(["a"], later)[0] < 0.5


def test_a_tool_that_stays_broken_is_probed_ever_more_rarely_up_to_the_longest_interval():
    book, now, gaps, waited = broken_book(), 105.0, [], 0
    for _ in range(400):
        if book.broken(["a"], now):
            book.observe("b", failed=False, now=now)
            waited += 1
        else:
            book.observe("a", failed=True, now=now)
            gaps, waited = [*gaps, waited], 0
        now += 1.0
    assert gaps[1:] == sorted(gaps[1:])
    assert gaps[-1] == max(CONFIG.longest_probe_calls, CONFIG.longest_probe_seconds)


def test_the_first_probe_that_succeeds_lets_a_tool_be_used_until_it_fails_again():
    book = broken_book()
    now = call_others(book, 40, 105.0)
    for _ in range(3):
        book.observe("a", failed=False, now=now)
        assert not book.broken(["a"], now)
        assert book.health(["a"], now) == pytest.approx([0.95])
    book.observe("a", failed=True, now=now)
    assert book.health(["a"], now)[0] < 0.7


def test_a_tool_that_recovers_is_no_longer_suspect_and_an_alarm_says_so():
    book = book_after([False] * 100 + [True] * 20)
    alarms = [book.observe("a", failed=False, now=150.0 + call) for call in range(15)]
    assert [alarm.direction for alarm in alarms if alarm] == ["better"]
    assert not book.records()[0].probe.is_suspect
    assert book.estimates(["a"], 165.0)[0] > 0.8


@given(st.floats(0, 1e6), st.integers(0, 10**6), st.integers(1, 12))
def test_probes_wait_as_the_schedule_written_out_says(now, call, failures):
    probe = Probe(0, now, call)
    for _ in range(failures):
        probe = next_probe(probe, CONFIG, failed=True, now=now, call=call)
    assert probe.at == now + min(CONFIG.probe_seconds * 2**failures, CONFIG.longest_probe_seconds)
    assert probe.call == call + min(CONFIG.probe_calls * 2**failures, CONFIG.longest_probe_calls)
    for _ in range(CONFIG.most_doublings):
        probe = next_probe(probe, CONFIG, failed=False, now=now, call=call)
        assert (probe.at, probe.call) == (now, call)
    assert probe.doublings == 0


def test_a_tool_that_always_failed_a_third_of_its_calls_is_never_called_broken():
    rng = np.random.default_rng(0)
    book = book_after((rng.random(600) < 0.3).tolist())
    assert book.broken(["a"], 600.0) == {}


@settings(max_examples=50)
@given(events, st.floats(0, 1e9))
def test_a_book_comes_back_equal_from_its_records(found, now):
    book = replayed(CONFIG, found)
    again = HealthBook(CONFIG, book.records())
    assert again.records() == book.records()
    assert again.health("abcd", now).tolist() == book.health("abcd", now).tolist()
    assert again.broken("abcd", now) == book.broken("abcd", now)


@settings(max_examples=30)
@given(events, events)
def test_a_book_made_of_records_goes_on_as_the_first_one(before, after):
    book = replayed(CONFIG, before)
    again = HealthBook(CONFIG, book.records())
    for tool, failed, at in after:
        assert book.observe(tool, failed, at) == again.observe(tool, failed, at)
    assert again.records() == book.records()


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
    expected = beta(1.9 + weights[~failed].sum(), 0.1 + weights[failed].sum())
    assert book.estimates(["a"], 0.0)[0] == pytest.approx(expected.mean())


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
    with pytest.raises(SelectorUsageError, match=r"broken_below must lie in \(0, 1\), got 1.5"):
        HealthConfig(broken_below=1.5)
    with pytest.raises(SelectorUsageError, match="probe_calls must be at most longest_probe_calls, got 99"):
        HealthConfig(probe_calls=99.0)

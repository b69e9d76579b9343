"""Pruned pairs: judged on credible bounds, probed with back-off, reopened, restored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from selector.errors import SelectorUsageError
from selector.prune_book import PruneBook, PruneConfig, judge, low_value

CONFIG = PruneConfig()
NAMES = ("good", "bad", "new")


def verdicts(bad_calls=60.0, bad_successes=1.0):
    return judge(
        np.array([[58.0, bad_successes, 0.0]]), np.array([[60.0, bad_calls, 2.0]]), np.full((1, 3), 0.5), NAMES, CONFIG
    )


def closed_book():
    book = PruneBook(CONFIG)
    book.apply(verdicts(), 0.0)
    return book


def test_a_credibly_worse_tool_is_judged_with_its_rival_and_reason():
    (verdict,) = verdicts()
    assert (verdict.tool, verdict.rival, verdict.counts) == ("bad", "good", 60.0)
    assert "success at most" in verdict.reason
    assert verdict.upper == pytest.approx(beta(2.0, 60.0).ppf(1 - 0.01 / 2))


@pytest.mark.parametrize("calls", [0.0, 1.0, 9.9])
def test_too_little_evidence_never_prunes(calls):
    assert verdicts(calls, 0.0) == ()


@given(st.floats(0, 100), st.floats(0, 100))
def test_equal_tools_are_never_pruned_by_each_other(successes, failures):
    counts = np.full((1, 2), successes + failures)
    config = PruneConfig(floor=0.0)
    assert judge(np.full((1, 2), successes), counts, np.full((1, 2), 0.5), ("a", "b"), config) == ()


def test_a_tool_as_good_as_its_rival_is_rarely_pruned():
    rng = np.random.default_rng(0)
    wins = rng.binomial(20, 0.5, (1000, 6)).astype(float)
    pruned = judge(wins, np.full((1000, 6), 20.0), np.full((1000, 6), 0.5), tuple("abcdef"), PruneConfig(share=0.99))
    assert len({verdict.cluster for verdict in pruned}) <= 50


def test_a_quarantined_tool_is_left_out_until_its_back_off_is_over():
    book = closed_book()
    assert list(book.pruned(0, NAMES, CONFIG.first_seconds - 1.0)) == ["bad"]
    assert book.pruned(1, NAMES, 1.0) == {}
    assert book.pruned(0, NAMES, CONFIG.first_seconds) == {}


def test_a_book_comes_back_equal_from_its_records():
    book = closed_book()
    again = PruneBook(CONFIG, book.records())
    assert again.records() == book.records()
    assert again.pruned(0, NAMES, 1.0) == book.pruned(0, NAMES, 1.0)


def test_back_off_doubles_with_new_evidence_only_up_to_the_longest():
    book, waits = closed_book(), []
    for calls in range(61, 69):
        now = book.records()[0].until
        assert not book.apply(verdicts(calls - 1.0), now)
        book.apply(verdicts(float(calls)), now)
        waits.append((book.records()[0].until - now) / CONFIG.first_seconds)
    assert waits[:3] == [2.0, 4.0, 8.0]
    assert waits[-1] == CONFIG.longest_seconds / CONFIG.first_seconds


def test_a_reopened_tool_is_free_until_there_is_new_evidence():
    book = closed_book()
    assert len(book.reopen("bad", 1.0)) == 1
    assert not book.apply(verdicts(), 2.0)
    assert book.pruned(0, NAMES, 2.0) == {}


def test_a_restored_pair_stays_so_until_there_is_half_as_much_evidence_again():
    book = closed_book()
    book.restore(0, "bad", 1.0)
    assert not book.apply(verdicts(89.0), 2.0)
    assert book.pruned(0, NAMES, 2.0) == {}
    assert book.apply(verdicts(90.0), 3.0)
    assert list(book.pruned(0, NAMES, 4.0)) == ["bad"]


def test_low_value_paths_leave_the_follow_set():
    mask = low_value(np.array([290.0, 1.0, 0.0]), np.array([300.0, 60.0, 2.0]), CONFIG)
    assert mask.tolist() == [False, True, False]


def test_what_breaks_a_rule_is_refused():
    with pytest.raises(SelectorUsageError, match="is not pruned"):
        PruneBook(CONFIG).restore(0, "a", 0.0)
    with pytest.raises(SelectorUsageError, match="doubt"):
        PruneConfig(doubt=0.0)

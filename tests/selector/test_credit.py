"""Credit: laws of mixing a step's own outcome with how its trajectory ended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.credit import credit

shares = st.floats(0.0, 1.0)
known_or_not = st.one_of(st.just(np.nan), shares)


@given(known_or_not, known_or_not, st.integers(0, 200), st.booleans(), shares, shares)
def test_what_is_credited_lies_between_nothing_and_its_weight(final, immediate, left, wasted, trace, weight):
    found = credit([final], [immediate], [left], [wasted], trace=trace, immediate_weight=weight)
    assert 0.0 <= found.successes_N[0] <= found.weights_N[0] + 1e-12
    assert found.weights_N[0] <= 1.0 + 1e-12


def test_without_any_word_there_is_no_weight():
    assert credit([np.nan], [np.nan], [0], [False]).weights_N.tolist() == [0.0]


@given(shares, st.integers(0, 50))
def test_a_final_reward_counts_less_the_further_away_it_is(final, left):
    near, far = credit([final] * 2, [np.nan] * 2, [left, left + 1], [False] * 2).weights_N
    assert far < near


@given(shares, shares, shares)
def test_the_credited_mean_is_the_mixture_of_both_words_at_the_last_step(final, immediate, weight):
    found = credit([final], [immediate], [0], [False], immediate_weight=weight)
    assert found.weights_N[0] == pytest.approx(1.0)
    assert found.successes_N[0] == pytest.approx(weight * immediate + (1 - weight) * final)


def test_a_wasted_step_gets_none_of_a_success():
    found = credit([1.0], [np.nan], [0], [True])
    assert (found.successes_N[0], found.weights_N[0]) == (0.0, 1.0)


def test_an_unjudged_trajectory_leaves_only_the_immediate_word():
    found = credit([np.nan], [0.0], [3], [False], immediate_weight=0.5)
    assert (found.successes_N[0], found.weights_N[0]) == (0.0, 0.5)

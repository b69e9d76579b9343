"""CUSUM: few false alarms, short delays."""

import numpy as np
import pytest

from selector.change import Cusum, better_rate, bounded, worse_rate


def calls_until_alarm(outcomes, usual, changed, threshold):
    state = Cusum()
    for place, failed in enumerate(outcomes):
        state = state.observe(failed=failed, usual=usual, changed=changed)
        if state.has_alarm(threshold):
            return place + 1
    return len(outcomes)


@pytest.mark.parametrize("usual", [0.05, 0.2, 0.5])
def test_false_alarms_come_later_than_lordens_bound(usual):
    streams = np.random.default_rng(0).random((200, 600)) < usual
    delays = [calls_until_alarm(stream.tolist(), usual, worse_rate(usual), 4.0) for stream in streams]
    assert np.mean(delays) >= np.exp(4.0)


@pytest.mark.parametrize("usual", [0.0, 0.05, 0.2])
def test_a_tool_that_always_fails_is_noticed_when_its_likelihood_ratio_says(usual):
    before, after = bounded(usual), worse_rate(usual)
    assert calls_until_alarm([True] * 30, before, after, 7.0) == np.ceil(7.0 / np.log(after / before))


def test_a_tool_that_recovers_is_noticed_within_five_calls():
    assert calls_until_alarm([False] * 30, bounded(1.0), better_rate(1.0), 7.0) <= 5


@pytest.mark.parametrize("usual", [0.0, 0.3, 1.0])
def test_rates_looked_for_lie_on_their_side_of_the_usual_one(usual):
    assert 0.0 < better_rate(usual) < bounded(usual) < worse_rate(usual) < 1.0

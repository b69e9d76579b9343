"""Counting many sequences at once is counting them one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.order import OrderModel
from trajstore.sorted_counts import START

STEPS = st.lists(st.tuples(st.integers(START, 3), st.integers(0, 2), st.sampled_from([0.0, 0.25, 1.0])), max_size=6)
LOGS = st.lists(STEPS, min_size=1, max_size=5)


def counted_at_once(logs: list[list[tuple[int, int, float]]], depth: int) -> OrderModel:
    model, steps = OrderModel(depth), [step for log in logs for step in log]
    tokens, tools, weights = (np.array([step[at] for step in steps]) for at in range(3))
    model.add_all(tokens, tools, weights, np.cumsum([len(log) for log in logs]))
    return model


@given(LOGS.filter(any), st.integers(1, 3), STEPS)
def test_what_is_counted_at_once_is_what_is_counted_one_by_one(logs, depth, later):
    model, reference = counted_at_once(logs, depth), OrderModel(depth)
    for log in logs:
        reference.add(*(tuple(step[at] for step in log) for at in range(3)))
    for one in (model, reference):
        one.add(*(tuple(step[at] for step in later) for at in range(3)))
    for length in range(depth + 2):
        for suffix in product(range(START, 5), repeat=length):
            found, expected = (one.followers(suffix) for one in (model, reference))
            assert found.numbers.tolist() == expected.numbers.tolist()
            assert found.weights.tolist() == pytest.approx(expected.weights.tolist())
            assert model.support(suffix) == pytest.approx(reference.support(suffix))
            np.testing.assert_allclose(model.predict(suffix, 3), reference.predict(suffix, 3))


def test_a_model_that_has_counted_takes_no_more_at_once():
    model = counted_at_once([[(0, 0, 1.0)]], 2)
    with pytest.raises(ValueError, match="without counts"):
        model.add_all(np.zeros(1, int), np.zeros(1, int), np.ones(1), np.ones(1, int))

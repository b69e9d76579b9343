"""The order model against Witten-Bell written out by brute force, and its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.order import START, OrderModel, step_token

TOOLS = 4
DEPTH = 3
Counted = tuple[list[tuple[int, bool]], float]

calls = st.tuples(st.integers(0, TOOLS - 1), st.booleans())
passes = st.tuples(st.lists(calls, max_size=6), st.sampled_from([0.0, 0.3, 1.0]))
logs = st.lists(passes, max_size=6)
histories = st.lists(calls.map(lambda call: step_token(call[0], failed=call[1])), max_size=6)


def model_of(counted: list[Counted]) -> OrderModel:
    model = OrderModel(DEPTH)
    for steps, weight in counted:
        tokens = [step_token(tool, failed=failed) for tool, failed in steps]
        model.add(tokens, [tool for tool, _ in steps], [weight] * len(steps))
    return model


def followers_of(suffix: tuple[int, ...], counted: list[Counted]) -> dict[int, float]:
    """What followed a suffix, found by reading every trajectory from its start."""
    found: dict[int, float] = {}
    for steps, weight in counted:
        padded = [START, *(step_token(tool, failed=failed) for tool, failed in steps)]
        for at, (tool, _) in enumerate(steps):
            before = tuple(padded[: at + 1])
            if weight > 0 and len(before) >= len(suffix) and before[len(before) - len(suffix) :] == suffix:
                found[tool] = found.get(tool, 0.0) + weight
    return found


def witten_bell(history: list[int], counted: list[Counted]) -> np.ndarray:
    """p_k = (c_k + u_k p_{k-1}) / (n_k + u_k), from the empty suffix to the longest that was ever seen."""
    predicted = np.full(TOOLS, 1.0 / TOOLS)
    padded = (START, *history)
    for length in range(min(DEPTH, len(padded)) + 1):
        followers = followers_of(padded[len(padded) - length :], counted)
        if not followers:
            return predicted
        counts = np.array([followers.get(tool, 0.0) for tool in range(TOOLS)])
        predicted = (counts + len(followers) * predicted) / (counts.sum() + len(followers))
    return predicted


@given(logs, histories)
def test_a_prediction_is_that_of_witten_and_bell(counted, history):
    assert model_of(counted).predict(history, TOOLS) == pytest.approx(witten_bell(history, counted), abs=1e-9)


@given(logs, histories)
def test_a_prediction_is_a_distribution(counted, history):
    predicted = model_of(counted).predict(history, TOOLS)
    assert predicted.shape == (TOOLS,)
    assert predicted.sum() == pytest.approx(1.0)
    assert (predicted >= 0).all()


@given(logs, logs, histories)
def test_leaving_counts_out_is_never_having_counted_them(others, own, history):
    everything, without_own = model_of(others + own), model_of(others)
    predicted = everything.predict(history, TOOLS, without=model_of(own))
    assert predicted == pytest.approx(without_own.predict(history, TOOLS), abs=1e-9)


@given(logs, histories)
def test_the_order_in_which_trajectories_are_added_does_not_matter(counted, history):
    forth, back = model_of(counted), model_of(counted[::-1])
    assert forth.predict(history, TOOLS) == pytest.approx(back.predict(history, TOOLS), abs=1e-12)


@given(logs, histories)
def test_support_is_the_weight_of_the_longest_suffix_seen(counted, history):
    padded = (START, *history)
    totals = [
        sum(followers_of(padded[len(padded) - length :], counted).values())
        for length in range(min(DEPTH, len(padded)) + 1)
    ]
    expected = next((total for total in reversed(totals) if total > 0), 0.0)
    assert model_of(counted).support(history) == pytest.approx(expected)


@given(logs, logs, calls)
def test_followers_are_what_came_after_the_suffix_less_what_is_left_out(others, own, call):
    suffix = (step_token(call[0], failed=call[1]),)
    found = model_of(others + own).followers(suffix, without=model_of(own))
    expected = followers_of(suffix, others)
    assert found.numbers.tolist() == sorted(expected)
    asked = np.array([-1, *range(TOOLS)])
    assert found.weight_of(asked) == pytest.approx([expected.get(number, 0.0) for number in asked.tolist()])


def test_nothing_is_known_at_first():
    assert OrderModel().predict([], 5).tolist() == [0.2] * 5
    assert OrderModel().support([1, 2]) == 0.0


def test_a_step_that_failed_is_another_step():
    model = OrderModel()
    fine, failed = step_token(0, failed=False), step_token(0, failed=True)
    for _ in range(5):
        model.add([fine, step_token(1, failed=False)], [0, 1], [1.0, 1.0])
        model.add([failed, step_token(2, failed=False)], [0, 2], [1.0, 1.0])
    assert np.argmax(model.predict([fine], 3)) == 1
    assert np.argmax(model.predict([failed], 3)) == 2


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.booleans(), st.booleans())
def test_different_steps_have_different_tokens(first, second, first_failed, second_failed):
    same = step_token(first, failed=first_failed) == step_token(second, failed=second_failed)
    assert same == ((first, first_failed) == (second, second_failed))


@given(logs, logs, histories)
def test_what_was_predicted_before_more_came_in_does_not_linger(first, later, history):
    model = model_of(first)
    model.predict(history, TOOLS)
    for steps, weight in later:
        tokens = [step_token(tool, failed=failed) for tool, failed in steps]
        model.add(tokens, [tool for tool, _ in steps], [weight] * len(steps))
    assert model.predict(history, TOOLS).tolist() == model_of([*first, *later]).predict(history, TOOLS).tolist()

"""Following stored paths: one for each sequence of tools, believed as far as its record and this moment warrant."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from selector.follow import CENTRE, MOST_PATHS, Nearby, PathModel, Records, find_paths, fit_paths, unfitted_paths


def nearby(*rows: tuple[float, int, int, float]) -> Nearby:
    """Rows of (weight, template, place, health)."""
    weights, templates, places, health = (np.array(column) for column in zip(*rows, strict=True))
    return Nearby(np.arange(len(rows)), weights.astype(float), templates, places, health.astype(float))


RECORDS = Records(np.array([9.0, 1.0, 5.0, 0.0]), np.array([10.0, 10.0, 5.0, 0.0]), np.zeros(4, bool))


def test_copies_of_a_path_count_as_one_and_the_nearest_stands_for_them():
    paths = find_paths(nearby((0.5, 0, 1, 0.0), (0.9, 0, 0, 0.0), (0.7, 1, 1, 0.0)), RECORDS)
    assert paths.rows.tolist() == [1, 2]
    assert paths.places.tolist() == [0, 1]
    assert paths.attempts.tolist() == [10.0, 10.0]


def test_what_is_not_offered_or_no_example_cannot_be_followed():
    assert len(find_paths(nearby((0.9, 0, -1, 0.0), (0.0, 1, 0, 0.0)), RECORDS)) == 0


def test_a_path_that_credibly_fails_is_not_followed():
    low = Records(RECORDS.wins, RECORDS.attempts, np.array([False, True, False, False]))
    assert find_paths(nearby((0.5, 0, 1, 0.0), (0.9, 1, 0, 0.0)), low).places.tolist() == [1]


def test_at_most_a_few_paths_are_followed():
    rows = [(0.5, template, 0, 0.0) for template in range(4)] * 3
    many = Records(np.ones(20), np.ones(20), np.zeros(20, bool))
    assert len(find_paths(nearby(*[(0.5, template, 0, 0.0) for template in range(20)]), many)) == MOST_PATHS
    assert len(find_paths(nearby(*rows), RECORDS)) == 4


def probability(*rows: tuple[float, int, int, float]) -> float:
    return float(unfitted_paths().posterior(find_paths(nearby(*rows), RECORDS), np.array([0.5, 0.5])).mean[0])


def test_a_better_record_a_nearer_moment_healthier_tools_and_agreement_each_speak_for_a_path():
    plain = probability((0.5, 0, 0, -0.1), (0.1, 2, 1, 0.0))
    assert probability((0.5, 1, 0, -0.1), (0.1, 2, 1, 0.0)) < plain
    assert probability((0.9, 0, 0, -0.1), (0.18, 2, 1, 0.0)) > plain
    assert probability((0.5, 0, 0, -3.0), (0.1, 2, 1, 0.0)) < plain
    assert probability((0.5, 0, 0, -0.1), (0.1, 2, 0, 0.0)) > plain


def test_a_path_is_believed_less_where_the_choice_among_tools_gives_its_action_little():
    paths = find_paths(nearby((0.5, 0, 0, 0.0), (0.4, 2, 1, 0.0)), RECORDS)
    agreed, doubted = (unfitted_paths().posterior(paths, np.array([p, 1 - p])).mean[0] for p in (0.8, 0.1))
    assert agreed > 0.5 > doubted


def test_a_path_with_more_attempts_is_believed_more_surely():
    paths = find_paths(nearby((0.5, 0, 0, 0.0), (0.5, 3, 1, 0.0)), RECORDS)
    posterior = unfitted_paths().posterior(paths, np.array([0.5, 0.5]))
    assert posterior.weight[0] > posterior.weight[1]


def test_without_examples_the_calibration_is_what_is_believed_before():
    assert fit_paths(np.zeros((0, 5)), np.zeros(0, bool)).weights.tolist() == CENTRE.tolist()


def test_calibrated_probabilities_are_those_that_made_the_data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 5))
    truth = PathModel(np.array([0.5, 0.8, 0.4, 0.6, 1.2, 0.9]))
    right = rng.random(20_000) < truth.probabilities(features)
    fitted = fit_paths(features, right)
    asked = rng.normal(size=(500, 5))
    # The ridge toward the prior belief is mild: calibration is within two points on average.
    assert np.abs(fitted.probabilities(asked) - truth.probabilities(asked)).mean() < 0.02


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_evidence_never_speaks_against_itself(right, seed):
    features = np.random.default_rng(seed).normal(size=(len(right), 5))
    assert (fit_paths(features, np.array(right)).weights[1:] >= 0.0).all()

"""The choice on two levels: its probabilities are how often it comes out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.choice import Arms, Guidance, Normal, choose
from selector.follow import Paths
from selector.posteriors import BetaPosterior

NO_PATHS = Paths(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
NOTHING = BetaPosterior(np.zeros(0), np.zeros(0))


def beta(*means: float, weight: float = 8.0) -> BetaPosterior:
    values = np.array(means)
    return BetaPosterior(values * weight, (1.0 - values) * weight)


def paths_to(*places: int) -> Paths:
    rows = np.arange(len(places))
    return Paths(rows, np.array(places), np.zeros((len(places), 4)), np.ones(len(places)))


def arms(*means: float, allowed: tuple[int, ...] | None = None, guidance: Guidance | None = None) -> Arms:
    mask = np.array([allowed is None or place in allowed for place in range(len(means))])
    return Arms(beta(*means), mask, NO_PATHS, NOTHING, guidance)


def following(*means: float, to: tuple[int, ...], right: tuple[float, ...]) -> Arms:
    return Arms(beta(*means), np.ones(len(means), bool), paths_to(*to), beta(*right), None)


DOUBTFUL = Guidance(Normal(0.5, 0.1), Normal(0.55, 0.1))
CASES = {
    "tools alone": arms(0.5, 0.4, 0.1),
    "one is pruned": arms(0.5, 0.4, 0.1, allowed=(1, 2)),
    "with a path": following(0.4, 0.35, 0.25, to=(1,), right=(0.5,)),
    "with paths that disagree": following(0.4, 0.35, 0.25, to=(1, 2, 1), right=(0.5, 0.45, 0.3)),
    "where guidance is doubted": arms(0.6, 0.4, guidance=DOUBTFUL),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("exploration", [0.0, 0.2])
def test_each_outcome_comes_out_as_often_as_its_probability_says(name, exploration):
    given_arms, count = CASES[name], 4000
    rng = np.random.default_rng(0)
    choices = [choose(given_arms, rng, sharpening=2.0, exploration=exploration) for _ in range(count)]
    assert {tuple(one.probabilities) for one in choices} == {tuple(choices[0].probabilities)}
    expected = [*choices[0].probabilities.tolist(), choices[0].defer]
    seen = Counter(len(expected) - 1 if one.place is None else one.place for one in choices)
    assert sum(expected) == pytest.approx(1.0)
    for place, probability in enumerate(expected):
        error = np.sqrt(probability * (1 - probability) / count)
        assert abs(seen[place] / count - probability) < 4 * error + 1e-9
    for one in choices[:50]:
        assert one.propensity == pytest.approx(expected[-1] if one.place is None else expected[one.place])


def test_what_is_pruned_has_no_probability_and_no_path_leads_there():
    case = following(0.5, 0.3, 0.2, to=(0, 1), right=(0.9, 0.2))
    pruned = Arms(case.candidates, np.array([False, True, True]), case.paths, case.path_posterior)
    rng = np.random.default_rng(1)
    for _ in range(50):
        choice = choose(pruned, rng, exploration=0.5)
        assert choice.place != 0
        assert choice.probabilities[0] == 0.0


def test_a_path_that_is_surely_right_is_followed_and_one_that_is_surely_wrong_is_not():
    rng = np.random.default_rng(2)
    sure, wrong = (following(0.5, 0.5, to=(1,), right=(value,)) for value in (0.999, 0.001))
    assert [choose(sure, rng, sharpening=50.0).path for _ in range(20)] == [0] * 20
    assert [choose(wrong, rng, sharpening=50.0).path for _ in range(20)] == [None] * 20


def test_where_unaided_episodes_earn_more_the_agent_is_left_alone():
    rng = np.random.default_rng(3)
    better_alone = arms(0.9, 0.1, guidance=Guidance(Normal(0.2, 0.02), Normal(0.8, 0.02)))
    better_guided = arms(0.9, 0.1, guidance=Guidance(Normal(0.8, 0.02), Normal(0.2, 0.02)))
    assert choose(better_alone, rng).place is None
    assert choose(better_guided, rng).defer < 1e-9


@given(st.integers(0, 2**31), st.sampled_from(sorted(CASES)))
def test_the_same_seed_makes_the_same_choice(seed, name):
    first, second = (choose(CASES[name], np.random.default_rng(seed), exploration=0.1) for _ in range(2))
    assert (first.place, first.path) == (second.place, second.path)

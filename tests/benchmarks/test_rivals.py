"""Every rival obeys the benchmarks' protocol, and the real data become rounds as their module says."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
TOOLS, DIMENSION = 5, 6


@pytest.fixture(scope="module")
def rivals():
    """The benchmarks are scripts that find each other in their own folder."""
    sys.path.insert(0, BENCHMARKS)
    try:
        import rivals as module

        yield module
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def bandits(rivals):
    import logged_bandits as module

    return module


NAMES = (
    "random",
    "epsilon-greedy",
    "mabwiser",
    "contextualbandits",
    "vw-squarecb",
    "vw-bag",
    "bayesianbandits",
    "bayesianbandits-hybrid",
    "gittins",
    "paretobandit",
)


@pytest.fixture(params=NAMES)
def factory(request, rivals):
    absent = rivals.missing()
    if request.param in absent:
        pytest.skip(f"{request.param} cannot be imported: {absent[request.param]}")
    return rivals.RIVALS[request.param]


def unit_states(count: int) -> np.ndarray:
    states = np.random.default_rng(0).normal(size=(count, DIMENSION))
    return (states / np.linalg.norm(states, axis=1, keepdims=True)).astype(np.float32)


def choices(factory, seed: int, repeats: int = 1) -> list[int]:
    """Thirty decisions, rewards three decisions late, each report made `repeats` times, the last tool offered late."""
    policy, rng, chosen = factory(DIMENSION, TOOLS, seed), np.random.default_rng(1), []
    for decision, state in enumerate(unit_states(30)):
        present = TOOLS if decision >= 15 else TOOLS - 1
        offered = np.sort(rng.choice(present, 3, replace=False))
        chosen.append(policy.choose(decision, state, offered))
        assert chosen[-1] in offered
        for _ in range(repeats if decision >= 3 else 0):
            policy.report(decision - 3, float(chosen[decision - 3] == 1))
    return chosen


def test_every_rival_is_tried_here(rivals):
    assert set(NAMES) == set(rivals.RIVALS)


def test_a_rival_chooses_only_what_is_offered_though_rewards_come_late_and_tools_appear(factory):
    assert len(choices(factory, 3)) == 30


def test_a_second_report_changes_nothing(factory):
    assert choices(factory, 3, repeats=2) == choices(factory, 3)


def test_a_report_of_an_unknown_decision_is_harmless(factory):
    policy = factory(DIMENSION, TOOLS, 0)
    policy.report(77, 1.0)
    assert policy.choose(0, unit_states(1)[0], np.array([2, 4])) in (2, 4)


def test_a_rival_that_learns_comes_to_prefer_a_tool_that_always_wins(factory, rivals):
    if factory is rivals.RIVALS["random"]:
        pytest.skip("choosing by chance learns nothing")
    policy, offered, wins = factory(DIMENSION, TOOLS, 5), np.arange(TOOLS), []
    for decision, state in enumerate(unit_states(400)):
        tool = policy.choose(decision, state, offered)
        wins.append(tool == 2)
        policy.report(decision, float(tool == 2))
    assert np.mean(wins[-100:]) > 0.6


def test_the_cheapest_settings_of_vowpal_wabbit_are_taken(rivals):
    costs = iter([3.0, 1.0, 2.0])
    grid = [rivals.VwSettings(gamma_scale=scale) for scale in (1.0, 2.0, 3.0)]
    assert rivals.tuned_vw(lambda _: next(costs), grid).gamma_scale == 2.0


def test_an_orthonormal_projection_keeps_lengths_on_average(rivals):
    from rival_learners import Features

    features = Features(384, 0)
    states = np.random.default_rng(2).normal(size=(500, 384)).astype(np.float32)
    squares = [np.sum(features.of(state / np.linalg.norm(state))[1:] ** 2) for state in states]
    assert np.mean(squares) == pytest.approx(1.0, abs=0.05)


def test_the_oracle_is_above_every_play_and_the_rewards_are_those_of_the_rounds(rivals, bandits):
    from logged_sets import Rounds

    rng = np.random.default_rng(4)
    offered = rng.random((60, TOOLS)) < 0.6
    offered[:, 0] = True
    means = rng.random((60, TOOLS))
    rounds = Rounds(unit_states(60), offered, means, means, scale=2.0, offset=-1.0)
    known = bandits.baselines(rounds)
    played = rounds.value(bandits.replay(rivals.RIVALS["random"](DIMENSION, TOOLS, 0), rounds))
    assert -1.0 <= played <= known["oracle"]
    assert known["best fixed"] <= known["oracle"]


def test_an_interval_of_seeds_is_that_of_student(bandits):
    from scipy.stats import ttest_1samp

    values = np.array([0.2, 0.5, 0.4, 0.9])
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert bandits.interval(values) == pytest.approx((0.5, expected.low, expected.high))


def test_a_state_that_one_tool_was_called_in_is_left_out_and_returns_are_those_of_its_own_visits(rivals, tmp_path):
    import gzip
    import json

    from logged_sets import intercode

    def attempt(*steps):
        rows = [{"tool": tool, "observation": seen, "reward": reward} for tool, seen, reward in steps]
        return json.dumps({"domain": "shell", "group": "g", "task": "count files", "steps": rows})

    path = tmp_path / "logs.jsonl.gz"
    lines = [attempt(("ls", "a b", 0.0), ("wc", "2", 1.0)), attempt(("find", "a", 0.5))]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    rounds = intercode(path, "shell", 10, 0)
    assert rounds.offered_NK.tolist() == [[True, True], [True, True]]
    assert rounds.means_NK.tolist() == [[0.5, 0.9], [0.5, 0.9]]
    assert rounds.logging_N == pytest.approx([0.7, 0.7])


def test_digits_reward_exactly_one_tool_of_each_image(rivals):
    from logged_sets import digits

    rounds = digits(100, 0)
    assert rounds.rewards_NK.sum(axis=1).tolist() == [1.0] * 100
    assert np.linalg.norm(rounds.states_ND, axis=1) == pytest.approx(1.0, abs=1e-5)

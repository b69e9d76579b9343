"""Replay by rejection: unbiased for policies that learn, exact for those that do not, and what is refused."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from selector.errors import SelectorUsageError
from selector.ope import LoggedDecisions
from selector.replay import replay

CHANCES = np.array([0.2, 0.5, 0.8])


@dataclass
class Fixed:
    """Never learns, but remembers what it was taught."""

    shares: np.ndarray
    lessons: list = field(default_factory=list)

    def probabilities(self, context_D, offered_K):
        return self.shares

    def learn(self, context_D, place, reward):
        self.lessons.append((place, reward))


@dataclass
class Greedy:
    """Mostly the candidate of the best mean so far, starting from two imagined rewards of a half each."""

    hits: np.ndarray = field(default_factory=lambda: np.ones(3))
    tries: np.ndarray = field(default_factory=lambda: np.full(3, 2.0))

    def probabilities(self, context_D, offered_K):
        shares = np.full(3, 0.1)
        shares[np.argmax(self.hits / self.tries)] += 0.7
        return shares

    def learn(self, context_D, place, reward):
        self.hits[place] += reward
        self.tries[place] += 1


def logged_by(shares: np.ndarray, decisions: int, seed: int) -> LoggedDecisions:
    rng = np.random.default_rng(seed)
    chosen_N = rng.choice(len(shares), decisions, p=shares)
    rewards_N = (rng.random(decisions) < CHANCES[chosen_N]).astype(float)
    return LoggedDecisions(
        rewards_N, shares[chosen_N], chosen_N, np.ones((decisions, len(shares)), bool), np.arange(decisions)
    )


def played_live(decisions: int, seed: int) -> float:
    rng, policy, earned = np.random.default_rng(seed), Greedy(), []
    for _ in range(decisions):
        place = int(rng.choice(3, p=policy.probabilities(None, None)))
        earned.append(float(rng.random() < CHANCES[place]))
        policy.learn(None, place, earned[-1])
    return float(np.mean(earned))


NOTHING = np.zeros((900, 1))


def test_over_a_uniform_log_a_fixed_choice_accepts_exactly_its_own_decisions():
    logged = logged_by(np.full(3, 1 / 3), 900, 0)
    found = replay(Fixed(np.array([0.0, 0.0, 1.0])), logged, NOTHING, np.random.default_rng(1))
    own_N = logged.chosen_N == 2
    assert (found.accepted, found.decisions, found.cut) == (own_N.sum(), 900, 0)
    assert found.value == pytest.approx(logged.rewards_N[own_N].mean())


def test_a_policy_learns_from_what_it_accepts_alone():
    logged, policy = logged_by(np.full(3, 1 / 3), 900, 0), Fixed(np.array([0.0, 1.0, 0.0]))
    replay(policy, logged, NOTHING, np.random.default_rng(1))
    assert policy.lessons == [(1, reward) for reward in logged.rewards_N[logged.chosen_N == 1]]


@pytest.mark.parametrize("shares", [np.full(3, 1 / 3), np.array([0.5, 0.3, 0.2])], ids=["uniform", "leaning"])
def test_a_policy_that_learns_earns_in_replay_what_it_earns_live(shares):
    horizon, replayed = 60, []
    for seed in range(50):
        rng = np.random.default_rng((1, seed))
        policy, logged = Stopping(Greedy(), horizon), logged_by(shares, 600, seed)
        replay(policy, logged, NOTHING[:600], rng)
        replayed.append(np.mean(policy.earned))
    live = [played_live(horizon, seed) for seed in range(300)]
    error = np.hypot(np.std(replayed) / len(replayed) ** 0.5, np.std(live) / len(live) ** 0.5)
    assert abs(np.mean(replayed) - np.mean(live)) <= 4 * error


@dataclass
class Stopping:
    """Keeps the first rewards of a policy and lets it rest afterwards."""

    policy: Greedy
    horizon: int
    earned: list = field(default_factory=list)

    def probabilities(self, context_D, offered_K):
        return self.policy.probabilities(context_D, offered_K)

    def learn(self, context_D, place, reward):
        if len(self.earned) < self.horizon:
            self.earned.append(reward)
            self.policy.learn(context_D, place, reward)


def test_over_a_leaning_log_a_fixed_policy_is_judged_without_bias():
    shares, errors = np.array([0.1, 0.2, 0.7]), []
    for seed in range(150):
        logged = logged_by(np.array([0.5, 0.3, 0.2]), 300, seed)
        found = replay(Fixed(shares), logged, NOTHING[:300], np.random.default_rng((1, seed)))
        assert found.cut == 0
        errors.append(found.value - shares @ CHANCES)
    assert abs(np.mean(errors)) <= 4 * np.std(errors) / len(errors) ** 0.5


def test_a_larger_scale_accepts_more_and_counts_what_it_cuts():
    logged, policy = logged_by(np.array([0.5, 0.3, 0.2]), 900, 3), Fixed(np.array([0.0, 0.0, 1.0]))
    small = replay(policy, logged, NOTHING, np.random.default_rng(0), scale=0.05)
    exact = replay(policy, logged, NOTHING, np.random.default_rng(0), scale=0.2)
    large = replay(policy, logged, NOTHING, np.random.default_rng(0), scale=0.9)
    assert small.accepted < exact.accepted == large.accepted
    assert (small.cut, exact.cut, large.cut) == (0, 0, exact.accepted)


def test_the_standard_error_is_that_of_the_accepted_rewards():
    logged = logged_by(np.full(3, 1 / 3), 900, 0)
    found = replay(Fixed(np.array([1.0, 0.0, 0.0])), logged, NOTHING, np.random.default_rng(1))
    rewards = logged.rewards_N[logged.chosen_N == 0]
    assert found.standard_error == pytest.approx(np.std(rewards, ddof=1) / len(rewards) ** 0.5)


def test_where_nothing_is_accepted_the_error_is_infinite():
    logged = logged_by(np.array([0.5, 0.5, 0.0]), 50, 0)
    found = replay(Fixed(np.array([0.0, 0.0, 1.0])), logged, NOTHING[:50], np.random.default_rng(1))
    assert (found.value, found.standard_error, found.accepted) == (0.0, np.inf, 0)


@pytest.mark.parametrize(
    ("shares", "rule"),
    [
        (np.array([0.5, 0.5]), "must give 3 probabilities"),
        (np.array([0.5, 0.6, 0.0]), "sum to 1"),
        (np.array([-0.5, 1.5, 0.0]), "sum to 1"),
        (np.array([0.0, 0.5, 0.5]), "probability 0 to what is not offered"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused(shares, rule):
    logged = logged_by(np.array([0.5, 0.5, 0.0]), 50, 0)
    shut = replace(logged, offered_NK=np.tile([True, True, False], (50, 1)))
    with pytest.raises(SelectorUsageError, match=rule):
        replay(Fixed(shares), shut, NOTHING[:50], np.random.default_rng(1))


def test_contexts_and_scale_must_fit():
    logged, policy = logged_by(np.full(3, 1 / 3), 50, 0), Fixed(np.full(3, 1 / 3))
    with pytest.raises(SelectorUsageError, match="50 rows, got 900"):
        replay(policy, logged, NOTHING, np.random.default_rng(1))
    with pytest.raises(SelectorUsageError, match=r"scale must lie in \(0, 1\], got 2"):
        replay(policy, logged, NOTHING[:50], np.random.default_rng(1), scale=2.0)

"""The guard: who is guided, what is shown, and laws of the ledger and of the comparison, proved by simulation."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from selector.errors import SelectorUsageError
from selector.guard import (
    MODES,
    ArmRewards,
    ConservativeLedger,
    Guard,
    assign,
    difference_interval,
    log_evidence,
    narrow,
    non_inferiority,
    shown,
)
from trajstore.schema import Candidate

OPEN, SHUT, LOOK = Candidate("open"), Candidate("shut", {"what": "door"}), Candidate("look")
OFFERED = (OPEN, SHUT, LOOK)


@st.composite
def arms(draw) -> ArmRewards:
    episodes = draw(st.integers(0, 5000))
    return ArmRewards(episodes, episodes * draw(st.floats(0, 1)))


def simulate(rng, mean_guided: float, mean_held_out: float, fraction: float, looks: int) -> tuple[bool, int]:
    """Whether, looking after every episode, a guide was ever called inferior, and after how many episodes."""
    is_held_out = rng.random(looks) < fraction
    is_success = rng.random(looks) < np.where(is_held_out, mean_held_out, mean_guided)
    counts = np.cumsum([~is_held_out, is_held_out], axis=1)
    sums = np.cumsum([~is_held_out & is_success, is_held_out & is_success], axis=1)
    for look in range(looks):
        guided, held_out = (ArmRewards(int(n), float(s)) for n, s in zip(counts[:, look], sums[:, look], strict=True))
        if guided.mean is None or held_out.mean is None or guided.mean >= held_out.mean:
            continue  # the interval contains the difference found, so that it cannot lie below 0
        if non_inferiority(guided, held_out, margin=0.05).verdict == "inferior":
            return True, look + 1
    return False, looks


@given(st.text(min_size=1), st.floats(0, 1, exclude_max=True), st.text())
def test_an_episode_always_falls_into_the_same_arm_with_the_propensity_of_that_arm(episode_id, fraction, salt):
    assignment = assign(episode_id, fraction, salt)
    assert assign(episode_id, fraction, salt) == assignment
    assert assignment.propensity == (fraction if assignment.arm == "held_out" else 1 - fraction)
    assert assignment.propensity > 0


def test_another_process_assigns_alike():
    ids = [f"episode-{number}" for number in range(50)]
    program = (
        "from selector.guard import assign\n"
        "print(''.join(assign(f'episode-{n}', 0.4, 'a').arm[0] for n in range(50)), end='')"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert there == "".join(assign(episode_id, 0.4, "a").arm[0] for episode_id in ids)
    assert {"g", "h"} == set(there)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 0.9])
def test_the_fraction_asked_is_held_out(fraction):
    held_out = sum(assign(f"episode-{number}", fraction, "salt").arm == "held_out" for number in range(5000))
    assert binom.cdf(held_out, 5000, fraction) > 1e-4
    assert binom.sf(held_out - 1, 5000, fraction) > 1e-4


@given(st.text(min_size=1), st.floats(0, 0.99), st.floats(0, 0.99))
def test_whoever_is_held_out_stays_held_out_when_the_fraction_grows(episode_id, first, second):
    small, large = sorted([first, second])
    if assign(episode_id, small).arm == "held_out":
        assert assign(episode_id, large).arm == "held_out"


def test_another_salt_draws_an_independent_split():
    first = np.array([assign(f"e{number}", 0.5, "a").arm == "guided" for number in range(4000)])
    second = np.array([assign(f"e{number}", 0.5, "b").arm == "guided" for number in range(4000)])
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(4000)


def test_a_salt_does_not_run_into_the_id():
    splits = {tuple(assign(f"{head}{n}", 0.5, salt).arm for n in range(64)) for salt, head in [("a", "b"), ("ab", "")]}
    assert len(splits) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_held_out_episode_sees_nothing_in_any_mode(mode):
    seen = shown(mode, "held_out", OFFERED, [SHUT], OPEN)
    assert (seen.candidates, seen.suggestion, seen.is_forced) == (OFFERED, None, False)


@pytest.mark.parametrize(
    ("mode", "candidates", "suggestion", "is_forced"),
    [
        ("shadow", OFFERED, None, False),
        ("suggest", OFFERED, OPEN, False),
        ("narrow", (OPEN, LOOK), None, False),
        ("force", (OPEN,), OPEN, True),
    ],
)
def test_each_mode_shows_a_guided_episode_its_own(mode, candidates, suggestion, is_forced):
    seen = shown(mode, "guided", OFFERED, [SHUT], OPEN)
    assert (seen.candidates, seen.suggestion, seen.is_forced) == (candidates, suggestion, is_forced)


@pytest.mark.parametrize("mode", ["shadow", "suggest", "force"])
def test_an_abstention_leaves_the_agent_free(mode):
    seen = shown(mode, "guided", OFFERED, [SHUT], None)
    assert (seen.candidates, seen.suggestion, seen.is_forced) == (OFFERED, None, False)


def test_narrowing_never_leaves_an_agent_without_candidates():
    assert narrow(OFFERED, OFFERED) == OFFERED
    assert narrow(OFFERED, [OPEN, SHUT]) == (LOOK,)


@given(arms(), st.floats(0.01, 0.99))
def test_the_evidence_is_the_mixture_of_likelihood_ratios(arm, mean):
    if arm.episodes > 60:
        arm = ArmRewards(arm.episodes % 60, arm.total * (arm.episodes % 60) / arm.episodes)
    # the midpoint rule in the angle, where Beta(1/2, 1/2) is even
    angles = (np.arange(4000) + 0.5) * (math.pi / 2) / 4000
    p = np.sin(angles) ** 2
    log_ratios = arm.total * np.log(p / mean) + (arm.episodes - arm.total) * np.log((1 - p) / (1 - mean))
    assert log_evidence(arm, mean) == pytest.approx(math.log(np.exp(log_ratios).mean()), abs=1e-3)


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 0.5, 1.0), (0.2, 0.3), (0.5, 0.5)])
def test_evidence_against_the_true_mean_is_at_most_one_in_expectation(values):
    rng = np.random.default_rng(4)
    totals = rng.choice(values, (20_000, 8)).sum(axis=1)
    evidence = [math.exp(log_evidence(ArmRewards(8, float(total)), float(np.mean(values)))) for total in totals]
    assert np.mean(evidence) <= 1 + 4 * np.std(evidence) / math.sqrt(len(evidence))


@settings(max_examples=40, deadline=None)
@given(arms(), arms(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_the_range_of_differences_that_a_grid_finds(guided, held_out, confidence):
    low, high = difference_interval(guided, held_out, confidence=confidence)
    grid = np.sin(np.linspace(0, math.pi / 2, 401)) ** 2  # densest at 0 and 1, where the evidence is steepest
    against_G = np.array([log_evidence(guided, mean) for mean in grid])
    against_H = np.array([log_evidence(held_out, mean) for mean in grid])
    differences = (grid[:, None] - grid)[against_G[:, None] + against_H < -math.log(1 - confidence)]
    if len(differences):  # a set narrower than the grid may fall between its points
        assert low <= differences.min() + 1e-9
        assert high >= differences.max() - 1e-9
    if len(differences) > 50:
        assert low >= differences.min() - 0.02
        assert high <= differences.max() + 0.02


@given(arms(), arms())
def test_the_interval_contains_the_difference_found_and_turns_with_the_arms(first, second):
    low, high = difference_interval(first, second, confidence=0.95)
    assert -1 <= low < high <= 1
    if first.mean is not None and second.mean is not None:
        assert low <= first.mean - second.mean <= high
    assert difference_interval(second, first, confidence=0.95) == pytest.approx((-high, -low))


def test_without_episodes_nothing_is_known():
    comparison = non_inferiority(ArmRewards(), ArmRewards())
    assert (comparison.difference, comparison.low, comparison.high) == (None, -1.0, 1.0)
    assert comparison.verdict == "not enough"
    assert "0 guided and 0 held-out episodes" in comparison.reason


def test_ten_times_the_episodes_narrow_the_interval_about_threefold():
    widths = [
        np.diff(difference_interval(ArmRewards(n, 0.6 * n), ArmRewards(n, 0.6 * n), confidence=0.95))[0]
        for n in (1_000, 10_000)
    ]
    assert 2.5 < widths[0] / widths[1] < 3.3


@pytest.mark.parametrize(
    ("guided", "held_out", "verdict"),
    [
        (ArmRewards(5000, 4000.0), ArmRewards(5000, 4000.0), "not inferior"),
        (ArmRewards(500, 200.0), ArmRewards(100, 80.0), "inferior"),
        (ArmRewards(10, 6.0), ArmRewards(10, 6.0), "not enough"),
        (ArmRewards(200_000, 118_000.0), ArmRewards(200_000, 120_000.0), "not inferior"),
    ],
)
def test_a_verdict_follows_from_margin_and_interval(guided, held_out, verdict):
    assert non_inferiority(guided, held_out, margin=0.05).verdict == verdict


def test_an_equal_guide_is_rarely_called_inferior_at_any_of_many_looks():
    rng = np.random.default_rng(7)
    alarms = sum(simulate(rng, 0.6, 0.6, 0.3, 150)[0] for _ in range(40))
    assert binom.sf(alarms - 1, 40, 0.05) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.1, 0.5, 0.9])
def test_an_equal_guide_is_rarely_called_inferior_at_any_of_a_thousand_looks(mean):
    rng = np.random.default_rng(8)
    alarms = sum(simulate(rng, mean, mean, 0.3, 1000)[0] for _ in range(200))
    assert alarms / 200 <= 0.05


def test_a_guide_that_is_a_fifth_worse_is_caught_within_a_thousand_episodes():
    rng = np.random.default_rng(9)
    caught = [simulate(rng, 0.4, 0.6, 0.5, 1000) for _ in range(5)]
    assert all(is_caught for is_caught, _ in caught)
    assert np.median([episodes for _, episodes in caught]) < 600


@pytest.mark.parametrize(("true_first", "true_second"), [(0.3, 0.8), (0.5, 0.5)])
def test_the_interval_holds_at_all_looks_together_for_rewards_between_zero_and_one(true_first, true_second):
    rng = np.random.default_rng(11)
    misses = 0
    for _ in range(40):
        first = np.cumsum(rng.beta(2 * true_first, 2 * (1 - true_first), 200))
        second = np.cumsum(rng.beta(2 * true_second, 2 * (1 - true_second), 200))
        looks = [
            difference_interval(ArmRewards(n, first[n - 1]), ArmRewards(n, second[n - 1]), confidence=0.9)
            for n in range(1, 201, 8)
        ]
        misses += not all(low <= true_first - true_second <= high for low, high in looks)
    assert binom.sf(misses - 1, 40, 0.1) > 0.01


def test_a_guard_falls_back_to_shadow_for_good_and_says_why():
    guard = Guard(mode="force", fraction=0.5)
    for _ in range(60):
        guard = guard.record("guided", 0.0).record("held_out", 1.0)
    assert guard.effective_mode == "shadow"
    assert "guidance is worse than none" in guard.fallback
    first_reason = guard.fallback
    for _ in range(500):
        guard = guard.record("guided", 1.0).record("held_out", 0.0)
    assert (guard.effective_mode, guard.fallback) == ("shadow", first_reason)


def test_a_resumed_guard_starts_afresh():
    guard = Guard(mode="suggest", fallback="it was bad").record_all(["guided"] * 9, [0.1] * 9).resumed()
    assert (guard.effective_mode, guard.guided, guard.fallback) == ("suggest", ArmRewards(), "")


@given(st.lists(st.tuples(st.sampled_from(["guided", "held_out"]), st.floats(0, 1)), max_size=25))
def test_a_guard_keeps_the_sums_of_what_was_recorded(episodes):
    guard = Guard(mode="suggest")
    for arm, reward in episodes:
        guard = guard.record(arm, reward)
    for arm in ("guided", "held_out"):
        rewards = [reward for name, reward in episodes if name == arm]
        assert getattr(guard, arm).episodes == len(rewards)
        assert getattr(guard, arm).total == pytest.approx(math.fsum(rewards))


def test_a_good_guide_keeps_its_mode():
    guard = Guard(mode="narrow")
    for _ in range(50):
        guard = guard.record("guided", 1.0).record("held_out", 0.5)
    assert (guard.effective_mode, guard.compare().verdict) == ("narrow", "not inferior")


def play(rng, ledger: ConservativeLedger | None, rounds: int = 600) -> bool:
    """Whether a learner of three arms ever stood below 90 % of the baseline; bounds are Hoeffding's over all rounds."""
    means, baseline = np.array([0.2, 0.45, 0.75]), 0.6
    counts, sums, earned, is_below = np.zeros(3), np.zeros(3), 0.0, False
    for number in range(1, rounds + 1):
        reach = np.sqrt(np.log(2 * 3 * rounds / 0.05) / (2 * np.maximum(counts, 1)))
        arm = int(np.argmax(np.where(counts > 0, sums / np.maximum(counts, 1) + reach, 2.0)))
        lower = max(float(sums[arm] / counts[arm] - reach[arm]), 0.0) if counts[arm] else 0.0
        if ledger is None or ledger.may_guide(lower, baseline):
            counts[arm] += 1
            sums[arm] += rng.random() < means[arm]
            earned += means[arm]
            ledger = ledger and ledger.record_guided(lower, baseline)
        else:
            earned += baseline
            ledger = ledger.record_baseline(baseline)
        is_below |= earned < 0.9 * baseline * number - 1e-9
    return is_below


def test_with_the_ledger_a_learner_never_falls_below_its_share_of_the_baseline():
    rng = np.random.default_rng(3)
    violations = sum(play(rng, ConservativeLedger(allowance=0.1)) for _ in range(40))
    assert binom.sf(violations - 1, 40, 0.05) > 0.01


def test_without_the_ledger_the_same_learner_does():
    rng = np.random.default_rng(3)
    assert all(play(rng, None) for _ in range(10))


def test_the_ledger_lets_a_good_choice_through_in_the_end():
    ledger, guided = ConservativeLedger(allowance=0.1), 0
    for _ in range(200):
        if ledger.may_guide(0.55, 0.6):
            ledger, guided = ledger.record_guided(0.55, 0.6), guided + 1
        else:
            ledger = ledger.record_baseline(0.6)
    assert guided == 200


@given(
    st.floats(0, 0.9),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_ledger_decides_as_the_three_sums_written_out(allowance, history, lower, baseline):
    ledger = ConservativeLedger(allowance)
    for is_guided, past_lower, past_baseline in history:
        ledger = ledger.record_guided(past_lower, past_baseline) if is_guided else ledger.record_baseline(past_baseline)
    secured = sum(past_lower if is_guided else past for is_guided, past_lower, past in history) + lower
    owed = (1 - allowance) * (sum(past for _, _, past in history) + baseline)
    if abs(secured - owed) > 1e-9:
        assert ledger.may_guide(lower, baseline) == (secured >= owed)


@given(st.floats(0, 0.9), st.lists(st.floats(0, 1), max_size=30))
def test_the_baseline_alone_never_spends_slack(allowance, baselines):
    ledger = ConservativeLedger(allowance)
    for baseline in baselines:
        after = ledger.record_baseline(baseline)
        assert after.slack >= ledger.slack - 1e-12
        ledger = after


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: assign("e", 1.0), r"fraction must lie in \[0, 1\), got 1.0"),
        (lambda: assign("e", math.nan), "fraction must lie"),
        (lambda: assign("", 0.5), "episode_id must not be empty"),
        (lambda: ArmRewards().add(1.5), r"reward must lie in \[0, 1\], got 1.5"),
        (lambda: ArmRewards().add(math.nan), "reward must lie"),
        (lambda: ArmRewards(3, 4.0), "a sum of 4.0 over 3 episodes"),
        (lambda: ArmRewards(-1, 0.0), "over -1 episodes"),
        (lambda: Guard(mode="push"), "mode must be one of shadow, suggest, narrow, force, got 'push'"),
        (lambda: Guard(margin=-0.1), r"margin must lie in \[0, 1\], got -0.1"),
        (lambda: Guard(confidence=1.0), r"confidence must lie in \(0, 1\), got 1.0"),
        (lambda: Guard().record("control", 0.5), "arm must be guided or held_out, got 'control'"),
        (lambda: shown("push", "guided", OFFERED, [], None), "mode must be one of"),
        (lambda: ConservativeLedger(1.0), r"allowance must lie in \[0, 1\), got 1.0"),
        (lambda: ConservativeLedger().may_guide(math.nan, 0.5), "must be finite, got nan"),
        (lambda: ConservativeLedger().record_baseline(math.inf), "must be finite, got inf"),
    ],
)
def test_what_breaks_a_rule_of_the_guard_is_refused(call, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        call()

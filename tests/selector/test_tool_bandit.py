"""The tool bandit: it learns, forgets what broke, counts each report once and goes on exactly where it was saved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.bandit_memory import BanditConfig, BanditMemory
from selector.errors import SelectorUsageError
from selector.kernel_values import Report
from selector.propensity import choice_probabilities
from selector.tool_bandit import ReportCounts, ToolBandit

DIMENSION = 16
TOOLS = ["browse", "compute", "read", "search"]


def bandit(seed: int = 0, **settings_of: object) -> ToolBandit:
    return ToolBandit(DIMENSION, BanditConfig(**settings_of), np.random.default_rng(seed))


def state(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A unit vector near the axis of its kind."""
    noise_D = rng.normal(0.0, 0.1, DIMENSION)
    noise_D[kind] += 1.0
    return (noise_D / np.linalg.norm(noise_D)).astype(np.float32)


def live(learner: ToolBandit, means_CK: np.ndarray, rounds: int, rng: np.random.Generator, start: int = 0) -> list[str]:
    """Play rounds in states of C kinds, with rewards of these means; the names chosen."""
    chosen = []
    for decision in range(start, start + rounds):
        kind = int(rng.integers(len(means_CK)))
        choice = learner.choose(decision, state(kind, rng), TOOLS)
        learner.report(decision, float(rng.random() < means_CK[kind, choice.place]))
        chosen.append(str(choice.tool))
    return chosen


def share_of_best(
    learner: ToolBandit, means_CK: np.ndarray, rounds: int, rng: np.random.Generator, start: int
) -> float:
    """Share of the rounds in which the best tool of the state was chosen."""
    hits = 0
    for decision in range(start, start + rounds):
        kind = int(rng.integers(len(means_CK)))
        choice = learner.choose(decision, state(kind, rng), TOOLS)
        hits += choice.place == means_CK[kind].argmax()
        learner.report(decision, float(rng.random() < means_CK[kind, choice.place]))
    return hits / rounds


@pytest.mark.parametrize("seed", range(3))
def test_each_kind_of_state_gets_its_own_best_tool(seed):
    means_CK = np.full((4, 4), 0.2) + 0.7 * np.eye(4)
    learner, rng = bandit(seed), np.random.default_rng(seed)
    live(learner, means_CK, 500, rng)
    assert share_of_best(learner, means_CK, 200, rng, start=500) > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_tool_is_left_within_a_few_calls(seed):
    means_CK = np.array([[0.95, 0.5, 0.1, 0.1]])
    learner, rng = bandit(seed), np.random.default_rng(seed)
    live(learner, means_CK, 400, rng)
    broken_CK = np.array([[0.0, 0.5, 0.1, 0.1]])
    assert live(learner, broken_CK, 60, rng, start=400).count("browse") <= 15


def test_the_detector_leaves_a_broken_tool_sooner():
    def calls(**settings_of: object) -> int:
        total = 0
        for seed in range(5):
            learner, rng = bandit(seed, use_forgetting=1.0, **settings_of), np.random.default_rng(seed)
            live(learner, np.array([[0.95, 0.5, 0.1, 0.1]]), 300, rng)
            total += live(learner, np.array([[0.0, 0.5, 0.1, 0.1]]), 200, rng, start=300).count("browse")
        return total

    assert 3 * calls() < calls(alarm_level=1e9)


def test_a_tool_that_recovers_is_found_again():
    learner, rng = bandit(), np.random.default_rng(0)
    live(learner, np.array([[0.95, 0.4, 0.1, 0.1]]), 300, rng)
    live(learner, np.array([[0.0, 0.4, 0.1, 0.1]]), 150, rng, start=300)
    chosen = live(learner, np.array([[0.95, 0.4, 0.1, 0.1]]), 400, rng, start=450)
    assert chosen[-100:].count("browse") > 70


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
@settings(max_examples=30, deadline=None)
def test_reports_that_are_late_doubled_or_unknown_change_nothing_twice(reports):
    once, often = bandit(), bandit()
    rng = np.random.default_rng(1)
    for decision in range(5):
        state_D = state(decision % 2, rng)
        once.choose(decision, state_D, TOOLS)
        often.choose(decision, state_D, TOOLS)
    seen = set()
    for decision, is_success in reports:
        answer = often.report(decision, float(is_success))
        assert answer == ("unknown" if decision > 4 else "duplicate" if decision in seen else "applied")
        if answer == "applied":
            seen.add(decision)
            once.report(decision, float(is_success))
    assert often.counts == ReportCounts(
        len(seen), *[sum(1 for d, _ in reports if d < 5) - len(seen)], sum(1 for d, _ in reports if d > 4)
    )
    asked_D = state(0, rng)
    assert once.choose("next", asked_D, TOOLS).means_K.tolist() == often.choose("next", asked_D, TOOLS).means_K.tolist()


def test_the_same_seed_makes_the_same_choices():
    means_CK = np.full((3, 4), 0.5)
    chosen = [live(bandit(5), means_CK, 150, np.random.default_rng(2)) for _ in range(2)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("rounds", [0, 1, 59, 150])
def test_a_loaded_bandit_goes_on_exactly_as_the_saved_one(rounds):
    means_CK = np.array([[0.9, 0.5, 0.1, 0.1], [0.1, 0.1, 0.5, 0.9]])
    saved, rng = bandit(3), np.random.default_rng(3)
    live(saved, means_CK, rounds, rng)
    saved.choose("waiting", state(1, rng), [*TOOLS, 7])
    loaded = ToolBandit.load(saved.save())
    assert loaded.report("waiting", 1.0) == saved.report("waiting", 1.0) == "applied"
    assert loaded.report("waiting", 1.0) == "duplicate"
    saved.report("waiting", 1.0)
    forth = [live(one, means_CK, 200, np.random.default_rng(4), start=1000) for one in (saved, loaded)]
    assert forth[0] == forth[1]
    assert saved.save() == loaded.save()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_bytes_that_are_no_saved_bandit_are_refused(content):
    with pytest.raises(SelectorUsageError, match="not a saved tool bandit"):
        ToolBandit.load(content)


def test_a_saved_bandit_cut_short_is_refused():
    with pytest.raises(SelectorUsageError, match="not a saved tool bandit"):
        ToolBandit.load(bandit().save()[:-200])


@given(st.integers(1, 30), st.integers(0, 99), st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_the_propensity_is_that_of_the_draws_it_reports(count, seed, exploration):
    learner, rng = bandit(seed, exploration=exploration), np.random.default_rng(seed)
    live(learner, np.full((2, 4), 0.5), 20, rng)
    choice = learner.choose("asked", state(0, rng), np.arange(count))
    expected = choice_probabilities(choice.means_K, choice.deviations_K, exploration=exploration)[choice.place]
    assert choice.propensity == pytest.approx(expected, abs=2e-4)
    assert choice.tool == choice.place


def test_tools_are_chosen_as_often_as_their_propensities_say():
    learner, rng = bandit(1, sharpening=1.0), np.random.default_rng(1)
    live(learner, np.array([[0.6, 0.5, 0.5, 0.4]]), 80, rng)
    asked_D, rounds = state(0, rng), 4000
    first = learner.choose("asked", asked_D, TOOLS)
    expected = choice_probabilities(first.means_K, first.deviations_K, exploration=BanditConfig().exploration)
    places = [learner.choose(f"{number}", asked_D, TOOLS).place for number in range(rounds)]
    frequencies = np.bincount(places, minlength=4) / rounds
    assert (abs(frequencies - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / rounds) + 1e-4).all()


def test_all_newcomers_together_win_no_oftener_than_they_may():
    learner, rng = bandit(settled_reports=100, newcomer_chance=0.1, exploration=0.0), np.random.default_rng(0)
    live(learner, np.array([[0.9, 0.2, 0.2, 0.2]]), 150, rng)
    choice = learner.choose("asked", state(0, rng), [*TOOLS, *range(200)])
    wins_K = choice_probabilities(choice.means_K, choice.deviations_K)
    assert 0.02 < wins_K[4:].sum() <= 0.1


def test_a_newcomer_that_is_better_takes_over():
    learner, rng = bandit(settled_reports=100), np.random.default_rng(0)
    live(learner, np.array([[0.0, 0.5, 0.1, 0.1]]), 150, rng)
    chosen = []
    for decision in range(200, 600):
        choice = learner.choose(decision, state(0, rng), [*TOOLS[1:], "new"])
        learner.report(decision, float(choice.tool == "new" or (choice.tool == "compute" and rng.random() < 0.5)))
        chosen.append(choice.tool)
    assert chosen[-100:].count("new") > 80


def test_evidence_without_weight_changes_no_belief():
    learner, rng = bandit(use_forgetting=1.0), np.random.default_rng(0)
    asked_D = state(0, rng)
    before = learner.choose("first", asked_D, TOOLS)
    learner.report("first", 1.0, weight=0.0)
    after = learner.choose("second", asked_D, TOOLS)
    assert after.means_K.tolist() == before.means_K.tolist()


def test_memory_stays_within_its_bound():
    config = BanditConfig(most_rows=100, most_prototypes=3)
    memory, rng = BanditMemory(DIMENSION, config), np.random.default_rng(0)
    memory.widen(2)
    for number in range(500):
        memory.learn(Report(state(number % 6, rng), number % 2, 1.0, 1.0, 0.5))
        assert len(memory) <= 100
    assert len(memory.arrays()["centres_PD"]) <= 3


@pytest.mark.parametrize("rounds", [59, 61, 130])
def test_evidence_of_the_prototypes_is_the_weighted_sum_of_their_rows(rounds):
    memory, rng = BanditMemory(DIMENSION, BanditConfig(alarm_level=1.0)), np.random.default_rng(rounds)
    memory.widen(4)
    for _ in range(rounds):
        tool, reward = int(rng.integers(4)), float(rng.random())
        memory.learn(Report(state(int(rng.integers(3)), rng), tool, reward, float(rng.random()), 0.6))
    held = memory.arrays()
    expected = np.zeros_like(held["evidence_2PT"])
    for kind, tool, reward, weight in zip(
        held["kinds_N"], held["columns_N"], held["rewards_N"], held["weights_N"], strict=True
    ):
        expected[:, kind, tool] += (weight * reward, weight)
    assert held["evidence_2PT"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("settings_of", "rule"),
    [
        ({"sharpening": 0.0}, "sharpening must be above 0, got 0.0"),
        ({"exploration": 1.5}, r"exploration must lie in \[0, 1\], got 1.5"),
        ({"alarm_drop": 1.0}, r"alarm_drop must lie in \(0, 1\)"),
        ({"newcomer_chance": 1.0}, r"newcomer_chance must lie in \[0, 1\)"),
        ({"prior_strength": 0.0}, "prior_strength must be above 0"),
        ({"most_prototypes": 0}, "most_prototypes must be 1 or more"),
        ({"most_rows": 5}, "most_rows must be 60 or more"),
    ],
)
def test_settings_that_break_a_rule_are_refused(settings_of, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        BanditConfig(**settings_of)


def test_what_cannot_be_decided_is_refused():
    learner, rng = bandit(), np.random.default_rng(0)
    learner.choose("made", state(0, rng), TOOLS)
    with pytest.raises(SelectorUsageError, match="no tool is offered"):
        learner.choose("empty", state(0, rng), [])
    with pytest.raises(SelectorUsageError, match=r"must have shape \(16,\), got \(3,\)"):
        learner.choose("narrow", np.ones(3, np.float32), TOOLS)
    with pytest.raises(SelectorUsageError, match="'made' was made before"):
        learner.choose("made", state(0, rng), TOOLS)
    with pytest.raises(SelectorUsageError, match=r"reward must lie in \[0, 1\], got 2"):
        learner.report("made", 2.0)
    with pytest.raises(SelectorUsageError, match=r"weight must lie in \[0, 1\], got -1"):
        learner.report("made", 1.0, weight=-1.0)
